//! What a message of the load program says: who sent it, which of theirs it is, and when. PURE but for the clock.

use std::time::Instant;

/// The shortest text that holds a stamp, in bytes.
pub const MIN_SIZE: usize = 48;
/// The sender of the message that ends a run.
const END: u32 = u32::MAX;

/// Counts from the program's start: one process sends and receives, so one monotonic clock does.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts now.
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// Now, in nanoseconds.
    pub fn now(self) -> u64 {
        self.at(Instant::now())
    }

    /// A moment, in nanoseconds.
    pub fn at(self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.0).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A message's stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Which sender.
    pub sender: u32,
    /// The sender's messages, counted from 0.
    pub number: u64,
    /// When it was to be sent, by the [`Clock`].
    pub nanos: u64,
}

impl Stamp {
    /// Of the message that ends a run.
    pub fn end() -> Stamp {
        Stamp { sender: END, number: 0, nanos: 0 }
    }

    /// Whether it ends the run.
    pub fn is_end(self) -> bool {
        self.sender == END
    }

    /// A text of `size` bytes, at least [`MIN_SIZE`], that holds it.
    pub fn text(self, size: usize) -> String {
        let Stamp { sender, number, nanos } = self;
        let mut text = format!("{sender} {number} {nanos} ");
        text.extend(std::iter::repeat_n('x', size.max(MIN_SIZE).saturating_sub(text.len())));
        text
    }

    /// Reads it back.
    pub fn parse(text: &str) -> Option<Stamp> {
        let mut words = text.split(' ');
        let sender = words.next()?.parse().ok()?;
        let number = words.next()?.parse().ok()?;
        let nanos = words.next()?.parse().ok()?;
        Some(Stamp { sender, number, nanos })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_at_any_size() {
        let small = Stamp { sender: 0, number: 0, nanos: 0 };
        let large = Stamp { sender: END, number: u64::MAX, nanos: u64::MAX };
        for stamp in [small, large, Stamp::end(), Stamp { sender: 3, number: 77, nanos: 1_234_567 }] {
            for size in [0, MIN_SIZE, 120, 4_000] {
                let text = stamp.text(size);
                assert_eq!(Stamp::parse(&text), Some(stamp));
                assert!(text.len() == size.max(MIN_SIZE) || stamp == large);
            }
        }
    }

    #[test]
    fn what_is_no_stamp() {
        for text in ["", "hello", "1 2", "1 2 three x", "-1 2 3 x", "1  2 3"] {
            assert_eq!(Stamp::parse(text), None, "{text:?}");
        }
    }
}
