//! A keeper of the shared log in memory: carries out what `log::shared::contract` asks, as Redis does. It can be started
//! again, put back to an earlier state, wiped and copied. PURE: the time comes in.

use std::collections::BTreeMap;
use std::ops::Bound;

use quip_protocol::{Epoch, NodeName, Position};
use quip_server::log::shared::contract::{
    Agreed, Answer, Ask, BatchId, CLAIM_MS, Claim, ClusterId, Incarnation, Look, Stored,
};

/// What it does wrong, to show that a check sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It appends whatever incarnation it is.
    TakesUnagreed,
    /// A batch that is asked for again is appended again.
    TakesTwice,
}

/// What outlives the process, or goes to a replica.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    agreed: Option<Agreed>,
    base: Option<Position>,
    entries: BTreeMap<Position, Stored>,
    batches: BTreeMap<NodeName, (BatchId, Position)>,
}

/// A keeper of the log.
#[derive(Debug, Clone)]
pub struct Model {
    kept: Kept,
    incarnation: Incarnation,
    reports: BTreeMap<NodeName, Position>,
    /// When the first of them came, and the last.
    reported: (u64, u64),
    /// Who repairs, until when.
    claim: Option<(Claim, u64)>,
    /// What it does wrong.
    pub flaw: Option<Flaw>,
}

impl Kept {
    fn base(&self) -> Position {
        self.base.unwrap_or(Position::ZERO)
    }

    fn last(&self) -> Position {
        self.entries.last_key_value().map_or(self.base(), |(position, _)| *position)
    }

