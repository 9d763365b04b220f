//! What the last rows of the screen say: what was said to the user, what stops them from sending, or how the connection
//! is. Nothing of it is cut while there are rows: what is to be done often stands at the end.

use super::{App, Connection, dates, panes, text};

/// Fewer events than this are there before they could be read about.
const WORTH_SAYING: u64 = 100;
/// A connection that is not made within this takes long, in milliseconds.
const LONG_MS: u64 = 5_000;
/// From this part of the limit on it is said how long the message is: four fifths.
const NEAR: (usize, usize) = (4, 5);

/// How something is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Neither good nor bad.
    Plain,
    /// All is well.
    Good,
    /// Something is about to come.
    Waiting,
    /// Something is wrong.
    Bad,
}

/// The last rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How the connection is, in one character.
    pub sign: &'static str,
    /// What colour it has.
    pub sign_mood: Mood,
    /// The words.
    pub text: String,
    /// What colour they have.
    pub mood: Mood,
    /// Whether there is room for hints beside them.
    pub takes_hints: bool,
}

impl App {
    /// What the last rows say.
    pub fn status(&self) -> Status {
        let (sign, sign_mood, text) = self.link_state();
        if let Some(said) = &self.said {
            let mood = if said.is_error { Mood::Bad } else { Mood::Plain };
            return Status { sign, sign_mood, text: said.text.clone(), mood, takes_hints: false };
        }
        match self.length() {
            Some((length, limit)) if length > limit => {
                let more = length - limit;
                let text = format!(
                    "{more} bytes too long: a message has at most {limit}; shorten or split it, it is kept here"
                );
                Status { sign, sign_mood, text, mood: Mood::Bad, takes_hints: false }
            }
            _ => Status { sign, sign_mood, text, mood: Mood::Plain, takes_hints: true },
        }
    }

    /// The length of what is written and the most that a message has, in bytes, once it is near that.
    pub fn length(&self) -> Option<(usize, usize)> {
        let (length, limit) = (self.composer.text().len(), self.text_limit());
        (self.prompt.is_none() && length * NEAR.1 >= limit * NEAR.0).then_some((length, limit))
    }

    /// How many rows the words take.
    pub(super) fn status_rows(&self) -> usize {
        self.rows_of(&self.status().text).clamp(1, self.most_rows())
    }

    fn most_rows(&self) -> usize {
        if self.size.1 < panes::RULES_FROM { 2 } else { 4 }
    }

    fn rows_of(&self, words: &str) -> usize {
        text::wrap(words, panes::status_width(self.size.0)).len()
    }

    /// Which of `words`, which say less and less, is the first that takes one row; else the first that is not cut.
    fn fitting<const N: usize>(&self, words: &[String; N]) -> usize {
        let within = |rows| words.iter().position(|words| self.rows_of(words) <= rows);
        within(1).or_else(|| within(self.most_rows())).unwrap_or(0)
    }

    /// A sign, how it is meant, and words.
    pub(super) fn link_state(&self) -> (&'static str, Mood, String) {
        let waiting = match self.outbox.waiting() {
            0 => String::new(),
            1 => " · 1 to deliver".to_owned(),
            count => format!(" · {count} to deliver"),
        };
        let server = &self.server;
        match &self.connection {
            Connection::Up => self.connected(&waiting),
            Connection::Connecting => {
                let since = match self.now.0.saturating_sub(self.link_since.0) {
                    0..LONG_MS => String::new(),
                    _ => format!(" since {}", dates::clock(self.link_since, &self.zone)),
                };
                ("◌", Mood::Waiting, format!("connecting to {server}{since}…{waiting}"))
            }
            Connection::Down { why, retry_at } => {
                let then = match retry_at.map(|at| at.0.saturating_sub(self.now.0).div_ceil(1000)) {
                    None => String::new(),
                    Some(0) => " — retrying".to_owned(),
                    Some(seconds) => format!(" — retrying in {seconds} s"),
                };
                ("○", Mood::Bad, self.offline(reason(why.as_str()), &then, &waiting))
            }
        }
    }

    /// What is said does not depend on how many digits the seconds have.
    fn offline(&self, why: &str, then: &str, waiting: &str) -> String {
        const LONGEST: &str = " — retrying in 99 s";
        let since = format!(" · since {}", dates::clock(self.link_since, &self.zone));
        let from = format!(" from {}", self.server);
        let kept = if waiting.is_empty() { " · messages are kept" } else { waiting };
        let brief = why.strip_suffix(')').and_then(|why| why.rsplit_once(" (")).map_or(why, |(why, _)| why);
        let words = |then: &str| {
            let parts = [
                (from.as_str(), why, kept, since.as_str()),
                (&from, why, kept, ""),
                (&from, brief, kept, ""),
                (&from, brief, waiting, ""),
                ("", brief, waiting, ""),
            ];
            parts.map(|(from, why, kept, since)| format!("offline{from}: {why}{then}{kept}{since}"))
        };
        let fits = self.fitting(&words(LONGEST));
        words(then)[fits].clone()
    }

    fn connected(&self, waiting: &str) -> (&'static str, Mood, String) {
        let server = &self.server;
        if let Some(held) = self.held_words(waiting) {
            return ("●", Mood::Bad, held[self.fitting(&held)].clone());
        }
        if self.behind() >= WORTH_SAYING {
            return ("●", Mood::Waiting, format!("catching up: {} more to come", self.behind()));
        }
        let (sign, mood, words) = match (self.typists(), self.own_away()) {
            (Some(typists), _) => ("●", Mood::Good, typists),
            (None, Some(away)) => ("◐", Mood::Waiting, away),
            (None, None) => ("●", Mood::Good, format!("connected to {server}{}", self.progress())),
        };
        // Who comes and goes moves nothing.
        (sign, mood, text::ellipsis(&words, panes::status_width(self.size.0)).into_owned())
    }

    /// What of the rooms is still on its way to this disk.
    fn progress(&self) -> String {
        match self.older_left() {
            _ if !self.listed_once => " · listing your rooms…".to_owned(),
            0..WORTH_SAYING => String::new(),
            left => format!(" · {left} older to fetch"),
        }
    }
}

/// Without the address, which is said already.
fn reason(why: &str) -> &str {
    why.strip_prefix("cannot reach ").and_then(|why| why.split_once(": ")).map_or(why, |(_, why)| why)
}
