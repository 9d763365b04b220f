//! Messages and what amends them: edits, deletions, reactions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cursor::{Seq, Timestamp};
use crate::event::EventBody;
use crate::limits::{MAX_MENTIONS, MAX_REACTIONS, MAX_REACTORS};
use crate::name::AccountName;
use crate::safe_text::{SafeLine, SafeText};

/// A UUIDv7 (RFC 9562) made by the sender: the idempotency key. Sending again with the same id does nothing but
/// return the first receipt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Uuid);

impl MessageId {
    /// A new id, from the wall clock and randomness.
    pub fn generate() -> MessageId {
        MessageId(Uuid::now_v7())
    }

    /// An id from its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> MessageId {
        MessageId(Uuid::from_bytes(bytes))
    }

    /// The bytes, which sort by time of making.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for MessageId {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(MessageId).map_err(|_| "a message id is a UUID")
    }
}

impl Serialize for MessageId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&self.0)
        } else {
            self.to_bytes().serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 16]>::deserialize(deserializer).map(MessageId::from_bytes)
        }
    }
}

/// How a message is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MessageKind {
    /// Said.
    #[default]
    Plain,
    /// Done: `/me waves`.
    Action,
}

/// One emoji (or short word) on a message, and who put it there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The emoji.
    pub emoji: SafeLine,
    /// In the order in which they reacted.
    #[serde(deserialize_with = "crate::codec::list::<_, _, MAX_REACTORS>")]
    pub by: Vec<AccountName>,
}

/// A message as it is now: amended by the edits, deletions and reactions that came behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The sender's id for it.
    pub id: MessageId,
    /// How it is shown.
    pub kind: MessageKind,
    /// What it says; empty once deleted.
    pub text: SafeText,
    /// The message it answers, in the same room.
    pub reply_to: Option<Seq>,
    /// When it was last edited.
    pub edited: Option<Timestamp>,
    /// Whether it was deleted.
    pub deleted: bool,
    /// At most [`MAX_REACTIONS`] emoji, by at most [`MAX_REACTORS`] accounts in total.
    #[serde(deserialize_with = "crate::codec::list::<_, _, MAX_REACTIONS>")]
    pub reactions: Vec<Reaction>,
}

impl Message {
    /// A message as it is first sent.
    pub fn new(id: MessageId, kind: MessageKind, text: SafeText, reply_to: Option<Seq>) -> Message {
        Message { id, kind, text, reply_to, edited: None, deleted: false, reactions: Vec::new() }
    }

    /// What it says.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// Whether `author` has put `emoji` on it.
    pub fn has_reaction(&self, author: &AccountName, emoji: &SafeLine) -> bool {
        self.reactions.iter().any(|r| r.emoji == *emoji && r.by.contains(author))
    }

    /// Whether one more reaction with `emoji` is within the limits.
    pub fn takes_reaction(&self, emoji: &SafeLine) -> bool {
        let known = self.reactions.iter().any(|r| r.emoji == *emoji);
        let reactors: usize = self.reactions.iter().map(|r| r.by.len()).sum();
        (known || self.reactions.len() < MAX_REACTIONS) && reactors < MAX_REACTORS
    }

    /// Applies an event of `author` that amends this message. The one place that says what an edit, a deletion or
    /// a reaction does to a message: the store, the feeds and every client use it.
    pub fn amend(&mut self, author: &AccountName, at: Timestamp, body: &EventBody) {
        match body {
            EventBody::Edited { text, .. } if !self.deleted => {
                self.text = text.clone();
                self.edited = Some(at);
            }
            EventBody::Deleted { .. } => {
                self.text = SafeText::default();
                self.reactions.clear();
                self.deleted = true;
            }
            EventBody::Reacted { emoji, on, .. } if !self.deleted => self.react(author, emoji, *on),
            _ => {}
        }
    }

