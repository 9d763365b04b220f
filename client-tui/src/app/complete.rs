//! Completion of what is being written: nicks, rooms, commands, emoji. Imports the tables and the rooms.

use quip_protocol::{AccountName, Role};

use super::alerts::Level;
use super::commands::{self, Words};
use super::room::{Room, Rooms};
use super::{Composer, emoji};

/// One thing that could stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What would be written.
    pub insert: String,
    /// What it is, for people; may be empty.
    pub hint: String,
}

impl Candidate {
    fn new(insert: impl Into<String>, hint: impl Into<String>) -> Candidate {
        Candidate { insert: insert.into(), hint: hint.into() }
    }
}

/// What is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Where in the text the word begins.
    pub start: usize,
    /// What could stand there, best first.
    pub items: Vec<Candidate>,
    /// Which of them stands there now; `None` if the user only looks.
    pub selected: Option<usize>,
}

/// Most that is offered.
const MOST: usize = 50;
/// Recent events whose authors come first.
const RECENT: usize = 200;

impl Completion {
    /// What is offered without being asked: commands while one is being written, then how it is written.
    pub fn unasked(composer: &Composer) -> Option<Completion> {
        let text = composer.text();
        if !commands::is_command(text) || composer.cursor() != text.len() {
            return None;
        }
        let items = match text[1..].split_once(char::is_whitespace) {
            None => command_names(&text[1..]),
            Some((name, _)) => commands::find(&name.to_ascii_lowercase())
                .map(|entry| {
                    Candidate::new(format!("/{} {}", entry.name, entry.words).trim_end(), entry.help)
                })
                .into_iter()
                .collect(),
        };
        (!items.is_empty()).then_some(Completion { start: 0, items, selected: None })
    }

    /// What could stand at the cursor.
    pub fn at(composer: &Composer, rooms: &Rooms, me: Option<&AccountName>) -> Option<Completion> {
        let before = &composer.text()[..composer.cursor()];
        let start = before.rfind([' ', '\n', '\t']).map_or(0, |at| at + 1);
        let word = &before[start..];
        let items = if start == 0 && commands::is_command(word) {
            command_names(&word[1..])
        } else {
            words(before, start, word, rooms, me)
        };
        (!items.is_empty()).then_some(Completion { start, items, selected: None })
    }

    /// The next candidate, or the one before.
    pub fn step(&mut self, back: bool) -> &Candidate {
        let count = self.items.len();
        let next = match (self.selected, back) {
            (None, false) => 0,
            (None, true) => count - 1,
            (Some(at), false) => (at + 1) % count,
            (Some(at), true) => (at + count - 1) % count,
        };
        self.selected = Some(next);
        &self.items[next]
    }
}

fn command_names(typed: &str) -> Vec<Candidate> {
    let typed = typed.to_ascii_lowercase();
    let names = commands::TABLE.iter().filter(|entry| entry.name.starts_with(&typed));
    names.map(|entry| Candidate::new(format!("/{}", entry.name), entry.help)).collect()
}

fn words(before: &str, start: usize, word: &str, rooms: &Rooms, me: Option<&AccountName>) -> Vec<Candidate> {
    let expected = expected(before, start);
    match (word.chars().next(), expected) {
        (Some('#'), _) | (_, Some(Words::Rooms)) => room_names(word.trim_start_matches('#'), rooms),
        (Some(':'), _) | (_, Some(Words::Emoji)) => emoji_names(word),
        (_, Some(Words::Levels)) => levels(word),
        (_, Some(Words::AccountAndRole)) if before[..start].split_whitespace().count() >= 2 => roles(word),
        (Some('@'), _) | (_, Some(Words::Accounts | Words::AccountAndRole)) => {
            accounts(word.trim_start_matches('@'), rooms, me, "@")
        }
        (Some(_), _) => accounts(word, rooms, me, ""),
        (None, _) => Vec::new(),
    }
}

/// What the command at the line's start expects.
fn expected(before: &str, start: usize) -> Option<Words> {
    let name = before[..start].split_whitespace().next()?.strip_prefix('/')?;
    commands::find(&name.to_ascii_lowercase()).map(|entry| entry.complete).filter(|w| *w != Words::Nothing)
}

fn room_names(typed: &str, rooms: &Rooms) -> Vec<Candidate> {
    let typed = format!("#{}", typed.to_ascii_lowercase());
    let found = rooms.listed().map(|(_, room)| &room.summary);
    found
        .filter(|room| room.target.to_string().starts_with(&typed))
        .map(|room| Candidate::new(room.target.to_string(), room.topic.as_str()))
        .take(MOST)
        .collect()
}

fn emoji_names(typed: &str) -> Vec<Candidate> {
    let typed = typed.trim_start_matches(':');
    let found = emoji::TABLE.iter().filter(|(name, _)| name.starts_with(typed));
    found.map(|(name, emoji)| Candidate::new(*emoji, format!(":{name}:"))).take(MOST).collect()
}

fn levels(typed: &str) -> Vec<Candidate> {
    let found = Level::ALL.into_iter().filter(|level| level.as_str().starts_with(typed));
    found.map(|level| Candidate::new(level.as_str(), level.meaning())).collect()
}

fn roles(typed: &str) -> Vec<Candidate> {
    let found = Role::ALL.into_iter().filter(|role| role.as_str().starts_with(typed));
    found.map(|role| Candidate::new(role.as_str(), "")).collect()
}

/// Accounts whose name begins so: who spoke last, then members, then people talked to directly.
fn accounts(typed: &str, rooms: &Rooms, me: Option<&AccountName>, sigil: &str) -> Vec<Candidate> {
    let typed = typed.to_ascii_lowercase();
    let mut names: Vec<&AccountName> = Vec::new();
    let current = rooms.current();
    let authors = current.into_iter().flat_map(|room| room.timeline.events().rev().take(RECENT));
    let members = current.into_iter().flat_map(|room: &Room| &room.members.list);
    let directs = rooms.listed().filter_map(|(_, room)| match &room.summary.target {
        quip_protocol::Target::Direct(name) => Some(name),
        quip_protocol::Target::Room(_) => None,
    });
    let all = authors.map(|event| &event.author).chain(members.map(|member| &member.name)).chain(directs);
    for name in all {
        if names.len() < MOST
            && name.as_str().starts_with(&typed)
            && Some(name) != me
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names.into_iter().map(|name| Candidate::new(format!("{sigil}{name}"), "")).collect()
}
