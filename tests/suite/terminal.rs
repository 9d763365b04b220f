//! The terminal client in a real terminal.

use quip_protocol::frame::Request;
use quip_protocol::{RoomName, SafeLine};
use quip_tests::{Quip, Server, Terminal, binary, eventually, join, post_all, within};

#[test]
fn two_talk_in_general_and_privately() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    let hers = Terminal::client(&ann, 80, 24);
    let his = Terminal::client(&bob, 120, 40);
    hers.connected();
    his.connected();
    hers.say("good morning");
    his.shows("good morning");
    his.say("morning ann");
    hers.shows("morning ann");
    his.say("/msg @ann just between us");
    hers.shows("@bob");
    hers.press(&["M-a"]);
    hers.shows("just between us");
    hers.say("our secret");
    his.shows("our secret");
    let room = ann.run(&["history", "#general"]).ok();
    assert!(
        room.contains("good morning") && !room.contains("secret") && !room.contains("between us"),
        "{room}"
    );
    assert!(bob.run(&["history", "@ann"]).ok().contains("<ann> our secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn someone_who_comes_later_scrolls_back_to_the_beginning() {
    const MESSAGES: usize = 10_000;
    let server = Server::with_config("[limits]\nmessages_per_second = 100000\nburst_messages = 100000");
    let owner = join(server.owner.as_ref().unwrap(), "owner").await;
    let name: RoomName = "long".parse().unwrap();
    let create = Request::CreateRoom {
        name: name.clone(),
        private: false,
        topic: SafeLine::default(),
        members: vec![],
    };
    within("the room", owner.request(create)).await.unwrap();
    let numbered = (0..MESSAGES).map(|n| format!("message number {n}."));
    post_all(&owner, &name.clone().into(), numbered).await;
    let invite = server.invite(&["--room", "#long"]);
    tokio::task::spawn_blocking(move || {
        let late = Quip::joined(&invite, "late");
        let terminal = Terminal::client(&late, 80, 24);
        terminal.connected();
        terminal.say("/join #long");
        terminal.shows("late joined");
        // Two screens of lines a press, as fast as pages come.
        terminal.until("the beginning of the room", |screen| {
            if screen.contains("This is the beginning of #long") {
                return true;
            }
            terminal.press(&["-N", "20", "PPage"]);
            false
        });
        terminal.press(&["Escape"]);
        terminal.shows("late joined");
    })
    .await
    .unwrap();
}

#[test]
fn what_is_typed_while_the_server_is_away_arrives_once() {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.connected();
    terminal.say("before");
    terminal.shows("before");
    assert!(server.stop());
    terminal.until("it says that it is offline", |screen| !screen.contains("connected to"));
    for text in ["first of three", "second of three", "third of three"] {
        terminal.say(text);
        terminal.shows(text);
    }
    server.restart();
    terminal.connected();
    let sent = quip_tests::eventually("all three arrive", || {
        let history = ann.run(&["history", "#general"]).ok();
        history.contains("third of three").then_some(history)
    });
    let lines: Vec<&str> = sent.lines().filter(|line| line.contains("of three")).collect();
    assert_eq!(lines.len(), 3, "each once: {sent}");
    assert!(
        lines[0].contains("first") && lines[1].contains("second") && lines[2].contains("third"),
        "in order: {sent}"
    );
    let screen = terminal.until("nothing is pending", |screen| screen.matches("of three").count() == 3);
    assert!(!screen.contains("offline"), "{screen}");
}

#[test]
fn the_terminal_is_as_it_was_afterwards() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let quip = quip_tests::binary("quip").display().to_string();
    let script = format!("sh -c 'echo the shell before; {quip}; echo ended with $?; stty -a; exec cat'");
    let terminal = Terminal::run(&ann, 80, 40, &script);
    terminal.connected();
    terminal.say("/quit");
    let screen = terminal.shows("ended with 0");
    assert!(screen.contains("the shell before"), "the screen of before is back: {screen}");
    let screen = terminal.shows("icanon");
    assert!(!screen.contains("-icanon") && !screen.contains("-echo "), "{screen}");
}

#[test]
fn a_panic_gives_the_terminal_back() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let quip = quip_tests::binary("quip").display().to_string();
    std::fs::create_dir_all(ann.home().join("config")).unwrap();
    std::fs::write(ann.home().join("config/quip.toml"), "mouse = true\n").unwrap();
    for (fault, code) in [("panic", "101"), ("panic-aside", "0")] {
        let file = |name: &str| ann.home().join(format!("{fault}-{name}"));
        let [before, said, after] = ["before", "said", "after"].map(|name| file(name).display().to_string());
        let script = format!(
            "sh -c 'echo the shell before; stty -a > {before}; RUST_BACKTRACE=0 QUIP_FAULT={fault} {quip} 2> {said}; \
             echo ended with $?; stty -a > {after}; exec cat'"
        );
        let terminal = Terminal::run(&ann, 80, 24, &script);
        terminal.connected();
        let [mouse, alternate] = ["mouse_any_flag", "alternate_on"].map(|flag| terminal.knows(flag));
        assert_eq!((mouse.as_str(), alternate.as_str()), ("1", "1"), "it is the client's");
        terminal.press(&["C-l"]);
        if fault == "panic-aside" {
            terminal.say("it goes on");
            terminal.delivered("ann  it goes on");
            terminal.say("/quit");
        }
        let screen = terminal.shows(&format!("ended with {code}"));
        assert!(screen.contains("the shell before"), "the screen of before is back: {screen}");
        for (flag, value) in [("mouse_any_flag", "0"), ("alternate_on", "0"), ("cursor_flag", "1")] {
            assert_eq!(terminal.knows(flag), value, "{flag}");
        }
        eventually("stty has said it", || {
            let read = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
            (!read(&after).is_empty() && read(&after) == read(&before)).then_some(())
        });
        let said = std::fs::read_to_string(&said).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("QUIP_FAULT asked for it") && said.contains("please report"), "{said}");
    }
}

