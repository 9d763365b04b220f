//! Tests of what names a message by its place, where that message is appended again itself: at its place is another one by then.

use quip_protocol::{
    DeviceKey, Message, MessageId, MessageKind, Reaction, RoomId, RoomName, SafeLine, SafeText, Seq,
    Timestamp,
};
use quip_storage::store::StoreOptions;

use super::again::append_all;
use super::*;
use crate::engine::{Actor, CommandBody, Outcome, Past as _};
use crate::log::shared::contract::BatchId;
use crate::node::submit;
use crate::pipeline::open::{OpenedDir, open as open_dir};
use crate::pipeline::past::{Applied, Unpublished};
use crate::start::Core;
use crate::{Config, Stopping};

const ANN: u8 = 1;
const BOB: u8 = 2;
/// The room that everybody is in, with four events before the two parted: two who came, and a message of each.
const GENERAL: RoomId = RoomId(1);
const COMMON: Seq = Seq(4);
/// A room that is made twice: by what was said meanwhile, and by what is appended again.
const SECOND: RoomId = RoomId(2);

fn by(who: u8, body: CommandBody) -> Command {
    Command { at: Timestamp(7), by: Actor::Device(DeviceKey([who; 32])), body }
}

fn id(number: u8) -> MessageId {
    MessageId::from_bytes([number; 16])
}

fn post(who: u8, number: u8, room: &str, text: &str, reply_to: Option<u64>) -> Command {
    let (target, text) = (room.parse().unwrap(), SafeText::new(text));
    let reply_to = reply_to.map(Seq);
    by(who, CommandBody::Post { target, id: id(number), kind: MessageKind::Plain, text, reply_to })
}

fn edit(who: u8, number: u8, room: RoomId, target: u64, text: &str) -> Command {
    by(who, CommandBody::Edit { room, target: Seq(target), id: id(number), text: SafeText::new(text) })
}

fn delete(who: u8, number: u8, target: u64) -> Command {
    by(who, CommandBody::Delete { room: GENERAL, target: Seq(target), id: id(number) })
}

fn react(who: u8, number: u8, target: u64) -> Command {
    let (room, target, emoji) = (GENERAL, Seq(target), SafeLine::new("+"));
    by(who, CommandBody::React { room, target, id: id(number), emoji, on: true })
}

fn mark(who: u8, room: RoomId, seq: u64) -> Command {
    by(who, CommandBody::Mark { room, seq: Seq(seq) })
}

fn create(who: u8, name: &str) -> Command {
    let (name, topic) = (name.parse::<RoomName>().unwrap(), SafeLine::default());
    by(who, CommandBody::CreateRoom { name, private: false, topic, members: Vec::new() })
}

fn before() -> Vec<Command> {
    let bootstrap = CommandBody::Bootstrap { owner: [9; 32], expires: Timestamp(1_000) };
    let name = |name: &str| name.parse().unwrap();
    let redeem =
        CommandBody::Redeem { hash: [9; 32], name: Some(name("ann")), label: SafeLine::new("laptop") };
    vec![
        Command { at: Timestamp(7), by: Actor::Operator, body: bootstrap },
        by(ANN, redeem),
        by(BOB, CommandBody::Register { name: name("bob"), label: SafeLine::new("laptop") }),
        post(ANN, 1, "#general", "common", None),
        post(BOB, 2, "#general", "common too", None),
    ]
}

/// What only this node had. Places behind [`COMMON`] are named as they were there.
fn only_here() -> Vec<Vec<Command>> {
    vec![
        vec![post(ANN, 11, "#general", "first", None), edit(ANN, 12, GENERAL, 5, "second")],
        vec![post(BOB, 13, "#general", "an answer", Some(5)), react(BOB, 14, 5)],
        vec![post(ANN, 15, "#general", "not to be read", None), delete(ANN, 16, 9)],
        vec![post(BOB, 17, "#general", "bob's", None), post(ANN, 18, "#general", "to bob", Some(11))],
        vec![react(ANN, 19, 11), mark(BOB, GENERAL, 12), edit(ANN, 20, GENERAL, 3, "common, mended")],
        vec![create(ANN, "mine"), post(ANN, 21, "#mine", "here", None), edit(ANN, 22, SECOND, 2, "there")],
        vec![mark(ANN, SECOND, 1), post(BOB, 23, "#general", "to what is gone", Some(4))],
    ]
}

/// What was said meanwhile has all those places.
fn meanwhile() -> Vec<Command> {
    let said = (0..9).map(|number| post(ANN, 31 + number, "#general", "meanwhile", None));
    let other = [create(ANN, "other"), post(ANN, 41, "#other", "meanwhile", None), by(BOB, join("other"))];
    said.chain(other).chain([delete(ANN, 42, 4)]).collect()
}

fn join(room: &str) -> CommandBody {
    CommandBody::Join { room: room.parse().unwrap() }
}

fn opened(dir: &Path) -> OpenedDir {
    open_dir(dir, StoreOptions { cache_bytes: 4 << 20 }, false, &Stopping::default()).unwrap()
}

fn started(dir: &Path) -> Core {
    let config = Config::new(Vec::new(), dir.to_owned());
    Core::start(&config, opened(dir)).unwrap()
}

async fn submit_all(core: &Core, commands: Vec<Command>) {
    for command in commands {
        let outcome = submit(&core.shared.log, command.clone()).await;
        outcome.unwrap_or_else(|refusal| panic!("{refusal}: {command:?}"));
    }
}

