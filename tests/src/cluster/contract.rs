//! What whoever keeps the shared log must do (`log::shared::contract`), asked of the real one and of the simulation's model
//! alike. Entries are given short payloads; what they mean nobody asks here.

use std::collections::BTreeMap;

use bytes::Bytes;
use quip_protocol::{Epoch, NodeName, Position};
use quip_server::log::shared::contract::{Answer, Ask, BatchId, Claim, ClusterId, Incarnation, Look, Stored};

/// Who keeps a log.
pub trait Keeper {
    /// The answer; the suite asks nobody who does not answer.
    fn ask(&mut self, ask: &Ask) -> Answer;
    /// Another process with the same entries.
    fn restart(&mut self);
    /// From here on what is taken may be lost.
    fn save(&mut self);
    /// Another process with the entries that there were when it was saved.
    fn roll_back(&mut self);
    /// The same process, emptied.
    fn wipe(&mut self);
    /// Some milliseconds pass.
    fn pass(&mut self);
}

const OURS: ClusterId = ClusterId([7; 16]);
const OTHERS: ClusterId = ClusterId([8; 16]);
const MINE: Claim = Claim([1; 16]);
const HIS: Claim = Claim([2; 16]);
/// More than are in any of these logs.
const ALL: usize = 1 << 20;

/// All of it. The keeper may hold anything before.
pub fn check(keeper: &mut impl Keeper) {
    let parts: [fn(&mut Asking<'_>); 14] = [
        an_empty_log_is_founded_once,
        a_cluster_begins_behind_what_it_brings,
        entries_follow_on_one_another,
        who_is_wrong_appends_nothing,
        a_batch_is_appended_once,
        what_is_read_is_bounded,
        what_is_trimmed_is_gone,
        another_process_takes_nothing,
        reports_are_of_one_incarnation,
        one_at_a_time_repairs,
        a_log_that_is_repaired_takes_nothing,
        a_claim_ends,
        a_lost_tail_is_written_back,
        a_wiped_log_is_made_again,
    ];
    for part in parts {
        keeper.wipe();
        part(&mut Asking { keeper });
    }
}

struct Asking<'a> {
    keeper: &'a mut dyn Keeper,
}

fn at(epoch: u32, offset: u64) -> Position {
    Position { epoch: Epoch(epoch), offset }
}

fn node(name: &str) -> NodeName {
    name.parse().expect("a name")
}

fn payload(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn stored(before: Position, position: Position, text: &str) -> Stored {
    Stored { before, position, payload: payload(text) }
}

impl Asking<'_> {
    fn ask(&mut self, ask: &Ask) -> Answer {
        self.keeper.ask(ask)
    }

    #[track_caller]
    fn done(&mut self, ask: &Ask) {
        assert_eq!(self.ask(ask), Answer::Done, "{ask:?}");
    }

    #[track_caller]
    fn fenced(&mut self, ask: &Ask) {
        assert_eq!(self.ask(ask), Answer::Fenced, "{ask:?}");
    }

    #[track_caller]
    fn look(&mut self) -> Look {
        self.look_by(&Ask::Look)
    }

    #[track_caller]
    fn look_by(&mut self, ask: &Ask) -> Look {
        match self.ask(ask) {
            Answer::Look(look) => look,
            other => panic!("no look: {other:?}"),
        }
    }

    #[track_caller]
    fn read(&mut self, after: Position, max_bytes: usize) -> Vec<Stored> {
        match self.ask(&Ask::Read { after, max_bytes, wait_ms: 0 }) {
            Answer::Entries(entries) => entries,
            other => panic!("no entries: {other:?}"),
        }
    }

    fn found(&mut self) {
        self.done(&Ask::Found { cluster: OURS, epoch: Epoch(1), base: Position::ZERO });
    }

    /// By node `a`, with the text as its batch too.
    #[track_caller]
    fn placed(&mut self, epoch: u32, text: &str) -> Position {
        let seen = self.look().last;
        match self.ask(&append(epoch, seen, "a", text)) {
            Answer::Placed(place) => place,
            other => panic!("{text} has no place: {other:?}"),
        }
    }

    fn report(&mut self, name: &str, position: Position) -> Look {
        self.look_by(&Ask::Report { node: node(name), position })
    }

    fn claim(&mut self, claim: Claim) -> Ask {
        Ask::Claim { incarnation: self.look().incarnation, claim }
    }

    fn raise(&mut self, epoch: u32) -> Ask {
        let last = self.look().last;
        let entry = stored(last, at(epoch, last.offset + 1), "raised");
        Ask::Raise { claim: MINE, cluster: OURS, entry }
    }
}

