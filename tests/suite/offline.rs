//! Without a network: what was read is read again, what is written arrives once and in order, whatever is killed.

use std::path::Path;

use quip_protocol::Target;
use quip_protocol::frame::PageFrom;
use quip_tests::{Quip, Server, Terminal, connected, eventually, join, post_all, within};

pub fn fast() -> Server {
    Server::with_config("[limits]\nmessages_per_second = 100000\nburst_messages = 100000")
}

/// The lines of `#general` that have this in them, as the server has them.
fn sent(quip: &Quip, what: &str) -> Vec<String> {
    let history = quip.run(&["history", "#general", "-n", "1000"]).ok();
    history.lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
}

#[test]
fn a_train_without_network() {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.connected();
    for text in ["the first thing said", "the last thing said"] {
        terminal.say(text);
    }
    eventually("both are sent", || (sent(&ann, "thing said").len() == 2).then_some(()));
    terminal.say("/quit");
    terminal.ends();
    assert!(server.stop());

    let terminal = Terminal::client(&ann, 80, 24);
    terminal.shows("the last thing said");
    terminal.shows("the first thing said");
    for text in ["first of three", "second of three", "third of three"] {
        terminal.say(text);
        terminal.shows(text);
    }
    // The one who has it open answers for it.
    let asked = ann.run(&["history", "#general"]);
    assert!(asked.stderr.contains("local copy"), "{asked:?}");
    assert!(asked.ok().contains("the last thing said"));
    terminal.say("/quit");
    terminal.ends();
    let offline = ann.run(&["history", "#general"]);
    assert!(offline.stderr.contains("local copy"), "{offline:?}");
    assert!(offline.ok().contains("the last thing said"));
    for command in [["rooms", "--json"], ["export", "#general"]] {
        let offline = ann.run(&command);
        assert!(offline.stderr.contains("local copy"), "{offline:?}");
        assert!(offline.ok().contains("#general"));
    }

    let terminal = Terminal::client(&ann, 80, 24);
    terminal.until("all three are pending", |screen| screen.matches("of three").count() == 3);
    server.restart();
    terminal.connected();
    let lines =
        eventually("the three arrive", || Some(sent(&ann, "of three")).filter(|lines| lines.len() >= 3));
    assert_eq!(lines.len(), 3, "each once: {lines:?}");
    for (line, word) in lines.iter().zip(["first", "second", "third"]) {
        assert!(line.contains(word), "in order: {lines:?}");
    }
    terminal.until("nothing is pending", |screen| {
        screen.matches("of three").count() == 3 && !screen.contains("of three …")
    });
}

#[test]
fn the_room_where_one_was_is_seen_first() {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    ann.run(&["room", "create", "#ops"]).ok();
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.shows("Message #general");
    terminal.press(&["M-2"]);
    terminal.shows("Message #ops");
    terminal.say("/quit");
    terminal.ends();
    assert!(server.stop());
    Terminal::client(&ann, 80, 24).shows("Message #ops");
}

fn unread_in_list(line: &str) -> bool {
    line.split('│').next().is_some_and(|left| left.contains("#ops") && left.contains('1'))
}

#[test]
fn what_is_read_without_a_network_is_read() {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    ann.run(&["room", "create", "#ops", "--members", "bob"]).ok();
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.connected();
    terminal.shows("bob joined");
    bob.run(&["send", "#ops", "the disk is full"]).ok();
    // The room is marked in the list.
    terminal.until("it is unread", |screen| screen.lines().any(unread_in_list));
    assert!(ann.run(&["unread"]).ok().contains("#ops"));
    assert!(server.stop());
    terminal.press(&["M-2"]);
    terminal.shows("the disk is full");
    terminal.say("/quit");
    terminal.ends();
    server.restart();
    assert!(ann.run(&["unread"]).ok().contains("#ops"), "the server does not know yet");
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.connected();
    eventually("the server knows", || (!ann.run(&["unread"]).ok().contains("#ops")).then_some(()));
}

