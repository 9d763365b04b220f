//! A member that repairs a log which nobody agreed on: it reports what it has, and the one that has most writes back what
//! the log lacks and raises the epoch. PURE.

use std::collections::BTreeSet;

use quip_protocol::{Epoch, NodeName, Position};

use super::contract::{Answer, Ask, CLAIM_MS, Claim, Incarnation, Look, Stored};
use super::member::{Chance, Effect, Member, Question, Stand, StepAside};

/// How often a node reports while it waits.
const REPORT_MS: u64 = 100;
/// When a node whose journal could not be read tries again: its claim has expired by then, so that another one may go on.
const UNREAD_MS: u64 = CLAIM_MS * 3 / 2;
/// How long nodes are waited for that were alive, or may be about to begin.
const ROSTER_MS: u64 = 2_000;
/// The same where the log was wiped, for a node that has just begun: everything was down, and the next may have more.
const WIPED_MS: u64 = 10_000;
/// How long a node that has more than a log that is agreed on waits for the others to say the same.
const BEHIND_MS: u64 = 10_000;
/// Bytes that are written back at a time.
const BLOCK_BYTES: usize = 1024 * 1024;
/// A node that is further behind than so many entries gets them from another node, not through the log.
const WRITE_BACK: u64 = 16 * 1024;
/// Epochs are raised by up to so many more than needed: two halves of a log that was split must not come to the same one.
const EPOCHS: u32 = 65_536;

/// The repair of one incarnation.
#[derive(Debug)]
pub(super) struct Repair {
    incarnation: Incarnation,
    /// The same as long as this is tried: what is done late of an earlier try can only make this one begin again.
    claim: Claim,
    pub(super) step: Step,
}

/// What is asked, or being asked.
#[derive(Debug)]
pub(super) enum Step {
    /// How the log stands.
    Look,
    /// The same, having said what this node has.
    Report,
    /// To be the one that repairs.
    Claim,
    /// How the log stands, now that nobody else changes it.
    Compare,
    /// Nothing: it is waited for what the journal has behind the last entry of the log.
    Recall { last: Position, own: Position },
    /// To begin again from a base.
    Reset { base: Position, entries: Vec<Stored>, own: Position },
    /// To write back.
    Restore { entries: Vec<Stored>, own: Position },
    /// To go on, behind the last entry.
    Raise { last: Position },
}

impl Repair {
    pub(super) fn is_asking(&self) -> bool {
        !matches!(self.step, Step::Recall { .. })
    }
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Wait,
    Claim,
    Diverged,
}

impl Member {
    /// The log takes nothing, or has lost what this member has.
    pub(super) fn mend(&mut self, now: u64, chance: &mut impl Chance, look: Look, effects: &mut Vec<Effect>) {
        if !matches!(&self.stand, Stand::Repair(repair) if repair.incarnation == look.incarnation) {
            let (incarnation, claim) = (look.incarnation, chance.claim());
            self.stand = Stand::Repair(Repair { incarnation, claim, step: Step::Report });
            return;
        }
        let own = self.tail.settled();
        let reported = own.filter(|own| look.reports.get(&self.own.name) == Some(own));
        match reported.map(|own| self.turn(&look, own)) {
            Some(Turn::Diverged) => self.aside(StepAside::Diverged, effects),
            Some(Turn::Claim) => self.go_on(Step::Claim),
            Some(Turn::Wait) | None => self.report_later(now),
        }
    }

    fn turn(&self, look: &Look, own: Position) -> Turn {
        turn(look, (own, &self.own.name), self.alive.as_ref(), self.was_live)
    }

    fn go_on(&mut self, step: Step) {
        if let Stand::Repair(repair) = &mut self.stand {
            repair.step = step;
        }
    }

    fn report_later(&mut self, now: u64) {
        self.go_on(Step::Report);
        self.write.wait(now + REPORT_MS);
    }

    /// Something was not answered: it may be another log by now.
    pub(super) fn repair_interrupted(&mut self) {
        self.go_on(Step::Look);
    }

