//! The colours follow the terminal's background, which it tells when it is asked (OSC 11).

use quip_tests::{Quip, Server, Terminal, binary};

#[test]
fn a_light_terminal_gets_colours_that_can_be_read_and_no_key_of_its_answer() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let quip = binary("quip").display().to_string();
    // The name of the room that is seen is blue on a light background, cyan on a dark one.
    for (background, colour) in [("white", "38;5;4m#general"), ("black", "38;5;6m#general")] {
        let command = format!("unset COLORFGBG; tmux set -g window-style bg={background}; exec {quip}");
        let terminal = Terminal::run(&ann, 80, 24, &command);
        let screen = terminal.connected();
        assert!(screen.contains("› Message #general"), "nothing was typed: {screen}");
        quip_tests::eventually("its colours", || {
            let screen = terminal.screen_with_attributes();
            (screen.contains(colour) || screen.contains(&colour.replace("38;5;", "3"))).then_some(())
        });
        assert!(terminal.screen().contains("› Message #general"), "{}", terminal.screen());
        terminal.press(&["C-q"]);
        terminal.ends();
    }
}