    /// Whether the entry at this position is there, or the log begins behind it.
    pub fn has(&self, position: Position) -> bool {
        position == self.base() || self.entries.contains_key(&position)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Model {
    /// An empty one, by this name of its first life.
    pub fn new(incarnation: &str) -> Model {
        Model::of(Kept::default(), incarnation)
    }

    /// Another process with what was kept: started again, put back, or promoted.
    pub fn of(kept: Kept, incarnation: &str) -> Model {
        let incarnation = Incarnation(incarnation.to_owned());
        Model { kept, incarnation, reports: BTreeMap::new(), reported: (0, 0), claim: None, flaw: None }
    }

    /// What it keeps now.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The same process, emptied.
    pub fn wipe(&mut self) {
        self.kept = Kept::default();
        self.reports.clear();
        self.claim = None;
    }

    /// The answer; nothing of a read that waits for an entry.
    pub fn answer(&mut self, now: u64, ask: &Ask) -> Option<Answer> {
        let done = match ask {
            Ask::Look => return Some(Answer::Look(self.look(now))),
            Ask::Read { after, max_bytes, wait_ms } => return self.read(*after, *max_bytes, *wait_ms),
            Ask::Report { node, position } => return Some(self.report(now, node, *position)),
            Ask::Append { epoch, seen, node, batch, .. } => {
                return Some(self.append(*epoch, *seen, node, *batch, ask));
            }
            Ask::Found { cluster, epoch, base } => self.found(now, *cluster, *epoch, *base),
            Ask::Claim { incarnation, claim } => self.claim(now, incarnation, *claim),
            Ask::Reset { claim, base } => self.holds(now, *claim) && self.reset(*base),
            Ask::Restore { claim, entries } => {
                self.follows(entries) && self.holds(now, *claim) && self.restore(entries)
            }
            Ask::Raise { claim, cluster, entry } => self.raise(now, *claim, *cluster, entry),
            Ask::Trim { upto } => self.is_agreed() && self.trim(*upto),
        };
        Some(if done { Answer::Done } else { Answer::Fenced })
    }

    fn look(&mut self, now: u64) -> Look {
        self.expire(now);
        let reported_for_ms = if self.reports.is_empty() { 0 } else { now.saturating_sub(self.reported.0) };
        Look {
            incarnation: self.incarnation.clone(),
            agreed: self.kept.agreed.clone(),
            base: self.kept.base(),
            last: self.kept.last(),
            reports: self.reports.clone(),
            reported_for_ms,
        }
    }

    fn expire(&mut self, now: u64) {
        if now >= self.reported.1 + CLAIM_MS {
            self.reports.clear();
        }
        self.claim.take_if(|(_, until)| now >= *until);
    }

    fn is_agreed(&self) -> bool {
        self.kept.agreed.as_ref().is_some_and(|agreed| agreed.incarnation == self.incarnation)
    }

    fn read(&self, after: Position, max_bytes: usize, wait_ms: u64) -> Option<Answer> {
        let behind = self.kept.entries.range((Bound::Excluded(after), Bound::Unbounded));
        let mut bytes = 0;
        let fits = |entry: &Stored| {
            let is_first = bytes == 0;
            bytes += entry.payload.len().max(1);
            is_first || bytes <= max_bytes
        };
        let mut fits = fits;
        let entries: Vec<Stored> =
            behind.map(|(_, entry)| entry).take_while(|entry| fits(entry)).cloned().collect();
        (wait_ms == 0 || !entries.is_empty()).then_some(Answer::Entries(entries))
    }

    fn report(&mut self, now: u64, node: &NodeName, position: Position) -> Answer {
        self.expire(now);
        if self.reports.is_empty() {
            self.reported.0 = now;
        }
        self.reported.1 = now;
        self.reports.insert(node.clone(), position);
        Answer::Look(self.look(now))
    }

    fn append(&mut self, epoch: Epoch, seen: Position, node: &NodeName, batch: BatchId, ask: &Ask) -> Answer {
        let is_agreed = self.is_agreed() || self.flaw == Some(Flaw::TakesUnagreed);
        let agreed = self.kept.agreed.as_ref().filter(|agreed| is_agreed && agreed.epoch == epoch);
        if agreed.is_none() || seen > self.kept.last() {
            return Answer::Fenced;
        }
        if let Some((had, place)) =
            self.kept.batches.get(node).filter(|_| self.flaw != Some(Flaw::TakesTwice))
        {
            if *had == batch {
                return Answer::Placed(*place);
            } else if seen < *place {
                return Answer::Fenced;
            }
        }
        let Ask::Append { payload, .. } = ask else { return Answer::Fenced };
        let before = self.kept.last();
        let position = Position { epoch, offset: before.offset + 1 };
        self.kept.batches.insert(node.clone(), (batch, position));
        self.restore(&[Stored { before, position, payload: payload.clone() }]);
        Answer::Placed(position)
    }

    fn found(&mut self, now: u64, cluster: ClusterId, epoch: Epoch, base: Position) -> bool {
        self.expire(now);
        if let Some(agreed) = &self.kept.agreed {
            return self.is_agreed() && agreed.cluster == cluster && agreed.epoch == epoch;
        }
        let is_empty = self.kept.is_empty() && self.reports.is_empty() && self.claim.is_none();
        if is_empty && epoch >= base.epoch {
            self.kept.base = Some(base);
            self.agree(cluster, epoch);
        }
        is_empty && epoch >= base.epoch
    }

    fn agree(&mut self, cluster: ClusterId, epoch: Epoch) {
        self.kept.agreed = Some(Agreed { cluster, incarnation: self.incarnation.clone(), epoch });
        self.kept.batches.clear();
        self.reports.clear();
        self.claim = None;
    }

    fn claim(&mut self, now: u64, incarnation: &Incarnation, claim: Claim) -> bool {
        self.expire(now);
        let is_free = self.claim.is_none_or(|(holder, _)| holder == claim);
        if *incarnation != self.incarnation || !is_free {
            return false;
        }
        self.claim = Some((claim, now + CLAIM_MS));
        if let Some(agreed) =
            self.kept.agreed.as_mut().filter(|agreed| agreed.incarnation == self.incarnation)
        {
            agreed.incarnation = Incarnation(String::new());
        }
        true
    }

    fn holds(&mut self, now: u64, claim: Claim) -> bool {
        self.expire(now);
        let held = self.claim.as_mut().filter(|(holder, _)| *holder == claim);
        held.map(|(_, until)| *until = now + CLAIM_MS).is_some()
    }

    fn reset(&mut self, base: Position) -> bool {
        self.kept.entries.clear();
        self.kept.base = Some(base);
        true
    }

    fn follows(&self, entries: &[Stored]) -> bool {
        let mut last = self.kept.last();
        entries.iter().all(|entry| {
            let follows = entry.before == last && entry.position > last;
            last = entry.position;
            follows
        })
    }

    fn restore(&mut self, entries: &[Stored]) -> bool {
        self.kept.entries.extend(entries.iter().map(|entry| (entry.position, entry.clone())));
        true
    }

    fn raise(&mut self, now: u64, claim: Claim, cluster: ClusterId, entry: &Stored) -> bool {
        let epoch = entry.position.epoch;
        let known = self.kept.agreed.as_ref().map_or(Epoch(0), |agreed| agreed.epoch);
        let follows = self.follows(std::slice::from_ref(entry)) && epoch > known.max(self.kept.last().epoch);
        if !follows || !self.holds(now, claim) {
            return false;
        }
        self.restore(std::slice::from_ref(entry));
        self.agree(cluster, epoch);
        true
    }

    fn trim(&mut self, upto: Position) -> bool {
        // The base is an entry that was there, so that the next one names it.
        if let Some((base, _)) = self.kept.entries.range(..=upto).next_back() {
            self.kept.base = Some(*base);
            self.kept.entries.retain(|position, _| *position > upto);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{Keeper, check};
    use super::*;

    /// A model with a clock.
    struct Clocked {
        model: Model,
        saved: Kept,
        now: u64,
        lives: u32,
    }

    impl Clocked {
        fn life(&mut self, kept: Kept) {
            self.lives += 1;
            self.model = Model::of(kept, &self.lives.to_string());
        }
    }

    impl Keeper for Clocked {
        fn ask(&mut self, ask: &Ask) -> Answer {
            self.model.answer(self.now, ask).expect("nobody waits here")
        }

        fn restart(&mut self) {
            self.life(self.model.kept().clone());
        }

        fn save(&mut self) {
            self.saved = self.model.kept().clone();
        }

        fn roll_back(&mut self) {
            self.life(self.saved.clone());
        }

        fn wipe(&mut self) {
            self.model.wipe();
        }

        fn pass(&mut self) {
            self.now += 10;
        }
    }

    #[test]
    fn the_model_keeps_the_contract() {
        check(&mut Clocked { model: Model::new("0"), saved: Kept::default(), now: 0, lives: 0 });
    }
}