    pub(super) fn ask_to_repair(&self, chance: &mut impl Chance) -> Option<(Question, Ask)> {
        let Stand::Repair(repair) = &self.stand else { return None };
        let look = Question::Look { seen: self.tail.read };
        let (claim, incarnation) = (repair.claim, repair.incarnation.clone());
        Some(match (&repair.step, self.tail.settled()) {
            (Step::Report, Some(position)) => (look, Ask::Report { node: self.own.name.clone(), position }),
            (Step::Look | Step::Report, _) => (look, Ask::Look),
            (Step::Claim, _) => (Question::Repair, Ask::Claim { incarnation, claim }),
            (Step::Compare, _) => (Question::Repair, Ask::Look),
            (Step::Recall { .. }, _) => return None,
            (Step::Reset { base, .. }, _) => (Question::Repair, Ask::Reset { claim, base: *base }),
            (Step::Restore { entries, .. }, _) => {
                (Question::Repair, Ask::Restore { claim, entries: entries.clone() })
            }
            (Step::Raise { last }, _) => (Question::Repair, self.raise(claim, *last, chance)),
        })
    }

    fn raise(&self, claim: Claim, last: Position, chance: &mut impl Chance) -> Ask {
        let more = 1 + chance.below(EPOCHS);
        let epoch = Epoch(self.highest.max(last.epoch).0.saturating_add(more));
        let position = Position { epoch, offset: last.offset + 1 };
        let entry = Stored { before: last, position, payload: self.own.raising.clone() };
        Ask::Raise { claim, cluster: self.own.cluster, entry }
    }

    pub(super) fn repair_answered(
        &mut self,
        now: u64,
        chance: &mut impl Chance,
        answer: Answer,
        effects: &mut Vec<Effect>,
    ) {
        let Stand::Repair(repair) = &mut self.stand else { return };
        match (std::mem::replace(&mut repair.step, Step::Look), answer) {
            (Step::Claim, Answer::Done) => repair.step = Step::Compare,
            (Step::Compare, Answer::Look(look))
                if look.incarnation == repair.incarnation && !look.is_agreed() =>
            {
                self.compare(now, look, effects);
            }
            (Step::Compare, Answer::Look(look)) => self.looked(now, chance, self.tail.read, look, effects),
            (Step::Reset { base, entries, .. }, Answer::Done) if entries.is_empty() => {
                repair.step = Step::Raise { last: base };
            }
            (Step::Reset { entries, own, .. }, Answer::Done) => repair.step = Step::Restore { entries, own },
            (Step::Restore { entries, own }, Answer::Done) => self.restored(&entries, own, effects),
            (Step::Raise { .. }, Answer::Done) => {}
            // Somebody else repairs, or has repaired.
            _ => self.report_later(now),
        }
    }

    /// The log is this node's to repair: what does it lack?
    fn compare(&mut self, now: u64, look: Look, effects: &mut Vec<Effect>) {
        let Some(own) = self.tail.settled() else { return self.report_later(now) };
        let reported = look.reports.values().map(|position| position.epoch);
        self.highest = reported.chain([look.last.epoch]).fold(self.highest, Epoch::max);
        let wanted = wanted_base(&look, own);
        if look.last >= own {
            self.go_on(Step::Raise { last: look.last });
        } else if wanted == own {
            self.go_on(Step::Reset { base: own, entries: Vec::new(), own });
        } else {
            self.go_on(Step::Recall { last: look.last, own });
            // Of a log of another branch, which is longer, nothing is gone on from.
            let after = if look.last.offset > own.offset { wanted } else { look.last.max(wanted) };
            effects.push(Effect::Recall { after, max_bytes: BLOCK_BYTES });
        }
    }

