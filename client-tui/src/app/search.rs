//! Messages looked for in the local copy, as one types: what is asked, what was found, and going there and back.
//! Imports the question in the composer's place and the index's query.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use quip_protocol::frame::PageFrom;
use quip_protocol::{RoomId, SafeLine, Seq, Target, Timestamp};
use quip_storage::search::{Found, Query};

use super::desk::{Beside, Elsewhere, Server};
use super::prompt::{Kind, Prompt};
use super::room::Goal;
use super::rows::{Ink, Layout, Row, Span};
use super::runs::Hole;
use super::scroll::Scroll;
use super::words::{self, Marks};
use super::{App, Effect, PAGE, dates, query, scroll, text};

/// Most messages that are shown.
const MOST: u32 = 200;
/// Cells that a room's and an author's name have at most.
const NAMES: (usize, usize) = (14, 12);
/// Cells that a room has at most together with its server.
const LONG_NAME: usize = 24;
/// Less than this is too narrow for times.
const TIMES_FROM: usize = 50;
/// Of the text before what was found, so many cells are seen.
const BEFORE: usize = 12;

/// What is looked for, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Only in this room.
    pub scope: Option<Target>,
    /// What is looked for now.
    pub query: Query,
    /// What is wrong with what is written, or with the index.
    pub wrong: Option<String>,
    /// What was found, the newest first.
    pub found: Vec<Hit>,
    /// An answer to `query` has come.
    pub answered: bool,
    /// How many events the index has yet to look at, by server.
    pub remaining: BTreeMap<Option<Server>, u64>,
}

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// On which server, if it is another one than the user is at.
    pub elsewhere: Option<Elsewhere>,
    /// Which.
    pub found: Found,
}

impl Hit {
    fn server(&self) -> Option<Server> {
        self.elsewhere.as_ref().map(|elsewhere| elsewhere.server)
    }

    fn place(&self) -> (Option<Server>, RoomId, Seq) {
        (self.server(), self.found.event.room, self.found.event.seq)
    }

    fn room(&self) -> String {
        match &self.elsewhere {
            Some(elsewhere) => elsewhere.label(&self.found.room),
            None => self.found.room.to_string(),
        }
    }
}

/// Where a search led to, and where one was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jump {
    /// What was looked for: its words are marked.
    pub query: Query,
    /// Where one was.
    was: (RoomId, Scroll),
    /// Where it led to.
    to: RoomId,
    /// On which server one was, if it was another.
    from: Option<Server>,
}

impl Search {
    /// In this room, or everywhere.
    pub fn of(scope: Option<Target>) -> Search {
        Search { scope, ..Search::default() }
    }

    /// The words before what is typed.
    pub fn label(&self) -> String {
        match &self.scope {
            Some(room) => format!("search {room}: "),
            None => "search: ".to_owned(),
        }
    }

    /// What is said behind it.
    pub fn note(&self, selected: usize) -> String {
        let remaining = match self.remaining.values().fold(0, |sum: u64, more| sum.saturating_add(*more)) {
            0 => String::new(),
            u64::MAX => " · opening the index…".to_owned(),
            count => format!(" · {count} not indexed yet"),
        };
        let count = self.found.len();
        let said = match &self.wrong {
            Some(wrong) => return wrong.clone(),
            None if self.query.is_empty() && self.scope.is_some() => "Ctrl+F: all rooms".to_owned(),
            None if self.query.is_empty() => "words from:@user in:#room after:2d".to_owned(),
            None if !self.answered => "…".to_owned(),
            None if count == 0 => "no match".to_owned(),
            None if count >= MOST as usize => {
                format!("{} of the newest {count} · ↑↓ Enter Esc", selected + 1)
            }
            None => format!("{} of {count} · ↑↓ Enter Esc", selected + 1),
        };
        said + &remaining
    }

