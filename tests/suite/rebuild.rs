//! A store that is made again from a long journal: a stop does not wait for it, and one that cannot be made does not
//! fill the disk.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use quip_protocol::{DeviceKey, MessageId, MessageKind, SafeText, Timestamp};
use quip_server::engine::{Actor, CommandBody, Entry};
use quip_storage::record::Applied;
use quip_storage::store::{Store, StoreOptions};
use quip_storage::{Journal, JournalOptions};
use quip_tests::{Quip, Server, binary, eventually};

/// Messages that the journal has. To make the store from them takes a second or more, and a signal far less.
const MESSAGES: u64 = 60_000;
const GROUP: u64 = 1_000;
/// What is said when all of the journal is in the store.
const DONE: &str = "replayed the journal";
/// And when it begins.
const BEGUN: &str = "the store is brought up from the journal";

fn post(number: u64, by: DeviceKey) -> quip_server::engine::Command {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    let body = CommandBody::Post {
        target: "#general".parse().unwrap(),
        id: MessageId::from_bytes(id),
        kind: MessageKind::Plain,
        text: SafeText::new(&format!("message {number}")),
        reply_to: None,
    };
    quip_server::engine::Command { at: Timestamp(1_000 + number), by: Actor::Device(by), body }
}

fn journal(server: &Server) -> Journal {
    Journal::open(server.data_dir().join("journal"), JournalOptions::default()).unwrap()
}

/// Appends messages to the journal of a server that does not run, from one who has an account there.
fn lengthen(server: &Server, by: DeviceKey) {
    let mut journal = journal(server);
    for first in (0..MESSAGES).step_by(GROUP as usize) {
        let commands = (first..first + GROUP).map(|number| post(number, by)).collect();
        let entry = Entry { commands, ..Entry::default() };
        journal.append(journal.last().next(), &entry.to_bytes()).unwrap();
    }
}

/// Whose device the owner's is: the one that wrote the last record.
fn owners_device(server: &Server) -> DeviceKey {
    let last = journal(server).last_payload().unwrap().unwrap();
    let entry = Entry::from_bytes(&last).unwrap();
    entry
        .commands
        .iter()
        .find_map(|command| match command.by {
            Actor::Device(key) => Some(key),
            _ => None,
        })
        .unwrap()
}

/// A server in whose journal there is one message of ann's, stopped.
fn said_once() -> (Server, Quip) {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    ann.run(&["send", "#general", "first"]).ok();
    assert!(server.stop());
    (server, ann)
}

/// A start that is not waited for.
fn begin(server: &Server) -> (Child, std::path::PathBuf) {
    let log = server.data_dir().with_file_name("begun.log");
    let mut quipd = Command::new(binary("quipd"));
    quipd.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(server.data_dir());
    let file = File::create(&log).unwrap();
    let process = quipd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
    (process, log)
}

fn count(text: &str, what: &str) -> usize {
    text.lines().filter(|line| line.contains(what)).count()
}

/// Where the journal ends, and where the store is.
fn places(server: &Server) -> (u64, u64) {
    let (store, _) = Store::open(server.data_dir().join("store"), StoreOptions::default()).unwrap();
    (journal(server).last().offset, store.applied().offset)
}

fn set_aside(server: &Server) -> usize {
    let names = std::fs::read_dir(server.data_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("store.broken-")).count()
}

#[test]
fn a_stop_does_not_wait_until_the_store_is_made() {
    let (mut server, ann) = said_once();
    lengthen(&server, owners_device(&server));
    std::fs::remove_dir_all(server.data_dir().join("store")).unwrap();
    for name in ["INT", "TERM"] {
        let (mut process, log) = begin(&server);
        let log = || std::fs::read_to_string(&log).unwrap();
        eventually("it begins", || (count(&log(), BEGUN) > 0).then_some(()));
        let sent = Command::new("kill").args(["-s", name, &process.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = eventually("it ends", || process.try_wait().unwrap());
        assert_eq!((status.code(), count(&log(), DONE)), (Some(0), 0), "{name}: {}", log());
        let (journal, store) = places(&server);
        assert!(store < journal, "{name}: {store} {journal}");
    }

    // While it runs.
    server.restart_with(&[("QUIPD_FAULT", "store-breaks")]);
    let (begun, done) = (count(&server.log(), BEGUN), count(&server.log(), DONE));
    assert!(done >= 1);
    ann.run(&["send", "#general", "last"]).ok();
    eventually("the store is made again", || (count(&server.log(), BEGUN) > begun).then_some(()));
    assert!(server.stop());
    assert_eq!((count(&server.log(), DONE), set_aside(&server)), (done, 1), "{}", server.log());
    server.restart();
    let history = ann.run(&["history", "#general", "-n", "2", "--json"]).ok();
    assert!(history.contains(&format!("message {}", MESSAGES - 1)) && history.contains("last"), "{history}");
    assert!(server.stop());
    server.admin(&["check"]);
}

#[test]
fn a_store_that_cannot_be_made_is_given_up_and_leaves_one_behind() {
    let (mut server, ann) = said_once();
    // An entry that is refused when it is replayed, and a store that has it already.
    let position = journal(&server).last().next();
    let entry = Entry { commands: vec![post(1, DeviceKey([9; 32]))], ..Entry::default() };
    journal(&server).append(position, &entry.to_bytes()).unwrap();
    let (store, _) = Store::open(server.data_dir().join("store"), StoreOptions::default()).unwrap();
    store.apply(&[Applied { position, changes: Vec::new() }]).unwrap();
    store.sync().unwrap();
    drop(store);

    server.restart_with(&[("QUIPD_FAULT", "store-breaks")]);
    ann.run(&["send", "#general", "the last that is taken"]).ok();
    let said = "twice for the same reason";
    eventually("it is given up", || (count(&server.log(), said) > 0).then_some(()));
    assert_eq!((count(&server.log(), said), set_aside(&server)), (1, 1), "{}", server.log());
    assert!(
        server.log().lines().any(|line| line.contains(said) && line.contains("run `quipd check --rebuild`"))
    );
    assert!(server.stop());
    assert_eq!(set_aside(&server), 1);
}
