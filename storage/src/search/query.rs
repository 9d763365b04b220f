//! What is looked for. Imports the words and types of the protocol.

use std::ops::Range;

use quip_protocol::{AccountName, Event, Target, Timestamp};
use serde::{Deserialize, Serialize};

use super::words::{Word, words};

/// Words that stand side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    words: Vec<String>,
    /// The last one may be the beginning of a word.
    prefix: bool,
}

impl Term {
    /// Reads what is between two spaces, or in quotes; `None` if there is no word in it. With `prefix` the last one may
    /// be the beginning of a word.
    pub fn new(text: &str, prefix: bool) -> Option<Term> {
        let words: Vec<String> = words(text).into_iter().map(|word| word.folded).collect();
        (!words.is_empty()).then_some(Term { words, prefix })
    }

    /// The term in the language of FTS5. Words are letters and digits, so that none can leave its quotes.
    pub(super) fn expression(&self) -> String {
        let star = if self.prefix { " *" } else { "" };
        format!("\"{}\"{star}", self.words.join(" "))
    }

    /// Whether the words at the start of `text` are these.
    fn is_at(&self, text: &[Word]) -> bool {
        let last = self.words.len() - 1;
        text.len() > last
            && self.words.iter().zip(text).enumerate().all(|(at, (wanted, word))| {
                match self.prefix && at == last {
                    true => word.folded.starts_with(wanted),
                    false => word.folded == *wanted,
                }
            })
    }
}

/// What is looked for: messages with all the terms, of that author, in that room, in that time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// What they say.
    pub terms: Vec<Term>,
    /// Where.
    pub room: Option<Target>,
    /// By whom.
    pub from: Option<AccountName>,
    /// From then on.
    pub after: Option<Timestamp>,
    /// Up to just before then.
    pub before: Option<Timestamp>,
}

impl Query {
    /// Whether nothing is asked: no word, and no author.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty() && self.from.is_none()
    }

    /// Whether `event` is a message that fits, wherever it is.
    pub fn fits(&self, event: &Event) -> bool {
        let Some(message) = event.message().filter(|message| !message.deleted) else { return false };
        let in_time = self.after.is_none_or(|after| event.at >= after)
            && self.before.is_none_or(|before| event.at < before);
        in_time && self.from.as_ref().is_none_or(|from| event.author == *from) && self.says(message.text())
    }

    fn says(&self, text: &str) -> bool {
        let words = words(text);
        let somewhere = |term: &Term| (0..words.len()).any(|at| term.is_at(&words[at..]));
        self.terms.iter().all(somewhere)
    }

    /// Where `text` has what is looked for; in its order, none over another.
    pub fn found(&self, text: &str) -> Vec<Range<usize>> {
        let words = words(text);
        let mut pieces: Vec<Range<usize>> = Vec::new();
        for at in 0..words.len() {
            for term in self.terms.iter().filter(|term| term.is_at(&words[at..])) {
                let end = words[at + term.words.len() - 1].range.end;
                match pieces.last_mut().filter(|last| last.end > words[at].range.start) {
                    Some(last) => last.end = last.end.max(end),
                    None => pieces.push(words[at].range.start..end),
                }
            }
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(terms: &[(&str, bool)]) -> Query {
        let terms = terms.iter().filter_map(|(text, prefix)| Term::new(text, *prefix)).collect();
        Query { terms, ..Query::default() }
    }

    #[test]
    fn texts_have_what_is_looked_for() {
        let text = "The naïve foo_bar broke in src/like.rs:42, 漢字を書く";
        type Row<'a> = (&'a [(&'a str, bool)], &'a [&'a str]);
        let table: &[Row<'_>] = &[
            (&[("NAIVE", false)], &["naïve"]),
            (&[("nai", false)], &[]),
            (&[("nai", true)], &["naïve"]),
            (&[("foo_bar", false)], &["foo_bar"]),
            (&[("bar", false), ("the", false)], &["The", "bar"]),
            (&[("like.rs:42", false)], &["like.rs:42"]),
            (&[("like.rs:4", true)], &["like.rs:42"]),
            (&[("like.rs:4", false)], &[]),
            (&[("bar foo", false)], &[]),
            (&[("字を", false)], &["字を"]),
            (&[("foo bar broke", false), ("bar br", true)], &["foo_bar broke"]),
            (&[("absent", false), ("the", false)], &[]),
        ];
        for (terms, pieces) in table {
            let query = query(terms);
            assert_eq!(query.says(text), !pieces.is_empty(), "{terms:?}");
            if !pieces.is_empty() {
                let found: Vec<&str> = query.found(text).into_iter().map(|range| &text[range]).collect();
                assert_eq!(found, *pieces, "{terms:?}");
            }
        }
    }
}
