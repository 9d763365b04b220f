//! Whether the server is gone without a word: killed, or behind a network that is. PURE: time and counts are
//! arguments. QUIC's idle timeout alone would keep a message waiting for half a minute.

use std::time::Duration;

/// How often to look.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// A server that lives acknowledges within a round trip, however busy it is.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// So many packets in vain are retransmissions or pings; fewer may be acknowledgements, which nobody answers.
const IN_VAIN: u64 = 4;
/// When there is reason to doubt, a ping was sent: an answer to it, or to one of its retransmissions, comes in this time
/// over any network that people chat on.
const DOUBTED_FOR: Duration = Duration::from_secs(3);

/// What was sent since something last came.
#[derive(Debug, Default)]
pub(super) struct Silence {
    received: u64,
    sent_then: u64,
    lasts: Duration,
    doubted: bool,
}

impl Silence {
    /// After one more [`TICK`], with the packets sent and received so far: whether the server is gone.
    pub(super) fn tick(&mut self, sent: u64, received: u64) -> bool {
        if received != self.received {
            *self = Silence { received, sent_then: sent, ..Silence::default() };
            return false;
        }
        self.lasts += TICK;
        if self.doubted {
            return self.lasts >= DOUBTED_FOR;
        }
        self.lasts >= SILENT_AFTER && sent.saturating_sub(self.sent_then) >= IN_VAIN
    }

    /// The machine woke up or moved, and the server was pinged: it is gone unless it answers soon.
    pub(super) fn doubt(&mut self) {
        self.lasts = Duration::ZERO;
        self.doubted = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone_after(ticks: impl IntoIterator<Item = (u64, u64)>) -> Option<usize> {
        let mut silence = Silence::default();
        ticks.into_iter().position(|(sent, received)| silence.tick(sent, received))
    }

    #[test]
    fn only_a_server_that_answers_nothing_is_gone() {
        let idle = (0..100).map(|_| (10, 10));
        assert_eq!(gone_after(idle), None, "nothing sent, nothing expected");
        let acknowledging = (0..100).map(|n| (10 + n.min(2), 10));
        assert_eq!(gone_after(acknowledging), None, "nobody answers acknowledgements");
        let slow = (0..100).map(|n| (10 + 3 * n, 10 + n / 4));
        assert_eq!(gone_after(slow), None, "an answer now and then");
        let dead = (0..100).map(|n| (10 + n, 10));
        assert_eq!(gone_after(dead), Some(5));
    }

    #[test]
    fn one_that_was_doubted_answers_soon_or_is_gone() {
        let mut silence = Silence::default();
        assert!(!silence.tick(10, 10));
        silence.doubt();
        assert_eq!([11, 12, 12].map(|sent| silence.tick(sent, 10)), [false, false, true]);
        silence.doubt();
        assert!(!silence.tick(13, 11), "an answer ends the doubt");
        assert_eq!([13; 9].map(|sent| silence.tick(sent, 11)), [false; 9]);
    }
}
