//! The events of one room that are in memory, as they are after what amends them. Imports `runs`.

use std::collections::BTreeMap;

use quip_protocol::{Cursor, Event, EventBody, Message, Seq};

use super::runs::{Hole, Runs};

/// Of more than twice as many events those that are far from what is read are let go.
const KEEP: usize = 2_000;
/// So many of the newest stay, wherever one reads.
const NEWEST: usize = 200;

/// What is here of a room's events: runs of them, and holes between.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    runs: Runs,
    /// A page has come: from here on what is here is part of the truth, even if it is empty.
    loaded: bool,
}

impl Timeline {
    /// Whether a page has come.
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// The events, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.runs.events()
    }

    /// Those behind the newest hole, oldest first.
    pub fn newest_run(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.runs.newest_run()
    }

    /// The oldest event's seq.
    pub fn first(&self) -> Option<Seq> {
        self.runs.first()
    }

    /// The newest event's seq, or [`Seq::ZERO`].
    pub fn last(&self) -> Seq {
        self.runs.last().map_or(Seq::ZERO, |event| event.seq)
    }

    /// Whether the room's first event is here.
    pub fn has_beginning(&self) -> bool {
        self.loaded && self.first().is_none_or(|first| first <= Seq(1))
    }

    /// The event at `seq`.
    pub fn at(&self, seq: Seq) -> Option<&Event> {
        self.runs.at(seq)
    }

    /// The hole in which `seq` lies, in a room whose newest event is `upto`.
    pub fn hole(&self, seq: Seq, upto: Seq) -> Option<Hole> {
        self.runs.hole(seq, upto).filter(|_| self.loaded)
    }

    /// The event, or the first one of a hole, before `seq`.
    pub fn before(&self, seq: Seq, upto: Seq) -> Option<Seq> {
        self.runs.before(seq, upto)
    }

    /// The event, or the first one of a hole, behind `seq`.
    pub fn after(&self, seq: Seq, upto: Seq) -> Option<Seq> {
        self.runs.after(seq, upto)
    }

    /// The message at `seq`, if there is one and it was not deleted.
    pub fn message(&self, seq: Seq) -> Option<(&Event, &Message)> {
        let event = self.at(seq)?;
        event.message().filter(|message| !message.deleted).map(|message| (event, message))
    }

    /// Takes an event that came live; whether it is the newest now. One that is behind a hole is left to pages, but for
    /// what it amends.
    pub fn push(&mut self, event: Event) -> bool {
        if !self.loaded || self.at(event.seq).is_some() {
            return false;
        }
        self.runs.amend(&event, |_| true);
        self.runs.push(event)
    }

    /// Takes a page whose messages are as they were when the room's newest event was `head`; whether it brought
    /// something.
    pub fn insert(&mut self, page: Vec<Event>, head: Cursor) -> bool {
        self.loaded = true;
        let page = dense(page);
        let (Some(first), Some(last)) = (page.first().map(|e| e.seq), page.last().map(|e| e.seq)) else {
            return false;
        };
        let in_page = |seq: Seq| (first..=last).contains(&seq);
        // By event outside of the page: what amends it from this one on was not known before.
        let mut learned: BTreeMap<Seq, Seq> = BTreeMap::new();
        for event in page.iter().filter(|event| self.at(event.seq).is_none()) {
            for target in event.body.rewrites().filter(|seq| !in_page(*seq)) {
                learned.entry(target).or_insert(event.seq);
            }
        }
        let news = self.runs.put(page);
        self.amend_again(|target, by| match in_page(target) {
            // The page does not show what was amended after it was read.
            true => by > head.seq,
            false => learned.get(&target).is_some_and(|from| *from <= by),
        });
        news
    }

    /// Applies all amendments that are `wanted`, by their targets and their own places, in their order. A reaction is
    /// left out where those behind it are not here: it may have been taken back.
    fn amend_again(&mut self, wanted: impl Fn(Seq, Seq) -> bool) {
        let sure =
            |by: &Event| !matches!(by.body, EventBody::Reacted { .. }) || !self.runs.is_behind_a_hole(by.seq);
        let amends = |by: &&Event| by.body.rewrites().any(|seq| wanted(seq, by.seq)) && sure(by);
        let again: Vec<Event> = self.events().filter(amends).cloned().collect();
        for by in &again {
            self.runs.amend(by, |seq| wanted(seq, by.seq));
        }
    }

    /// Events came that are for the local copy alone: those that edit or delete what is here do so.
    pub fn learn(&mut self, events: &[Event]) {
        for by in events.iter().filter(|by| !matches!(by.body, EventBody::Reacted { .. })) {
            if self.at(by.seq).is_none() {
                self.runs.amend(by, |_| true);
            }
        }
    }

    /// Drops what is behind `keep`, up to `upto`, and what that rewrote: everything, where not all of it is here.
    pub fn truncate(&mut self, keep: Seq, upto: Seq) {
        if self.last() < upto || self.runs.is_behind_a_hole(keep.next()) {
            self.runs = Runs::default();
        }
        self.runs.truncate(keep);
        self.loaded &= self.runs.first().is_some();
    }

    /// Whether there is more than what should stay in memory.
    pub fn is_large(&self) -> bool {
        self.runs.count() > 2 * KEEP
    }

    /// Keeps what lies around the events that are seen, and the newest.
    pub fn keep_near(&mut self, seen: (Seq, Seq)) {
        if self.is_large() {
            self.runs.keep_near(seen, KEEP / 2, NEWEST);
        }
    }

    /// The newest of the messages that `wanted` accepts, within reach and behind the newest hole.
    pub fn newest(&self, wanted: impl Fn(&Event, &Message) -> bool) -> Option<(&Event, &Message)> {
        const REACH: usize = 1_000;
        self.newest_run().rev().take(REACH).find_map(|event| {
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
