//! Holes in a timeline: the line that stands for one, fetching what is near to what is read, and what the user asks
//! for. Imports `rows` and `scroll`.

use quip_protocol::frame::PageFrom;
use quip_protocol::{RoomId, Seq, Timestamp};

use super::room::Room;
use super::rows::{Ink, Layout, Row, Span};
use super::runs::Hole;
use super::scroll::{self, Scroll};
use super::{App, LARGE_PAGE, PAGE, text};

/// Where nobody scrolled up, a hole is not near that lies so many events back, whatever stands between.
const FAR: u64 = 2_000;

impl Room {
    /// A page came without a connection: what lies between it and where it was asked for is in no copy here. Whether
    /// that was not known.
    pub(super) fn note_absent(&mut self, from: PageFrom, page: Option<(Seq, Seq)>) -> bool {
        let hole = match (from, page) {
            (PageFrom::Latest, Some((_, last))) => Hole::new(last.next(), self.upto()),
            (PageFrom::Latest, None) => None,
            (PageFrom::Before(seq), page) => {
                Hole::new(page.map_or(Seq(1), |(_, last)| last.next()), Seq(seq.0.saturating_sub(1)))
            }
            (PageFrom::After(seq), page) => {
                let last = page.map_or(self.upto(), |(first, _)| Seq(first.0.saturating_sub(1)));
                Hole::new(seq.next(), last)
            }
        };
        let Some(hole) = hole.filter(|hole| !self.is_absent(*hole)) else { return false };
        self.absent.push(hole);
        true
    }

    /// A page came: so much less is yet to be fetched of what the user asked for.
    pub(super) fn fill(&mut self, from: PageFrom, page: Option<(Seq, Seq)>) {
        let Some(filling) = self.filling.filter(|hole| from == PageFrom::Before(hole.last.next())) else {
            return;
        };
        let rest = page.and_then(|(first, _)| Hole::new(filling.first, Seq(first.0.saturating_sub(1))));
        self.filling = rest.filter(|rest| rest.last < filling.last);
    }

    /// The next page of what the user asked for.
    fn filling_page(&self) -> Option<(PageFrom, u32)> {
        let hole = self.filling?;
        Some((PageFrom::Before(hole.last.next()), limit(hole.count(), LARGE_PAGE)))
    }
}

fn limit(count: u64, most: u32) -> u32 {
    u32::try_from(count).unwrap_or(most).min(most)
}

impl App {
    /// The next page of a hole of the current room: one that the user asked for, or if `looks`, one that is near.
    pub(super) fn hole_page(&self, looks: bool) -> Option<(PageFrom, u32)> {
        let asked = self.rooms.current().filter(|_| self.is_up()).and_then(Room::filling_page);
        asked.or_else(|| if looks { self.near_page() } else { None })
    }

    /// The page next to what is seen, of the nearest hole within two screens of it.
    fn near_page(&self) -> Option<(PageFrom, u32)> {
        let layout = self.layout()?;
        let room = layout.room;
        let (at, height) = (room.scroll, 2 * self.height());
        let wanted = |hole: &Hole| self.is_up() || !room.is_absent(*hole);
        let above = |hole: Hole| (PageFrom::Before(hole.last.next()), limit(hole.count(), PAGE));
        let below = |hole: Hole| match hole.first {
            Seq(1) => above(hole),
            first => (PageFrom::After(Seq(first.0 - 1)), limit(hole.count(), PAGE)),
        };
        let anchor = match at {
            Scroll::At { key, .. } => key,
            Scroll::Bottom => layout.base(),
        };
        // What is gone to lies in a hole: its surroundings.
        let inside = room.timeline.hole(Seq(anchor), room.upto()).filter(|hole| hole.first.0 < anchor);
        if let Some(hole) = inside.filter(wanted) {
            return Some((PageFrom::Before(Seq(anchor + 1)), limit(anchor - hole.first.0 + 1, PAGE)));
        }
        let is_near = |hole: &Hole| at != Scroll::Bottom || anchor.saturating_sub(hole.last.0) <= FAR;
        let rows = scroll::upward(&layout, at, height);
        let up = rows.iter().filter_map(|row| layout.hole(row.key)).filter(wanted).find(is_near);
        if let Some(hole) = up {
            return Some(if hole.first.0 == anchor { below(hole) } else { above(hole) });
        }
        let rows = scroll::downward(&layout, anchor, usize::MAX - 1, height);
        rows.iter().filter_map(|row| layout.hole(row.key)).find(wanted).map(below)
    }

