//! A question in the composer's place: which room, which words, which earlier line. Typing narrows what is found.
//! Imports the rooms and the composer.

use quip_protocol::{RoomId, RoomName, Seq, Target, Timestamp};

use super::complete::Candidate;
use super::composer::{Composer, History};
use super::desk::Elsewhere;
use super::mentions::Mention;
use super::room::{Room, Rooms};
use super::search::Search;
use super::{fuzzy, text};

/// Most that is offered.
const MOST: usize = 50;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A room to go to: all, and which of them are offered.
    Switch(Vec<Choice>, Vec<usize>),
    /// Messages of the local copy.
    Search(Search),
    /// A line written before.
    Recall,
    /// A message that names the user: all, and which of them are offered.
    Mentions(Vec<Mention>, Vec<usize>),
    /// Whether this is to be done; and the question.
    Sure(Deed, String),
}

/// A room that one may go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Of which server, if it is another one than the user is at.
    pub elsewhere: Option<Elsewhere>,
    /// Which.
    pub room: RoomId,
    /// How it is called, and what is new in it.
    shown: Candidate,
    /// The user is there.
    here: bool,
    /// Whether it needs the user, whether something is unread, and when it was active.
    waits: (bool, bool, Timestamp),
}

impl Choice {
    /// Of a room of the current server.
    pub fn of(id: RoomId, room: &Room, here: bool) -> Choice {
        let waits = (room.needs_me(), room.summary.unread > 0, room.summary.active_at);
        Choice { elsewhere: None, room: id, shown: room_candidate(room), here, waits }
    }

    /// Of another server.
    pub fn from(self, elsewhere: Elsewhere) -> Choice {
        Choice { elsewhere: Some(elsewhere), ..self }
    }

    fn candidate(&self) -> Candidate {
        let shown = self.shown.clone();
        match &self.elsewhere {
            Some(elsewhere) => Candidate { insert: elsewhere.label(&shown.insert), ..shown },
            None => shown,
        }
    }

    /// How well it fits; what waits for the account first, then what was active last, and where one is at the end.
    fn rank(&self, query: &str) -> Option<impl Ord + use<>> {
        let name = |name: &str| fuzzy::score(query, &name.to_lowercase());
        let score = name(&self.shown.insert).max(name(&self.candidate().insert))?;
        Some((score, !self.here, self.waits))
    }
}

/// What cannot be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A message is deleted.
    Delete {
        /// Where.
        room: RoomId,
        /// What that is called.
        target: Target,
        /// Which.
        seq: Seq,
    },
    /// Nobody writes in the room any more.
    Archive(RoomName),
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
        let here = rooms.current_id();
        let all = rooms.listed().map(|(id, room)| Choice::of(id, room, here == Some(id))).collect();
        let mut prompt = Prompt::new(Kind::Switch(all, Vec::new()));
        prompt.offer_rooms();
        prompt
    }

    /// Offers rooms of other servers as well.
    pub fn add_rooms(&mut self, choices: Vec<Choice>) {
        if let Kind::Switch(all, _) = &mut self.kind {
            all.extend(choices);
            self.offer_rooms();
        }
    }

    /// Asks for messages, of one room or all.
    pub fn search(scope: Option<Target>) -> Prompt {
        Prompt::new(Kind::Search(Search::of(scope)))
    }

    /// Asks for one of these mentions.
    pub fn mentions(all: Vec<Mention>) -> Prompt {
        let mut prompt = Prompt::new(Kind::Mentions(all, Vec::new()));
        prompt.offer_mentions();
        prompt
    }

    /// The mentions that hold what is typed, newest first.
    fn offer_mentions(&mut self) {
        let query = self.query.text().trim().to_lowercase();
        let Kind::Mentions(all, offered) = &mut self.kind else { return };
        let fits = |mention: &Mention| query.is_empty() || mention.line().to_lowercase().contains(&query);
        *offered = (0..all.len()).filter(|at| fits(&all[*at])).take(MOST).collect();
        self.items = offered
            .iter()
            .map(|at| &all[*at])
            .map(|it| Candidate { insert: it.place(), hint: it.text.clone() })
            .collect();
        self.selected = self.selected.min(self.items.len().saturating_sub(1));
    }

    /// Asks for a line written before.
    pub fn recall(history: &History) -> Prompt {
        let mut prompt = Prompt::new(Kind::Recall);
        prompt.offer_lines(history);
        prompt
    }

    /// Asks whether this is to be done, to a message of this text.
    pub fn sure(deed: Deed, about: &str) -> Prompt {
        const WORDS: usize = 18;
        let words: Vec<&str> = about.split_whitespace().take(WORDS).collect();
        let question = match &deed {
            Deed::Delete { .. } => {
                format!("delete “{}”? (y/n) ", text::ellipsis(&words.join(" "), WORDS))
            }
            Deed::Archive(room) => {
                format!("archive {} for good? (y/n) ", text::ellipsis(&format!("#{room}"), WORDS))
            }
        };
        Prompt::new(Kind::Sure(deed, question))
    }

    /// The words before what is typed.
    pub fn label(&self) -> String {
        match &self.kind {
            Kind::Sure(_, question) => question.clone(),
            Kind::Switch(..) => "go to: ".to_owned(),
            Kind::Search(search) => search.label(),
            Kind::Recall => "wrote: ".to_owned(),
            Kind::Mentions(..) => "names you: ".to_owned(),
        }
    }

    /// What is said behind it: how much was found, or what to do.
    pub fn note(&self) -> String {
        match &self.kind {
            Kind::Search(search) => search.note(self.selected),
            Kind::Sure(..) => String::new(),
            Kind::Mentions(all, _) if all.is_empty() => "nobody named you in what is at hand".to_owned(),
            _ if self.items.is_empty() => "nothing".to_owned(),
            _ => "↑↓ Enter Esc".to_owned(),
        }
    }

    /// Goes on to what is offered next, or before.
    pub fn step(&mut self, back: bool) {
        let count = match &self.kind {
            Kind::Search(search) => search.found.len(),
            Kind::Switch(..) | Kind::Recall | Kind::Mentions(..) => self.items.len(),
            Kind::Sure(..) => 0,
        };
        if count > 0 {
            self.selected =
                if back { (self.selected + count - 1) % count } else { (self.selected + 1) % count };
        }
    }

    /// Offers what fits to what is typed now.
    pub fn offer(&mut self, history: &History) {
        self.selected = 0;
        match &self.kind {
            Kind::Switch(..) => self.offer_rooms(),
            Kind::Recall => self.offer_lines(history),
            Kind::Mentions(..) => self.offer_mentions(),
            Kind::Search(_) | Kind::Sure(..) => {}
        }
    }

    /// Rooms whose names fit.
    fn offer_rooms(&mut self) {
        let query = self.query.text().trim().to_lowercase();
        let Kind::Switch(all, offered) = &mut self.kind else { return };
        let mut found: Vec<_> =
            all.iter().enumerate().filter_map(|(at, choice)| Some((choice.rank(&query)?, at))).collect();
        found.sort_by(|(a, _), (b, _)| b.cmp(a));
        *offered = found.into_iter().map(|(_, at)| at).take(MOST).collect();
        self.items = offered.iter().map(|at| all[*at].candidate()).collect();
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
