//! Events of one room in memory: gap-free runs, with holes between them. Imports types of the protocol alone.
//!
//! Invariant: no run is empty, each is dense, they are in order, and between two of them at least one event is missing.
//! So a seq is in one run or in one hole. A *place* is a seq that is here, or the first one of a hole: what has a row
//! on the screen.

use std::collections::{BTreeSet, VecDeque};

use quip_protocol::{Event, Seq};

/// Events that follow one another without a gap.
type Run = VecDeque<Event>;

/// Seqs that are missing, all of them from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hole {
    /// The first of them.
    pub first: Seq,
    /// The last of them.
    pub last: Seq,
}

impl Hole {
    /// From one to the other, both included; `None` if that is nothing.
    pub fn new(first: Seq, last: Seq) -> Option<Hole> {
        (first <= last).then_some(Hole { first, last })
    }

    /// How many events are missing.
    pub fn count(self) -> u64 {
        (self.last.0 - self.first.0).saturating_add(1)
    }

    /// Whether `seq` is one of them.
    pub fn holds(self, seq: Seq) -> bool {
        (self.first..=self.last).contains(&seq)
    }
}

/// What is here of a room's events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runs {
    runs: Vec<Run>,
}

fn first(run: &Run) -> Seq {
    run.front().map_or(Seq::ZERO, |event| event.seq)
}

fn last(run: &Run) -> Seq {
    run.back().map_or(Seq::ZERO, |event| event.seq)
}

impl Runs {
    /// The events, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.runs.iter().flatten()
    }

    /// Those behind the newest hole, oldest first.
    pub fn newest_run(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.runs.last().into_iter().flatten()
    }

    /// How many events are here.
    pub fn count(&self) -> usize {
        self.runs.iter().map(VecDeque::len).sum()
    }

    /// The oldest.
    pub fn first(&self) -> Option<Seq> {
        self.runs.first().map(first)
    }

    /// The newest.
    pub fn last(&self) -> Option<&Event> {
        self.runs.last()?.back()
    }

    /// Whether a hole lies behind `seq`, before the newest that is here.
    pub fn is_behind_a_hole(&self, seq: Seq) -> bool {
        self.runs.last().is_some_and(|run| seq < first(run))
    }

    /// The event at `seq`.
    pub fn at(&self, seq: Seq) -> Option<&Event> {
        let run = self.runs.get(self.run_behind(seq).checked_sub(1)?)?;
        run.get(usize::try_from(seq.0 - first(run).0).ok()?)
    }

    /// The first run that begins behind `seq`.
    fn run_behind(&self, seq: Seq) -> usize {
        self.runs.partition_point(|run| first(run) <= seq)
    }

    /// The hole in which `seq` lies, in a room whose newest event is `upto`.
    pub fn hole(&self, seq: Seq, upto: Seq) -> Option<Hole> {
        let behind = self.run_behind(seq);
        let from = behind.checked_sub(1).map_or(Seq(1), |before| last(&self.runs[before]).next());
        let to = self.runs.get(behind).map_or(upto, |run| Seq(first(run).0.saturating_sub(1)));
        Hole::new(from, to).filter(|hole| hole.holds(seq))
    }

    /// All holes of a room whose newest event is `upto`, oldest first.
    pub fn holes(&self, upto: Seq) -> impl Iterator<Item = Hole> {
        let starts = std::iter::once(Seq(1)).chain(self.runs.iter().map(|run| last(run).next()));
        starts.filter_map(move |start| self.hole(start, upto))
    }

    /// The place before `seq`.
    pub fn before(&self, seq: Seq, upto: Seq) -> Option<Seq> {
        let newest = upto.max(self.last().map_or(Seq::ZERO, |event| event.seq));
        let seq = Seq(seq.0.checked_sub(1)?).min(newest);
        if self.at(seq).is_some() { Some(seq) } else { self.hole(seq, upto).map(|hole| hole.first) }
    }

    /// The place behind `seq`.
    pub fn after(&self, seq: Seq, upto: Seq) -> Option<Seq> {
        let seq = seq.next();
        if self.at(seq).is_some() {
            return Some(seq);
        }
        let hole = self.hole(seq, upto)?;
        if hole.first == seq { Some(seq) } else { self.at(hole.last.next()).map(|event| event.seq) }
    }

    /// Takes the event behind the newest, if it is that one.
    pub fn push(&mut self, event: Event) -> bool {
        let next = self.last().map_or(Seq(1), |event| event.seq.next());
        if event.seq != next {
            return false;
        }
        match self.runs.last_mut() {
            Some(run) => run.push_back(event),
            None => self.runs.push(Run::from([event])),
        }
        true
    }

    /// Takes a dense page in the place of what is here of the same seqs; whether there was less before.
    pub fn put(&mut self, page: Vec<Event>) -> bool {
        let (Some(start), Some(end)) = (page.first().map(|e| e.seq), page.last().map(|e| e.seq)) else {
            return false;
        };
        let before = self.count();
        // Those that the page overlaps or touches are one with it.
        let from = self.runs.partition_point(|run| last(run).next() < start);
        let to = self.runs.partition_point(|run| first(run) <= end.next());
        let mut joined: Run = self.runs.drain(from..to).flatten().collect();
        let newer = joined.split_off(joined.partition_point(|event| event.seq <= end));
        joined.truncate(joined.partition_point(|event| event.seq < start));
        joined.extend(page);
        joined.extend(newer);
        self.runs.insert(from, joined);
        self.count() > before
    }

    /// Lets `by` amend what it rewrites, as far as that is here and `wanted`.
    pub fn amend(&mut self, by: &Event, wanted: impl Fn(Seq) -> bool) {
        for seq in by.body.rewrites().filter(|seq| wanted(*seq)) {
            if let Some(run) = self.run_behind(seq).checked_sub(1).and_then(|run| self.runs.get_mut(run)) {
                let place = usize::try_from(seq.0 - first(run).0).ok();
                if let Some(event) = place.and_then(|place| run.get_mut(place)) {
                    event.amend(by);
                }
            }
        }
    }

    /// Drops what is behind `keep`, and what that rewrote: how it was before, nobody knows here.
    pub fn truncate(&mut self, keep: Seq) {
        let dropped = self.events().rev().take_while(|event| event.seq > keep);
        let rewritten: BTreeSet<Seq> = dropped.flat_map(|event| event.body.rewrites()).collect();
        self.retain(|_, event| event.seq <= keep && !rewritten.contains(&event.seq));
    }

    /// Keeps what lies from `from` to `to` and `beside` events on either side of that, and the `newest` events; lets go
    /// of the rest.
    pub fn keep_near(&mut self, (from, to): (Seq, Seq), beside: usize, newest: usize) {
        let start = self.events().take_while(|event| event.seq < from).count().saturating_sub(beside);
        let end = self.events().take_while(|event| event.seq <= to).count().saturating_add(beside);
        let newest = self.count().saturating_sub(newest);
        self.retain(|place, _| (start..end).contains(&place) || place >= newest);
    }

    /// Keeps what is wanted, by its place in order.
    fn retain(&mut self, wanted: impl Fn(usize, &Event) -> bool) {
        let all = std::mem::take(&mut self.runs).into_iter().flatten().enumerate();
        for (_, event) in all.filter(|(place, event)| wanted(*place, event)) {
            match self.runs.last_mut().filter(|run| last(run).next() == event.seq) {
                Some(run) => run.push_back(event),
                None => self.runs.push(Run::from([event])),
            }
        }
    }
}
