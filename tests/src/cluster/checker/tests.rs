//! A good history passes; each way of tampering with it is caught, and named.

use quip_protocol::{AccountName, NodeName, Receipt};

use super::super::history::Reading;
use super::*;

const ROOM: RoomId = RoomId(7);
const OTHER: RoomId = RoomId(8);

fn ann() -> AccountName {
    "ann".parse().unwrap()
}

fn bob() -> AccountName {
    "bob".parse().unwrap()
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn id(byte: u8) -> MessageId {
    MessageId::from_bytes([byte; 16])
}

/// Places up to 3 are of the first epoch, those behind of the second.
fn place(seq: u64) -> Cursor {
    Cursor { epoch: Epoch(1 + u32::from(seq > 3)), seq: Seq(seq) }
}

/// A message `byte` of a client, sent at ten times its byte and acknowledged five later.
fn sent(client: AccountName, number: u64, byte: u8, room: RoomId, seq: u64) -> Sent {
    let Cursor { epoch, seq } = place(seq);
    let receipt = Receipt { room, epoch, seq, id: id(byte) };
    let acked = Acked { at: u64::from(byte) * 10 + 5, node: node("a"), receipt };
    let begun = u64::from(byte) * 10;
    Sent { client, number, id: id(byte), room, begun, outcome: Outcome::Acked(acked) }
}

fn entry(seq: u64, byte: Option<u8>, author: AccountName) -> Entry {
    Entry { place: place(seq), id: byte.map(id), author }
}

/// In `ROOM` the event of its making, then messages 1 to 4, of both in turn; in `OTHER` one of ann's.
fn log(name: &str) -> NodeLog {
    let room = vec![
        entry(1, None, ann()),
        entry(2, Some(1), ann()),
        entry(3, Some(2), bob()),
        entry(4, Some(3), ann()),
        entry(5, Some(4), bob()),
    ];
    let other = vec![entry(1, Some(5), ann())];
    NodeLog { node: node(name), rooms: [(ROOM, room), (OTHER, other)].into() }
}

fn saw(room: RoomId, seq: u64, byte: Option<u8>) -> Seen {
    Seen::Event { room, place: place(seq), id: byte.map(id) }
}

/// Bob follows both rooms, `ROOM` from behind its making on, and is told to fetch again once.
fn reading() -> Reading {
    let old = Seen::Event { room: ROOM, place: Cursor { epoch: Epoch(1), seq: Seq(4) }, id: Some(id(9)) };
    let seen = vec![
        saw(ROOM, 2, Some(1)),
        saw(ROOM, 3, Some(2)),
        old,
        saw(OTHER, 1, Some(5)),
        Seen::Reset { room: ROOM, keep: Seq(3) },
        saw(ROOM, 4, Some(3)),
        saw(ROOM, 5, Some(4)),
    ];
    Reading { client: bob(), rooms: [(ROOM, Seq(1)), (OTHER, Seq::ZERO)].into(), seen }
}

fn good() -> History {
    History {
        sends: vec![
            sent(ann(), 0, 1, ROOM, 2),
            sent(bob(), 0, 2, ROOM, 3),
            sent(ann(), 1, 3, ROOM, 4),
            sent(bob(), 1, 4, ROOM, 5),
            sent(ann(), 2, 5, OTHER, 1),
        ],
        readings: vec![reading()],
        nodes: ["a", "b", "c"].map(log).into(),
        reappended: BTreeSet::new(),
    }
}

fn room_of<'a>(history: &'a mut History, name: &str) -> &'a mut Vec<Entry> {
    let log = history.nodes.iter_mut().find(|log| log.node == node(name)).unwrap();
    log.rooms.get_mut(&ROOM).unwrap()
}

/// Does it to the log of `ROOM` on every node.
fn on_all(history: &mut History, change: impl Fn(&mut Vec<Entry>)) {
    ["a", "b", "c"].iter().for_each(|name| change(room_of(history, name)));
}

/// Exchanges what stands at two places of a log; the places stay.
fn swap(log: &mut [Entry], a: usize, b: usize) {
    log.swap(a, b);
    let place = log[a].place;
    log[a].place = std::mem::replace(&mut log[b].place, place);
}

/// Moves the receipts to where the messages are, and what bob saw too.
fn believed(history: &mut History) {
    let log = history.nodes[0].rooms[&ROOM].clone();
    for sent in history.sends.iter_mut().filter(|sent| sent.room == ROOM) {
        let found = log.iter().find(|entry| entry.id == Some(sent.id)).unwrap().place;
        let Outcome::Acked(acked) = &mut sent.outcome else { continue };
        (acked.receipt.epoch, acked.receipt.seq) = (found.epoch, found.seq);
    }
    let seen = |entry: &Entry| Seen::Event { room: ROOM, place: entry.place, id: entry.id };
    history.readings[0].seen = log[1..].iter().map(seen).chain([saw(OTHER, 1, Some(5))]).collect();
}

