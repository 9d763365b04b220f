//! Whether the server is gone without a word: killed, or behind a network that is. PURE: time and counts are
//! arguments. QUIC's idle timeout alone would keep a message waiting for half a minute.

use std::time::Duration;

/// How often to look.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// A server that lives acknowledges within a round trip, however busy it is.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// An answer to what was sent, or to one of its retransmissions, comes in this time too. What was sent at the end of a long
/// silence is not answered yet; what was sent at its begin was retransmitted, more and more rarely.
const IN_VAIN_FOR: Duration = Duration::from_secs(4);
/// When there is reason to doubt, a ping was sent: an answer to it, or to one of its retransmissions, comes in this time
/// over any network that people chat on.
const DOUBTED_FOR: Duration = Duration::from_secs(3);

/// What was asked since something last came.
#[derive(Debug, Default)]
pub(super) struct Silence {
    received: u64,
    asked_then: u64,
    lasts: Duration,
    in_vain: Duration,
    doubted: bool,
}

impl Silence {
    /// After one more [`TICK`], with so many packets received so far, and so much sent that is acknowledged at once by a server
    /// that lives: whether the server is gone.
    pub(super) fn tick(&mut self, asked: u64, received: u64) -> bool {
        if received != self.received {
            *self = Silence { received, asked_then: asked, ..Silence::default() };
            return false;
        }
        self.lasts += TICK;
        if asked != self.asked_then {
            self.in_vain += TICK;
        }
        if self.doubted {
            return self.lasts >= DOUBTED_FOR;
        }
        self.lasts >= SILENT_AFTER && self.in_vain >= IN_VAIN_FOR
    }

    /// Whether something was asked for a while and nothing came: time to look whether anybody listens there.
    pub(super) fn is_odd(&self) -> bool {
        self.lasts >= TICK && (self.doubted || self.in_vain >= TICK)
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
        let slow = (0..100).map(|n| (10 + 3 * n, 10 + n / 4));
        assert_eq!(gone_after(slow), None, "an answer now and then");
        let mut odd = Silence::default();
        assert_eq!([10, 10, 11].map(|sent| (odd.tick(sent, 10), odd.is_odd()).1), [false, false, true]);
        let dead = (0..100).map(|n| (10 + n, 10));
        assert_eq!(gone_after(dead), Some(5));
        let asked_late = (0..100).map(|n| (10 + u64::from(n > 7), if n > 10 { 11 } else { 10 }));
        assert_eq!(gone_after(asked_late), None, "answered before it was in vain for long");
    }

    #[test]
    fn what_is_retransmitted_ever_more_rarely_is_in_vain_all_the_time() {
        // Sent right before the tick that saw the last answer; retransmitted after 1, 3 and 7 s.
        let rarely = [0, 1, 1, 2, 2, 2, 2, 3].map(|retransmitted| (10 + retransmitted, 10));
        assert_eq!(gone_after(rarely), Some(5));
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