    /// Reads what is typed; whether it is to be looked for.
    fn read(&mut self, line: &str, now: Timestamp, zone: &TimeZone) -> bool {
        match query::parse(line, true, now, zone) {
            Ok(mut query) => {
                query.room = query.room.or_else(|| self.scope.clone());
                self.wrong = None;
                self.answered = false;
                self.query = query;
            }
            Err(wrong) => {
                self.wrong = Some(wrong);
                self.query = Query::default();
            }
        }
        if self.query.is_empty() {
            self.found.clear();
        }
        if self.scope.is_some() {
            // The room is of this server.
            self.found.retain(|hit| hit.elsewhere.is_none());
            self.remaining.retain(|server, _| server.is_none());
        }
        !self.query.is_empty()
    }

    /// What is to be done to find it.
    pub(super) fn effect(&self) -> Effect {
        Effect::Search { query: self.query.clone(), most: MOST }
    }

    /// Takes what was found on one server in the place of what was found there before.
    fn replace(&mut self, from: &Option<Elsewhere>, found: Vec<Found>) {
        let server = from.as_ref().map(|from| from.server);
        self.found.retain(|hit| hit.server() != server);
        self.found.extend(found.into_iter().map(|found| Hit { elsewhere: from.clone(), found }));
        self.found.sort_by_key(|hit| std::cmp::Reverse(hit.found.event.at));
        self.found.truncate(MOST as usize);
    }

    /// One row a message: when, where, who, what, with what was looked for marked.
    pub fn rows(&self, width: usize, zone: &TimeZone, now: Timestamp) -> impl Iterator<Item = Row> {
        let rooms = self.found.iter().map(|hit| text::width(&hit.room())).max().unwrap_or(0);
        let abroad = self.found.iter().any(|hit| hit.elsewhere.is_some());
        let room = match self.query.room {
            _ if abroad => rooms.min(LONG_NAME).min(width / 3),
            Some(_) => 0,
            None => rooms.min(NAMES.0),
        };
        let authors = self.found.iter().map(|hit| text::width(hit.found.event.author.as_str()));
        let author = authors.max().unwrap_or(0).min(NAMES.1);
        self.found.iter().map(move |hit| {
            let found = &hit.found;
            let mut spans = vec![Span::new(" ", Ink::Text)];
            if width >= TIMES_FROM {
                spans.push(Span::new(dates::short(found.event.at, now, zone) + " ", Ink::Dim));
            }
            if room > 0 {
                spans.push(Span::new(column(&hit.room(), room), Ink::Term));
            }
            let ink = Ink::Nick(words::nick_colour(&found.event.author));
            spans.push(Span::new(column(found.event.author.as_str(), author), ink));
            let used: usize = spans.iter().map(|span| text::width(&span.text)).sum();
            spans.extend(self.snippet(found, width.saturating_sub(used)));
            Row::of(spans)
        })
    }

    /// What a message says on one row, so that the first of what was found is seen.
    fn snippet(&self, found: &Found, cells: usize) -> Vec<Span> {
        let Some(message) = found.event.message() else { return Vec::new() };
        let line: String =
            message.text().chars().map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c }).collect();
        let marks: Marks = self.query.found(&line).into_iter().map(|range| (range, Ink::Found)).collect();
        let first = marks.first().map_or(0..0, |(range, _)| range.clone());
        let mut start = 0;
        if text::width(&line[..first.end]) > cells {
            start = first.start;
            while start > 0 && text::width(&line[start..first.start]) < BEFORE.min(cells / 3) {
                start = text::word_left(&line, start);
            }
        }
        let lead = if start > 0 { "…" } else { "" };
        let seen = text::fitting(&line[start..], cells.saturating_sub(text::width(lead)));
        let mut spans = vec![Span::new(lead, Ink::Dim)];
        spans.extend(words::inked(&line, start..start + seen.len(), &marks, Ink::Text));
        spans
    }
}

fn column(name: &str, cells: usize) -> String {
    text::padded(&text::ellipsis(name, cells), cells) + "  "
}

