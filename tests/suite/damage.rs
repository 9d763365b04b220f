//! A journal that has lost something: the server says so and does not start; once the loss is accepted, everyone who saw
//! what is lost is told, and nobody is silently wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use quip_protocol::client::{Client, Error, Event};
use quip_protocol::frame::PageFrom;
use quip_protocol::{Cursor, Epoch, ErrorCode, Notice, NoticeBody, Seq, Target};
use quip_tests::person::{config, identity};
use quip_tests::{Quip, Server, binary, connected, join, within};
use serde_json::Value;

/// What happens to the journal while the server is down.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Loss {
    Removed,
    Cut,
    OlderCopy,
    /// As the README says how to restore: without a store.
    Restored,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_removed() {
    lose(Loss::Removed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_record_of_the_journal_is_cut() {
    lose(Loss::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_journal_is_put_back() {
    lose(Loss::OlderCopy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored() {
    lose(Loss::Restored).await;
}

async fn lose(loss: Loss) {
    let mut server = Server::start();
    let ann = join(server.owner.as_ref().unwrap(), "ann").await;
    let bob = join(&server.invite(&[]), "bob").await;
    say(&ann, "kept", 3).await;
    let mut bob = Reader::new(bob).await;
    bob.until_heard("kept 3").await;
    assert!(server.stop());
    let (journal, older) = (server.data_dir().join("journal"), server.data_dir().join("older"));
    copy(&journal, &older);
    server.restart();
    say(&ann, "lost", 4).await;
    bob.until_heard("lost 4").await;
    assert!(server.stop());

    damage(loss, &journal, &older);
    if loss != Loss::Restored {
        is_refused(&server);
        accept(&server);
    }
    assert!(quipd(&server, &["check"]).status.success());
    server.restart();
    goes_on(&server, ann, bob, loss).await;
}

fn accept(server: &Server) {
    let rebuilt = quipd(server, &["check", "--rebuild"]);
    assert!(rebuilt.status.success(), "{rebuilt:?}");
    let told = stderr(&rebuilt);
    let kept = told.lines().find_map(|line| line.split_once("is kept as ")?.1.split_once(';'));
    assert!(Path::new(kept.expect("it says where the old store is").0).is_dir(), "{told}");
}

/// New messages take the places of the lost ones; who held those has the server's log in the end.
async fn goes_on(server: &Server, ann: Client, mut bob: Reader, loss: Loss) {
    let target = general();
    let (ann, keep) = if loss == Loss::Removed {
        // Nobody is known any more, and everybody has the same key as before.
        let ann = join(&server.invite(&[]), "ann").await;
        let rejoined = join(&server.invite(&[]), "bob").await;
        bob = Reader { client: rejoined, ..bob };
        bob.watch().await;
        (ann, Cursor::default())
    } else {
        let head = connected("the head", || ann.page(&target, PageFrom::Latest, 1)).await.head;
        (ann, head)
    };
    // One who was away, and comes back when the lost places have been given again.
    let held = (bob.copy.clone(), bob.notices.clone());
    say(&ann, "new", 9).await;
    bob.until_heard("new 9").await;
    let mut late = Reader::back(server, "bob", held).await;
    late.until_heard("new 9").await;

    let log = connected("the log", || ann.page(&target, PageFrom::After(Seq::ZERO), 1_000)).await.events;
    let log: Vec<Cursor> = log.iter().map(|event| Cursor { epoch: event.epoch, seq: event.seq }).collect();
    let mut fresh = Reader::back(server, "bob", Default::default()).await;
    fresh.until_heard("new 9").await;
    for reader in [&bob, &late] {
        assert_eq!(reader.resets, [keep], "told once, and from where");
        assert_eq!(reader.copy, log);
        assert_eq!(reader.notices, fresh.notices, "the inbox");
    }
    let epoch = |cursor: &Cursor| cursor.epoch;
    let (before, after) = log.split_at(usize::try_from(keep.seq.0).unwrap());
    assert!(before.iter().map(epoch).all(|epoch| epoch == Epoch::FIRST));
    let new = after[0].epoch;
    assert!(after.iter().map(epoch).all(|epoch| epoch == new) && after.len() >= 9);
    // Without a store nobody knows what epochs there were: none that may have been.
    assert!(if loss == Loss::Restored { new > Epoch(2) } else { new == Epoch(2) }, "{new}");

    let quip = Quip::joined(&server.invite(&[]), "carl");
    let history = quip.run(&["history", "#general", "--json", "-n", "1000"]).ok();
    let shown: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |text: &str| shown.iter().find(|line| line["text"] == text).map(|line| line["epoch"].clone());
    assert_eq!(said("@bob new 9"), Some(new.0.into()));
    assert_eq!(said("@bob kept 3"), (loss != Loss::Removed).then(|| 1.into()));
}

fn general() -> Target {
    "#general".parse().unwrap()
}

/// Each in a record of its own, and each a notice for bob.
async fn say(ann: &Client, what: &str, times: usize) {
    for n in 1..=times {
        within("a receipt", ann.send(&general(), &format!("@bob {what} {n}"))).await.unwrap();
    }
}

/// A user of the protocol crate with a copy of `#general` and of the inbox.
struct Reader {
    client: Client,
    copy: Vec<Cursor>,
    notices: BTreeMap<Seq, Notice>,
    resets: Vec<Cursor>,
}

impl Reader {
    async fn new(client: Client) -> Reader {
        let mut reader = Reader { client, copy: Vec::new(), notices: BTreeMap::new(), resets: Vec::new() };
        reader.watch().await;
        reader
    }

    /// With a new connection, and what it held.
    async fn back(server: &Server, name: &str, held: (Vec<Cursor>, BTreeMap<Seq, Notice>)) -> Reader {
        let client = Client::connect(config(&server.link, identity(name))).await.unwrap();
        let mut reader = Reader { client, copy: held.0, notices: held.1, resets: Vec::new() };
        reader.watch().await;
        reader
    }

    async fn watch(&mut self) {
        let room = self.client.join("#general").await.unwrap();
        let from = self.copy.last().copied().unwrap_or_default();
        self.client.watch(vec![(room.id, Some(from))]).await.unwrap();
        let last = self.notices.values().next_back();
        let from = last.map(|notice| Cursor { epoch: notice.epoch, seq: notice.seq }).unwrap_or_default();
        match self.client.watch_inbox(Some(from)).await {
            Err(Error::Refused(refusal)) if refusal.code == ErrorCode::BadCursor => {
                // What an inbox had may be lost: it is read anew.
                self.notices.clear();
                self.client.watch_inbox(Some(Cursor::default())).await.unwrap();
            }
            watched => drop(watched.unwrap()),
        }
    }

    /// Reads up to the message, and up to the notice of it.
    async fn until_heard(&mut self, text: &str) {
        let (mut at, mut noticed) = (None, None);
        while at.is_none() || noticed < at {
            let event = within(text, self.client.next()).await.expect("the client goes on");
            match event.expect("nothing is final") {
                Event::Message(message) => {
                    self.take(message.event());
                    at = at.or((message.text() == format!("@bob {text}")).then_some(message.seq()));
                }
                Event::Other(event) => self.take(&event),
                Event::Reset { keep, .. } => {
                    self.copy.truncate(usize::try_from(keep.seq.0).unwrap());
                    self.resets.push(keep);
                }
                Event::Notice(notice) => {
                    if let NoticeBody::Mentioned { seq, .. } = notice.body {
                        noticed = Some(seq);
                    }
                    self.notices.insert(notice.seq, notice);
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, event: &quip_protocol::Event) {
        assert_eq!(event.seq.0, self.copy.len() as u64 + 1, "dense behind what is held");
        self.copy.push(Cursor { epoch: event.epoch, seq: event.seq });
    }
}

fn damage(loss: Loss, journal: &Path, older: &Path) {
    match loss {
        Loss::Removed => fs::remove_dir_all(journal).unwrap(),
        Loss::Cut => {
            let newest = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
            let bytes = fs::read(&newest).unwrap();
            fs::write(&newest, &bytes[..bytes.len() - 5]).unwrap();
        }
        Loss::OlderCopy | Loss::Restored => {
            fs::remove_dir_all(journal).unwrap();
            copy(older, journal);
        }
    }
    if loss == Loss::Restored {
        fs::remove_dir_all(journal.with_file_name("store")).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The check and the start say the same, on one line, with both positions, and change nothing of it.
fn is_refused(server: &Server) {
    let both = |text: &str| text.contains("the journal ends at 1-") && text.contains(", the store is at 1-");
    for _ in 0..2 {
        let check = quipd(server, &["check"]);
        assert_eq!(check.status.code(), Some(1), "{check:?}");
        let printed = String::from_utf8(check.stdout).unwrap();
        assert_eq!(printed.lines().filter(|line| both(line)).count(), 1, "{printed}");
        let start = quipd(server, &["--listen", "127.0.0.1:0"]);
        assert_eq!(start.status.code(), Some(1), "{start:?}");
        assert!(start.stdout.is_empty(), "{start:?}");
        let told = stderr(&start);
        assert_eq!(told.lines().filter(|line| both(line)).count(), 1, "{told}");
    }
}

fn quipd(server: &Server, args: &[&str]) -> Output {
    let mut command = Command::new(binary("quipd"));
    command.args(args).arg("--data-dir").arg(server.data_dir()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
