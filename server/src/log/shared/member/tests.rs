//! A member, told one thing after the other: what it asks and does.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::contract::{Agreed, CLAIM_MS, Incarnation};
use super::*;

/// Nothing is left to chance.
struct Fixed;

impl Chance for Fixed {
    fn claim(&mut self) -> Claim {
        Claim([5; 16])
    }

    fn below(&mut self, bound: u32) -> u32 {
        bound - 1
    }
}

const OURS: ClusterId = ClusterId([7; 16]);

fn at(epoch: u32, offset: u64) -> Position {
    Position { epoch: Epoch(epoch), offset }
}

fn batch(n: u8) -> BatchId {
    BatchId([n; 16])
}

/// Of an entry that is a batch the payload is its number.
fn entry(before: Position, position: Position, batch: u8) -> Stored {
    Stored { before, position, payload: Bytes::from(vec![batch; usize::from(batch > 0)]) }
}

fn look(incarnation: &str, agreed: Option<(&str, u32)>, last: Position) -> Look {
    let agreed = agreed.map(|(name, epoch)| Agreed {
        cluster: OURS,
        incarnation: Incarnation(name.to_owned()),
        epoch: Epoch(epoch),
    });
    let incarnation = Incarnation(incarnation.to_owned());
    Look { incarnation, agreed, base: Position::ZERO, last, reports: BTreeMap::new(), reported_for_ms: 0 }
}

struct Driven {
    member: Member,
    now: u64,
    effects: Vec<Effect>,
}

impl Driven {
    fn new(last: Position) -> Driven {
        let batch_of = |payload: &[u8]| payload.first().map(|n| BatchId([*n; 16]));
        let (name, raising) = ("a".parse().unwrap(), Bytes::new());
        let own = Own { name, cluster: OURS, last, raising, batch_of };
        Driven { member: Member::new(own), now: 0, effects: Vec::new() }
    }

    /// One that is live at this position, in its epoch.
    fn live(last: Position) -> Driven {
        let mut driven = Driven::new(last);
        driven.tell(Input::Tick);
        driven.write(Answer::Look(look("one", Some(("one", last.epoch.0)), last)));
        assert_eq!(*driven.member.phase(), Phase::Live);
        driven
    }

    fn tell(&mut self, input: Input) -> &[Effect] {
        self.effects.clear();
        self.member.step(self.now, &mut Fixed, input, &mut self.effects);
        &self.effects
    }

    fn write(&mut self, answer: Answer) -> &[Effect] {
        self.tell(Input::Answered(Lane::Write, Ok(answer)))
    }

    fn read(&mut self, entries: Vec<Stored>) -> &[Effect] {
        self.tell(Input::Answered(Lane::Read, Ok(Answer::Entries(entries))))
    }

    fn later(&mut self, ms: u64) -> &[Effect] {
        self.now += ms;
        self.tell(Input::Tick)
    }

    /// What was asked on the write lane just now.
    fn asked(&self) -> Option<&Ask> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Ask(Lane::Write, ask) => Some(ask),
            _ => None,
        })
    }

    fn asked_to_read(&self) -> Option<Position> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Ask(Lane::Read, Ask::Read { after, .. }) => Some(*after),
            _ => None,
        })
    }
}

/// What it is told of how it stands, one after the other.
fn phases(effects: &[Effect]) -> Vec<&'static str> {
    let word = |effect: &Effect| match effect {
        Effect::Phase(phase) => Some(phase.word()),
        _ => None,
    };
    effects.iter().filter_map(word).collect()
}

fn lost() -> Input {
    Input::Answered(Lane::Write, Err(Lost("gone".to_owned())))
}

#[test]
fn it_looks_first_and_then_knows_what_to_do() {
    let ours = |base, last| Look { base, ..look("one", Some(("one", 1)), last) };
    let mut foreign = ours(Position::ZERO, at(1, 5));
    foreign.agreed.as_mut().unwrap().cluster = ClusterId([8; 16]);
    let table = [
        (ours(at(1, 2), at(1, 5)), Effect::Phase(Phase::Live)),
        (ours(at(1, 2), at(1, 9)), Effect::Phase(Phase::CatchingUp { to: at(1, 9) })),
        (ours(at(1, 6), at(1, 9)), Effect::StepAside(StepAside::Behind { base: at(1, 6) })),
        (foreign, Effect::StepAside(StepAside::Foreign { cluster: ClusterId([8; 16]) })),
        (ours(at(1, 2), at(1, 4)), Effect::Phase(Phase::Repairing)),
        (look("two", Some(("one", 1)), at(1, 5)), Effect::Phase(Phase::Repairing)),
        (look("two", None, Position::ZERO), Effect::Phase(Phase::Repairing)),
    ];
    for (look, effect) in table {
        let mut driven = Driven::new(at(1, 5));
        driven.tell(Input::Tick);
        assert_eq!(driven.asked(), Some(&Ask::Look));
        let effects = driven.write(Answer::Look(look.clone()));
        assert!(effects.contains(&effect), "{look:?}: {effects:?}");
    }
}

