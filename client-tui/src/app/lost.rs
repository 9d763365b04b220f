//! Messages that the server had and lost: its log was repaired, and they did not come again. They stay, marked, where
//! they stood. Imports `rows` and the prompt.

use quip_protocol::{Event, RoomId, Seq};

use super::prompt::{Deed, Kind, Prompt};
use super::rows::{Ink, Layout, Row};
use super::said::Said;
use super::{App, dates};

impl App {
    /// Behind `keep` the places of a room are given anew: what the user was about to do with a message there would be
    /// done to another one.
    pub(super) fn let_go_behind(&mut self, id: RoomId, keep: Seq) {
        let here = self.rooms.current_id() == Some(id);
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.selected.take_if(|seq| *seq > keep);
        let let_go = if here { &mut self.composer } else { &mut room.draft }.let_go_behind(keep);
        let asked = |prompt: &mut Prompt| matches!(prompt.kind, Kind::Sure(Deed::Delete { room, seq, .. }, _) if room == id && seq > keep);
        if self.prompt.take_if(asked).is_some() || let_go {
            let target = &room.summary.target;
            let what =
                format!("the server lost messages of {target}; the one you were at may be another now");
            self.complain(what);
        }
    }

    /// Takes the messages of a room that are lost; sorted by their old places.
    pub(super) fn lost(&mut self, id: RoomId, lost: Vec<Event>) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let (count, target) = (lost.len(), room.summary.target.clone());
        let more = count > room.lost.len();
        room.lost = lost;
        let said = match count {
            1 => "1 message".to_owned(),
            _ => format!("{count} messages"),
        };
        if more {
            self.say(format!("the server lost {said} of {target}; marked, and kept on this disk"));
        }
    }
}

impl<'a> Layout<'a> {
    /// The rows of lost messages that stand below what has this key.
    pub(super) fn lost_rows(&self, key: u64, rows: &mut Vec<Row>) {
        for event in self.lost_at(key) {
            let Some(message) = event.message() else { continue };
            let shown = Said {
                author: Some(&event.author),
                time: Some(dates::clock(event.at, self.zone)),
                grouped: false,
                kind: message.kind,
                // What it answers has another place now, or none.
                reply_to: None,
                text: message.text(),
                ink: Ink::Dim,
                suffix: "(lost by the server)",
                folds: false,
            };
            self.said_rows(&shown, rows);
        }
    }

    /// Each belongs to the event that now has its place; those behind the newest to that, and those before the oldest
    /// to the head, once the beginning is there.
    fn lost_at(&self, key: u64) -> &'a [Event] {
        let timeline = &self.room.timeline;
        let (head, last) = (self.head(), timeline.last().0);
        if !timeline.is_loaded() || key > last || (key == head && !timeline.has_beginning()) {
            return &[];
        }
        let upto = if key == last { u64::MAX } else { key };
        self.lost_between(if key == head { 0 } else { key }, upto)
    }

    /// The lost ones whose old places are from `first` to `last`, both included.
    pub(super) fn lost_between(&self, first: u64, last: u64) -> &'a [Event] {
        let lost = &self.room.lost;
        let start = lost.partition_point(|event| event.seq.0 < first);
        let end = lost.partition_point(|event| event.seq.0 <= last);
        &lost[start..end.max(start)]
    }
}