/// Where it is by now, and what has become of it: an id that comes again is answered with its place.
async fn found(core: &Core, who: u8, number: u8) -> (RoomId, Message) {
    let again = post(who, number, "#general", "again", None);
    let Ok(Outcome::Receipt(receipt)) = submit(&core.shared.log, again).await else { panic!("{number}") };
    (receipt.room, message(core, receipt.room, receipt.seq).unwrap())
}

fn message(core: &Core, room: RoomId, seq: Seq) -> Option<Message> {
    let node = &core.shared.node;
    let past = Applied { unpublished: &Unpublished::default(), feeds: &node.feeds, store: &node.store };
    past.event(room, seq).unwrap().unwrap().message().cloned()
}

fn is_untouched(message: &Message) -> bool {
    message.edited.is_none() && !message.deleted && message.reactions.is_empty()
}

fn kept(dir: &Path, after: Position) {
    let mut at = after;
    let entries = only_here().into_iter().enumerate().map(|(number, commands)| {
        at = at.next();
        Ok((at, Entry::undecided(BatchId([number as u8; 16]), commands).to_bytes()))
    });
    keep(&dir.join("unjudged-77"), entries).unwrap();
}

/// A node that had all that, and what was said before it and meanwhile, by the time that it appends again.
async fn parted(dir: &Path) -> Core {
    let core = started(dir);
    submit_all(&core, before()).await;
    core.close().await;
    let opened = opened(dir);
    kept(dir, opened.journal.last());
    judge(dir, &opened.store, opened.journal.last()).unwrap();
    drop(opened);
    let core = started(dir);
    submit_all(&core, meanwhile()).await;
    core
}

#[tokio::test]
async fn what_is_named_by_a_place_that_is_anothers_by_now_is_found_by_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let core = parted(dir.path()).await;
    append_all(&core.shared, None).await;

    for seq in COMMON.0 + 1..=COMMON.0 + 9 {
        let said = message(&core, GENERAL, Seq(seq)).unwrap();
        assert!(is_untouched(&said) && said.text() == "meanwhile", "{seq}: {said:#?}");
    }
    let (_, other) = found(&core, ANN, 41).await;
    assert!(is_untouched(&other), "{other:#?}");

    let (_, first) = found(&core, ANN, 11).await;
    assert_eq!(first.text(), "second");
    assert_eq!(first.reactions, [Reaction { emoji: SafeLine::new("+"), by: vec!["bob".parse().unwrap()] }]);
    let (_, answer) = found(&core, BOB, 13).await;
    let answered = message(&core, GENERAL, answer.reply_to.unwrap()).unwrap();
    assert_eq!(answered.id, id(11));
    assert!(found(&core, ANN, 15).await.1.deleted);
    assert_eq!(found(&core, ANN, 1).await.1.text(), "common, mended");
    let (room, here) = found(&core, ANN, 21).await;
    assert_eq!((room, here.text()), (RoomId(SECOND.0 + 1), "there"));
    let (_, to_nothing) = found(&core, BOB, 23).await;
    assert_eq!(
        (to_nothing.text(), to_nothing.reply_to),
        ("to what is gone", None),
        "what it answers is gone"
    );
    core.close().await;
}

/// Also when it ended in the middle, and everything is appended once more.
#[tokio::test]
async fn what_is_appended_twice_is_there_once_and_names_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let core = parted(dir.path()).await;
    let orphans = dir.path().join("orphans-77");
    let copy = |from: &Path, to: &Path| {
        fs::create_dir(to).unwrap();
        for file in fs::read_dir(from).unwrap().map(|file| file.unwrap()) {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    copy(&orphans, &dir.path().join("orphans-78"));
    append_all(&core.shared, None).await;
    let (_, first) = found(&core, ANN, 11).await;
    assert_eq!((first.text(), first.edits.len(), first.reactions.len()), ("second", 1, 1));
    assert!(!are_kept(dir.path()).unwrap());
    core.close().await;
}

/// Bob may do nothing by then: what names his message names nothing.
#[tokio::test]
async fn what_names_a_message_that_is_refused_now_names_none() {
    let dir = tempfile::tempdir().unwrap();
    let core = parted(dir.path()).await;
    let suspend = CommandBody::Suspend { name: "bob".parse().unwrap(), on: true };
    submit_all(&core, vec![Command { at: Timestamp(8), by: Actor::Operator, body: suspend }]).await;
    append_all(&core.shared, None).await;
    let (_, to_bob) = found(&core, ANN, 18).await;
    assert_eq!((to_bob.text(), to_bob.reply_to), ("to bob", None));
    for seq in COMMON.0 + 1..=COMMON.0 + 9 {
        assert!(is_untouched(&message(&core, GENERAL, Seq(seq)).unwrap()), "{seq}");
    }
    core.close().await;
}

/// What was read meanwhile, and what comes again, is not taken for read.
#[tokio::test]
async fn a_read_position_is_not_beyond_where_the_two_parted() {
    let dir = tempfile::tempdir().unwrap();
    let core = parted(dir.path()).await;
    let kept = read(&dir.path().join("orphans-77")).unwrap();
    let marks = kept.commands.iter().filter(|command| matches!(command.body, CommandBody::Mark { .. }));
    let marks: Vec<&Command> = marks.collect();
    assert_eq!(marks, [&mark(BOB, GENERAL, COMMON.0)], "the one in a room that is not there is left out");
    core.close().await;
}