    /// What the journal has behind the log, or behind where the log is to begin again.
    pub(super) fn recalled(&mut self, now: u64, mut entries: Vec<Stored>) {
        let Stand::Repair(Repair { step: Step::Recall { last, own }, .. }) = self.stand else { return };
        entries.retain(|entry| entry.position <= own);
        match entries.first().map(|first| first.before) {
            Some(before) if before == last => self.go_on(Step::Restore { entries, own }),
            // The log's last entry is none of this node's: it is empty, or another branch.
            Some(base) => self.go_on(Step::Reset { base, entries, own }),
            None => {
                self.go_on(Step::Report);
                self.write.wait(now + UNREAD_MS);
            }
        }
    }

    fn restored(&mut self, entries: &[Stored], own: Position, effects: &mut Vec<Effect>) {
        let Some(last) = entries.last().map(|entry| entry.position) else { return };
        if last >= own {
            return self.go_on(Step::Raise { last });
        }
        self.go_on(Step::Recall { last, own });
        effects.push(Effect::Recall { after: last, max_bytes: BLOCK_BYTES });
    }
}

/// Who repairs: of those who reported the one with the greatest position, and of equals with the greatest name, as soon as
/// everybody has reported or was waited for. The next one is `CLAIM_MS` later, in case that one is no more.
fn turn(
    look: &Look,
    (own, name): (Position, &NodeName),
    alive: Option<&BTreeSet<NodeName>>,
    was_live: bool,
) -> Turn {
    let everybody = alive.is_some_and(|alive| alive.iter().all(|node| look.reports.contains_key(node)));
    if let Some(agreed) = look.agreed.as_ref().filter(|_| look.is_agreed()) {
        // The others follow that log: it is this node that has gone another way.
        let alone = !everybody && look.reported_for_ms >= BEHIND_MS;
        if alone || agreed.epoch > own.epoch {
            return Turn::Diverged;
        } else if !everybody {
            return Turn::Wait;
        }
    }
    let greater = look.reports.iter().filter(|(other, position)| (**position, *other) > (own, name)).count();
    // A log that was wiped has lost who is alive, too.
    let patience = match (was_live, &look.agreed) {
        (false, None) => WIPED_MS,
        (true, Some(_)) if everybody => 0,
        _ => ROSTER_MS,
    };
    match look.reported_for_ms >= patience + greater as u64 * CLAIM_MS {
        true => Turn::Claim,
        false => Turn::Wait,
    }
}