/// A batch named by its text.
fn append(epoch: u32, seen: Position, name: &str, text: &str) -> Ask {
    let mut batch = [0; 16];
    batch.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    let (node, batch, payload) = (node(name), BatchId(batch), payload(text));
    Ask::Append { epoch: Epoch(epoch), seen, node, batch, payload }
}

fn an_empty_log_is_founded_once(log: &mut Asking<'_>) {
    let empty = log.look();
    assert_eq!((empty.agreed.clone(), empty.base, empty.last), (None, Position::ZERO, Position::ZERO));
    assert!(!empty.is_agreed() && empty.reports.is_empty());
    log.fenced(&append(1, Position::ZERO, "a", "too soon"));
    log.fenced(&Ask::Trim { upto: Position::ZERO });
    assert_eq!(log.read(Position::ZERO, ALL), []);

    log.found();
    let founded = log.look();
    assert!(founded.is_agreed());
    let agreed = founded.agreed.expect("agreed on");
    assert_eq!((agreed.cluster, agreed.epoch, agreed.incarnation), (OURS, Epoch(1), empty.incarnation));
    log.fenced(&Ask::Found { cluster: OTHERS, epoch: Epoch(9), base: Position::ZERO });
    log.fenced(&Ask::Found { cluster: OURS, epoch: Epoch(9), base: Position::ZERO });
    // The answer may have been lost.
    log.found();

    // Nodes wait for one to write back what they have: a newcomer must not found another cluster there.
    log.keeper.wipe();
    log.report("a", at(1, 5));
    log.fenced(&Ask::Found { cluster: OTHERS, epoch: Epoch(1), base: Position::ZERO });
}

fn a_cluster_begins_behind_what_it_brings(log: &mut Asking<'_>) {
    log.done(&Ask::Found { cluster: OURS, epoch: Epoch(4), base: at(3, 100) });
    let look = log.look();
    assert_eq!((look.base, look.last), (at(3, 100), at(3, 100)));
    assert_eq!(log.placed(4, "first"), at(4, 101));
    assert_eq!(log.read(at(3, 100), ALL), [stored(at(3, 100), at(4, 101), "first")]);
}

fn entries_follow_on_one_another(log: &mut Asking<'_>) {
    log.found();
    for (i, text) in ["one", "two", "three"].iter().enumerate() {
        assert_eq!(log.placed(1, text), at(1, i as u64 + 1));
    }
    let all = [
        stored(at(1, 0), at(1, 1), "one"),
        stored(at(1, 1), at(1, 2), "two"),
        stored(at(1, 2), at(1, 3), "three"),
    ];
    assert_eq!(log.read(Position::ZERO, ALL), all);
    assert_eq!(log.read(at(1, 2), ALL), all[2..]);
    for behind in [at(1, 3), at(1, 99), at(2, 0)] {
        assert_eq!(log.read(behind, ALL), []);
    }
    let look = log.look();
    assert_eq!((look.base, look.last), (Position::ZERO, at(1, 3)));
}

