//! Two devices of one account, and what one of them shows of the other.

use quip_tests::{Quip, Server, Terminal};

/// Whether the room list, which is left of the first line, has this room with so many unread.
fn listed(screen: &str, room: &str, unread: Option<u32>) -> bool {
    let mut left = screen.lines().map(|line| line.split('│').next().unwrap_or_default());
    left.any(|entry| {
        let Some((_, behind)) = entry.split_once(room) else { return false };
        behind.split_whitespace().last().and_then(|word| word.parse().ok()) == unread
    })
}

#[test]
fn what_one_device_does_the_other_shows() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    let laptop = Quip::new();
    laptop.run(&["join", ann.run(&["device", "link"]).ok().trim()]).ok();
    let (desk, train) = (Terminal::client(&ann, 120, 40), Terminal::client(&laptop, 80, 24));
    desk.connected();
    train.connected();
    // An invitation is there on both.
    bob.run(&["room", "create", "#plan", "--private", "--members", "ann"]).ok();
    for terminal in [&desk, &train] {
        terminal.shows("#plan");
    }
    // What comes is unread on both, and read on both as soon as it is looked at on one.
    bob.run(&["send", "#plan", "first point"]).ok();
    for terminal in [&desk, &train] {
        terminal.until("it is unread", |screen| listed(screen, "#plan", Some(1)));
    }
    desk.press(&["M-2"]);
    desk.shows("first point");
    train.until("it was read elsewhere", |screen| listed(screen, "#plan", None));
    // What one says and changes, and what somebody renames, the other shows.
    train.press(&["M-2"]);
    train.shows("first point");
    desk.say("from the desk");
    train.shows("from the desk");
    bob.run(&["send", "#plan", "which desk?"]).ok();
    desk.shows("which desk?");
    desk.say("s/desk/table/");
    train.shows("from the table");
    bob.run(&["room", "topic", "#plan", "where we go"]).ok();
    for terminal in [&desk, &train] {
        terminal.shows("where we go");
    }
    // What one leaves, the other leaves.
    train.say("/part");
    desk.until("the room is gone", |screen| !listed(screen, "#plan", None));
}