fn complaints(tamper: impl FnOnce(&mut History)) -> Vec<String> {
    let mut history = good();
    tamper(&mut history);
    check(&history).faults.iter().map(ToString::to_string).collect()
}

/// What the tampered history is told to be wrong in, each with its first words and others that it must have.
fn caught(what: &str, tamper: impl FnOnce(&mut History), expected: &[&[&str]]) {
    let complaints = complaints(tamper);
    for words in expected {
        let named = |complaint: &String| {
            complaint.starts_with(words[0]) && words.iter().all(|word| complaint.contains(word))
        };
        assert!(complaints.iter().any(named), "{what}: {words:?} in {complaints:#?}");
    }
    assert_eq!(complaints.len(), expected.len(), "{what}: {complaints:#?}");
}

#[test]
fn a_good_history_passes() {
    let Verdict { faults, figures } = check(&good());
    assert_eq!(faults, []);
    let expected = Figures { sent: 5, acked: 5, refused: 0, reappended: 0, seen: 6, resets: 1 };
    assert_eq!(figures, expected);
}

#[test]
fn a_message_that_is_lost_is_caught() {
    let id = id(4).to_string();
    caught(
        "from the end of one node's log",
        |history| room_of(history, "b").truncate(4),
        &[&["lost", &id, "message 1 of bob", "2-5", "b does not"], &["different", "seq 5", "b has nothing"]],
    );
    caught(
        "from all logs; bob still has it",
        |history| on_all(history, |log| log.truncate(4)),
        &[
            &["lost", "a does not"],
            &["lost", "b does not"],
            &["lost", "c does not"],
            &["misled: at seq 5", "bob"],
        ],
    );
    caught(
        "with its place",
        |history| drop(room_of(history, "c").remove(2)),
        &[&["lost", "c does not"], &["sparse: c", "2-4", "seq 3 belongs"], &["different", "seq 3"]],
    );
}

#[test]
fn a_message_that_is_doubled_is_caught() {
    let id = id(1).to_string();
    let doubled = ["doubled", &id, "1-2 in room 7", "2-6 in room 7 again"];
    let again = |log: &mut Vec<Entry>| log.push(entry(6, Some(1), ann()));
    caught("on one node", |history| again(room_of(history, "b")), &[&doubled, &["different: at seq 6"]]);
    caught(
        "on all",
        |history| on_all(history, again),
        &[&doubled, &doubled, &doubled, &["misled: at seq 6", "bob has nothing"]],
    );
    caught(
        "in another room",
        |history| history.nodes[0].rooms.get_mut(&OTHER).unwrap().push(entry(2, Some(1), ann())),
        &[
            &["doubled", &id, "in room 8 again"],
            &["different: at seq 2 of room 8", "b has nothing"],
            &["different: at seq 2 of room 8", "c has nothing"],
            &["misled: at seq 2 of room 8"],
        ],
    );
}

#[test]
fn messages_that_are_swapped_are_caught() {
    caught(
        "on one node",
        |history| swap(room_of(history, "c"), 1, 3),
        &[
            &["moved", "message 0 of ann", "at 1-2", "at 2-4"],
            &["moved", "message 1 of ann", "at 2-4", "at 1-2"],
            &["different: at seq 2"],
        ],
    );
    caught(
        "on all nodes, the receipts too: of one sender",
        |history| {
            on_all(history, |log| swap(log, 1, 3));
            believed(history);
        },
        &[
            &["overtaken: message 1 of ann", "sent at 30", "seq 2", "message 0 of ann", "at 15", "seq 4"],
            &["overtaken: message 0 of bob", "sent at 20", "seq 3", "message 0 of ann", "at 15", "seq 4"],
        ],
    );
}

#[test]
fn an_order_across_clients_that_is_broken_is_caught() {
    let swapped = |history: &mut History| {
        on_all(history, |log| swap(log, 1, 2));
        believed(history);
    };
    caught(
        "one was acknowledged before the other was sent",
        swapped,
        &[&["overtaken: message 0 of bob", "sent at 20", "message 0 of ann", "acknowledged at 15"]],
    );
    let at_once = |history: &mut History| {
        swapped(history);
        history.sends[1].begun = 15;
    };
    caught("nobody could know", at_once, &[]);
}

#[test]
fn one_sender_goes_on_at_the_moment_of_its_receipt() {
    let swapped = |history: &mut History| {
        on_all(history, |log| swap(log, 1, 3));
        believed(history);
        history.sends.swap_remove(1);
        history.sends.iter_mut().find(|sent| sent.id == id(3)).unwrap().begun = 15;
    };
    caught("by its own", swapped, &[&["overtaken: message 1 of ann", "message 0 of ann"]]);
}