fn who_is_wrong_appends_nothing(log: &mut Asking<'_>) {
    log.done(&Ask::Found { cluster: OURS, epoch: Epoch(5), base: Position::ZERO });
    log.placed(5, "one");
    let last = at(5, 1);
    for (epoch, seen) in [(4, last), (6, last), (5, at(5, 2)), (5, at(6, 1))] {
        log.fenced(&append(epoch, seen, "a", "wrong"));
    }
    // Who has not seen all may append: what it could not know is decided when it is applied.
    assert_eq!(log.ask(&append(5, Position::ZERO, "b", "two")), Answer::Placed(at(5, 2)));
}

fn a_batch_is_appended_once(log: &mut Asking<'_>) {
    log.found();
    let mine = append(1, Position::ZERO, "a", "mine");
    assert_eq!(log.ask(&mine), Answer::Placed(at(1, 1)));
    assert_eq!(log.ask(&append(1, Position::ZERO, "b", "other")), Answer::Placed(at(1, 2)));
    assert_eq!(log.ask(&mine), Answer::Placed(at(1, 1)));
    assert_eq!(log.ask(&append(1, at(1, 2), "a", "mine")), Answer::Placed(at(1, 1)), "it has seen more now");
    assert_eq!(log.placed(1, "next"), at(1, 3));
    // Late, by a connection that was given up.
    log.fenced(&append(1, at(1, 2), "a", "mine"));
    assert_eq!(log.read(at(1, 0), ALL).len(), 3);
    // An answer that is not good any more is none.
    log.keeper.restart();
    log.fenced(&append(1, at(1, 2), "a", "next"));
}

fn what_is_read_is_bounded(log: &mut Asking<'_>) {
    log.found();
    let sizes = [1, 1_000, 10, 500, 3_000, 1, 1, 1, 700, 2_000];
    for (i, size) in sizes.iter().enumerate() {
        let batch = BatchId([u8::try_from(i).expect("few"); 16]);
        let (seen, node) = (log.look().last, node("a"));
        let payload = vec![b'x'; *size].into();
        log.ask(&Ask::Append { epoch: Epoch(1), seen, node, batch, payload });
    }
    for most in [1, 100, 1_000, 1_001, 2_500, 7_215, ALL] {
        let mut after = Position::ZERO;
        let mut read = Vec::new();
        while after < at(1, sizes.len() as u64) {
            let entries = log.read(after, most);
            let bytes: usize = entries.iter().map(|entry| entry.payload.len()).sum();
            assert!(entries.len() == 1 || bytes <= most, "{bytes} bytes, {most} were asked for");
            after = entries.last().expect("there is one").position;
            read.extend(entries.iter().map(|entry| entry.payload.len()));
        }
        assert_eq!(read, sizes, "at most {most} at once");
    }
}

fn what_is_trimmed_is_gone(log: &mut Asking<'_>) {
    log.done(&Ask::Found { cluster: OURS, epoch: Epoch(2), base: at(1, 10) });
    (1..=5).for_each(|i| {
        log.placed(2, &i.to_string());
    });
    log.done(&Ask::Trim { upto: at(1, 3) });
    assert_eq!(log.look().base, at(1, 10), "that was before all there is");
    log.done(&Ask::Trim { upto: at(2, 12) });
    log.done(&Ask::Trim { upto: at(2, 11) });
    assert_eq!((log.look().base, log.look().last), (at(2, 12), at(2, 15)));
    let left = log.read(at(1, 10), ALL);
    assert_eq!(left[0], stored(at(2, 12), at(2, 13), "3"), "it names one that is not there");
    log.done(&Ask::Trim { upto: at(9, 99) });
    assert_eq!((log.look().base, log.look().last), (at(2, 15), at(2, 15)));
    assert_eq!(log.read(at(1, 10), ALL), []);
    assert_eq!(log.placed(2, "6"), at(2, 16));
    assert_eq!(log.read(at(2, 15), ALL), [stored(at(2, 15), at(2, 16), "6")]);
}

