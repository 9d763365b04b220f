//! A question in the composer's place: which room, which words, which earlier line. Typing narrows what is found.
//! Imports the rooms and the composer.

use quip_protocol::{RoomId, Target};

use super::complete::Candidate;
use super::composer::{Composer, History};
use super::fuzzy;
use super::room::{Room, Rooms};
use super::search::Search;

/// Most that is offered.
const MOST: usize = 50;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A room to go to; those that are offered.
    Switch(Vec<RoomId>),
    /// Messages of the local copy.
    Search(Search),
    /// A line written before.
    Recall,
}

/// The question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What is asked for.
    pub kind: Kind,
    /// What is typed.
    pub query: Composer,
    /// What is offered, best first.
    pub items: Vec<Candidate>,
    /// Which of it is chosen.
    pub selected: usize,
}

impl Prompt {
    fn new(kind: Kind) -> Prompt {
        Prompt { kind, query: Composer::default(), items: Vec::new(), selected: 0 }
    }

    /// Asks for a room.
    pub fn switch(rooms: &Rooms) -> Prompt {
        let mut prompt = Prompt::new(Kind::Switch(Vec::new()));
        prompt.offer_rooms(rooms);
        prompt
    }

    /// Asks for messages, of one room or all.
    pub fn search(scope: Option<Target>) -> Prompt {
        Prompt::new(Kind::Search(Search::of(scope)))
    }

    /// Asks for a line written before.
    pub fn recall(history: &History) -> Prompt {
        let mut prompt = Prompt::new(Kind::Recall);
        prompt.offer_lines(history);
        prompt
    }

    /// The words before what is typed.
    pub fn label(&self) -> String {
        match &self.kind {
            Kind::Switch(_) => "go to: ".to_owned(),
            Kind::Search(search) => search.label(),
            Kind::Recall => "wrote: ".to_owned(),
        }
    }

    /// What is said behind it: how much was found, or what to do.
    pub fn note(&self) -> String {
        match &self.kind {
            Kind::Search(search) => search.note(self.selected),
            _ if self.items.is_empty() => "nothing".to_owned(),
            _ => "↑↓ Enter Esc".to_owned(),
        }
    }

    /// Goes on to what is offered next, or before.
    pub fn step(&mut self, back: bool) {
        let count = match &self.kind {
            Kind::Search(search) => search.found.len(),
            Kind::Switch(_) | Kind::Recall => self.items.len(),
        };
        if count > 0 {
            self.selected =
                if back { (self.selected + count - 1) % count } else { (self.selected + 1) % count };
        }
    }

    /// Offers what fits to what is typed now.
    pub fn offer(&mut self, rooms: &Rooms, history: &History) {
        self.selected = 0;
        match &self.kind {
            Kind::Switch(_) => self.offer_rooms(rooms),
            Kind::Recall => self.offer_lines(history),
            Kind::Search(_) => {}
        }
    }

    /// Rooms whose names fit; what waits for the account first, then what was active last, and where one is at the end.
    fn offer_rooms(&mut self, rooms: &Rooms) {
        let query = self.query.text().trim().to_lowercase();
        let rank = |id: RoomId, room: &Room| {
            let score = fuzzy::score(&query, &room.summary.target.to_string().to_lowercase())?;
            let here = rooms.current_id() == Some(id);
            let waits = (room.needs_me(), room.summary.unread > 0, room.summary.active_at);
            Some((score, !here, waits))
        };
        let mut found: Vec<_> =
            rooms.listed().filter_map(|(id, room)| Some((rank(id, room)?, id, room))).collect();
        found.sort_by_key(|(rank, ..)| std::cmp::Reverse(*rank));
        found.truncate(MOST);
        self.items = found.iter().map(|(_, _, room)| room_candidate(room)).collect();
        self.kind = Kind::Switch(found.into_iter().map(|(_, id, _)| id).collect());
    }

    fn offer_lines(&mut self, history: &History) {
        let query = self.query.text().to_lowercase();
        let found = history.lines().rev().filter(|line| line.to_lowercase().contains(&query));
        let line = |line: &str| Candidate { insert: line.to_owned(), hint: String::new() };
        self.items = found.take(MOST).map(line).collect();
    }
}

/// A room, and what is new in it.
fn room_candidate(room: &Room) -> Candidate {
    let summary = &room.summary;
    let news = match (summary.mentions, summary.unread) {
        (_, 0) => String::new(),
        (0, unread) => format!("{unread} new"),
        (mentions, unread) => format!("{unread} new, {mentions} for you"),
    };
    let parts = [news.as_str(), summary.topic.as_str()];
    let hint: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Candidate { insert: summary.target.to_string(), hint: hint.join(" · ") }
}
