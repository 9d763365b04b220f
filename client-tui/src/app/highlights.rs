//! The words of code that are set apart, as far as they are known, and the code that nobody has looked at yet: reading
//! code takes longer than a frame may, so the shell does that aside. Imports nothing but what time is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Bound, Range};
use std::sync::Arc;

use quip_protocol::Timestamp;

/// A longer block has no colours, in bytes.
pub const LONGEST: usize = 16 * 1024;
/// So much code is kept with its words, in bytes: more than a screen has.
const KEPT: usize = 1024 * 1024;
/// Most blocks that wait to be asked for: more than a screen has. What is not in sight is laid out too, and asked for by
/// nobody.
const MOST_SEEN: usize = 256;
/// What was asked for is asked for again after this long, in milliseconds: whoever reads it may have failed.
const AGAIN_MS: u64 = 10_000;

/// What a word of code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Syntax {
    /// A word of the language.
    Keyword,
    /// A string.
    String,
    /// A comment.
    Comment,
    /// A number, or another constant.
    Number,
    /// A type.
    Type,
    /// A function.
    Function,
    /// What a patch takes away.
    Removed,
}

/// Words and what they are, as bytes of a block, in their order, none over another.
pub type Words = Vec<(Range<usize>, Syntax)>;

/// What is known of code. A block is written as in a message: its language, a line end, the code; so it is the same
/// wherever it is seen, and an edit is another one.
#[derive(Debug, Default)]
pub struct Highlights {
    /// Blocks and their words; none if their language is not known.
    known: BTreeMap<Arc<str>, Option<Words>>,
    /// The same, the oldest first.
    order: VecDeque<Arc<str>>,
    bytes: usize,
    /// Seen, and not known.
    seen: RefCell<BTreeSet<Box<str>>>,
    asked: BTreeMap<Box<str>, Timestamp>,
}

impl Highlights {
    /// The words of `block`, if they are known; else it will be among [`Highlights::wanted`].
    pub fn of(&self, block: &str) -> Option<&[(Range<usize>, Syntax)]> {
        if block.len() > LONGEST || block.starts_with('\n') {
            return None;
        }
        if let Some(words) = self.known.get(block) {
            return words.as_deref();
        }
        let mut seen = self.seen.borrow_mut();
        if seen.len() < MOST_SEEN {
            seen.insert(block.into());
        }
        drop(seen);
        // A message that grows is the one before with more behind it: it does not lose its colours with every line.
        let before = (Bound::Unbounded, Bound::Excluded(block));
        let (start, words) = self.known.range::<str, _>(before).next_back()?;
        words.as_deref().filter(|_| block.starts_with(&**start))
    }

    /// The blocks that were seen since this was asked last and are to be read.
    pub fn wanted(&mut self, now: Timestamp) -> Vec<String> {
        let mut seen = std::mem::take(self.seen.get_mut());
        self.asked.retain(|_, at| now.0 < at.0.saturating_add(AGAIN_MS));
        seen.retain(|block| !self.asked.contains_key(block));
        self.asked.extend(seen.iter().map(|block| (block.clone(), now)));
        seen.into_iter().map(String::from).collect()
    }

    /// A block was read: its words, or `None` if its language is not known.
    pub fn learn(&mut self, block: &str, words: Option<Words>) {
        self.asked.remove(block);
        let block: Arc<str> = block.into();
        if self.known.insert(Arc::clone(&block), words).is_none() {
            self.bytes += block.len();
            self.order.push_back(block);
        }
        while self.bytes > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= oldest.len();
            self.known.remove(&oldest);
        }
    }
}

/// The words that lie in `range` of the block.
pub fn within(words: &[(Range<usize>, Syntax)], range: Range<usize>) -> &[(Range<usize>, Syntax)] {
    let start = words.partition_point(|(word, _)| word.end <= range.start);
    let end = words.partition_point(|(word, _)| word.start < range.end);
    words.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    #[test]
    fn a_block_is_read_once_and_known_from_then_on() {
        let mut highlights = Highlights::default();
        let words = vec![(3..5, Syntax::Keyword)];
        assert_eq!((highlights.of("rs\nfn"), highlights.of("rs\nfn")), (None, None));
        assert_eq!(highlights.wanted(NOW), ["rs\nfn"]);
        assert_eq!(highlights.of("rs\nfn"), None);
        assert!(highlights.wanted(NOW).is_empty(), "it is being read");
        highlights.learn("rs\nfn", Some(words.clone()));
        assert_eq!(highlights.of("rs\nfn"), Some(words.as_slice()));
        assert!(highlights.wanted(NOW).is_empty());
        highlights.learn("nosuch\nx", None);
        assert_eq!(highlights.of("nosuch\nx"), None);
        assert!(highlights.wanted(NOW).is_empty());
    }

    #[test]
    fn what_was_not_answered_is_asked_again() {
        let mut highlights = Highlights::default();
        highlights.of("rs\nfn");
        assert_eq!(highlights.wanted(NOW).len(), 1);
        highlights.of("rs\nfn");
        assert_eq!(highlights.wanted(NOW.plus_ms(AGAIN_MS - 1)).len(), 0);
        highlights.of("rs\nfn");
        assert_eq!(highlights.wanted(NOW.plus_ms(AGAIN_MS)).len(), 1);
    }

    #[test]
    fn a_block_that_grows_keeps_the_words_it_has() {
        let mut highlights = Highlights::default();
        highlights.learn("rs\nfn", Some(vec![(3..5, Syntax::Keyword)]));
        assert_eq!(highlights.of("rs\nfn a").map(<[_]>::len), Some(1));
        assert_eq!(highlights.wanted(NOW), ["rs\nfn a"]);
        assert_eq!(highlights.of("rs\nfa"), None);
    }

    #[test]
    fn neither_long_nor_nameless_blocks_are_read_and_what_is_kept_is_bounded() {
        let mut highlights = Highlights::default();
        assert_eq!(highlights.of(&format!("rs\n{}", "x".repeat(LONGEST))), None);
        assert_eq!(highlights.of("\nfn"), None);
        assert!(highlights.wanted(NOW).is_empty());
        for number in 0..100 {
            let block = format!("rs\n{number:0>width$}", width = LONGEST - 3);
            highlights.learn(&block, Some(Words::new()));
            assert!(highlights.of(&block).is_some());
        }
        assert!(highlights.bytes <= KEPT && highlights.known.len() == KEPT / LONGEST);
        assert_eq!(highlights.order.len(), highlights.known.len());
    }

    #[test]
    fn what_nobody_asks_for_is_bounded() {
        let mut highlights = Highlights::default();
        let block = |number: usize| format!("rs\n{number}");
        assert!((0..10 * MOST_SEEN).all(|number| highlights.of(&block(number)).is_none()));
        assert_eq!(highlights.wanted(NOW).len(), MOST_SEEN);
        assert_eq!(highlights.of(&block(10 * MOST_SEEN)), None);
        assert_eq!(highlights.wanted(NOW), [block(10 * MOST_SEEN)], "what is painted next is asked for next");
    }

    #[test]
    fn words_within_a_range() {
        let words = vec![(0..2, Syntax::Keyword), (4..8, Syntax::String), (9..12, Syntax::Type)];
        let table = [(0..12, 3), (2..4, 0), (5..6, 1), (7..10, 2), (12..20, 0), (3..3, 0)];
        for (range, count) in table {
            assert_eq!(within(&words, range.clone()).len(), count, "{range:?}");
        }
    }
}
