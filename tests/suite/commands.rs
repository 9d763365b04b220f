//! The scriptable command, as scripts use it: real processes, pipes, exit codes.

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use quip_tests::poll::DEADLINE;
use quip_tests::{Quip, Server, eventually};
use serde_json::Value;

const PROCESSES: usize = 4;
const EACH: usize = 50;

/// Lines of a command that goes on, as they come.
struct Follower {
    process: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn start(quip: &Quip, args: &[&str]) -> Follower {
        let mut process = quip.spawn(args);
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        // Ends with the process, or with the test.
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Follower { process, lines }
    }

    fn next(&mut self) -> Value {
        let line = self.lines.recv_timeout(DEADLINE).expect("the follower goes on");
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn four_processes_send_and_two_followers_read_the_same() {
    let server = Server::with_config("[limits]\nmessages_per_second = 10000\nburst_messages = 10000");
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    let after = ann.run(&["history", "#general", "--json"]).ok().lines().count();
    let args = ["tail", "#general", "--follow", "--json", "--since", &after.to_string()];
    let mut followers = [Follower::start(&ann, &args), Follower::start(&bob, &args)];
    thread::scope(|scope| {
        for process in 0..PROCESSES {
            let quip = if process % 2 == 0 { &ann } else { &bob };
            scope.spawn(move || {
                for n in 0..EACH {
                    quip.run(&["send", "#general", &format!("{process} {n}")]).ok();
                }
            });
        }
    });
    let [first, second] = followers
        .each_mut()
        .map(|follower| (0..PROCESSES * EACH).map(|_| follower.next()).collect::<Vec<Value>>());
    assert_eq!(first, second, "both followers read the same, in the same order");
    let seqs: Vec<u64> = first.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    let expected: Vec<u64> = (after as u64 + 1..=(after + PROCESSES * EACH) as u64).collect();
    assert_eq!(seqs, expected, "dense");
    for process in 0..PROCESSES {
        let prefix = format!("{process} ");
        let texts = first.iter().filter_map(|e| e["text"].as_str()).filter(|text| text.starts_with(&prefix));
        assert!(
            texts.eq((0..EACH).map(|n| format!("{process} {n}"))),
            "in the order process {process} sent them"
        );
    }
    let exported = ann.run(&["export", "#general"]).ok();
    let exported: Vec<Value> =
        exported.lines().skip(after).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(exported, first, "and the history says the same");
}

#[test]
fn a_follower_goes_on_where_it_was_when_the_server_comes_back() {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let mut follower = Follower::start(&ann, &["tail", "#general", "--follow", "--json", "--since", "1"]);
    let send = |text: &str| ann.run(&["send", "#general", text, "--json"]).ok();
    send("before");
    assert_eq!(follower.next()["text"], "before");
    server.kill();
    server.restart();
    send("while it reconnects");
    assert_eq!(follower.next()["text"], "while it reconnects");
    assert!(server.stop());
    assert!(ann.run(&["send", "#general", "into the void"]).fails(69).contains("cannot reach"));
    server.restart();
    send("again");
    assert_eq!(follower.next()["text"], "again");
}

#[test]
fn a_script_in_a_pipe() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    ann.run(&["room", "create", "#ci"]).ok();
    let receipt: Value =
        serde_json::from_str(&ann.pipe(&["send", "#ci", "--json"], b"line one\nline two\n").ok()).unwrap();
    assert_eq!((receipt["type"].as_str(), receipt["room"].as_str()), (Some("receipt"), Some("#ci")));
    let printed = ann.run(&["history", "#ci", "--json"]).ok();
    let message: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(message["text"], "line one\nline two");
    assert_eq!((&message["seq"], &message["id"]), (&receipt["seq"], &receipt["id"]));
    assert!(ann.pipe(&["send", "#ci"], b"\n\n").fails(65).contains("empty"));
    // A bot with nothing but its environment.
    let token = ann.run(&["token", "new", "ci-bot"]).ok();
    let bot = Quip::new();
    let output = bot
        .command(&["send", "#ci", "built"])
        .env("QUIP_SERVER", server.link.reveal())
        .env("QUIP_TOKEN", token.trim())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::read_dir(bot.home()).unwrap().count(), 0, "a token needs no files");
    assert!(ann.run(&["history", "#ci", "-n", "1"]).ok().contains("<ci-bot> built"));
    ann.run(&["token", "revoke", "ci-bot"]).ok();
    let output = bot
        .command(&["send", "#ci", "again"])
        .env("QUIP_SERVER", server.link.reveal())
        .env("QUIP_TOKEN", token.trim())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
}

#[test]
fn who_is_unknown_may_have_been_meant_as_a_file() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let create = |members: &str| ann.run(&["room", "create", "#ops", "--members", members]).fails(65);
    assert!(create("nofile").contains("neither an account nor a file named nofile"));
    for members in ["@nofile", "ann,nofile"] {
        assert!(create(members).contains("there is no account named nofile"), "{members}");
    }
}

#[test]
fn rooms_members_unread_and_a_second_device() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    ann.run(&["room", "create", "#ops", "--private", "--topic", "on call", "--members", "bob"]).ok();
    ann.run(&["send", "#ops", "@bob the disk is full"]).ok();
    ann.run(&["send", "@bob", "are you there?"]).ok();
    let unread = bob.run(&["unread"]).ok();
    assert!(unread.contains("#ops 1 (1 mention)") && unread.contains("@ann 1"), "{unread}");
    let rooms: Vec<Value> =
        bob.run(&["rooms", "--json"]).ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rooms.iter().filter(|room| room["topic"] == "on call").count(), 1, "{rooms:?}");
    let who = ann.run(&["who", "#ops"]).ok();
    assert!(
        who.contains("ann") && who.contains("owner") && who.contains("bob") && who.contains("member"),
        "{who}"
    );
    bob.run(&["send", "#ops", "on it"]).ok();
    assert!(!bob.run(&["unread"]).ok().contains("#ops"), "who answers has read");
    let laptop = Quip::new();
    let link = bob.run(&["device", "link"]).ok();
    laptop.run(&["join", link.trim()]).ok();
    assert!(laptop.run(&["history", "#ops"]).ok().contains("<bob> on it"));
    assert!(bob.run(&["device", "list"]).ok().lines().count() == 2);
    assert!(laptop.run(&["join", link.trim()]).code == 0, "joining again with the same account is no error");
    let stranger = Quip::new();
    assert!(stranger.run(&["join", link.trim()]).fails(77).contains("already used"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    for n in 0..20 {
        ann.run(&["send", "#general", &format!("{n}")]).ok();
    }
    let mut process = ann.spawn(&["export", "#general"]);
    drop(process.stdout.take());
    let status = eventually("the command ends", || process.try_wait().unwrap());
    assert!(status.success(), "{status}");
}