    /// Enter on a hole: all of it is fetched, now or when the server answers.
    pub(super) fn enter_hole(&mut self, hole: Hole) {
        let up = self.is_up();
        if let Some(room) = self.rooms.current_mut() {
            (room.filling, room.retry_at) = (Some(hole), Timestamp::default());
        }
        if !up {
            let them = if hole.count() == 1 {
                "1 event is"
            } else {
                &format!("{} events are", grouped(hole.count()))
            };
            self.say(format!("offline: {them} fetched when the server answers"));
        }
    }

    /// Lets go of what is far from what is read.
    pub(super) fn drop_far(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get(id).filter(|room| room.timeline.is_large()) else { return };
        let seen = match room.scroll {
            Scroll::Bottom => (room.timeline.last(), room.timeline.last()),
            Scroll::At { key, .. } if self.rooms.current_id() != Some(id) => (Seq(key), Seq(key)),
            Scroll::At { key, .. } => self.near(key),
        };
        if let Some(room) = self.rooms.get_mut(id) {
            room.timeline.keep_near(seen);
        }
    }

    /// The places of the current room within two screens of what is seen.
    fn near(&self, key: u64) -> (Seq, Seq) {
        let Some(layout) = self.layout() else { return (Seq(key), Seq(key)) };
        let height = 2 * self.height();
        let above = scroll::upward(&layout, layout.room.scroll, height);
        let below = scroll::downward(&layout, key, usize::MAX - 1, height);
        let place = |row: Option<&scroll::Placed>| Seq(row.map_or(key, |row| row.key));
        (place(above.last()), place(below.last()))
    }

    /// How many rows of the same event lie below the lowest that is seen. What comes before an event changes the rows
    /// above its words alone.
    pub(super) fn rows_below_anchor(&self) -> Option<usize> {
        let layout = self.layout()?;
        let Scroll::At { key, line } = layout.room.scroll else { return None };
        layout.room.timeline.at(Seq(key))?;
        layout.rows(key).len().checked_sub(line + 1)
    }

    /// So that the lowest row that is seen is the one that was.
    pub(super) fn keep_anchor(&mut self, below: Option<usize>) {
        let Some((layout, below)) = self.layout().zip(below) else { return };
        let Scroll::At { key, .. } = layout.room.scroll else { return };
        let line = layout.rows(key).len().saturating_sub(below + 1);
        if let Some(room) = self.rooms.current_mut() {
            room.scroll = Scroll::At { key, line };
        }
    }
}

impl Layout<'_> {
    /// The hole in which a key lies.
    pub fn hole(&self, key: u64) -> Option<Hole> {
        self.room.timeline.hole(Seq(key), self.room.upto()).filter(|_| key <= self.base())
    }

    /// Whether commands or Enter can be about what has this key.
    pub fn is_selectable(&self, key: u64) -> bool {
        self.room.timeline.message(Seq(key)).is_some() || self.hole(key).is_some()
    }

    /// The line that stands for a hole.
    pub(super) fn hole_rows(&self, hole: Hole) -> Vec<Row> {
        let mut rows = Vec::new();
        let before = hole.first.0 - 1;
        if before > 0 && self.room.unread_line == Some(Seq(before)) {
            rows.push(self.divider("new", Ink::Unread));
        }
        let line = self.hole_line(hole);
        let mut row = Row::of(vec![Span::new(format!(" {line}"), Ink::Dim)]);
        row.selected = self.room.selected_hole() == Some(hole);
        rows.push(row);
        rows
    }

    /// As much of it as fits into the row.
    fn hole_line(&self, hole: Hole) -> String {
        let count = grouped(hole.count());
        let what = match (self.is_up, self.room.fetching) {
            (true, true) => ["fetching…", "fetching…"],
            (true, false) if hole.count() == 1 => ["Enter fetches it", "Enter"],
            (true, false) => ["Enter fetches them", "Enter"],
            (false, _) => ["fetched when connected", "offline"],
        };
        let lines = what.map(|what| format!("… {count} missing · {what}"));
        let lines = lines.into_iter().chain([format!("… {count} missing"), format!("… {count}")]);
        let cells = self.width.saturating_sub(2);
        let fits = |line: &String| text::width(line) <= cells;
        lines.into_iter().find(fits).unwrap_or_else(|| text::ellipsis(&count, cells).into_owned())
    }
}

/// `1,240`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands() {
        let table = [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345, "12,345"), (1_000_000, "1,000,000")];
        for (count, expected) in table {
            assert_eq!(grouped(count), expected);
        }
    }
}
