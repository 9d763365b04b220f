//! The rows of a timeline: each event laid out at a width, as spans of text with their inks. Imports the state of a
//! room; which colour an ink has is the view's business.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use quip_protocol::{AccountName, Event, Message, MessageId, MessageKind, RoomId, Seq, Timestamp};
use quip_storage::search::Query;

use super::highlights::{Highlights, Syntax};
use super::outbox::{Delivery, State, What};
use super::room::Room;
use super::said::{Columns, Said};
use super::{dates, noise, text, words};

/// What a piece of text is; the view gives it a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ink {
    /// What someone said.
    Text,
    /// What someone did.
    Action,
    /// What can be overlooked: times, joins, `(edited)`.
    Dim,
    /// A nick, in one of [`words::NICK_COLOURS`].
    Nick(u8),
    /// The user's name where it was mentioned.
    Mention,
    /// An address.
    Link,
    /// Code.
    Code,
    /// A word of code, where its language is known; what is between them is text.
    Syntax(Syntax),
    /// Words that were looked for.
    Found,
    /// Sent and not yet durable.
    Pending,
    /// Refused.
    Error,
    /// The line between days.
    Day,
    /// The line above what is new.
    Unread,
    /// A reaction.
    Reaction,
    /// A reaction of the user.
    OwnReaction,
    /// A headline.
    Head,
    /// A term that is explained.
    Term,
}

/// Text of one ink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text.
    pub text: String,
    /// Its ink.
    pub ink: Ink,
    /// The address that it leads to.
    pub link: Option<Box<str>>,
}

impl Span {
    /// Text of one ink.
    pub fn new(text: impl Into<String>, ink: Ink) -> Span {
        Span { text: text.into(), ink, link: None }
    }
}

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Its spans, from the left.
    pub spans: Vec<Span>,
    /// Whether it belongs to the message that commands are about.
    pub selected: bool,
    /// Whether it belongs to a message that names the user.
    pub calls: bool,
}

impl Row {
    /// A row of these spans.
    pub fn of(spans: Vec<Span>) -> Row {
        Row { spans, selected: false, calls: false }
    }
}

/// Messages of one author this close are shown as one group, in milliseconds.
const GROUP_MS: u64 = 5 * 60 * 1000;

/// A room's timeline at a width. Events have their seq as key, holes that of the first event that is missing; messages
/// that are not in the log yet have the keys behind the newest; 0 is the key of the head, above the first event.
pub struct Layout<'a> {
    /// The room.
    pub room: &'a Room,
    /// Its messages that are not in the log yet.
    pub posts: Vec<&'a Delivery>,
    /// Edits without an answer, by message.
    pub edits: Vec<&'a Delivery>,
    /// The account.
    pub me: Option<&'a AccountName>,
    /// The user's zone.
    pub zone: &'a TimeZone,
    /// The time.
    pub now: Timestamp,
    /// Cells a row has.
    pub width: usize,
    /// What was looked for, where that led here.
    pub find: Option<&'a Query>,
    /// Long messages that are shown whole.
    pub unfolded: &'a BTreeSet<(RoomId, Seq)>,
    /// The refused message that is selected.
    pub picked: Option<MessageId>,
    /// What is known of the code in them.
    pub highlights: &'a Highlights,
    /// Whether the connection is there.
    pub is_up: bool,
}

impl<'a> Layout<'a> {
    /// The key of the highest row.
    pub fn head(&self) -> u64 {
        u64::from(self.room.timeline.is_loaded() && !self.room.timeline.has_beginning())
    }

    /// The key of the newest that is in the log: an event, or a hole.
    pub fn base(&self) -> u64 {
        self.room.newest_hole().map_or(self.room.timeline.last(), |hole| hole.first).0
    }

    /// The key of the newest.
    pub fn tail(&self) -> u64 {
        self.base() + self.posts.len() as u64
    }

    /// The key before `key`.
    pub fn before(&self, key: u64) -> Option<u64> {
        let head = self.head();
        if key <= head {
            return None;
        }
        if key > self.base() {
            return Some(self.tail().min(key - 1));
        }
        let place = self.room.timeline.before(Seq(key), self.room.upto());
        Some(place.map_or(head, |place| place.0.max(head)))
    }