fn another_process_takes_nothing(log: &mut Asking<'_>) {
    log.found();
    log.placed(1, "one");
    let before = log.look();
    log.keeper.restart();
    let look = log.look();
    assert!(!look.is_agreed() && look.incarnation != before.incarnation);
    assert_eq!((look.agreed, look.last), (before.agreed, at(1, 1)));
    log.fenced(&append(1, at(1, 1), "a", "two"));
    log.fenced(&Ask::Trim { upto: at(1, 1) });
    log.fenced(&Ask::Found { cluster: OURS, epoch: Epoch(2), base: Position::ZERO });
    log.fenced(&Ask::Claim { incarnation: before.incarnation, claim: MINE });
    log.fenced(&Ask::Claim { incarnation: Incarnation(String::new()), claim: MINE });
    assert_eq!(log.read(at(1, 0), ALL).len(), 1, "it is read, though");
}

fn reports_are_of_one_incarnation(log: &mut Asking<'_>) {
    log.found();
    log.placed(1, "one");
    log.keeper.restart();
    assert_eq!(log.report("a", at(1, 1)).reports, BTreeMap::from([(node("a"), at(1, 1))]));
    log.report("b", at(1, 0));
    log.report("a", at(1, 2));
    let both = BTreeMap::from([(node("a"), at(1, 2)), (node("b"), at(1, 0))]);
    assert_eq!(log.look().reports, both);
    while log.look().reported_for_ms < 20 {
        log.keeper.pass();
    }
    let later = log.report("a", at(1, 2));
    assert!(later.reported_for_ms >= 20, "since the first, not the last");

    log.keeper.restart();
    assert_eq!(log.look().reports, BTreeMap::new());
    assert_eq!(log.report("b", at(1, 1)).reports, BTreeMap::from([(node("b"), at(1, 1))]));
    let claim = log.claim(MINE);
    log.done(&claim);
    let raise = log.raise(2);
    log.done(&raise);
    assert_eq!(log.look().reports, BTreeMap::new());
}

fn one_at_a_time_repairs(log: &mut Asking<'_>) {
    log.found();
    log.placed(1, "one");
    log.keeper.restart();
    let raise = log.raise(2);
    log.fenced(&raise);
    let (mine, his) = (log.claim(MINE), log.claim(HIS));
    log.done(&mine);
    log.done(&mine);
    log.fenced(&his);
    log.fenced(&Ask::Reset { claim: HIS, base: Position::ZERO });
    log.fenced(&Ask::Restore { claim: HIS, entries: vec![stored(at(1, 1), at(1, 2), "two")] });

    // The epoch is raised by an entry that follows on the last, in an epoch that never was.
    for (before, position) in [(at(1, 0), at(2, 2)), (at(1, 1), at(1, 2)), (at(1, 1), at(0, 2))] {
        let entry = stored(before, position, "raised");
        log.fenced(&Ask::Raise { claim: MINE, cluster: OURS, entry });
    }
    log.done(&raise);
    let look = log.look();
    assert!(look.is_agreed());
    assert_eq!((look.last, look.agreed.map(|agreed| agreed.epoch)), (at(2, 2), Some(Epoch(2))));
    assert_eq!(log.read(at(1, 1), ALL), [stored(at(1, 1), at(2, 2), "raised")]);
    // It is over.
    let again = log.raise(3);
    log.fenced(&again);
    log.fenced(&Ask::Reset { claim: MINE, base: Position::ZERO });
    log.fenced(&append(1, at(1, 1), "a", "two"));
    assert_eq!(log.placed(2, "two"), at(2, 3));
    // What stood in the old epoch is asked for in vain: whoever appended it finds it in the log.
    assert_eq!(log.placed(2, "one"), at(2, 4));
}

fn a_log_that_is_repaired_takes_nothing(log: &mut Asking<'_>) {
    log.found();
    log.placed(1, "one");
    let claim = log.claim(MINE);
    log.done(&claim);
    let look = log.look();
    assert!(!look.is_agreed());
    assert_eq!(look.agreed.map(|agreed| (agreed.cluster, agreed.epoch)), Some((OURS, Epoch(1))));
    log.fenced(&append(1, at(1, 1), "a", "two"));
    let raise = log.raise(2);
    log.done(&raise);
    assert_eq!(log.placed(2, "two"), at(2, 3));
}