#[test]
fn what_is_not_live_takes_no_batch() {
    let mut driven = Driven::new(at(1, 5));
    assert!(driven.tell(Input::Batch(batch(1), Bytes::new())).contains(&Effect::NotTaken(batch(1))));
    let mut driven = Driven::live(at(1, 5));
    driven.tell(Input::Batch(batch(1), Bytes::new()));
    assert!(driven.tell(Input::Batch(batch(2), Bytes::new())).contains(&Effect::NotTaken(batch(2))));
}

#[test]
fn a_batch_is_asked_for_until_its_outcome_is_known() {
    let mut driven = Driven::live(at(1, 5));
    driven.tell(Input::Batch(batch(1), Bytes::new()));
    let first = driven.asked().cloned();
    assert!(matches!(first, Some(Ask::Append { epoch: Epoch(1), .. })));
    assert!(driven.tell(lost()).contains(&Effect::Phase(Phase::Unreachable)));
    driven.later(400);
    assert_eq!(driven.asked().cloned(), first, "the same once more");
    let effects = driven.write(Answer::Placed(at(1, 6)));
    assert!(
        effects.contains(&Effect::Placed(batch(1), at(1, 6)))
            && effects.contains(&Effect::Phase(Phase::Live))
    );
}

#[test]
fn what_a_raised_epoch_does_not_have_is_not_taken() {
    for has_it in [true, false] {
        let mut driven = Driven::live(at(1, 5));
        driven.tell(Input::Batch(batch(1), Bytes::new()));
        driven.write(Answer::Fenced);
        assert_eq!(driven.asked(), Some(&Ask::Look));
        driven.write(Answer::Look(look("two", Some(("two", 9)), at(9, 7))));
        driven.read(Vec::new());
        let effects =
            driven.read(vec![entry(at(1, 5), at(1, 6), u8::from(has_it)), entry(at(1, 6), at(9, 7), 0)]);
        let expected = if has_it { Effect::Placed(batch(1), at(1, 6)) } else { Effect::NotTaken(batch(1)) };
        assert!(effects.contains(&expected), "{effects:?}");
        assert!(effects.contains(&Effect::Phase(Phase::Live)));
    }
}

#[test]
fn who_has_another_entry_steps_aside_if_the_log_was_agreed_on_all_the_time() {
    for (agreed, aside) in [(("one", 1), true), (("two", 9), false)] {
        let mut driven = Driven::live(at(1, 5));
        driven.read(vec![entry(at(1, 4), at(1, 8), 0)]);
        assert_eq!((driven.asked(), driven.asked_to_read()), (Some(&Ask::Look), None));
        let effects = driven.write(Answer::Look(look(agreed.0, Some(agreed), at(agreed.1, 8))));
        assert_eq!(effects.contains(&Effect::StepAside(StepAside::Diverged)), aside, "{effects:?}");
        assert_eq!(driven.asked_to_read(), (!aside).then_some(at(1, 5)));
        let end = driven.later(5_000).is_empty();
        assert_eq!(end, aside, "it is at its end");
    }
}

#[test]
fn what_another_process_answers_late_is_not_followed() {
    let mut driven = Driven::live(at(1, 5));
    driven.later(LOOK_MS);
    driven.write(Answer::Look(look("two", Some(("two", 9)), at(9, 6))));
    let effects = driven.read(vec![entry(at(1, 5), at(1, 6), 0)]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Deliver(_))), "{effects:?}");
    assert_eq!(driven.asked_to_read(), Some(at(1, 5)));
    assert!(driven.read(vec![entry(at(1, 5), at(9, 6), 0)]).contains(&Effect::Phase(Phase::Live)));
}