    fn react(&mut self, author: &AccountName, emoji: &SafeLine, on: bool) {
        if on == self.has_reaction(author, emoji) || (on && !self.takes_reaction(emoji)) {
            return;
        }
        match self.reactions.iter_mut().find(|r| r.emoji == *emoji) {
            Some(reaction) if on => reaction.by.push(author.clone()),
            Some(reaction) => reaction.by.retain(|name| name != author),
            None => self.reactions.push(Reaction { emoji: emoji.clone(), by: vec![author.clone()] }),
        }
        self.reactions.retain(|r| !r.by.is_empty());
    }
}

/// The first [`MAX_MENTIONS`] account names that `text` mentions (`@name`), in order, each once. Takes time in
/// proportion to the text, whatever it says: what was found and is looked through is bounded.
pub fn mentions(text: &str) -> Vec<AccountName> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices('@') {
        if names.len() == MAX_MENTIONS {
            break;
        }
        // "ann@example.org" is an address, not a mention.
        if text[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric()) {
            continue;
        }
        let rest = &text[at + 1..];
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(rest.len());
        let word = rest[..end].trim_end_matches(['.', '-', '_']);
        if let Ok(name) = word.parse::<AccountName>()
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mentions_are_names_and_not_addresses() {
        let table: &[(&str, &[&str])] = &[
            ("@ann look", &["ann"]),
            ("hi @Ann, @bob.", &["ann", "bob"]),
            ("ann@example.org", &[]),
            ("(@build-bot)", &["build-bot"]),
            ("@ @@ann @ann", &["ann"]),
            ("", &[]),
        ];
        for (text, names) in table {
            let found = mentions(text);
            assert_eq!(found.iter().map(AccountName::as_str).collect::<Vec<_>>(), *names, "{text:?}");
        }
    }

    /// All names without a bound.
    fn all_mentions(text: &str) -> Vec<AccountName> {
        let mut names: Vec<AccountName> = Vec::new();
        for (at, _) in text.match_indices('@') {
            let before = text[..at].chars().next_back();
            let word =
                text[at + 1..].split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).next();
            let name = word.unwrap_or_default().trim_end_matches(['.', '-', '_']).parse();
            if let (false, Ok(name)) = (before.is_some_and(char::is_alphanumeric), name)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }

    proptest! {
        #[test]
        fn mentions_are_the_first_of_all(words in prop::collection::vec("@?[a-c.@é]{0,3}[ ,]?", 0..200)) {
            let text = words.concat();
            let first: Vec<_> = all_mentions(&text).into_iter().take(MAX_MENTIONS).collect();
            prop_assert_eq!(mentions(&text), first);
        }
    }

    #[test]
    fn no_more_is_looked_for_than_counts() {
        let text: String = (0..2_000).map(|n| format!("@a{n} ")).collect();
        assert_eq!(mentions(&text), all_mentions(&text)[..MAX_MENTIONS]);
    }

    #[test]
    fn amendments() {
        let ann: AccountName = "ann".parse().unwrap();
        let thumb = SafeLine::new("👍");
        let mut message =
            Message::new(MessageId::from_bytes([1; 16]), MessageKind::Plain, SafeText::new("helo"), None);
        let react = |on| EventBody::Reacted {
            target: Seq(1),
            id: MessageId::from_bytes([2; 16]),
            emoji: thumb.clone(),
            on,
        };
        message.amend(&ann, Timestamp(5), &react(true));
        message.amend(&ann, Timestamp(5), &react(true));
        assert_eq!(message.reactions, vec![Reaction { emoji: thumb.clone(), by: vec![ann.clone()] }]);
        message.amend(&ann, Timestamp(6), &react(false));
        assert!(message.reactions.is_empty());
        let edit = EventBody::Edited {
            target: Seq(1),
            id: MessageId::from_bytes([3; 16]),
            text: SafeText::new("hello"),
        };
        message.amend(&ann, Timestamp(7), &edit);
        assert_eq!((message.text(), message.edited), ("hello", Some(Timestamp(7))));
        message.amend(
            &ann,
            Timestamp(8),
            &EventBody::Deleted { target: Seq(1), id: MessageId::from_bytes([4; 16]) },
        );
        message.amend(&ann, Timestamp(9), &edit);
        assert_eq!((message.text(), message.deleted), ("", true));
    }
}
