//! A member that repairs a log which nobody agreed on: it reports what it has, and the one that has most writes back what
//! the log lacks and raises the epoch. PURE.

use std::collections::BTreeSet;

use quip_protocol::{Epoch, NodeName, Position};

use super::contract::{Answer, Ask, CLAIM_MS, Claim, Incarnation, Look, Stored};
use super::member::{Chance, Effect, Member, Question, Stand, StepAside};

/// How often a node reports while it waits.
const REPORT_MS: u64 = 100;
/// How long nodes are waited for that were alive, or may be about to begin.
const ROSTER_MS: u64 = 2_000;
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
            let after = look.last.max(wanted);
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
            None => self.report_later(now),
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
    let patience = if everybody && was_live { 0 } else { ROSTER_MS };
    match look.reported_for_ms >= patience + greater as u64 * CLAIM_MS {
        true => Turn::Claim,
        false => Turn::Wait,
    }
}

/// Where a log that is written anew begins: every node that reported finds what it lacks, but for those that lack too much.
fn wanted_base(look: &Look, own: Position) -> Position {
    let near = |position: &Position| position.offset.saturating_add(WRITE_BACK) >= own.offset;
    look.reports.values().copied().filter(near).fold(own, Position::min)
}
