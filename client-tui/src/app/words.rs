//! Events in words, and the words of a message that are set apart. Imports `rows` for its inks.

use std::ops::Range;

use quip_protocol::{AccountName, Event, EventBody, Role};

use super::rows::{Ink, Span};
use super::{blocks, text};

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
        EventBody::RoleSet { who, role } => ("•", format!("{author} made {who} {}", with_article(*role))),
        EventBody::Topic { topic } if topic.is_empty() => ("•", format!("{author} cleared the topic")),
        EventBody::Topic { topic } => ("•", format!("{author} set the topic: {topic}")),
        EventBody::Archived => ("•", format!("{author} archived the room; it can be read, not written")),
    })
}

/// The first `count` words of a text, on one line.
pub fn start(text: &str, count: usize) -> String {
    let mut words = text.split_whitespace();
    let start: Vec<&str> = words.by_ref().take(count).collect();
    format!("{}{}", start.join(" "), if words.next().is_some() { "…" } else { "" })
}

/// `1 member`, `2 members`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `a moderator`, `an owner`.
pub fn with_article(role: Role) -> String {
    format!("{} {role}", if role == Role::Owner { "an" } else { "a" })
}

/// Pieces of a text and their inks, in their order, none over another.
pub type Marks = Vec<(Range<usize>, Ink)>;

/// The words of `text` that are set apart: code, mentions of `me`, links.
pub fn marked_words(text: &str, me: Option<&AccountName>) -> Marks {
    let code = blocks::inline_code(text).into_iter().map(|range| (range, Ink::Code)).collect();
    overlaid(linked_words(text, me), code)
}

/// `upper` over `lower`.
pub fn overlaid(lower: Marks, upper: Marks) -> Marks {
    if upper.is_empty() {
        return lower;
    }
    let mut marks = Vec::with_capacity(lower.len() + upper.len());
    for (range, ink) in lower {
        let mut start = range.start;
        for (over, _) in upper.iter().filter(|(over, _)| over.start < range.end && over.end > range.start) {
            if start < over.start {
                marks.push((start..over.start, ink));
            }
            start = start.max(over.end);
        }
        if start < range.end {
            marks.push((start..range.end, ink));
        }
    }
    marks.extend(upper);
    marks.sort_by_key(|(range, _)| range.start);
    marks
}

fn linked_words(text: &str, me: Option<&AccountName>) -> Marks {
    let mut marks = Vec::new();
    let mut at = 0;
    for word in text.split([' ', '\n', '\t']) {
        if let Some(range) = address_in(word) {
            marks.push((at + range.start..at + range.end, Ink::Link));
        } else if let Some(range) = me.and_then(|me| mention_in(word, me)) {
            marks.push((at + range.start..at + range.end, Ink::Mention));
        }
        at += word.len() + 1;
    }
    marks
}

/// The address in a word, without the brackets around it and what ends a sentence.
fn address_in(word: &str) -> Option<Range<usize>> {
    let starts = ["https://", "http://", "quip://"].iter().filter_map(|scheme| word.find(scheme));
    let start = starts.min().filter(|at| !word[..*at].ends_with(char::is_alphanumeric))?;
    let mut address = &word[start..];
    while let Some(last) = address.chars().next_back() {
        // A bracket that was opened within the address belongs to it.
        let ends = match last {
            ')' => address.matches(')').count() > address.matches('(').count(),
            '.' | ',' | '!' | '?' | ';' | ':' | '\'' | '"' | '>' | ']' | '}' | '*' | '_' => true,
            _ => false,
        };
        if !ends {
            break;
        }
        address = &address[..address.len() - last.len_utf8()];
    }
    (!address.ends_with("//")).then_some(start..start + address.len())
}

/// The whole address of which `piece` of `text` is a part.
fn address_at(text: &str, piece: &Range<usize>) -> Option<Box<str>> {
    let is_space = |c: char| matches!(c, ' ' | '\n' | '\t');
    let start = text[..piece.start].rfind(is_space).map_or(0, |at| at + 1);
    let end = text[piece.end..].find(is_space).map_or(text.len(), |at| piece.end + at);
    let word = &text[start..end];
    address_in(word).map(|range| word[range].into())
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
            let link = if ink == Ink::Link { address_at(whole, &range) } else { None };
            spans.push(Span { link, ..Span::new(text::painted(&whole[range]), ink) });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let table = [
            ("https://a.example/b", Some("https://a.example/b")),
            ("(https://a.example/b).", Some("https://a.example/b")),
            ("https://a.example/b_(c)", Some("https://a.example/b_(c)")),
            ("<http://a.example>,", Some("http://a.example")),
            ("quip://a:7847/?fp=x#y!", Some("quip://a:7847/?fp=x#y")),
            ("xhttps://a.example", None),
            ("https://", None),
            ("file:///etc/passwd", None),
        ];
        for (word, expected) in table {
            assert_eq!(address_in(word).map(|range| &word[range]), expected, "{word}");
        }
        let text = "see https://a.example/long/way now";
        assert_eq!(address_at(text, &(12..16)).as_deref(), Some("https://a.example/long/way"));
    }

    #[test]
    fn marks_lie_over_marks() {
        let lower = vec![(0..4, Ink::Link), (6..9, Ink::Mention)];
        let upper = vec![(1..2, Ink::Found), (8..12, Ink::Found)];
        let expected = vec![
            (0..1, Ink::Link),
            (1..2, Ink::Found),
            (2..4, Ink::Link),
            (6..8, Ink::Mention),
            (8..12, Ink::Found),
        ];
        assert_eq!(overlaid(lower, upper), expected);
    }
}