/// Where a log that is written anew begins: every node that reported finds what it lacks, but for those that lack too much.
fn wanted_base(look: &Look, own: Position) -> Position {
    let near = |position: &Position| {
        position.offset <= own.offset && position.offset.saturating_add(WRITE_BACK) >= own.offset
    };
    look.reports.values().copied().filter(near).fold(own, Position::min)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::contract::{Agreed, ClusterId};
    use super::*;

    fn at(epoch: u32, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    fn name(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn reported(reports: &[(&str, Position)], for_ms: u64, agreed: bool) -> Look {
        let incarnation = Incarnation("two".to_owned());
        let of = Incarnation(if agreed { "two" } else { "one" }.to_owned());
        Look {
            incarnation,
            agreed: Some(Agreed { cluster: ClusterId([7; 16]), incarnation: of, epoch: Epoch(1) }),
            base: Position::ZERO,
            last: at(1, 3),
            reports: reports
                .iter()
                .map(|(node, position)| (name(node), *position))
                .collect::<BTreeMap<_, _>>(),
            reported_for_ms: for_ms,
        }
    }

    #[test]
    fn the_one_that_has_most_repairs_when_everybody_has_reported_or_was_waited_for() {
        let (less, own, more) = (at(1, 4), at(1, 5), at(2, 1));
        let alone: &[_] = &[("b", own)];
        let table = [
            // who reported, for how long, whether everybody, whose turn
            (alone, 0, true, Turn::Claim),
            (alone, 0, false, Turn::Wait),
            (alone, 1_999, false, Turn::Wait),
            (alone, 2_000, false, Turn::Claim),
            (&[("a", less), ("b", own)], 0, true, Turn::Claim),
            (&[("a", own), ("b", own)], 0, true, Turn::Claim),
            (&[("b", own), ("c", own)], 0, true, Turn::Wait),
            (&[("a", more), ("b", own)], 4_999, true, Turn::Wait),
            (&[("a", more), ("b", own)], 5_000, true, Turn::Claim),
            (&[("a", more), ("b", own)], 6_999, false, Turn::Wait),
            (&[("a", more), ("b", own), ("c", more)], 11_999, false, Turn::Wait),
            (&[("a", more), ("b", own), ("c", more)], 12_000, false, Turn::Claim),
        ];
        for (reports, for_ms, everybody, expected) in table {
            let look = reported(reports, for_ms, false);
            let alive =
                if everybody { look.reports.keys().cloned().collect() } else { BTreeSet::from([name("z")]) };
            assert_eq!(turn(&look, (own, &name("b")), Some(&alive), true), expected, "{look:?}");
        }
        let look = reported(alone, 1_999, false);
        let alive = BTreeSet::from([name("b")]);
        assert_eq!(turn(&look, (own, &name("b")), Some(&alive), false), Turn::Wait, "it has just begun");
        assert_eq!(turn(&look, (own, &name("b")), None, true), Turn::Wait, "it knows of nobody");
    }

    #[test]
    fn a_log_that_was_wiped_is_not_repaired_at_once_by_whoever_is_first() {
        let own = at(1, 5);
        let alive = BTreeSet::from([name("b")]);
        let wiped = |for_ms| Look { agreed: None, ..reported(&[("b", own)], for_ms, false) };
        assert_eq!(turn(&wiped(ROSTER_MS - 1), (own, &name("b")), Some(&alive), true), Turn::Wait);
        assert_eq!(turn(&wiped(ROSTER_MS), (own, &name("b")), Some(&alive), true), Turn::Claim);
        // Nor by one that begins with all the others, and has less, or nothing.
        assert_eq!(turn(&wiped(WIPED_MS - 1), (own, &name("b")), Some(&alive), false), Turn::Wait);
        assert_eq!(turn(&wiped(WIPED_MS), (own, &name("b")), Some(&alive), false), Turn::Claim);
    }

    #[test]
    fn who_is_on_a_longer_branch_of_before_does_not_say_where_a_log_begins() {
        let own = at(12, 100);
        let base = |other| wanted_base(&reported(&[("a", own), ("c", other)], 0, false), own);
        assert_eq!(base(at(9, 200)), own);
        assert_eq!(base(at(12, 95)), at(12, 95));
        assert_eq!(base(at(9, 90)), at(9, 90));
    }

    #[test]
    fn a_log_that_others_follow_is_not_repaired_by_one_that_has_more() {
        let both = BTreeSet::from([name("a"), name("b")]);
        let reports: &[_] = &[("b", at(1, 5))];
        let table = [
            (reported(reports, 9_999, true), at(1, 5), Turn::Wait),
            (reported(reports, 10_000, true), at(1, 5), Turn::Diverged),
            (reported(&[("a", at(1, 4)), ("b", at(1, 5))], 0, true), at(1, 5), Turn::Claim),
            (reported(reports, 0, true), at(0, 5), Turn::Diverged),
        ];
        for (look, own, expected) in table {
            assert_eq!(turn(&look, (own, &name("b")), Some(&both), true), expected, "{look:?}");
        }
    }

    #[test]
    fn a_log_begins_again_where_the_slowest_is_that_is_near() {
        let own = at(4, 50_000);
        let far = at(1, 10);
        let table: [(&[_], _); 4] = [
            (&[("a", own)], own),
            (&[("a", own), ("b", at(4, 49_000))], at(4, 49_000)),
            (&[("a", own), ("b", far)], own),
            (&[("b", far), ("c", at(3, 40_000))], at(3, 40_000)),
        ];
        for (reports, base) in table {
            assert_eq!(wanted_base(&reported(reports, 0, false), own), base, "{reports:?}");
        }
    }
}