impl App {
    /// Looks for words everywhere, as `/search` does.
    pub(super) fn search_for(&mut self, words: &str) {
        self.prompt = Some(Prompt::search(None));
        self.ask_for(words);
    }

    /// Ctrl+F while one searches: everywhere, or in this room again.
    pub(super) fn widen_search(&mut self) {
        let here = self.rooms.current().map(|room| room.summary.target.clone());
        if let Some(Prompt { kind: Kind::Search(search), .. }) = &mut self.prompt {
            search.scope = if search.scope.is_some() { None } else { here };
        }
        self.search_anew();
    }

    /// Looks for what is typed now.
    pub(super) fn search_anew(&mut self) {
        let Some(Prompt { kind: Kind::Search(search), query, selected, .. }) = &mut self.prompt else {
            return;
        };
        *selected = 0;
        if search.read(query.text(), self.now, &self.zone) {
            self.effects.push(search.effect());
        }
    }

    /// What was found, on another server if it is named. What was looked for before something else was typed is not
    /// shown.
    pub(super) fn hits(
        &mut self,
        from: Option<Elsewhere>,
        asked: &Query,
        found: Result<Vec<Found>, SafeLine>,
        remaining: u64,
    ) {
        let Some(Prompt { kind: Kind::Search(search), selected, .. }) = &mut self.prompt else { return };
        if search.query != *asked {
            return;
        }
        self.changed = true;
        search.answered = true;
        search.remaining.insert(from.as_ref().map(|from| from.server), remaining);
        let (found, wrong) = found.map_or_else(|why| (Vec::new(), Some(why)), |found| (found, None));
        // The one that is chosen stays, whatever comes above it.
        let chosen = search.found.get(*selected).filter(|_| *selected > 0).map(Hit::place);
        search.replace(&from, found);
        let at = chosen.and_then(|chosen| search.found.iter().position(|hit| hit.place() == chosen));
        *selected = at.unwrap_or(0);
        // What one server cannot do takes nothing from what others found.
        let wrong = wrong.filter(|_| from.is_none()).map(|why| why.as_str().to_owned());
        let wrong = wrong.or(search.wrong.take());
        search.wrong = wrong.filter(|_| search.found.is_empty());
    }

    /// The index has more now: what is looked for is looked for again.
    pub(super) fn indexed(&mut self) {
        if let Some(Prompt { kind: Kind::Search(search), .. }) = &self.prompt
            && !search.query.is_empty()
        {
            self.effects.push(search.effect());
        }
    }

    /// Shows a message that was found.
    pub(super) fn jump(&mut self, search: Search, selected: usize) {
        let Some(hit) = search.found.get(selected) else { return };
        let (room, seq) = (hit.found.event.room, hit.found.event.seq);
        if let Some(server) = hit.server() {
            let visit = Beside::Visit { server, room, seq: Some(seq), query: Some(search.query) };
            return self.effects.push(Effect::Beside(visit));
        }
        self.jump_to(search.query, (room, seq), None);
    }

    /// Shows a message that was looked for; `from` is the server where one was, if it is another.
    pub(super) fn jump_to(&mut self, query: Query, (to, seq): (RoomId, Seq), from: Option<Server>) {
        if self.is_gone(to) {
            return;
        }
        let here = self.rooms.current().map(|room| (room.summary.id, room.scroll));
        let (was, from) = match self.jump.take() {
            Some(jump) => (Some(jump.was), jump.from),
            None => (here, from),
        };
        self.go_to(to, seq);
        if let Some(room) = self.rooms.current_mut() {
            room.selected = Some(seq);
        }
        self.jump = was.map(|was| Jump { query, was, to, from });
        self.reach();
    }

    /// Whether there is no such room any more, which is said.
    fn is_gone(&mut self, room: RoomId) -> bool {
        let gone = self.rooms.get(room).is_none();
        if gone {
            self.complain("it is in a room that is not among yours any more");
        }
        gone
    }

