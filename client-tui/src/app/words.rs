//! Events in words, and the words of a message that are set apart. Imports `rows` for its inks.

use std::ops::Range;

use quip_protocol::{AccountName, Event, EventBody};

use super::rows::{Ink, Span};
use super::text;

/// Colours that nicks are spread over.
pub const NICK_COLOURS: u8 = 7;

/// The colour of a nick, the same on every screen.
pub fn nick_colour(name: &AccountName) -> u8 {
    let hash = name
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    ((hash >> 8) % u32::from(NICK_COLOURS)) as u8
}

/// A nick in its colour.
pub fn nick(name: &AccountName) -> Span {
    Span::new(name.as_str(), Ink::Nick(nick_colour(name)))
}

/// Who the names are, in a few words.
fn names(who: &[AccountName], count: u32) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = who.iter().take(SHOWN).map(AccountName::as_str).collect();
    let rest = usize::try_from(count).unwrap_or(usize::MAX).max(who.len()) - shown.len();
    match (shown.as_slice(), rest) {
        ([], rest) => format!("{rest} more"),
        (shown, 0) => shown.join(", "),
        (shown, rest) => format!("{} and {rest} more", shown.join(", ")),
    }
}

/// What happened, for events that are no messages: a sign and the words. Amendments say nothing of their own.
pub fn happening(event: &Event) -> Option<(&'static str, String)> {
    let author = &event.author;
    Some(match &event.body {
        EventBody::Message(_)
        | EventBody::Edited { .. }
        | EventBody::Deleted { .. }
        | EventBody::Reacted { .. } => {
            return None;
        }
        EventBody::Created { members: 0 | 1 } => ("•", format!("{author} made the room")),
        EventBody::Created { members } => ("•", format!("{author} made the room with {members} members")),
        EventBody::Joined => ("→", format!("{author} joined")),
        EventBody::Left => ("←", format!("{author} left")),
        EventBody::Invited { who, count } => ("→", format!("{author} invited {}", names(who, *count))),
        EventBody::Kicked { who, reason } if reason.is_empty() => ("←", format!("{author} removed {who}")),
        EventBody::Kicked { who, reason } => ("←", format!("{author} removed {who}: {reason}")),
        EventBody::RoleSet { who, role } => ("•", format!("{author} made {who} {role}")),
        EventBody::Topic { topic } if topic.is_empty() => ("•", format!("{author} cleared the topic")),
        EventBody::Topic { topic } => ("•", format!("{author} set the topic: {topic}")),
        EventBody::Archived => ("•", format!("{author} archived the room; it can be read, not written")),
    })
}

/// The words of `text` that are set apart: mentions of `me`, links.
pub fn marked_words(text: &str, me: Option<&AccountName>) -> Vec<(Range<usize>, Ink)> {
    let mut marks = Vec::new();
    let mut at = 0;
    for word in text.split([' ', '\n', '\t']) {
        if word.starts_with("https://") || word.starts_with("http://") || word.starts_with("quip://") {
            let end = word.trim_end_matches(['.', ',', ')', '!', '?', ';', ':']).len();
            marks.push((at..at + end, Ink::Link));
        } else if let Some(range) = me.and_then(|me| mention_in(word, me)) {
            marks.push((at + range.start..at + range.end, Ink::Mention));
        }
        at += word.len() + 1;
    }
    marks
}

fn mention_in(word: &str, me: &AccountName) -> Option<Range<usize>> {
    let found = word.contains('@') && quip_protocol::message::mentions(word).contains(me);
    let at = found.then(|| word.to_ascii_lowercase().find(&format!("@{me}")))??;
    Some(at..at + 1 + me.as_str().len())
}

/// The bytes of `row` as spans: what is marked in its ink, the rest in `ink`.
pub fn inked(whole: &str, row: Range<usize>, marks: &[(Range<usize>, Ink)], ink: Ink) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = row.start;
    let mut push = |range: Range<usize>, ink: Ink| {
        if !range.is_empty() {
            spans.push(Span::new(text::painted(&whole[range]), ink));
        }
    };
    for (mark, mark_ink) in marks.iter().filter(|(mark, _)| mark.start < row.end && mark.end > row.start) {
        let (start, end) = (mark.start.max(at), mark.end.min(row.end));
        if start < end {
            push(at..start, ink);
            push(start..end, *mark_ink);
            at = end;
        }
    }
    push(at..row.end, ink);
    spans
}