#[test]
fn a_damaged_copy_is_fetched_anew_and_nothing_typed_is_lost() {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    ann.run(&["send", "#general", "said before"]).ok();
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.shows("said before");
    assert!(server.stop());
    terminal.say("typed without a network");
    terminal.shows("typed without a network");
    terminal.kill();
    let servers = ann.home().join("data/servers");
    let copy = std::fs::read_dir(servers).unwrap().next().unwrap().unwrap().path();
    for file in ["db", "conf"] {
        std::fs::write(copy.join("replica").join(file), vec![0x5A; 10_000]).unwrap();
    }
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.shows("1 to deliver");
    server.restart();
    terminal.shows("said before");
    terminal.shows("typed without a network");
    eventually("it arrives", || (sent(&ann, "typed without").len() == 1).then_some(()));
    let aside = std::fs::read_dir(&copy)
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with("replica.broken-"));
    assert!(aside, "the damaged one is kept beside");
}

#[tokio::test(flavor = "multi_thread")]
async fn much_that_was_missed_comes_without_a_gap() {
    const MISSED: usize = 20_000;
    let server = fast();
    let owner = join(server.owner.as_ref().unwrap(), "owner").await;
    let general: Target = "#general".parse().unwrap();
    let invite = server.invite(&[]);
    let ann = tokio::task::spawn_blocking(move || {
        let ann = Quip::joined(&invite, "ann");
        let terminal = Terminal::client(&ann, 80, 24);
        terminal.connected();
        terminal.shows("ann joined");
        terminal.say("/quit");
        terminal.ends();
        ann
    });
    let ann = ann.await.unwrap();
    post_all(&owner, &general, (0..MISSED).map(|n| format!("message number {n}."))).await;
    // Those were on their way at once, and have no order.
    within("the last one", owner.send(&general, "the very last one")).await.unwrap();
    let head = connected("the head", || owner.page(&general, PageFrom::Latest, 1)).await.head.seq;
    let mut server = server;
    tokio::task::spawn_blocking(move || {
        assert!(server.stop());
        let terminal = Terminal::client(&ann, 80, 24);
        terminal.shows("ann joined");
        server.restart();
        terminal.shows("the very last one");
        terminal.connected();
        // It is written to the disk behind what is seen, and /quit does not wait for it.
        eventually("it is in the copy", || {
            ann.run(&["search", "very last one"]).stdout.lines().next().map(drop)
        });
        terminal.say("/quit");
        terminal.ends();
        assert!(server.stop());
        let copy = ann.run(&["export", "#general"]).ok();
        assert!(!copy.contains("\"type\":\"gap\""), "no gap");
        let seqs: Vec<u64> = copy.lines().filter_map(seq).collect();
        let first = *seqs.first().unwrap();
        assert_eq!(seqs, (first..=head.0).collect::<Vec<_>>(), "seq by seq as the server");
    })
    .await
    .unwrap();
}

pub fn seq(line: &str) -> Option<u64> {
    let rest = line.split("\"seq\":").nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn what_a_server_lost_is_marked_and_not_gone() {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    ann.run(&["send", "#general", "said before the backup"]).ok();
    assert!(server.stop());
    let (data, backup) = (server.data_dir(), server.data_dir().with_extension("backup"));
    copy_dir(&data, &backup);
    server.restart();
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.connected();
    terminal.say("said after it");
    terminal.delivered("said after it");
    ann.run(&["send", "#general", "and this too"]).ok();
    terminal.shows("and this too");
    assert!(server.stop());
    terminal.say("typed meanwhile");
    terminal.shows("typed meanwhile");
    std::fs::remove_dir_all(&data).unwrap();
    copy_dir(&backup, &data);
    server.restart();
    let marked = |screen: &str| {
        ["said after it", "and this too"]
            .map(|text| format!("{text} (lost by the server)"))
            .iter()
            .all(|line| screen.contains(line))
    };
    let screen = terminal.until("both are marked", |screen| marked(screen) && !screen.contains("to deliver"));
    assert_eq!(screen.matches("said before the backup").count(), 1, "{screen}");
    eventually("what was typed arrives", || (sent(&ann, "typed meanwhile").len() == 1).then_some(()));
    assert_eq!(sent(&ann, "said after it"), [""; 0], "it is here alone");
    terminal.say("/quit");
    terminal.ends();
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.until("they are kept", marked);
}