    /// Goes to a message, which is fetched if it is not at hand.
    pub(super) fn visit(&mut self, room: RoomId, seq: Seq) {
        if self.is_gone(room) {
            return;
        }
        self.go_to(room, seq);
        if let Some(room) = self.rooms.current_mut() {
            room.selected = Some(seq);
        }
        self.reach();
    }

    /// Back to where one was before the search; `false` if it led nowhere.
    pub(super) fn jump_back(&mut self) -> bool {
        let Some(jump) = self.jump.take() else { return false };
        if self.rooms.current_id() != Some(jump.to) {
            return false;
        }
        if let Some(room) = self.rooms.current_mut() {
            room.selected = None;
            room.to_bottom();
        }
        match jump.was {
            (room, _) if self.is_gone(room) => {}
            (room, Scroll::Bottom) => self.show(room),
            (room, at @ Scroll::At { key, .. }) => {
                self.go_to(room, Seq(key));
                if self.rooms.current_id() == Some(room) {
                    self.arrive_at(at, None);
                }
            }
        }
        self.effects.extend(jump.from.map(|server| Effect::Beside(Beside::Back(server))));
        true
    }

    /// Shows a room, and fetches what lies around `seq` if that is not in memory.
    fn go_to(&mut self, id: RoomId, seq: Seq) {
        self.show(id);
        let Some(room) = self.rooms.current_mut() else { return };
        let moves = room.timeline.at(seq).is_none();
        room.goal = Some(Goal { seq, at_top: false, moves });
        if moves {
            room.scroll = Scroll::At { key: seq.0, line: 0 };
            self.fetch_page(PageFrom::Before(seq.next()), PAGE);
        }
    }

    /// So that the current room's goal is where it is to be seen, as far as what is here allows: the row that holds what
    /// is looked for in the middle, unless it is seen, or the first one at the top.
    pub(super) fn reach(&mut self) {
        let height = self.height();
        let Some(layout) = self.layout() else { return };
        let Some(goal) = layout.room.goal else { return };
        if layout.room.timeline.at(goal.seq).is_none() {
            return self.miss(goal.seq);
        }
        let at = found_row(&layout, goal.seq);
        if !goal.moves && !goal.at_top && is_seen(&layout, layout.room.scroll, height, at) {
            return self.arrive_at(layout.room.scroll, None);
        }
        let (to, whole) = match goal.at_top {
            true => scroll::to_top(&layout, goal.seq, height),
            false => scroll::to_middle(&layout, at, height),
        };
        // What comes above the top changes what has place below it.
        let stays = goal.at_top || !whole;
        self.arrive_at(to, stays.then_some(Goal { moves: true, ..goal }));
    }

    fn arrive_at(&mut self, to: Scroll, goal: Option<Goal>) {
        if let Some(room) = self.rooms.current_mut() {
            (room.scroll, room.goal) = (to, goal);
        }
    }

    /// What is gone to is not here: without a connection, and if no copy has it, its hole is where one arrives.
    fn miss(&mut self, seq: Seq) {
        let up = self.is_up();
        let Some(room) = self.rooms.current_mut().filter(|_| !up) else { return };
        if let Some(hole) = room.timeline.hole(seq, room.upto())
            && Hole::new(seq, seq).is_some_and(|only| room.is_absent(only))
        {
            (room.goal, room.scroll) = (None, Scroll::At { key: hole.first.0, line: 0 });
            self.say("it is not in the local copy; it is fetched when the server answers");
        }
    }
}

/// The row of `seq` that holds what is looked for.
fn found_row(layout: &Layout<'_>, seq: Seq) -> (u64, usize) {
    let rows = layout.rows(seq.0);
    let holds = |row: &Row| row.spans.iter().any(|span| span.ink == Ink::Found);
    (seq.0, rows.iter().position(holds).unwrap_or(0))
}

fn is_seen(layout: &Layout<'_>, at: Scroll, height: usize, row: (u64, usize)) -> bool {
    scroll::window(layout, at, height).iter().any(|seen| (seen.key, seen.line) == row)
}
