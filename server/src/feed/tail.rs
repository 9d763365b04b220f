//! The tail of one log: dense frames up to the head, at least everything that is not stored yet. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use bytes::Bytes;
use quip_protocol::Seq;

/// How much is kept of what is stored, so that readers a little behind are served from memory.
const KEEP_BYTES: usize = 256 * 1024;
/// How many frames are kept of what is stored.
const KEEP_FRAMES: usize = 1024;

/// What a frame takes beside its bytes: its place here, the count of who has it, and what an allocator rounds up to.
const BESIDE: usize = 80;

/// What a frame takes, in bytes.
fn held(frame: &Bytes) -> usize {
    frame.len() + BESIDE
}

/// Frames from some seq up to the head.
#[derive(Debug, Default)]
pub struct Tail {
    /// The seq of the first frame held.
    first: u64,
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// How many of `bytes` are of what the store has too.
    kept: usize,
    /// The newest seq that is known of, held or not.
    head: u64,
    /// The store has everything up to here.
    stored: u64,
    /// Events that the store has, but not as they are now: rewritten by the event at the given seq, which is not
    /// stored yet.
    patches: BTreeMap<u64, (u64, Bytes)>,
}

impl Tail {
    /// Appends the frame of `seq`, which is behind everything held.
    pub fn append(&mut self, seq: Seq, frame: Bytes) {
        if self.frames.is_empty() {
            self.first = seq.0;
            // What is before the first frame ever seen here was stored before.
            self.stored = self.stored.max(seq.0 - 1);
        }
        debug_assert_eq!(seq.0, self.first + self.frames.len() as u64, "seqs are dense");
        self.bytes += held(&frame);
        if seq.0 <= self.stored {
            self.kept += held(&frame);
        }
        self.frames.push_back(frame);
        self.head = self.head.max(seq.0);
    }

    /// There is nothing behind `seq` but what will be appended, or is.
    pub fn head_is(&mut self, seq: Seq) {
        self.head = self.head.max(seq.0);
    }

    /// The event `target` now has this frame, because of the event `by`.
    pub fn amend(&mut self, target: Seq, by: Seq, frame: Bytes) {
        match self.index(target) {
            Some(at) => {
                let before = std::mem::replace(&mut self.frames[at], frame);
                self.bytes = self.bytes + held(&self.frames[at]) - held(&before);
                if target.0 <= self.stored {
                    self.kept = self.kept + held(&self.frames[at]) - held(&before);
                }
            }
            None => {
                self.patches.insert(target.0, (by.0, frame));
            }
        }
    }

    /// The store has everything up to `seq`.
    pub fn stored(&mut self, seq: Seq) {
        let before = self.stored;
        self.stored = before.max(seq.0);
        let stored = self.stored;
        self.patches.retain(|_, (by, _)| *by > stored);
        self.kept += self.bytes_between(before, stored);
        while self.bytes > KEEP_BYTES || self.frames.len() > KEEP_FRAMES {
            if !self.pop_stored() {
                break;
            }
        }
    }

    /// Holds only what the store does not have.
    pub fn let_go(&mut self) {
        while self.pop_stored() {}
    }

    fn pop_stored(&mut self) -> bool {
        if self.first > self.stored {
            return false;
        }
        let Some(frame) = self.frames.pop_front() else { return false };
        self.bytes -= held(&frame);
        self.kept -= held(&frame);
        self.first += 1;
        true
    }

