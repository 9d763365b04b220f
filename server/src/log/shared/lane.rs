//! One lane of a member: the question that is open on it, and when the next may be asked. PURE.

use super::member::Chance;

/// What is waited after the first question that was lost, in milliseconds; twice as long after each further one.
const BACKOFF_MS: u64 = 50;
/// At most so long: a log that comes back is noticed within a second.
const MAX_BACKOFF_MS: u64 = 400;

/// A lane, with questions of a kind.
#[derive(Debug)]
pub(super) struct Open<Q> {
    question: Option<Q>,
    /// Nothing is asked before.
    pub(super) due: u64,
    /// How many questions were lost since one was answered.
    lost: u32,
}

impl<Q> Open<Q> {
    pub(super) fn new() -> Open<Q> {
        Open { question: None, due: 0, lost: 0 }
    }

    /// Whether something may be asked now.
    pub(super) fn is_free(&self, now: u64) -> bool {
        self.is_idle() && now >= self.due
    }

    /// Whether nothing is open.
    pub(super) fn is_idle(&self) -> bool {
        self.question.is_none()
    }

    pub(super) fn ask(&mut self, question: Q) {
        self.question = Some(question);
    }

    /// The open question has an answer.
    pub(super) fn answered(&mut self) -> Option<Q> {
        self.lost = 0;
        self.question.take()
    }

    /// It has none: the next one is asked after a while, which is not the same for all nodes.
    pub(super) fn lose(&mut self, now: u64, chance: &mut impl Chance) -> Option<Q> {
        let longest = (BACKOFF_MS << self.lost.min(16)).min(MAX_BACKOFF_MS);
        self.lost += 1;
        let half = longest / 2;
        self.due = now + half + u64::from(chance.below(u32::try_from(half).unwrap_or(u32::MAX) + 1));
        self.question.take()
    }

    /// Nothing is asked until then.
    pub(super) fn wait(&mut self, until: u64) {
        self.due = until;
    }
}
