//! Searching the local copy: without a server, while the terminal client has it open, after it was killed.

use std::path::PathBuf;

use quip_tests::{Quip, Server, Terminal, eventually};

fn said(quip: &Quip, room: &str, texts: &[&str]) {
    for text in texts {
        quip.run(&["send", room, text]).ok();
    }
}

/// The lines that `quip search` prints, once there are so many.
fn found(quip: &Quip, args: &[&str], count: usize) -> Vec<String> {
    let args = [&["search"], args].concat();
    eventually(&format!("{args:?} finds {count}"), || {
        let ran = quip.run(&args);
        let lines: Vec<String> = ran.stdout.lines().map(str::to_owned).collect();
        assert_eq!(ran.code, i32::from(lines.is_empty()), "{ran:?}");
        (lines.len() == count).then_some(lines)
    })
}

fn copy(quip: &Quip) -> PathBuf {
    let servers = quip.home().join("data/servers");
    std::fs::read_dir(servers).unwrap().next().unwrap().unwrap().path()
}

/// A server that was stopped, and a client that has its rooms, opened.
fn offline() -> (Server, Quip, Terminal) {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    ann.run(&["room", "create", "#ops", "--members", "bob"]).ok();
    said(&ann, "#ops", &["deploy of foo_bar began", "nothing to see"]);
    said(&bob, "#ops", &["the deploy failed in src/like.rs:42"]);
    said(&ann, "#general", &["who will deploy tomorrow?"]);
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.connected();
    terminal.shows("like.rs:42");
    terminal.press(&["M-1"]);
    terminal.shows("who will deploy");
    terminal.press(&["M-2"]);
    terminal.shows("like.rs:42");
    assert!(server.stop());
    terminal.shows("offline");
    (server, ann, terminal)
}

#[test]
fn another_command_asks_the_client_that_is_open_and_later_looks_itself() {
    let (_server, ann, terminal) = offline();
    for opened in [true, false] {
        let deploys = found(&ann, &["deploy"], 3);
        assert!(
            deploys[0].contains("#general") && deploys[0].contains("tomorrow"),
            "newest first: {deploys:?}"
        );
        assert!(deploys[2].contains("began"), "{deploys:?}");
        let json = found(&ann, &["--json", "like.rs:42"], 1);
        let history = ann.run(&["history", "#ops", "--json"]).ok();
        assert!(history.lines().any(|line| line == json[0]), "as history prints it: {json:?} {history}");
        found(&ann, &["deploy", "--in", "#ops"], 2);
        found(&ann, &["deploy", "in:#ops", "from:@bob"], 1);
        found(&ann, &["deploy", "--from", "@ann"], 2);
        found(&ann, &["deploy", "-n", "1"], 1);
        found(&ann, &["depl*", "--after", "1h"], 3);
        found(&ann, &["deploy", "--before", "1h"], 0);
        assert_eq!(ann.run(&["search", "zebra"]).fails(1), "quip: no match");
        let nowhere = ann.run(&["search", "deploy", "--in", "#nowhere"]).fails(65);
        assert!(nowhere.contains("#nowhere is not in the local copy"), "{nowhere}");
        ann.run(&["search", "deploy", "--after", "soon"]).fails(2);
        ann.run(&["search", "---"]).fails(2);
        assert!(ann.run(&["rooms"]).ok().contains("#ops"));
        if opened {
            terminal.say("/quit");
            terminal.ends();
        }
    }
}

#[test]
fn one_looks_for_words_and_goes_there_and_back_without_a_network() {
    let (_server, _ann, terminal) = offline();
    terminal.press(&["C-f"]);
    terminal.shows("search #ops:");
    terminal.press(&["d", "e", "p", "l"]);
    terminal.until("two of this room are found", |screen| screen.contains("1 of 2"));
    terminal.press(&["C-f"]);
    terminal.until("and one more of the other room", |screen| screen.contains("1 of 3"));
    terminal.press(&["Enter"]);
    terminal.until("it is gone to", |screen| screen.contains("Selected:") && screen.contains("who will"));
    terminal.press(&["Escape"]);
    terminal.shows("Message #ops");
    terminal.say("/search \"foo bar\"");
    let screen = terminal.shows("1 of 1");
    assert!(screen.contains("deploy of foo_bar began"), "{screen}");
}

#[test]
fn a_killed_client_and_a_damaged_index_lose_nothing() {
    let (mut server, ann, terminal) = offline();
    found(&ann, &["deploy"], 3);
    terminal.kill();
    found(&ann, &["deploy"], 3);
    std::fs::write(copy(&ann).join("search/index.db"), vec![0x5A; 100_000]).unwrap();
    found(&ann, &["deploy"], 3);
    std::fs::remove_dir_all(copy(&ann).join("search")).unwrap();
    let terminal = Terminal::client(&ann, 80, 24);
    // Which room is seen first depends on what was kept of what is unread.
    terminal.shows("#ops");
    terminal.press(&["M-1"]);
    terminal.shows("who will deploy");
    found(&ann, &["deploy"], 3);
    server.restart();
    terminal.connected();
    said(&ann, "#ops", &["one more deploy"]);
    found(&ann, &["deploy"], 4);
    terminal.press(&["M-2"]);
    terminal.shows("one more deploy");
    terminal.press(&["Up"]);
    terminal.shows("editing");
    terminal.press(&["C-u"]);
    terminal.say("rolled back");
    found(&ann, &["deploy"], 3);
    found(&ann, &["rolled"], 1);
    terminal.say("/delete");
    terminal.shows("(y/n)");
    terminal.press(&["y"]);
    found(&ann, &["rolled"], 0);
}

#[test]
fn who_keeps_nothing_cannot_search() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let refused = ann.run(&["search", "deploy"]).fails(69);
    assert!(refused.contains("open `quip` once"), "{refused}");
}