fn a_claim_ends(log: &mut Asking<'_>) {
    log.found();
    log.keeper.restart();
    log.report("a", at(1, 1));
    let (mine, his) = (log.claim(MINE), log.claim(HIS));
    log.done(&mine);
    let mut tries = 0;
    while log.ask(&his) == Answer::Fenced {
        log.keeper.pass();
        tries += 1;
        assert!(tries < 100_000, "the claim does not end");
    }
    assert!(tries > 3, "the claim held");
    assert_eq!(log.look().reports, BTreeMap::new(), "so do reports, when no other comes");
    log.fenced(&mine);
    let raise = log.raise(2);
    log.fenced(&raise);
    // It does not outlive the process either.
    log.keeper.restart();
    log.fenced(&Ask::Restore { claim: HIS, entries: Vec::new() });
    let mine = log.claim(MINE);
    log.done(&mine);
}

fn a_lost_tail_is_written_back(log: &mut Asking<'_>) {
    log.found();
    log.placed(1, "one");
    log.keeper.save();
    (2..=6).for_each(|i| {
        log.placed(1, &i.to_string());
    });
    let had = log.read(at(1, 1), ALL);
    log.keeper.roll_back();
    assert!(!log.look().is_agreed());
    assert_eq!(log.look().last, at(1, 1));
    let claim = log.claim(MINE);
    log.done(&claim);
    let restore = |entries: &[Stored]| Ask::Restore { claim: MINE, entries: entries.to_vec() };
    log.fenced(&restore(&had[1..]));
    log.fenced(&restore(&[had[0].clone(), had[2].clone()]));
    log.fenced(&restore(&[had[1].clone(), had[0].clone()]));
    assert_eq!(log.look().last, at(1, 1), "all or nothing");
    log.done(&restore(&had[..2]));
    log.fenced(&restore(&had[..2]));
    log.done(&restore(&[]));
    log.done(&restore(&had[2..]));
    assert_eq!(log.read(at(1, 1), ALL), had);
    let raise = log.raise(70_000);
    log.done(&raise);
    assert_eq!(log.placed(70_000, "7"), at(70_000, 8));
    assert_eq!(log.look().base, Position::ZERO);
}

fn a_wiped_log_is_made_again(log: &mut Asking<'_>) {
    log.found();
    (1..=4).for_each(|i| {
        log.placed(1, &i.to_string());
    });
    let had = log.read(Position::ZERO, ALL);
    log.keeper.wipe();
    let look = log.look();
    assert_eq!((look.agreed, look.last), (None, Position::ZERO));
    log.fenced(&append(1, Position::ZERO, "a", "5"));
    log.report("a", at(1, 4));
    let claim = log.claim(MINE);
    log.done(&claim);
    log.done(&Ask::Reset { claim: MINE, base: at(1, 2) });
    assert_eq!((log.look().base, log.look().last), (at(1, 2), at(1, 2)));
    log.done(&Ask::Restore { claim: MINE, entries: had[2..].to_vec() });
    // It may be thought over.
    log.done(&Ask::Reset { claim: MINE, base: at(1, 3) });
    assert_eq!(log.read(Position::ZERO, ALL), []);
    log.done(&Ask::Restore { claim: MINE, entries: had[3..].to_vec() });
    let raise = log.raise(2);
    log.done(&raise);
    let look = log.look();
    assert!(look.is_agreed());
    assert_eq!((look.base, look.last), (at(1, 3), at(2, 5)));
    assert_eq!(look.agreed.map(|agreed| agreed.cluster), Some(OURS));
    let all = [had[3].clone(), stored(at(1, 4), at(2, 5), "raised")];
    assert_eq!(log.read(Position::ZERO, ALL), all);
}
