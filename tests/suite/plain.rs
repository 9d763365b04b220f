//! Plain mode, as a screen reader or a dumb terminal gets it: bytes in, bytes out.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use quip_tests::{Quip, Server, Terminal, binary};

/// Nothing but text and line ends.
fn assert_plain(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap();
    let bad = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(bad, None, "{text:?}");
}

#[test]
fn a_pipe_talks_and_everything_is_delivered_at_its_end() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let hostile = "\u{1b}[2J\u{1b}]52;c;aGk=\u{7} \u{9b}31m red \u{202e} end";
    ann.pipe(&["send", "#general"], hostile.as_bytes()).ok();
    let script = format!("/list\n/create #ops\nfirst {hostile}\nsecond\n/help\n");
    let ran = ann.pipe(&["--plain"], script.as_bytes());
    assert_plain(ran.stdout.as_bytes());
    assert_plain(ran.stderr.as_bytes());
    assert_eq!(ran.code, 0, "{ran:?}");
    for said in ["connected to", "-- Your rooms", "-- Commands", "/peek #room"] {
        assert!(ran.stdout.contains(said), "{said}: {ran:?}");
    }
    let ops = ann.run(&["history", "#ops"]).ok();
    assert!(ops.contains("<ann> first") && ops.contains("<ann> second"), "{ops}");
}

#[test]
fn two_lines_are_a_conversation() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    let mut command = ann.command(&["--plain"]);
    let mut plain = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = plain.stdin.take().unwrap();
    let mut lines = BufReader::new(plain.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.ends_with("* bob joined")).unwrap();
    bob.run(&["send", "#general", "are you there?"]).ok();
    lines.find(|line| line.ends_with(" bob: are you there?")).unwrap();
    input.write_all(b"yes\n").unwrap();
    lines.find(|line| line.ends_with(" ann: yes")).unwrap();
    input.write_all(b"/quit\n").unwrap();
    assert!(plain.wait().unwrap().success());
    assert!(bob.run(&["history", "#general"]).ok().contains("<ann> yes"));
}

#[test]
fn a_dumb_terminal_gets_lines() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let log = ann.home().join("typescript");
    let quip = binary("quip").display().to_string();
    let command = format!("TERM=dumb script -qec {quip} {}", log.display());
    let terminal = Terminal::run(&ann, 80, 24, &command);
    terminal.shows("-- #general");
    terminal.say("typed here");
    terminal.shows("ann: typed here");
    terminal.say("/quit");
    terminal.ends();
    let bytes = std::fs::read(&log).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    // `script` writes a line of its own first and last, and the terminal ends lines with CR LF.
    assert!(!text.contains('\u{1b}'), "{text:?}");
}