#[test]
fn code_has_colours_unless_they_are_not_wanted() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    ann.pipe(&["send", "#general"], b"```rust\nfn sum() {}\n```").ok();
    let quip = binary("quip").display().to_string();
    let coloured = Terminal::run(&ann, 80, 24, &format!("exec env -u NO_COLOR {quip}"));
    eventually("a keyword is violet", || {
        let screen = coloured.screen_with_attributes();
        (screen.contains("38;5;141mfn") || screen.contains("38;5;141m\x1b[49mfn")).then_some(())
    });
    coloured.say("/quit");
    coloured.ends();
    let plain = Terminal::run(&ann, 80, 24, &format!("NO_COLOR=1 exec {quip}"));
    plain.shows("fn sum() {}");
    plain.connected();
    assert!(plain.screen_with_attributes().contains("fn sum() {}"), "nothing stands between the words");
}

#[test]
fn hostile_text_stays_text_on_the_screen() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.connected();
    ann.run(&["send", "#general", "\u{1b}[2J\u{1b}[31mRED\u{1b}]0;owned\u{7} \u{9b}5m end"]).ok();
    let screen = terminal.shows("end");
    assert!(screen.contains("␛[2J␛[31mRED␛]0;owned␇"), "{screen}");
    assert!(screen.contains("#general"), "the screen was not cleared: {screen}");
}

#[test]
fn the_first_run_offers_to_host_or_to_join() {
    let nobody = Quip::new();
    let terminal = Terminal::client(&nobody, 80, 24);
    let screen = terminal.until("the first-run screen", |screen| screen.to_lowercase().contains("join"));
    assert!(screen.to_lowercase().contains("host"), "{screen}");
}

#[test]
fn hosting_is_one_command() {
    let ann = Quip::new();
    let quip = quip_tests::binary("quip").display().to_string();
    let terminal = Terminal::run(&ann, 100, 30, &format!("{quip} host --name ann --listen 127.0.0.1:0"));
    terminal.shows("quip://");
    terminal.connected();
    terminal.escape_from("quip://");
    terminal.say("is this on?");
    let screen = terminal.shows("is this on?");
    assert!(screen.contains("#general"), "{screen}");
}

#[test]
fn what_bots_spawn_can_be_sent_between_threads() {
    fn sendable<T: Send>(_: impl FnOnce(quip_protocol::client::Handle) -> T) {}
    sendable(|handle| async move { handle.watch(Vec::new()).await });
    sendable(|handle| async move { handle.join("#ops").await });
    sendable(|handle| async move { handle.rooms().await });
    sendable(
        |handle| async move { handle.send(&"#ops".parse::<quip_protocol::Target>().unwrap(), "x").await },
    );
}

#[test]
fn editor_and_pager_have_the_terminal_and_give_it_back() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let (editor, pager) = (ann.home().join("editor"), ann.home().join("pager"));
    std::fs::write(&editor, "read -r line && printf '%s outside\\n' \"$line\" > \"$1\"\n").unwrap();
    std::fs::write(&pager, "trap : INT; cat \"$1\"; echo that was all; read -r line; read -r line\n")
        .unwrap();
    let variables = format!("EDITOR='sh {}' PAGER='sh {}'", editor.display(), pager.display());
    let terminal = Terminal::run(&ann, 80, 24, &format!("{variables} exec {}", binary("quip").display()));
    terminal.connected();
    terminal.press(&["C-x", "C-e"]);
    terminal.until("the editor has the terminal", |screen| !screen.contains("connected to"));
    terminal.say("written");
    terminal.shows("› written outside");
    terminal.press(&["Enter"]);
    terminal.delivered("ann  written outside");
    ann.run(&["send", "#general", "and by a script"]).ok();
    terminal.shows("and by a script");
    terminal.press(&["M-k"]);
    terminal.shows("Enter y o");
    terminal.press(&["o"]);
    terminal.shows("that was all");
    // For the pager, not for the client.
    terminal.press(&["C-c"]);
    terminal.say("");
    terminal.say("");
    terminal.connected();
    terminal.press(&["Escape", "C-l"]);
    terminal.say("here again");
    terminal.shows("here again");
    terminal.say("/quit");
    terminal.ends();
}
