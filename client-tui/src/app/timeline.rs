//! The events of one room that are in memory: one gap-free segment. Imports types of the protocol alone.
//!
//! Invariant: the seqs of `events` are dense, so that a seq is an index. What a gap would need is fetched first.

use std::collections::VecDeque;

use quip_protocol::{Cursor, Event, Message, Seq};

/// At most this many events stay in memory where nobody scrolled up.
const KEEP: usize = 2_000;

/// A gap-free run of a room's events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    events: VecDeque<Event>,
    /// A page has come: from here on the segment is part of the truth, even if it is empty.
    loaded: bool,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is the newest now.
    Appended,
    /// It was there already.
    Known,
    /// Events before it are missing; it was not taken.
    Gap,
    /// Nothing is kept of this room yet; it was not taken.
    Unloaded,
}

impl Timeline {
    /// Whether a page has come.
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// The events, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        self.events.iter()
    }

    /// The oldest event's seq.
    pub fn first(&self) -> Option<Seq> {
        self.events.front().map(|event| event.seq)
    }

    /// The newest event's seq, or [`Seq::ZERO`].
    pub fn last(&self) -> Seq {
        self.events.back().map_or(Seq::ZERO, |event| event.seq)
    }

    /// The newest event's cursor.
    pub fn cursor(&self) -> Option<Cursor> {
        self.events.back().map(|event| Cursor { epoch: event.epoch, seq: event.seq })
    }

    /// Whether the room's first event is here.
    pub fn has_beginning(&self) -> bool {
        self.loaded && self.first().is_none_or(|first| first <= Seq(1))
    }

    /// The event at `seq`.
    pub fn at(&self, seq: Seq) -> Option<&Event> {
        self.events.get(self.index(seq)?)
    }

    /// The message at `seq`, if there is one and it was not deleted.
    pub fn message(&self, seq: Seq) -> Option<(&Event, &Message)> {
        let event = self.at(seq)?;
        event.message().filter(|message| !message.deleted).map(|message| (event, message))
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        let offset = seq.0.checked_sub(self.first()?.0)?;
        usize::try_from(offset).ok().filter(|index| *index < self.events.len())
    }

    /// Takes an event that came live.
    pub fn push(&mut self, event: Event) -> Taken {
        if !self.loaded {
            return Taken::Unloaded;
        }
        let last = self.last();
        if event.seq <= last {
            return Taken::Known;
        }
        if event.seq != last.next() {
            return Taken::Gap;
        }
        self.amend(&event);
        self.events.push_back(event);
        Taken::Appended
    }

    /// Takes a page whose messages are as they were when the room's newest event was `head`. What does not touch the
    /// segment replaces it.
    pub fn insert(&mut self, page: Vec<Event>, head: Cursor) {
        self.loaded = true;
        let page = dense(page);
        let (Some(start), Some(end)) = (page.first().map(|e| e.seq), page.last().map(|e| e.seq)) else {
            return;
        };
        let first = self.first();
        if first.is_none_or(|first| end.next() < first || start > self.last().next()) {
            self.events = page.into();
        } else if first.is_some_and(|first| start < first) {
            self.prepend(page, head);
        } else {
            for event in page {
                self.push(event);
            }
        }
    }

    fn prepend(&mut self, page: Vec<Event>, head: Cursor) {
        let Some(first) = self.first() else { return };
        let (older, newer): (Vec<Event>, Vec<Event>) = page.into_iter().partition(|event| event.seq < first);
        for event in older.into_iter().rev() {
            self.events.push_front(event);
        }
        // The page does not show what was amended after it was read.
        let later: Vec<Event> = self
            .events
            .iter()
            .filter(|event| event.seq > head.seq && event.body.rewrites().any(|seq| seq < first))
            .cloned()
            .collect();
        for event in &later {
            self.amend(event);
        }
        for event in newer {
            self.push(event);
        }
    }

    fn amend(&mut self, by: &Event) {
        for seq in by.body.rewrites() {
            if let Some(index) = self.index(seq) {
                self.events[index].amend(by);
            }
        }
    }

    /// Drops what is behind `keep`. Returns whether anything of the segment is left.
    pub fn truncate(&mut self, keep: Seq) -> bool {
        while self.events.back().is_some_and(|event| event.seq > keep) {
            self.events.pop_back();
        }
        self.loaded &= !self.events.is_empty();
        self.loaded
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Timeline::default();
    }

    /// Drops old events beyond what is kept where nobody reads them.
    pub fn trim(&mut self) {
        if self.events.len() > 2 * KEEP {
            self.events.drain(..self.events.len() - KEEP);
        }
    }

    /// The newest of the messages that `wanted` accepts, within reach.
    pub fn newest(&self, wanted: impl Fn(&Event, &Message) -> bool) -> Option<(&Event, &Message)> {
        const REACH: usize = 1_000;
        self.events.iter().rev().take(REACH).find_map(|event| {
            let message = event.message().filter(|message| !message.deleted)?;
            wanted(event, message).then_some((event, message))
        })
    }
}

/// The longest end of `page` that is dense and in order: a server that sends anything else is not believed.
fn dense(mut page: Vec<Event>) -> Vec<Event> {
    let breaks = page.windows(2).rposition(|pair| pair[1].seq != pair[0].seq.next());
    match breaks {
        Some(at) => page.split_off(at + 1),
        None => page,
    }
}
