//! A member that follows a log which is agreed on: reads, checks that each entry follows, delivers.

use quip_protocol::{Epoch, Position};

use super::contract::{Answer, Ask, BatchId, Look, Lost, Stored};
use super::member::{Agreement, Chance, Effect, Lane, Member, Stand, StepAside, WAIT_MS};

impl Member {
    /// The log takes entries in this epoch, and has all that this member has, or another branch.
    pub(super) fn follow(&mut self, epoch: Epoch, look: &Look, effects: &mut Vec<Effect>) {
        if look.base > self.tail.read {
            return self.aside(StepAside::Behind { base: look.base }, effects);
        }
        if let Stand::Agreed(agreed) = &mut self.stand
            && agreed.epoch == epoch
        {
            if let Some((_, why)) = agreed.suspect.take_if(|(then, _)| *then == epoch) {
                self.aside(why, effects);
            }
            return;
        }
        self.agreements += 1;
        self.stand = Stand::Agreed(Agreement { epoch, to: look.last, suspect: None });
    }

    pub(super) fn wants_to_read(&self) -> bool {
        let agreed = matches!(&self.stand, Stand::Agreed(agreed) if agreed.suspect.is_none());
        agreed && self.reading.is_idle() && self.tail.room().is_some()
    }

    pub(super) fn ask_on_read(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let Some(max_bytes) = self.tail.room() else { return };
        if self.wants_to_read() && self.reading.is_free(now) {
            let after = self.tail.read;
            self.reading.ask((after, self.agreements));
            effects.push(Effect::Ask(Lane::Read, Ask::Read { after, max_bytes, wait_ms: WAIT_MS }));
        }
    }

    pub(super) fn read_answered(
        &mut self,
        now: u64,
        chance: &mut impl Chance,
        answer: Result<Answer, Lost>,
        effects: &mut Vec<Effect>,
    ) {
        let Ok(Answer::Entries(entries)) = answer else {
            self.reading.lose(now, chance);
            self.look_at = now;
            return;
        };
        let after = self.reading.answered();
        // What is read while the log is repaired may not stay; what was asked for before it may come of another process that
        // kept the log, and goes on with it; and what was asked for before a rewind does not follow.
        if after == Some((self.tail.read, self.agreements)) && matches!(self.stand, Stand::Agreed(_)) {
            self.deliver(entries, effects);
        }
    }

    fn deliver(&mut self, entries: Vec<Stored>, effects: &mut Vec<Effect>) {
        let (entries, why) = self.tail.follow(entries);
        let read = self.tail.read;
        for entry in &entries {
            self.find(entry.position, (self.own.batch_of)(&entry.payload), effects);
        }
        effects.extend(self.batches.overtaken(read).into_iter().map(Effect::NotTaken));
        if !entries.is_empty() {
            effects.push(Effect::Deliver(entries));
        }
        let Stand::Agreed(agreed) = &mut self.stand else { return };
        // The entry that raises an epoch says that it was agreed on.
        agreed.epoch = agreed.epoch.max(read.epoch);
        agreed.suspect = why.map(|why| (agreed.epoch, why));
    }

    fn find(&mut self, position: Position, batch: Option<BatchId>, effects: &mut Vec<Effect>) {
        if let Some(batch) = batch
            && self.batches.found(batch, position)
        {
            effects.push(Effect::Placed(batch, position));
        }
    }
}
