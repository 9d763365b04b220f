//! What the log of a node tells its operator of the shared log: how it stands and why, and what is written back. A Redis
//! that is away for an hour is one line, and another one where the reason has changed. Knows the member's words, and nothing of connections.

use std::time::{Duration, Instant};

use quip_protocol::Position;
use tracing::{error, info, warn};

use super::address::Address;
use super::driver::Ended;
use crate::log::shared::contract::{Answer, Ask, Lost};
use crate::log::shared::member::{Lane, Phase, StepAside};

/// Another reason why nothing is written is told so much later than the one before.
const AGAIN: Duration = Duration::from_secs(10);

/// What was told, and what there is to tell.
#[derive(Debug)]
pub(super) struct Notes {
    /// Which Redis it is.
    redis: String,
    /// The last question that was not answered, on the lane that writes.
    why: Option<String>,
    /// Why nothing is written, as it was told, and when.
    told: Option<(String, Instant)>,
    written_back: u64,
}

impl Notes {
    pub(super) fn new(address: &Address) -> Notes {
        Notes { redis: address.to_string(), why: None, told: None, written_back: 0 }
    }

    /// On the lane that reads nothing is told: what ends there ends on the other one too.
    pub(super) fn answered(&mut self, now: Instant, lane: Lane, answer: &Result<Answer, Lost>) {
        if let (Lane::Write, Err(Lost(why))) = (lane, answer) {
            self.why = Some(why.clone());
            if let Some((told, at)) = &self.told
                && told != why
                && now.duration_since(*at) >= AGAIN
            {
                self.takes_nothing(now);
            }
        }
    }

    pub(super) fn phase(&mut self, now: Instant, phase: &Phase) {
        let word = phase.word();
        match phase {
            Phase::Unreachable => return self.takes_nothing(now),
            Phase::Repairing => {
                warn!(phase = word, "the shared log takes nothing until the nodes agree on it")
            }
            Phase::CatchingUp { to } => info!(phase = word, %to, "the shared log"),
            Phase::Live => info!(phase = word, "the shared log"),
        }
        self.told = None;
    }

    fn takes_nothing(&mut self, now: Instant) {
        let (why, redis) = (self.why.clone().unwrap_or_default(), &self.redis);
        warn!(phase = Phase::Unreachable.word(), redis, why, "the shared log takes nothing");
        self.told = Some((why, now));
    }

    /// A question is asked: those of a repair are worth a line.
    pub(super) fn asked(&mut self, ask: &Ask) {
        match ask {
            Ask::Claim { .. } => self.written_back = 0,
            Ask::Reset { base, .. } => {
                warn!(%base, "Redis has lost the log: this node writes it back");
            }
            Ask::Restore { entries, .. } => self.written_back += entries.len() as u64,
            Ask::Raise { entry, .. } => self.raised(entry.position),
            _ => {}
        }
    }

    fn raised(&self, position: Position) {
        let written_back = self.written_back;
        info!(epoch = %position.epoch, written_back, "this node has repaired the shared log");
    }
}

/// Why the node cannot go on as it is. What it does about a log that begins behind it, it says itself.
pub(super) fn ended(why: &Ended) {
    match why {
        Ended::Aside(StepAside::Behind { .. }) => {}
        Ended::Aside(StepAside::Diverged) => warn!("{why}"),
        Ended::Aside(StepAside::Foreign { .. }) | Ended::Unreadable { .. } => error!("{why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_nothing_is_written_is_told_once_and_again_when_it_is_another_reason() {
        let mut notes = Notes::new(&"redis://r.example".parse().unwrap());
        let begun = Instant::now();
        let table = [
            // after how many seconds, on which lane, what is said, what has been told then
            (0, Lane::Write, "refused", Some(("refused", 0))),
            (60, Lane::Write, "refused", Some(("refused", 0))),
            (60, Lane::Read, "closed", Some(("refused", 0))),
            (61, Lane::Write, "OOM", Some(("OOM", 61))),
            (62, Lane::Write, "refused", Some(("OOM", 61))),
            (71, Lane::Write, "refused", Some(("refused", 71))),
        ];
        for (seconds, lane, why, told) in table {
            let now = begun + Duration::from_secs(seconds);
            notes.answered(now, lane, &Err(Lost(why.to_owned())));
            if seconds == 0 {
                assert_eq!(notes.told, None, "it may be there again at once");
                notes.phase(now, &Phase::Unreachable);
            }
            let at = |at: u64| begun + Duration::from_secs(at);
            assert_eq!(notes.told, told.map(|(why, s)| (why.to_owned(), at(s))), "{seconds} {why}");
        }
        notes.phase(begun + Duration::from_secs(72), &Phase::Live);
        notes.answered(begun + Duration::from_secs(90), Lane::Write, &Err(Lost("OOM".to_owned())));
        assert_eq!(notes.told, None, "it takes something");
    }
}
