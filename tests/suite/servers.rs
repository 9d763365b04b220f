//! Several servers in one client: one of them away, stopped or used by another process disturbs nobody.

use std::process::Command;

use quip_tests::{Quip, Server, Terminal, binary, eventually};

/// A server that calls itself so.
fn named(name: &str) -> Server {
    Server::with_config(&format!("name = \"{name}\""))
}

/// `home` and `work`, somebody with an account on both, who joined `work` last, and one more on each.
struct Two {
    home: Server,
    work: Server,
    ann: Quip,
    bob: Quip,
    carl: Quip,
}

impl Two {
    fn start() -> Two {
        let (home, work) = (named("home"), named("work"));
        let ann = Quip::joined(home.owner.as_ref().unwrap(), "ann");
        ann.run(&["join", &work.owner.as_ref().unwrap().reveal(), "--name", "ann"]).ok();
        let bob = Quip::joined(&home.invite(&[]), "bob");
        let carl = Quip::joined(&work.invite(&[]), "carl");
        Two { home, work, ann, bob, carl }
    }
}

/// Waits until a line was said once in `#general`, and never more often.
fn arrives_once(reader: &Quip, line: &str) {
    let count = || reader.run(&["history", "#general"]).ok().matches(line).count();
    eventually(line, || (count() > 0).then_some(()));
    assert_eq!(count(), 1, "{line}");
}

/// The keys of rooms go by the list: it must be whole.
fn lists_both(terminal: &Terminal) {
    // The members, right of it, have the same signs.
    let list =
        |screen: &str| -> String { screen.lines().filter_map(|line| line.split('│').next()).collect() };
    terminal.until("both are listed", |screen| {
        list(screen).contains("2 #general") && !list(screen).contains('○')
    });
}

/// Whether the list has this server, and a sign that it is away.
fn is_down(screen: &str, server: &str) -> bool {
    let list = |line: &str| line.split('│').next().map(str::to_owned).unwrap_or_default();
    screen.lines().map(list).any(|line| line.starts_with(&format!(" {server} ")) && line.contains('○'))
}

#[test]
fn one_is_killed_and_comes_back_while_the_other_goes_on() {
    let mut two = Two::start();
    let terminal = Terminal::client(&two.ann, 80, 24);
    terminal.connected_to("work");
    lists_both(&terminal);
    terminal.say("said at work");
    arrives_once(&two.carl, "<ann> said at work");
    terminal.press(&["M-1"]);
    terminal.connected_to("home");
    terminal.say("said at home");
    arrives_once(&two.bob, "<ann> said at home");
    two.carl.run(&["send", "#general", "@ann are you there?"]).ok();
    terminal.shows("1 room needs you");

    two.home.kill();
    terminal.until("home is away", |screen| is_down(screen, "home"));
    for text in ["first of two", "second of two"] {
        terminal.say(text);
        terminal.shows(text);
    }
    terminal.press(&["M-a"]);
    terminal.connected_to("work");
    let screen = terminal.shows("are you there?");
    assert!(is_down(&screen, "home") && !screen.contains("of two"), "{screen}");
    terminal.say("work goes on");
    arrives_once(&two.carl, "<ann> work goes on");

    two.home.restart();
    terminal.until("home is back", |screen| !is_down(screen, "home"));
    arrives_once(&two.bob, "<ann> second of two");
    let history = two.bob.run(&["history", "#general"]).ok();
    let (first, second) = (history.find("first of two").unwrap(), history.find("second of two").unwrap());
    assert!(first < second && history.matches("of two").count() == 2, "{history}");
    assert!(
        !two.carl.run(&["history", "#general"]).ok().contains("of two"),
        "nothing goes to the wrong server"
    );
    terminal.say("/quit");
    terminal.ends();
}

#[test]
fn without_a_network_both_are_shown_and_written_to() {
    let mut two = Two::start();
    two.bob.run(&["send", "#general", "the last word at home"]).ok();
    two.carl.run(&["send", "#general", "the last word at work"]).ok();
    let terminal = Terminal::client(&two.ann, 120, 40);
    terminal.shows("the last word at work");
    lists_both(&terminal);
    terminal.press(&["M-1"]);
    terminal.shows("the last word at home");
    terminal.say("/quit");
    terminal.ends();
    assert!(two.home.stop() && two.work.stop());

    let terminal = Terminal::client(&two.ann, 120, 40);
    terminal.shows("the last word at work");
    terminal.shows("2 #general");
    terminal.say("written to work");
    terminal.shows("written to work");
    terminal.press(&["M-1"]);
    terminal.shows("the last word at home");
    terminal.say("written to home");
    terminal.until("both are away", |screen| is_down(screen, "home") && is_down(screen, "work"));
    terminal.say("/quit");
    terminal.ends();

    two.home.restart();
    two.work.restart();
    let terminal = Terminal::client(&two.ann, 120, 40);
    terminal.connected_to("work");
    arrives_once(&two.bob, "<ann> written to home");
    arrives_once(&two.carl, "<ann> written to work");
    terminal.say("/quit");
    terminal.ends();
}

