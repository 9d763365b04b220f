//! Words, as they are indexed and asked for: folded, and cut where what is written between them is no letter and no
//! digit. Imports Unicode's tables alone.
//!
//! `foo_bar` and `path/like.rs:42` are words that stand side by side, and asked for as such. Scripts that put no spaces
//! between words are cut into characters, which stand side by side as well.

use std::ops::Range;

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// Longer words, such as keys and pictures in letters, are known by their beginning, in characters.
const LONGEST: usize = 40;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// As it is indexed: letters and digits alone.
    pub folded: String,
    /// Its bytes in the text.
    pub range: Range<usize>,
}

/// The words of `text`, in their order.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut found: Vec<Word> = Vec::new();
    let mut open = false;
    for (at, c) in text.char_indices() {
        let range = at..at + c.len_utf8();
        match folded(c) {
            Folded::Nothing => {}
            Folded::Between => open = false,
            Folded::Alone(folded) => {
                found.push(Word { folded, range });
                open = false;
            }
            Folded::Letter(letters) => {
                if !open {
                    found.push(Word { folded: String::new(), range: at..at });
                    open = true;
                }
                let word = found.last_mut().expect("one was pushed where none was open");
                if word.folded.chars().count() < LONGEST {
                    word.folded.push_str(&letters);
                }
                word.range.end = range.end;
            }
        }
    }
    found
}

/// What a character is to a word.
enum Folded {
    /// A mark on the letter before it.
    Nothing,
    /// It parts words.
    Between,
    /// A word of its own.
    Alone(String),
    /// Part of a word.
    Letter(String),
}

fn folded(c: char) -> Folded {
    if c.is_ascii() {
        let letter = |c: char| Folded::Letter(c.to_ascii_lowercase().to_string());
        return if c.is_ascii_alphanumeric() { letter(c) } else { Folded::Between };
    }
    let mut letters = String::new();
    let mut marks = false;
    for lower in c.to_lowercase() {
        decompose_compatible(lower, |part| {
            marks |= is_combining_mark(part);
            if part.is_alphanumeric() && !is_combining_mark(part) {
                letters.extend(part.to_lowercase());
            }
        });
    }
    match (letters.is_empty(), marks) {
        (true, true) => Folded::Nothing,
        (true, false) if is_picture(c) => Folded::Alone(c.to_string()),
        (true, false) => Folded::Between,
        (false, _) if is_unspaced(c) => Folded::Alone(letters),
        (false, _) => Folded::Letter(letters),
    }
}

/// Emoji and other pictures that one may look for.
fn is_picture(c: char) -> bool {
    matches!(c, '\u{2600}'..='\u{27BF}' | '\u{1F000}'..='\u{1FAFF}')
}

/// Scripts without spaces: Thai to Khmer, kana, Han.
fn is_unspaced(c: char) -> bool {
    matches!(
        c,
        '\u{0E00}'..='\u{0EFF}'
            | '\u{1000}'..='\u{109F}'
            | '\u{1780}'..='\u{17FF}'
            | '\u{3040}'..='\u{30FF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{20000}'..='\u{3FFFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_and_folded() {
        let table: &[(&str, &[&str])] = &[
            ("Deploy  is DONE!", &["deploy", "is", "done"]),
            ("foo_bar path/like.rs:42", &["foo", "bar", "path", "like", "rs", "42"]),
            ("naïve ÄPFEL Straße", &["naive", "apfel", "straße"]),
            ("e\u{301}tude", &["etude"]),
            ("漢字かな", &["漢", "字", "か", "な"]),
            ("ｆｕｌｌ　ｗｉｄｔｈ ﬁne", &["full", "width", "fine"]),
            ("ship it 🚀🚀", &["ship", "it", "🚀", "🚀"]),
            ("Привет", &["привет"]),
            ("--- ...", &[]),
            ("", &[]),
        ];
        for (text, expected) in table {
            let folded: Vec<String> = words(text).into_iter().map(|word| word.folded).collect();
            assert_eq!(folded, *expected, "{text}");
        }
    }

    #[test]
    fn a_long_word_is_known_by_its_beginning_and_seen_as_a_whole() {
        let text = format!("{} b", "Ä".repeat(1_000));
        let found = words(&text);
        assert_eq!(found[0].folded, "a".repeat(LONGEST));
        assert_eq!(found[0].range, 0..2_000);
    }

    #[test]
    fn what_is_indexed_is_folded_already() {
        for c in (0..=0x3_FFFF).filter_map(char::from_u32) {
            for word in words(&c.to_string()) {
                let again: Vec<String> = words(&word.folded).into_iter().map(|word| word.folded).collect();
                assert!(word.folded.chars().all(|c| !c.is_ascii() || c.is_ascii_alphanumeric()), "{c:?}");
                assert!(!again.is_empty(), "{c:?}");
            }
        }
    }
}
