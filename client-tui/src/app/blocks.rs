//! The parts of a message: text, and code between lines of three backticks. Imports nothing.

use std::ops::Range;

/// A part of a message, as bytes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Text.
    Text(Range<usize>),
    /// Code, without its fences.
    Code {
        /// What the opening fence says of it; may be empty.
        name: Range<usize>,
        /// The code.
        code: Range<usize>,
    },
}

/// The parts of `text`, in their order; there is at least one. A fence that is not closed holds all the rest.
pub fn split(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut start, mut at) = (0, 0);
    let mut open: Option<Range<usize>> = None;
    for line in text.split('\n') {
        let (line_at, behind) = (at, at + line.len());
        at = behind + 1;
        match (&open, fence(line)) {
            (None, Some(name)) if behind < text.len() => {
                push_text(&mut blocks, start, line_at);
                open = Some(behind - name.len()..behind);
                start = at;
            }
            (Some(name), Some("")) => {
                let code = start..line_at.saturating_sub(1).max(start);
                blocks.push(Block::Code { name: name.clone(), code });
                (open, start) = (None, at);
            }
            _ => {}
        }
    }
    match open {
        Some(name) => blocks.push(Block::Code { name, code: start.min(text.len())..text.len() }),
        None if start <= text.len() => blocks.push(Block::Text(start..text.len())),
        None => {}
    }
    blocks
}

fn push_text(blocks: &mut Vec<Block>, start: usize, fence: usize) {
    if fence > start {
        blocks.push(Block::Text(start..fence - 1));
    }
}

/// What a fence says behind its backticks.
fn fence(line: &str) -> Option<&str> {
    let name = line.trim_start().strip_prefix("```")?.trim_start();
    let word = name.trim_end();
    (!word.contains('`') && !word.contains(char::is_whitespace) && word.len() == name.len()).then_some(name)
}

/// The code of `text` alone, one block behind the other; nothing if there is none.
pub fn code(text: &str) -> Option<String> {
    let blocks = split(text);
    let codes: Vec<&str> = blocks
        .iter()
        .filter_map(|block| match block {
            Block::Code { code, .. } => Some(&text[code.clone()]),
            Block::Text(_) => None,
        })
        .collect();
    (!codes.is_empty()).then(|| codes.join("\n"))
}

/// Bytes of `text` between single or more backticks on one line, the backticks included.
pub fn inline_code(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut line_at = 0;
    for line in text.split('\n') {
        let mut at = 0;
        while let Some(start) = line[at..].find('`').map(|found| at + found) {
            let ticks = line[start..].len() - line[start..].trim_start_matches('`').len();
            let inner = start + ticks;
            let end = line[inner..].find(&line[start..inner]).map(|end| inner + end);
            match end.filter(|end| *end > inner) {
                Some(end) => {
                    found.push(line_at + start..line_at + end + ticks);
                    at = end + ticks;
                }
                None => at = inner,
            }
        }
        line_at += line.len() + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let show = |block: &Block| match block {
            Block::Text(range) => format!("T:{}", &text[range.clone()]),
            Block::Code { name, code } => format!("C{}:{}", &text[name.clone()], &text[code.clone()]),
        };
        split(text).iter().map(show).collect()
    }

    #[test]
    fn blocks() {
        let table: &[(&str, &[&str])] = &[
            ("", &["T:"]),
            ("a\nb", &["T:a\nb"]),
            ("see\n```rust\nfn x() {}\n\ny\n```\nso", &["T:see", "Crust:fn x() {}\n\ny", "T:so"]),
            ("```\nx\n```", &["C:x"]),
            ("```\n```", &["C:"]),
            ("```sh\nnever closed", &["Csh:never closed"]),
            ("```one line```", &["T:```one line```"]),
            ("```", &["T:```"]),
            ("``` two words\nx", &["T:``` two words\nx"]),
            ("```\na\n```\n```\nb\n```", &["C:a", "C:b"]),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), *expected, "{text:?}");
        }
        assert_eq!(code("x\n```\na\n```\ny\n```\nb").as_deref(), Some("a\nb"));
        assert_eq!(code("x"), None);
    }

    #[test]
    fn code_within_a_line() {
        let table: &[(&str, &[&str])] = &[
            ("run `make all` now", &["`make all`"]),
            ("``a`b`` and `c`", &["``a`b``", "`c`"]),
            ("one ` alone\nand ` there", &[]),
            ("``", &[]),
        ];
        for (text, expected) in table {
            let found: Vec<&str> = inline_code(text).into_iter().map(|range| &text[range]).collect();
            assert_eq!(found, *expected, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parts_lie_in_the_text_one_behind_the_other(text in "[a` \n漢]{0,40}") {
            let mut end = 0;
            for block in split(&text) {
                let range = match &block {
                    Block::Text(range) | Block::Code { code: range, .. } => range.clone(),
                };
                proptest::prop_assert!(range.start >= end && text.get(range.clone()).is_some());
                end = range.end;
            }
            for range in inline_code(&text) {
                proptest::prop_assert!(text.get(range).is_some());
            }
        }
    }
}