#[test]
fn a_receipt_that_does_not_come_is_caught() {
    let open = |history: &mut History| history.sends[3].outcome = Outcome::Open;
    caught("an open message", open, &[&["unacknowledged", "message 1 of bob", "room 7"]]);
    caught("a refused one may be there", |history| history.sends[3].outcome = Outcome::Refused, &[]);
}

#[test]
fn a_receipt_of_something_else_is_caught() {
    let receipt = |history: &mut History, change: fn(&mut Receipt)| {
        let Outcome::Acked(acked) = &mut history.sends[0].outcome else { return };
        change(&mut acked.receipt);
    };
    let moved: &[&str] = &["moved", "message 0 of ann"];
    caught("epoch", |history| receipt(history, |receipt| receipt.epoch = Epoch(2)), &[moved; 3]);
    caught("id", |history| receipt(history, |receipt| receipt.id = id(9)), &[moved; 3]);
    caught("room", |history| receipt(history, |receipt| receipt.room = OTHER), &[moved; 3]);
}

#[test]
fn an_author_that_is_another_is_caught() {
    let taken = |history: &mut History| room_of(history, "b")[1].author = bob();
    caught("on one node", taken, &[&["mistaken: b", "message 0 of ann", "of bob"], &["different: at seq 2"]]);
}

#[test]
fn a_log_whose_epochs_go_down_is_caught() {
    let back = |history: &mut History| {
        on_all(history, |log| log[1].place.epoch = Epoch(2));
        believed(history);
    };
    let sparse = |name| ["sparse", name, "1-3 in room 7"];
    caught("on all nodes", back, &[&sparse("a has"), &sparse("b has"), &sparse("c has")]);
}

#[test]
fn a_node_that_lacks_a_room_is_caught() {
    let gone = |history: &mut History| drop(history.nodes[2].rooms.remove(&OTHER));
    caught("a room", gone, &[&["lost", "room 8", "c does not"], &["different: at seq 1 of room 8"]]);
    let none = |history: &mut History| history.nodes.clear();
    caught("all nodes", none, &[&["no node's logs were read"]]);
}

#[test]
fn a_client_whose_seq_goes_back_is_caught() {
    let unsaid = |history: &mut History| _ = history.readings[0].seen.remove(4);
    caught("untold", unsaid, &[&["went back: bob", "2-4 in room 7", "after 1-4"]]);
    let twice = |history: &mut History| history.readings[0].seen.push(saw(ROOM, 5, Some(4)));
    caught("the same twice", twice, &[&["went back: bob", "2-5 in room 7", "after 2-5"]]);
}

#[test]
fn a_client_that_lacks_something_is_caught() {
    let skipped = |history: &mut History| _ = history.readings[0].seen.remove(1);
    caught("in the middle", skipped, &[&["skipped: bob", "1-4 in room 7", "seq 3 belongs"]]);
    let late = |history: &mut History| _ = history.readings[0].seen.pop();
    caught("at the end", late, &[&["misled: at seq 5 of room 7", "bob has nothing"]]);
    let from = |history: &mut History| _ = history.readings[0].seen.remove(0);
    caught("at the begin", from, &[&["skipped: bob", "1-3 in room 7", "seq 2 belongs"]]);
    let another = |history: &mut History| history.readings[0].seen[1] = saw(ROOM, 3, Some(9));
    caught("another message", another, &[&["misled: at seq 3 of room 7", "bob"]]);
    let reset =
        |history: &mut History| history.readings[0].seen.push(Seen::Reset { room: ROOM, keep: Seq(4) });
    caught("told to fetch again, and nothing came", reset, &[&["misled: at seq 5", "bob has nothing"]]);
}

#[test]
fn what_was_appended_again_may_stand_elsewhere_but_once() {
    let again = |history: &mut History| {
        on_all(history, |log| swap(log, 1, 3));
        let log = history.nodes[0].rooms[&ROOM].clone();
        let seen = |entry: &Entry| Seen::Event { room: ROOM, place: entry.place, id: entry.id };
        history.readings[0].seen = log[1..].iter().map(seen).chain([saw(OTHER, 1, Some(5))]).collect();
        history.reappended = [id(1), id(3)].into();
    };
    caught("elsewhere", again, &[]);
    let mut history = good();
    again(&mut history);
    assert_eq!(check(&history).figures.reappended, 2);
    let lost = |history: &mut History| {
        again(history);
        on_all(history, |log| drop(log.remove(3)));
        on_all(history, |log| log[3].place = place(4));
        history.readings.clear();
    };
    let lost_on = |name| ["lost: message 0 of ann", name];
    let moved: &[&str] = &["moved: message 1 of bob"];
    caught(
        "nowhere",
        lost,
        &[&lost_on("a does"), &lost_on("b does"), &lost_on("c does"), moved, moved, moved],
    );
}