    /// Bytes of the frames held behind one seq and up to another.
    fn bytes_between(&self, after: u64, upto: u64) -> usize {
        let index = |seq: u64| usize::try_from((seq + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        let (from, to) = (index(after).min(self.frames.len()), index(upto).min(self.frames.len()));
        self.frames.range(from..to).map(held).sum()
    }

    /// How much is held of what the store has, in bytes.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// The newest seq that is known of.
    pub fn head(&self) -> Seq {
        Seq(self.head)
    }

    /// Whether the store has all of it.
    pub fn is_stored(&self) -> bool {
        self.frames.is_empty() || self.stored + 1 >= self.first + self.frames.len() as u64
    }

    /// The last seq held, if any is.
    pub fn last(&self) -> Option<Seq> {
        (!self.frames.is_empty()).then(|| Seq(self.first + self.frames.len() as u64 - 1))
    }

    /// The first seq held, if any is.
    pub fn first(&self) -> Option<Seq> {
        (!self.frames.is_empty()).then_some(Seq(self.first))
    }

    /// A frame held, or a patch of one that the store has.
    pub fn frame(&self, seq: Seq) -> Option<Bytes> {
        match self.index(seq) {
            Some(at) => Some(self.frames[at].clone()),
            None => self.patches.get(&seq.0).map(|(_, frame)| frame.clone()),
        }
    }

    /// Frames behind `after` and up to `end`, at most `max_bytes` of them but at least one, and the last one's seq.
    /// `None` if the first of them is not held.
    pub fn read(&self, after: Seq, end: Seq, max_bytes: usize) -> Option<(Vec<Bytes>, Seq)> {
        let from = self.index(after.next())?;
        let mut frames = Vec::new();
        let mut bytes = 0;
        let mut last = after;
        for frame in self.frames.range(from..) {
            if last >= end || (bytes > 0 && bytes + frame.len() > max_bytes) {
                break;
            }
            bytes += frame.len();
            last = last.next();
            frames.push(frame.clone());
        }
        Some((frames, last))
    }

    /// Patches of events in a range that was read from the store.
    pub fn patches(&self, range: RangeInclusive<u64>) -> impl Iterator<Item = (Seq, Bytes)> + '_ {
        self.patches.range(range).map(|(seq, (_, frame))| (Seq(*seq), frame.clone()))
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        let at = usize::try_from(seq.0.checked_sub(self.first)?).ok()?;
        (at < self.frames.len()).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn what_is_unstored_is_held_and_what_is_stored_is_let_go() {
        let mut tail = Tail::default();
        for seq in 101..=101 + 2 * KEEP_FRAMES as u64 {
            tail.append(Seq(seq), frame("x"));
        }
        tail.stored(Seq(100));
        assert_eq!(tail.first(), Some(Seq(101)), "nothing is stored, so nothing goes");
        tail.stored(Seq(101 + KEEP_FRAMES as u64 / 2));
        assert_eq!(tail.first(), Some(Seq(102 + KEEP_FRAMES as u64 / 2)), "only what is stored goes");
        assert!(!tail.is_stored());
        tail.stored(Seq(101 + 2 * KEEP_FRAMES as u64));
        assert!(tail.is_stored());
        assert_eq!(tail.frames.len(), KEEP_FRAMES);
    }

    #[test]
    fn what_is_kept_is_what_is_held_and_stored() {
        let mut tail = Tail::default();
        for seq in 5..=9 {
            tail.append(Seq(seq), frame("1234"));
        }
        assert_eq!(tail.kept(), 0);
        tail.stored(Seq(6));
        assert_eq!(tail.kept(), 8 + 2 * BESIDE);
        tail.amend(Seq(6), Seq(10), frame("123456"));
        tail.amend(Seq(8), Seq(10), frame("12"));
        assert_eq!(tail.kept(), 10 + 2 * BESIDE, "only the one that is stored counts");
        tail.stored(Seq(6));
        tail.stored(Seq(8));
        assert_eq!(tail.kept(), 16 + 4 * BESIDE);
        tail.let_go();
        assert_eq!((tail.kept(), tail.first()), (0, Some(Seq(9))), "never what the store does not have");
        tail.stored(Seq(99));
        tail.let_go();
        assert_eq!((tail.kept(), tail.first(), tail.head()), (0, None, Seq(9)));
        tail.append(Seq(10), frame("1"));
        tail.stored(Seq(10));
        assert_eq!(tail.kept(), 1 + BESIDE, "it was stored before it came");
    }

    #[test]
    fn amendments_show_at_once() {
        let mut tail = Tail::default();
        tail.append(Seq(5), frame("five"));
        tail.append(Seq(6), frame("edit of 5"));
        tail.amend(Seq(5), Seq(6), frame("FIVE"));
        tail.append(Seq(7), frame("edit of 2"));
        tail.amend(Seq(2), Seq(7), frame("TWO"));
        assert_eq!(tail.frame(Seq(5)), Some(frame("FIVE")));
        assert_eq!(tail.frame(Seq(2)), Some(frame("TWO")));
        assert_eq!(tail.patches(1..=4).collect::<Vec<_>>(), vec![(Seq(2), frame("TWO"))]);
        tail.stored(Seq(7));
        assert_eq!(tail.frame(Seq(2)), None, "the store has it now");
    }

    #[test]
    fn reading_is_bounded_by_bytes_and_by_the_end() {
        let mut tail = Tail::default();
        for seq in 1..=4 {
            tail.append(Seq(seq), frame("1234"));
        }
        let seqs = |after, end, max| {
            tail.read(Seq(after), Seq(end), max).map(|(frames, last)| (frames.len(), last.0))
        };
        assert_eq!(seqs(0, 99, 8), Some((2, 2)));
        assert_eq!(seqs(0, 99, 1), Some((1, 1)), "at least one");
        assert_eq!(seqs(2, 3, 99), Some((1, 3)));
        assert_eq!(seqs(4, 99, 99), None);
    }
}