#[test]
fn a_log_that_nobody_writes_to_is_looked_at_and_one_that_is_gone_is_tried_soon() {
    let mut driven = Driven::live(at(1, 5));
    assert!(driven.effects.contains(&Effect::Alarm(LOOK_MS)));
    driven.later(LOOK_MS);
    assert_eq!(driven.asked(), Some(&Ask::Look));
    for _ in 0..20 {
        driven.tell(lost());
        let Some(Effect::Alarm(next)) = driven.effects.last() else { panic!("{:?}", driven.effects) };
        assert!((driven.now + 20..=driven.now + 400).contains(next));
        driven.later(400);
        assert_eq!(driven.asked(), Some(&Ask::Look));
    }
}

#[test]
fn so_much_is_read_as_is_written() {
    let mut driven = Driven::live(at(1, 5));
    let large = Stored { payload: vec![0; 17 << 20].into(), ..entry(at(1, 5), at(1, 6), 0) };
    driven.read(vec![large]);
    assert_eq!(driven.asked_to_read(), None);
    driven.tell(Input::Durable(at(1, 6)));
    assert_eq!(driven.asked_to_read(), Some(at(1, 6)));
    // The answer to what was asked for before a rewind does not follow.
    driven.read(vec![entry(at(1, 6), at(1, 7), 0)]);
    driven.tell(Input::Rewind(at(1, 6)));
    assert!(!driven.read(Vec::new()).iter().any(|effect| matches!(effect, Effect::Deliver(_))));
    assert_eq!(driven.asked_to_read(), Some(at(1, 6)));
}

/// Its journal is asked for what the log has lost.
fn recalling() -> Driven {
    let mut driven = Driven::live(at(1, 5));
    driven.tell(Input::Nodes(["a".parse().unwrap()].into()));
    driven.later(LOOK_MS);
    let lost = look("two", Some(("one", 1)), at(1, 3));
    driven.write(Answer::Look(lost.clone()));
    assert_eq!(driven.asked(), Some(&Ask::Report { node: "a".parse().unwrap(), position: at(1, 5) }));
    let reports = BTreeMap::from([("a".parse().unwrap(), at(1, 5)), ("b".parse().unwrap(), at(1, 4))]);
    let reported = Look { reports, ..lost };
    driven.write(Answer::Look(reported.clone()));
    assert!(matches!(driven.asked(), Some(Ask::Claim { .. })));
    driven.write(Answer::Done);
    assert_eq!(driven.asked(), Some(&Ask::Look));
    // The other needs nothing before its own.
    let effects = driven.write(Answer::Look(reported));
    assert!(matches!(effects, [Effect::Recall { after, .. }] if *after == at(1, 4)), "{effects:?}");
    driven
}

/// Its claim expires meanwhile, and another node may repair the log.
#[test]
fn who_cannot_read_what_the_log_has_lost_asks_nothing_for_longer_than_a_claim_lasts() {
    let mut driven = recalling();
    driven.tell(Input::Recalled(Vec::new()));
    assert_eq!(driven.asked(), None);
    driven.later(CLAIM_MS + 1_000);
    assert_eq!(driven.asked(), None);
    driven.later(CLAIM_MS);
    assert_eq!(driven.asked(), Some(&Ask::Report { node: "a".parse().unwrap(), position: at(1, 5) }));
}

#[test]
fn it_writes_back_what_the_log_has_lost() {
    let mut driven = recalling();
    let tail = vec![entry(at(1, 4), at(1, 5), 0)];
    driven.tell(Input::Recalled(tail.clone()));
    assert_eq!(driven.asked(), Some(&Ask::Reset { claim: Claim([5; 16]), base: at(1, 4) }));
    driven.write(Answer::Done);
    assert_eq!(driven.asked(), Some(&Ask::Restore { claim: Claim([5; 16]), entries: tail }));
    driven.write(Answer::Done);
    let Some(Ask::Raise { entry, .. }) = driven.asked() else { panic!("{:?}", driven.effects) };
    assert_eq!((entry.before, entry.position), (at(1, 5), at(1 + 65_536, 6)));
    driven.write(Answer::Done);
    driven.write(Answer::Look(look("two", Some(("two", 65_537)), at(65_537, 6))));
    assert_eq!(*driven.member.phase(), Phase::CatchingUp { to: at(65_537, 6) });
}

