//! Text measured in terminal cells: widths, wrapping, cutting, grapheme steps. Imports nothing of Quip.

use std::borrow::Cow;
use std::ops::Range;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};
use unicode_width::UnicodeWidthStr;

/// A tab is shown as this many spaces.
pub const TAB: usize = 4;
const TAB_SPACES: &str = "    ";

/// Cells that one grapheme takes.
pub fn grapheme_width(grapheme: &str) -> usize {
    match grapheme.as_bytes() {
        [b'\t'] => TAB,
        [b' '..=b'~'] => 1,
        [0..=0x1F] => 0,
        // Terminals give the halfwidth sound marks a cell of their own, and so does ratatui.
        _ => grapheme.width() + grapheme.chars().filter(|c| matches!(c, '\u{FF9E}' | '\u{FF9F}')).count(),
    }
}

/// Cells that `text`, a single line, takes.
pub fn width(text: &str) -> usize {
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return text.len();
    }
    text.graphemes(true).map(grapheme_width).sum()
}

/// `text` as it is painted: tabs become spaces.
pub fn painted(text: &str) -> Cow<'_, str> {
    if text.contains('\t') { Cow::Owned(text.replace('\t', TAB_SPACES)) } else { Cow::Borrowed(text) }
}

/// `text` without the characters that turn the direction of reading: they are balanced in a whole text, and not in a
/// row that is cut out of it. What they leave open would turn what stands beside it.
pub fn unturned(text: &str) -> Cow<'_, str> {
    let turns = |c: char| matches!(c, '\u{2066}'..='\u{2069}');
    if text.contains(turns) { Cow::Owned(text.replace(turns, "")) } else { Cow::Borrowed(text) }
}

/// The longest start of `text` that fits into `cells`.
pub fn fitting(text: &str, cells: usize) -> &str {
    let mut used = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        used += grapheme_width(grapheme);
        if used > cells {
            return &text[..at];
        }
    }
    text
}

/// `text` cut to `cells`, with `…` where something is missing.
pub fn ellipsis(text: &str, cells: usize) -> Cow<'_, str> {
    if width(text) <= cells {
        return Cow::Borrowed(text);
    }
    match cells {
        0 => Cow::Borrowed(""),
        _ => Cow::Owned(format!("{}…", fitting(text, cells - 1).trim_end())),
    }
}

/// `text` in exactly `cells` cells, filled with spaces on the right.
pub fn padded(text: &str, cells: usize) -> String {
    let cut = ellipsis(text, cells);
    let fill = cells.saturating_sub(width(&cut));
    format!("{cut}{:fill$}", "")
}

/// `text` in exactly `cells` cells, filled with spaces on the left.
pub fn right_aligned(text: &str, cells: usize) -> String {
    let cut = ellipsis(text, cells);
    let fill = cells.saturating_sub(width(&cut));
    format!("{:fill$}{cut}", "")
}

/// Byte ranges of the rows into which `text` falls at `cells` cells a row. There is at least one row; rows break at
/// spaces and around wide characters, inside a word only if it is longer than a row. Spaces at a row's end hang.
pub fn wrap(text: &str, cells: usize) -> Vec<Range<usize>> {
    #[cfg(test)]
    WRAPPED.set(WRAPPED.get() + text.len());
    let mut rows = Vec::new();
    let mut start = 0;
    for line in text.split('\n') {
        wrap_line(line, start, cells.max(1), &mut rows);
        start += line.len() + 1;
    }
    rows
}

fn wrap_line(line: &str, offset: usize, cells: usize, rows: &mut Vec<Range<usize>>) {
    // The common case: a short line of ASCII.
    if line.len() <= cells && line.bytes().all(|b| matches!(b, b' '..=b'~')) {
        rows.push(offset..offset + line.len());
        return;
    }
    let (mut start, mut used) = (0, 0);
    // Where the row could end, and the cells up to there.
    let mut opportunity: Option<(usize, usize)> = None;
    for (at, grapheme) in line.grapheme_indices(true) {
        let wide = grapheme_width(grapheme);
        if wide > 1 && at > start && grapheme != "\t" {
            opportunity = Some((at, used));
        }
        if used + wide > cells && at > start && grapheme != " " {
            let (end, before) = opportunity.take().unwrap_or((at, used));
            rows.push(offset + start..offset + end);
            start = end;
            used -= before;
        }
        used += wide;
        if grapheme == " " || grapheme == "\t" || wide > 1 {
            opportunity = Some((at + grapheme.len(), used));
        }
    }
    rows.push(offset + start..offset + line.len());
}