#[test]
fn one_that_does_not_answer_keeps_nobody_waiting() {
    let two = Two::start();
    two.home.signal("STOP");
    let terminal = Terminal::client(&two.ann, 80, 24);
    terminal.connected_to("work");
    terminal.say("nobody waits");
    arrives_once(&two.carl, "<ann> nobody waits");
    // It was never there before, so that its name is not known yet.
    let address = two.home.link.address();
    let address = address.trim_start_matches("quip://");
    terminal.until("home does not answer", |screen| is_down(screen, address));
    two.home.signal("CONT");
    terminal.until("home answers", |screen| screen.contains(" home ") && screen.contains("2 #general"));
}

#[test]
fn a_copy_that_takes_for_ever_to_open_keeps_nobody_waiting() {
    let two = Two::start();
    let copies = two.ann.home().join("data/servers");
    let known = || std::fs::read_dir(&copies).into_iter().flatten().flatten().map(|dir| dir.path());
    let address = two.home.link.address();
    let quip = binary("quip").display().to_string();
    let terminal = Terminal::run(&two.ann, 80, 24, &format!("exec {quip} --server {address}"));
    terminal.connected_to("home");
    terminal.say("/quit");
    terminal.ends();
    // Who reads a pipe waits for a writer.
    let outbox = known().next().unwrap().join("outbox");
    std::fs::remove_file(&outbox).unwrap();
    let made = Command::new("mkfifo").arg(&outbox).status().unwrap();
    assert!(made.success());
    let terminal = Terminal::client(&two.ann, 80, 24);
    let screen = terminal.connected_to("work");
    assert!(screen.contains(" home "), "it is called as it called itself: {screen}");
    terminal.say("nobody waits for a copy");
    arrives_once(&two.carl, "<ann> nobody waits for a copy");
    terminal.say("/quit");
    terminal.ends();
}

#[test]
fn one_alone_and_a_copy_that_is_in_use() {
    let two = Two::start();
    let address = two.home.link.address();
    let quip = binary("quip").display().to_string();
    let alone = Terminal::run(&two.ann, 80, 24, &format!("exec {quip} --server {address}"));
    let screen = alone.connected_to("home");
    assert!(!screen.contains("work"), "{screen}");
    // It has the copy of one of the two.
    let terminal = Terminal::client(&two.ann, 80, 24);
    lists_both(&terminal);
    for (keys, reader, text) in [("M-1", &two.bob, "without a copy"), ("M-2", &two.carl, "with a copy")] {
        terminal.press(&[keys]);
        terminal.say(text);
        arrives_once(reader, text);
    }
    alone.shows("without a copy");
    terminal.say("/quit");
    terminal.ends();

    let settings = two.ann.home().join("config/quip.toml");
    std::fs::write(&settings, format!("leave_out = [\"{address}\"]\n")).unwrap();
    let terminal = Terminal::client(&two.ann, 80, 24);
    let screen = terminal.connected_to("work");
    assert!(!screen.contains("home"), "{screen}");
}

#[test]
fn lines_talk_to_both() {
    let two = Two::start();
    let script = "/server home\nin lines to home\n/server work\nin lines to work\n/servers\n";
    let ran = two.ann.pipe(&["--plain"], script.as_bytes());
    for said in ["-- connected to home", "-- connected to work", "-- #general (home)", "-- Your servers"] {
        assert!(ran.stdout.contains(said), "{said}: {ran:?}");
    }
    arrives_once(&two.bob, "<ann> in lines to home");
    arrives_once(&two.carl, "<ann> in lines to work");
}

#[test]
fn hosting_is_beside_the_others() {
    let two = Two::start();
    let quip = binary("quip").display().to_string();
    let terminal = Terminal::run(&two.ann, 100, 30, &format!("{quip} host --name ann --listen 127.0.0.1:0"));
    terminal.shows("quip://");
    terminal.escape_from("quip://");
    let screen = terminal.until("all three are listed", |screen| screen.contains("3 #general"));
    assert!(screen.contains(" home ") && screen.contains(" work "), "{screen}");
    terminal.say("at my own");
    terminal.shows("ann  at my own");
    terminal.press(&["M-1"]);
    terminal.connected_to("home");
    terminal.say("while hosting");
    arrives_once(&two.bob, "<ann> while hosting");
}