proptest! {
    /// Whatever it is answered: one question of a lane at a time, entries in order, one outcome of a batch, and an end that is
    /// one.
    #[test]
    fn it_keeps_its_word(answers in prop::collection::vec((0u8..12, 0u64..6, 1u32..4, 0u64..900), 1..120)) {
        let mut driven = Driven::new(at(1, 3));
        let mut open = BTreeMap::new();
        let (mut read, mut aside, mut waits) = (at(1, 3), false, None);
        for (n, (kind, offset, epoch, ms)) in answers.into_iter().enumerate() {
            driven.now += ms;
            let place = at(epoch, 2 + offset);
            let answer = match kind {
                0 | 1 => Answer::Look(look("x", Some(("x", epoch)), place)),
                2 => Answer::Look(look("y", Some(("x", epoch)), place)),
                3 => Answer::Placed(place),
                4 => Answer::Fenced,
                5 => Answer::Done,
                _ => Answer::Entries(vec![entry(read, place, n as u8), entry(place, at(epoch, 9), 0)]),
            };
            let input = match (kind, open.keys().next().copied(), open.keys().last().copied()) {
                (8, _, _) => Input::Tick,
                (9, _, _) => Input::Rewind(read),
                (10, _, _) if waits.is_none() => Input::Batch(batch(n as u8), Bytes::new()),
                (6 | 7, Some(lane), _) | (_, _, Some(lane)) => {
                    open.remove(&lane);
                    Input::Answered(lane, if kind == 11 { Err(Lost(String::new())) } else { Ok(answer) })
                }
                _ => Input::Tick,
            };
            if let Input::Batch(batch, _) = &input {
                waits = Some(*batch);
            }
            for effect in driven.tell(input).to_vec() {
                prop_assert!(!aside || matches!(effect, Effect::NotTaken(_)), "{effect:?} behind the end");
                match effect {
                    Effect::Ask(lane, _) => prop_assert!(open.insert(lane, ()).is_none()),
                    Effect::Deliver(entries) => for entry in entries {
                        prop_assert_eq!(entry.before, read);
                        prop_assert!(entry.position > read);
                        read = entry.position;
                    },
                    Effect::Placed(batch, _) => prop_assert_eq!(waits.take(), Some(batch)),
                    Effect::NotTaken(batch) => { waits.take_if(|waits| *waits == batch); }
                    Effect::StepAside(_) => aside = true,
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn a_log_that_can_be_read_and_refuses_to_be_written_is_not_live_in_between() {
    let here = at(1, 3);
    let mut driven = Driven::live(here);
    driven.tell(Input::Batch(batch(1), Bytes::from_static(&[1])));
    assert_eq!(phases(driven.tell(lost())), ["unreachable"]);
    for _ in 0..5 {
        driven.later(LOOK_MS);
        assert_eq!(driven.asked(), Some(&Ask::Look));
        driven.write(Answer::Look(look("one", Some(("one", 1)), here)));
        assert_eq!(phases(&driven.effects), [""; 0], "it was read");
        assert!(matches!(driven.asked(), Some(Ask::Append { .. })), "{:?}", driven.effects);
        assert_eq!(phases(driven.tell(lost())), [""; 0], "it was refused once more");
    }
    driven.later(LOOK_MS);
    driven.write(Answer::Look(look("one", Some(("one", 1)), here)));
    assert_eq!(phases(driven.write(Answer::Placed(at(1, 4)))), ["live"]);
}

#[test]
fn a_log_that_refuses_to_be_repaired_is_unreachable_all_the_time() {
    let mut driven = Driven::new(at(1, 3));
    driven.tell(Input::Tick);
    let other = || Answer::Look(look("two", Some(("one", 1)), at(1, 3)));
    assert_eq!(phases(driven.write(other())), ["repairing"]);
    assert!(matches!(driven.asked(), Some(Ask::Report { .. })), "{:?}", driven.effects);
    assert_eq!(phases(driven.tell(lost())), ["unreachable"]);
    for is_taken in [false, false, true] {
        driven.later(LOOK_MS);
        assert_eq!(driven.asked(), Some(&Ask::Look));
        assert_eq!(phases(driven.write(other())), [""; 0], "it was read");
        driven.later(LOOK_MS);
        assert!(matches!(driven.asked(), Some(Ask::Report { .. })), "{:?}", driven.effects);
        match is_taken {
            true => assert_eq!(phases(driven.write(other())), ["repairing"]),
            false => assert_eq!(phases(driven.tell(lost())), [""; 0], "it was refused once more"),
        }
    }
}
