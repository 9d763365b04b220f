//! Messages and what amends them: edits, deletions, reactions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cursor::{Seq, Timestamp};
use crate::event::{Event, EventBody};
use crate::limits::{MAX_EDITS_KEPT, MAX_MENTIONS, MAX_ORIGINAL, MAX_REACTIONS, MAX_REACTORS};
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
    /// What it said first, or the first [`MAX_ORIGINAL`] bytes of that; `None` unless it was edited.
    pub original: Option<SafeText>,
    /// The edits that still have their texts, oldest first: the last [`MAX_EDITS_KEPT`].
    #[serde(deserialize_with = "crate::codec::list::<_, _, MAX_EDITS_KEPT>")]
    pub edits: Vec<Seq>,
}

impl Message {
    /// A message as it is first sent.
    pub fn new(id: MessageId, kind: MessageKind, text: SafeText, reply_to: Option<Seq>) -> Message {
        let (reactions, edits) = (Vec::new(), Vec::new());
        Message { id, kind, text, reply_to, edited: None, deleted: false, reactions, original: None, edits }
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

    /// Applies an event that amends this message. The one place that says what an edit, a deletion or a reaction
    /// does to a message: the store, the feeds and every client use it.
    pub fn amend(&mut self, by: &Event) {
        match &by.body {
            EventBody::Edited { text, .. } if !self.deleted && !text.is_empty() => {
                self.edit(by.seq, by.at, text);
            }
            EventBody::Deleted { .. } => {
                (self.text, self.original) = (SafeText::default(), None);
                self.reactions.clear();
                self.edits.clear();
                (self.deleted, self.edited) = (true, None);
            }
            EventBody::Reacted { emoji, on, .. } if !self.deleted => self.react(&by.author, emoji, *on),
            _ => {}
        }
    }

    /// A client may learn of edits in any order: the newest is what counts.
    fn edit(&mut self, seq: Seq, at: Timestamp, text: &SafeText) {
        if self.edits.is_empty() {
            self.original = Some(beginning(&self.text));
        }
        if self.edits.last().is_none_or(|last| *last < seq) {
            (self.text, self.edited) = (text.clone(), Some(at));
        }
        if let Err(place) = self.edits.binary_search(&seq) {
            self.edits.insert(place, seq);
        }
        let too_many = self.edits.len().saturating_sub(MAX_EDITS_KEPT);
        self.edits.drain(..too_many);
    }

    /// The edit whose text goes when one more comes.
    pub fn oldest_edit(&self) -> Option<Seq> {
        self.edits.first().copied().filter(|_| self.edits.len() >= MAX_EDITS_KEPT)
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

/// What is kept of a first text.
fn beginning(text: &SafeText) -> SafeText {
    const CUT: &str = "…";
    if text.len() <= MAX_ORIGINAL {
        return text.clone();
    }
    let end = text.as_str().floor_char_boundary(MAX_ORIGINAL - CUT.len());
    SafeText::new(&format!("{}{CUT}", &text.as_str()[..end]))
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

    fn event(seq: u64, body: EventBody) -> Event {
        let (room, epoch, author) =
            (crate::room::RoomId(1), crate::cursor::Epoch::FIRST, "ann".parse().unwrap());
        Event { room, epoch, seq: Seq(seq), at: Timestamp(seq), ordinal: 0, author, body }
    }

    fn message(text: &str) -> Message {
        Message::new(MessageId::from_bytes([1; 16]), MessageKind::Plain, SafeText::new(text), None)
    }

    fn edit(seq: u64, text: &str) -> Event {
        let (target, id, drops) = (Seq(1), MessageId::from_bytes([3; 16]), None);
        event(seq, EventBody::Edited { target, id, text: SafeText::new(text), drops })
    }

    fn deletion(seq: u64, edits: Vec<Seq>) -> Event {
        event(seq, EventBody::Deleted { target: Seq(1), id: MessageId::from_bytes([4; 16]), edits })
    }

    #[test]
    fn amendments() {
        let thumb = SafeLine::new("👍");
        let mut message = message("helo");
        let react = |on| {
            let (target, id) = (Seq(1), MessageId::from_bytes([2; 16]));
            event(5, EventBody::Reacted { target, id, emoji: thumb.clone(), on })
        };
        message.amend(&react(true));
        message.amend(&react(true));
        let by = vec!["ann".parse().unwrap()];
        assert_eq!(message.reactions, vec![Reaction { emoji: thumb.clone(), by }]);
        message.amend(&react(false));
        assert!(message.reactions.is_empty());
        message.amend(&edit(7, "hello"));
        assert_eq!((message.text(), message.edited), ("hello", Some(Timestamp(7))));
        assert_eq!((message.original.clone(), message.edits.clone()), (Some("helo".into()), vec![Seq(7)]));
        message.amend(&deletion(8, vec![Seq(7)]));
        message.amend(&edit(9, "hello"));
        assert_eq!((message.text(), message.deleted, &message.original), ("", true, &None));
        assert!(message.edits.is_empty());
    }

    #[test]
    fn edits_come_to_the_same_in_any_order_and_the_last_ones_are_kept() {
        let edits: Vec<Event> =
            (2..2 + MAX_EDITS_KEPT as u64 + 3).map(|seq| edit(seq, &format!("v{seq}"))).collect();
        let mut forward = message("first");
        edits.iter().for_each(|edit| forward.amend(edit));
        assert_eq!(forward.edits, (5..5 + MAX_EDITS_KEPT as u64).map(Seq).collect::<Vec<_>>());
        assert_eq!(forward.oldest_edit(), Some(Seq(5)));
        assert_eq!(forward.original, Some("first".into()));
        for step in [3, 11, 13] {
            let mut shuffled = message("first");
            (0..edits.len() * 2).for_each(|n| shuffled.amend(&edits[n * step % edits.len()]));
            assert_eq!(shuffled, forward, "by {step}");
        }
        let before = forward.clone();
        forward.amend(&edit(99, ""));
        assert_eq!(forward, before, "an edit whose text is gone says nothing");
    }

    #[test]
    fn a_deletion_takes_the_texts_of_its_edits_and_of_no_other() {
        let by = deletion(9, vec![Seq(4), Seq(5)]);
        let other = |seq| {
            let (target, id, drops) = (Seq(2), MessageId::from_bytes([3; 16]), None);
            event(seq, EventBody::Edited { target, id, text: SafeText::new("kept"), drops })
        };
        let table = [(edit(4, "secret"), ""), (edit(6, "kept"), "kept"), (other(5), "kept")];
        for (mut earlier, expected) in table {
            earlier.amend(&by);
            let EventBody::Edited { text, .. } = &earlier.body else { panic!("it is an edit") };
            assert_eq!(text.as_str(), expected, "{}", earlier.seq);
        }
    }

    #[test]
    fn a_long_first_text_is_kept_as_its_beginning() {
        for (length, kept) in [(MAX_ORIGINAL / 2, MAX_ORIGINAL), (MAX_ORIGINAL, MAX_ORIGINAL - 1)] {
            // Two bytes a letter, so that the cut falls into one.
            let mut message = message(&"ä".repeat(length));
            message.amend(&edit(2, "now"));
            let original = message.original.unwrap();
            assert_eq!((original.len(), original.as_str().ends_with('…')), (kept, length > MAX_ORIGINAL / 2));
        }
    }
}