    /// The key behind `key`.
    pub fn after(&self, key: u64) -> Option<u64> {
        if key >= self.base() {
            return (key < self.tail()).then_some(key + 1);
        }
        self.room.timeline.after(Seq(key), self.room.upto()).map(|place| place.0)
    }

    /// The rows of what has this key, and of lost messages below it; none for amendments and keys that are out of
    /// range.
    pub fn rows(&self, key: u64) -> Vec<Row> {
        let mut rows = match (self.room.timeline.at(Seq(key)), self.post(key)) {
            _ if key == 0 => self.head_rows(),
            (Some(event), _) => self.event_rows(event, false),
            (None, Some(delivery)) => self.post_rows(key, delivery),
            (None, None) => match self.hole(key).filter(|hole| hole.first.0 == key) {
                Some(hole) => self.hole_rows(hole),
                None => Vec::new(),
            },
        };
        self.lost_rows(key, &mut rows);
        rows
    }

    /// The first row of a message as it is seen at the top of the window: who wrote it is said there, also within a
    /// group. `None` where that would take a row more.
    pub fn led_row(&self, key: u64) -> Option<Row> {
        let event = self.room.timeline.at(Seq(key)).filter(|event| event.message().is_some())?;
        let inline = Columns::at(self.width).inline;
        if inline { self.event_rows(event, true).into_iter().next() } else { None }
    }

    fn post(&self, key: u64) -> Option<&Delivery> {
        let offset = key.checked_sub(self.base() + 1)?;
        self.posts.get(usize::try_from(offset).ok()?).copied()
    }

    fn head_rows(&self) -> Vec<Row> {
        let room = &self.room.summary;
        let line = if self.room.held {
            format!("Kept, and sent to {} when the server takes it.", room.target)
        } else if self.room.timeline.has_beginning() {
            match room.target {
                quip_protocol::Target::Room(_) => format!("This is the beginning of {}.", room.target),
                quip_protocol::Target::Direct(_) => {
                    format!("This is the beginning of your talk with {}.", room.target)
                }
            }
        } else if self.room.fetching {
            "Fetching what was said before…".to_owned()
        } else {
            "There is more above; it comes when the server answers.".to_owned()
        };
        let nothing_said = self.room.timeline.newest(|_, _| true).is_none() && self.posts.is_empty();
        let hint = match self.room.timeline.has_beginning() && nothing_said {
            true if self.room.is_direct() => "\nSay something.",
            true => "\nSay something, or bring someone in with /invite.",
            false => "",
        };
        let line = line + hint;
        let pieces = text::wrap(&line, self.width.saturating_sub(2)).into_iter();
        pieces.map(|piece| Row::of(vec![Span::new(format!(" {}", &line[piece]), Ink::Dim)])).collect()
    }

