//! The outbox against a plain list: whatever is added, ended and cut off, exactly the unfinished are there, in order.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;

use proptest::prelude::*;
use quip_protocol::frame::Request;
use quip_protocol::{ErrorCode, MessageId, MessageKind, Refusal, RoomId, Seq, Timestamp};
use quip_storage::outbox::{self, Entry, Kept, Outbox};

fn id(number: u8) -> MessageId {
    MessageId::from_bytes([number; 16])
}

fn entry(number: u8) -> Entry {
    let (room, target) = (RoomId(1), "#ops".parse().unwrap());
    let request = match number % 4 {
        0 => Request::Edit { room, target: Seq(9), id: id(number), text: "other words".into() },
        1 => Request::Delete { room, target: Seq(9), id: id(number) },
        2 => Request::React { room, target: Seq(9), id: id(number), emoji: "👍".into(), on: true },
        _ => {
            let text = "words ".repeat(usize::from(number)).as_str().into();
            Request::Post {
                target: "#ops".parse().unwrap(),
                id: id(number),
                kind: MessageKind::Plain,
                text,
                reply_to: None,
            }
        }
    };
    Entry { target, at: Timestamp(u64::from(number)), request }
}

fn refusal() -> Refusal {
    Refusal::new(ErrorCode::Forbidden, "you may not write there")
}

#[derive(Debug, Clone)]
enum Step {
    Add,
    End(usize),
    Refuse(usize),
    Read(u64, u64),
    Told(u64, u64),
    Reopen,
    /// The file ends somewhere in this part of it, in thousandths.
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Add),
        4 => (0..8usize).prop_map(Step::End),
        1 => (0..8usize).prop_map(Step::Refuse),
        1 => (0..3u64, 0..9u64).prop_map(|(room, seq)| Step::Read(room, seq)),
        1 => (0..3u64, 0..9u64).prop_map(|(room, seq)| Step::Told(room, seq)),
        1 => Just(Step::Reopen),
        1 => (0..=1_000u64).prop_map(Step::Crash),
    ]
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    kept: Vec<Kept>,
    marks: Vec<(u64, u64)>,
}

impl Model {
    fn of(outbox: &Outbox) -> Model {
        let marks = outbox.marks().map(|(room, seq)| (room.0, seq.0)).collect();
        Model { kept: outbox.kept().to_vec(), marks }
    }

    fn id_at(&self, index: usize) -> Option<MessageId> {
        self.kept.get(index % self.kept.len().max(1)).and_then(|kept| outbox::id(&kept.entry.request))
    }

    fn step(&mut self, step: &Step, next: u8) {
        match *step {
            Step::Add => self.kept.push(Kept { entry: entry(next), refused: None }),
            Step::End(index) if !self.kept.is_empty() => drop(self.kept.remove(index % self.kept.len())),
            Step::Refuse(index) if !self.kept.is_empty() => {
                let at = index % self.kept.len();
                self.kept[at].refused = Some(refusal());
            }
            Step::Read(room, seq) => {
                let old = self.marks.iter().find(|mark| mark.0 == room).map_or(0, |mark| mark.1);
                self.marks.retain(|mark| mark.0 != room);
                self.marks.push((room, seq.max(old)));
                self.marks.sort_unstable();
            }
            Step::Told(room, seq) => self.marks.retain(|mark| mark.0 != room || mark.1 > seq),
            _ => {}
        }
    }
}

fn perform(outbox: &mut Outbox, step: &Step, id: Option<MessageId>, next: u8) {
    match (step, id) {
        (Step::Add, _) => outbox.add(entry(next)).unwrap(),
        (Step::End(_), Some(id)) => outbox.end(id).unwrap(),
        (Step::Refuse(_), Some(id)) => outbox.refused(id, refusal()).unwrap(),
        (Step::Read(room, seq), _) => outbox.read(RoomId(*room), Seq(*seq)).unwrap(),
        (Step::Told(room, seq), _) => outbox.told(RoomId(*room), Seq(*seq)).unwrap(),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn exactly_the_unfinished_in_order(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox");
        let mut outbox = Outbox::open(&path).unwrap();
        let mut model = Model::default();
        // What the file came to at each of its lengths.
        let mut lengths = vec![(0, Model::default())];
        for (step, next) in steps.iter().zip(1u8..) {
            match step {
                Step::Reopen => outbox = Outbox::open(&path).unwrap(),
                Step::Crash(part) => {
                    drop(outbox);
                    let bytes = fs::read(&path).unwrap();
                    let cut = bytes.len() as u64 * part / 1_000;
                    fs::write(&path, &bytes[..cut as usize]).unwrap();
                    lengths.retain(|(length, _)| *length <= cut);
                    model = lengths.last().map(|(_, model)| model.clone()).unwrap();
                    outbox = Outbox::open(&path).unwrap();
                }
                step => {
                    perform(&mut outbox, step, model.id_at(match step {
                        Step::End(index) | Step::Refuse(index) => *index,
                        _ => 0,
                    }), next);
                    model.step(step, next);
                }
            }
            let length = fs::metadata(&path).unwrap().len();
            lengths.retain(|(earlier, _)| *earlier < length);
            lengths.push((length, model.clone()));
            if lengths[0].0 > 0 {
                lengths.insert(0, (0, Model::default()));
            }
            prop_assert_eq!(Model::of(&outbox), model.clone());
        }
    }
}

#[test]
fn what_is_damaged_in_between_costs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let mut outbox = Outbox::open(&path).unwrap();
    outbox.add(entry(3)).unwrap();
    let first = fs::metadata(&path).unwrap().len() as usize;
    for number in [7, 11] {
        outbox.add(entry(number)).unwrap();
    }
    drop(outbox);
    let mut bytes = fs::read(&path).unwrap();
    bytes[first + 20] ^= 0xFF;
    fs::write(&path, &bytes).unwrap();
    for _ in 0..2 {
        let outbox = Outbox::open(&path).unwrap();
        let found: Vec<_> = outbox.kept().iter().map(|kept| kept.entry.clone()).collect();
        assert_eq!(found, [entry(3), entry(11)]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the damaged file is kept beside");
    }
}

#[test]
fn a_marker_that_is_kept_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let mut outbox = Outbox::open(&path).unwrap();
    outbox.read(RoomId(1), Seq(5)).unwrap();
    let bytes = fs::metadata(&path).unwrap().len();
    for seq in [5, 4, 5] {
        outbox.read(RoomId(1), Seq(seq)).unwrap();
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
    assert_eq!(outbox.marks().collect::<Vec<_>>(), [(RoomId(1), Seq(5))]);
}

#[test]
fn many_that_were_delivered_leave_a_small_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let mut outbox = Outbox::open(&path).unwrap();
    outbox.add(entry(3)).unwrap();
    for _ in 0..600 {
        outbox.read(RoomId(1), Seq(1)).unwrap();
        outbox.told(RoomId(1), Seq(1)).unwrap();
    }
    drop(outbox);
    let mut outbox = Outbox::open(&path).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 200, "it was written anew");
    assert_eq!(outbox.kept().len(), 1);
    outbox.end(id(3)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}