/// Whether a cursor may stand at byte `at`.
pub fn is_boundary(text: &str, at: usize) -> bool {
    text.is_char_boundary(at)
        && GraphemeCursor::new(at, text.len(), true).is_boundary(text, 0).unwrap_or(false)
}

/// The first place at or behind byte `at` where a cursor may stand.
pub fn snap(text: &str, at: usize) -> usize {
    (at.min(text.len())..=text.len()).find(|&at| is_boundary(text, at)).unwrap_or(text.len())
}

/// One grapheme to the left of `at`.
pub fn step_left(text: &str, at: usize) -> usize {
    GraphemeCursor::new(at, text.len(), true).prev_boundary(text, 0).ok().flatten().unwrap_or(0)
}

/// One grapheme to the right of `at`.
pub fn step_right(text: &str, at: usize) -> usize {
    GraphemeCursor::new(at, text.len(), true).next_boundary(text, 0).ok().flatten().unwrap_or(text.len())
}

/// The start of the word to the left of `at`.
pub fn word_left(text: &str, at: usize) -> usize {
    let left = &text[..at];
    let trimmed = left.trim_end_matches(|c: char| !c.is_alphanumeric());
    let start = trimmed.trim_end_matches(char::is_alphanumeric).len();
    // Marks on a letter are no letters themselves: never stop inside a grapheme.
    if is_boundary(text, start) { start } else { step_left(text, start) }
}

/// The end of the word to the right of `at`.
pub fn word_right(text: &str, at: usize) -> usize {
    let right = &text[at..];
    let trimmed = right.trim_start_matches(|c: char| !c.is_alphanumeric());
    let rest = trimmed.trim_start_matches(char::is_alphanumeric);
    snap(text, text.len() - rest.len())
}

#[cfg(test)]
thread_local! {
    static WRAPPED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Bytes that this thread has parted into rows.
#[cfg(test)]
pub(crate) fn wrapped() -> usize {
    WRAPPED.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(text: &str, cells: usize) -> Vec<&str> {
        wrap(text, cells).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn wrapping() {
        let table: &[(&str, usize, &[&str])] = &[
            ("", 10, &[""]),
            ("one two three", 8, &["one two ", "three"]),
            ("one two three", 7, &["one two ", "three"]),
            ("abcdefghij", 4, &["abcd", "efgh", "ij"]),
            ("a abcdefghij", 4, &["a ", "abcd", "efgh", "ij"]),
            ("漢字漢字", 5, &["漢字", "漢字"]),
            ("go 漢字漢字", 5, &["go 漢", "字漢", "字"]),
            ("a\n\nb", 5, &["a", "", "b"]),
            ("👩\u{200d}💻👩\u{200d}💻", 2, &["👩\u{200d}💻", "👩\u{200d}💻"]),
            ("漢", 1, &["漢"]),
        ];
        for (text, cells, expected) in table {
            assert_eq!(rows(text, *cells), *expected, "{text:?} at {cells}");
        }
    }

    #[test]
    fn cutting() {
        let table = [("short", 5, "short"), ("longer", 5, "long…"), ("漢字漢字", 5, "漢字…"), ("x", 0, "")];
        for (text, cells, expected) in table {
            assert_eq!(ellipsis(text, cells), expected);
        }
        assert_eq!((padded("ab", 4).as_str(), right_aligned("ab", 4).as_str()), ("ab  ", "  ab"));
    }

    proptest! {
        #[test]
        fn rows_hold_all_of_the_text_and_fit(text in "[a-f 漢é👩\u{200d}\n\t]{0,60}", cells in 1usize..20) {
            let rows = wrap(&text, cells);
            let mut joined = String::new();
            let mut end = 0;
            for row in rows {
                if row.start > end {
                    joined.push('\n');
                }
                end = row.end;
                let piece = &text[row];
                joined.push_str(piece);
                let shown = piece.trim_end_matches([' ', '\t']);
                let fits = width(shown) <= cells || shown.graphemes(true).count() == 1;
                prop_assert!(fits, "{piece:?} at {cells}");
            }
            prop_assert_eq!(joined.trim_end(), text.trim_end());
        }

        #[test]
        fn steps_stay_on_graphemes(text in "[a-c é👩\u{200d}💻\u{301}]{0,20}") {
            for (at, _) in text.grapheme_indices(true) {
                for to in [step_left(&text, at), step_right(&text, at), word_left(&text, at), word_right(&text, at)] {
                    prop_assert!(is_boundary(&text, to), "{text:?} {at} {to}");
                }
            }
        }
    }
}