    /// The event that is shown before `seq`, if there is no hole between.
    pub(super) fn previous(&self, seq: u64) -> Option<&'a Event> {
        let before = (0..seq).rev().map_while(|seq| self.room.timeline.at(Seq(seq)));
        before.into_iter().find(|event| event.body.amends().is_none())
    }

    /// The event that is shown behind `seq`, if there is no hole between.
    pub(super) fn following(&self, seq: u64) -> Option<&'a Event> {
        let behind = (seq + 1..).map_while(|seq| self.room.timeline.at(Seq(seq)));
        behind.into_iter().find(|event| event.body.amends().is_none())
    }

    fn event_rows(&self, event: &'a Event, led: bool) -> Vec<Row> {
        if event.body.amends().is_some() {
            return Vec::new();
        }
        let crowd = match noise::Crowd::of(self, event) {
            noise::Place::Alone => None,
            noise::Place::Before => return Vec::new(),
            noise::Place::Last(crowd) => Some(crowd),
        };
        let first = crowd.as_ref().map_or(event, |crowd| crowd.first);
        let previous = self.previous(first.seq.0);
        let (mut rows, fresh) = self.dividers(first.seq.0, first.at, previous);
        if let Some(crowd) = crowd {
            self.line_rows(event, crowd.sign(), &crowd.line(), &mut rows);
            return rows;
        }
        let dividers = rows.len();
        match event.message() {
            Some(message) => {
                let follows = |before: &Event| {
                    let lost = self.lost_between(before.seq.0, event.seq.0.saturating_sub(1));
                    lost.is_empty() && groups(before, event, message)
                };
                let grouped = !led && !fresh && previous.is_some_and(follows);
                let same_minute =
                    grouped && previous.is_some_and(|before| self.same_minute(before.at, event.at));
                self.message_rows(event, message, grouped, same_minute, &mut rows);
            }
            None => self.happening_rows(event, &mut rows),
        }
        let selected = self.room.selected == Some(event.seq);
        let calls = self.me.is_some_and(|me| names(event, me));
        for row in &mut rows[dividers..] {
            (row.selected, row.calls) = (selected, calls);
        }
        rows
    }

    fn same_minute(&self, one: Timestamp, other: Timestamp) -> bool {
        dates::clock(one, self.zone) == dates::clock(other, self.zone)
    }

    /// Whether a line stands between two events that follow one another.
    pub(super) fn divided(&self, before: &Event, event: &Event) -> bool {
        let unread = |line: Seq| before.seq <= line && line < event.seq;
        dates::day(before.at, self.zone) != dates::day(event.at, self.zone)
            || self.room.unread_line.is_some_and(unread)
    }

    /// The lines above an event, and whether there are any.
    fn dividers(&self, key: u64, at: Timestamp, previous: Option<&Event>) -> (Vec<Row>, bool) {
        let mut rows = Vec::new();
        let day = dates::day(at, self.zone);
        if previous.is_none_or(|before| dates::day(before.at, self.zone) != day) {
            let label = dates::day_label(day, dates::day(self.now, self.zone));
            rows.push(self.divider(&label, Ink::Day));
        }
        let before = previous.map_or_else(|| self.hole_above(key), |event| event.seq.0);
        if self.room.unread_line.is_some_and(|line| before <= line.0 && line.0 < key) {
            rows.push(self.divider("new", Ink::Unread));
        }
        let fresh = !rows.is_empty();
        (rows, fresh)
    }

    /// Where the hole above `key` begins, if there is one below other events.
    fn hole_above(&self, key: u64) -> u64 {
        let hole = key.checked_sub(1).and_then(|above| self.hole(above));
        hole.filter(|hole| hole.first > Seq(1)).map_or(0, |hole| hole.first.0)
    }

    pub(super) fn divider(&self, label: &str, ink: Ink) -> Row {
        let label = text::ellipsis(label, self.width.saturating_sub(6)).into_owned();
        let fill = self.width.saturating_sub(text::width(&label) + 6);
        Row::of(vec![Span::new(format!(" ── {label} {}", "─".repeat(fill)), ink)])
    }

    fn happening_rows(&self, event: &Event, rows: &mut Vec<Row>) {
        if let Some((sign, line)) = words::happening(event) {
            self.line_rows(event, sign, &line, rows);
        }
    }

    fn line_rows(&self, event: &Event, sign: &str, line: &str, rows: &mut Vec<Row>) {
        let columns = Columns::at(self.width);
        let pieces = text::wrap(line, columns.text);
        for (index, piece) in pieces.into_iter().enumerate() {
            let mut spans = match (columns.inline, index) {
                (true, 0) => {
                    let time = dates::clock(event.at, self.zone);
                    vec![Span::new(
                        format!(" {time} {}  ", text::right_aligned(sign, columns.nick)),
                        Ink::Dim,
                    )]
                }
                (false, 0) => vec![Span::new(format!(" {sign} "), Ink::Dim)],
                _ => vec![columns.indent()],
            };
            spans.push(Span::new(&line[piece], Ink::Dim));
            rows.push(Row::of(spans));
        }
    }

    fn message_rows(
        &self,
        event: &Event,
        message: &Message,
        grouped: bool,
        same_minute: bool,
        rows: &mut Vec<Row>,
    ) {
        let pending = self.edits.iter().rev().find(|edit| edit.what == What::Edit(event.seq));
        let shown = Said {
            author: Some(&event.author),
            time: (!same_minute).then(|| dates::clock(event.at, self.zone)),
            grouped,
            kind: message.kind,
            reply_to: message.reply_to,
            text: pending.map_or(message.text(), |edit| edit.text.as_str()),
            ink: match (message.deleted, message.kind) {
                (true, _) => Ink::Dim,
                (_, MessageKind::Action) => Ink::Action,
                _ => Ink::Text,
            },
            suffix: match (pending.is_some(), message.deleted, message.edited.is_some()) {
                (_, true, _) => "(deleted)",
                (true, ..) => "(saving…)",
                (_, _, true) => "(edited)",
                _ => "",
            },
            folds: !self.unfolded.contains(&(event.room, event.seq)),
        };
        self.said_rows(&shown, rows);
        if !message.reactions.is_empty() {
            rows.push(self.reaction_row(message));
        }
    }

    fn post_rows(&self, key: u64, delivery: &Delivery) -> Vec<Row> {
        let last = self.previous(self.room.timeline.last().0 + 1);
        let first_post = key == self.base() + 1;
        let own = |event: &Event| self.me == Some(&event.author) && event.message().is_some();
        let close = |at: Timestamp| delivery.at.0.saturating_sub(at.0) < GROUP_MS;
        let (mut rows, fresh) =
            if first_post { self.dividers(key, delivery.at, last) } else { (Vec::new(), false) };
        let dividers = rows.len();
        let What::Post { kind, reply_to } = delivery.what else { return rows };
        let ink = match (&delivery.state, kind) {
            (State::Waiting, _) => Ink::Pending,
            (State::Refused(_), _) => Ink::Error,
            (State::Durable, MessageKind::Action) => Ink::Action,
            (State::Durable, MessageKind::Plain) => Ink::Text,
        };
        let plain = kind == MessageKind::Plain;
        let grouped = plain
            && if first_post {
                !fresh && last.is_some_and(|event| own(event) && is_plain(event) && close(event.at))
            } else {
                true
            };
        let said = Said {
            author: self.me,
            time: (!grouped).then(|| dates::clock(delivery.at, self.zone)),
            grouped,
            kind,
            reply_to,
            text: &delivery.text,
            ink,
            suffix: if delivery.state == State::Waiting { "…" } else { "" },
            folds: true,
        };
        self.said_rows(&said, &mut rows);
        if let State::Refused(refusal) = &delivery.state {
            self.refusal_rows(refusal.text.as_str(), &mut rows);
        }
        let selected = self.picked == Some(delivery.id);
        rows[dividers..].iter_mut().for_each(|row| row.selected = selected);
        rows
    }

    fn refusal_rows(&self, why: &str, rows: &mut Vec<Row>) {
        let columns = Columns::at(self.width);
        let line = format!("not sent: {why} (↑ takes the text back, /resend, /drop)");
        for piece in text::wrap(&line, columns.text) {
            rows.push(Row::of(vec![columns.indent(), Span::new(&line[piece], Ink::Error)]));
        }
    }

    fn reaction_row(&self, message: &Message) -> Row {
        let columns = Columns::at(self.width);
        let mut spans = vec![columns.indent()];
        for reaction in &message.reactions {
            let own = self.me.is_some_and(|me| reaction.by.contains(me));
            let ink = if own { Ink::OwnReaction } else { Ink::Reaction };
            spans.push(Span::new(format!("{} {}", reaction.emoji, reaction.by.len()), ink));
            spans.push(Span::new("  ", Ink::Text));
        }
        spans.pop();
        Row::of(spans)
    }
}

/// Whether the message names `me`, and is someone else's.
pub(super) fn names(event: &Event, me: &AccountName) -> bool {
    let message = event.message().filter(|message| !message.deleted && &event.author != me);
    message.is_some_and(|message| {
        message.text().contains('@') && quip_protocol::message::mentions(message.text()).contains(me)
    })
}

fn is_plain(event: &Event) -> bool {
    event.message().is_some_and(|message| message.kind == MessageKind::Plain)
}

fn groups(before: &Event, event: &Event, message: &Message) -> bool {
    before.author == event.author
        && is_plain(before)
        && message.kind == MessageKind::Plain
        && event.at.0.saturating_sub(before.at.0) < GROUP_MS
}
