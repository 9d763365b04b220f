//! Fresh: what the shared log had when somebody asked is applied here. Who comes from another node must not find this one
//! behind what the other has told: a room that is not there yet, a cursor that seems to be of a log that was lost.
//!
//! One question to the log serves everyone who asked before it: ten thousand clients that lost their node ask once.

use std::time::Duration;

use quip_protocol::Position;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

/// How long a node may take to apply what the log had.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long the log may take to say where it ends: together less than a client waits for its welcome.
const ANSWER: Duration = Duration::from_millis(500);
/// How often it is looked, while somebody waits.
const LOOK: Duration = Duration::from_millis(2);

/// Where it is asked.
#[derive(Debug, Clone)]
pub struct Barrier {
    waiters: mpsc::UnboundedSender<oneshot::Sender<bool>>,
}

/// Where the answer to one question goes.
type Round = oneshot::Sender<Option<Position>>;

/// Where it is answered.
#[derive(Debug)]
pub struct Gate {
    waiters: mpsc::UnboundedReceiver<oneshot::Sender<bool>>,
}

impl Barrier {
    /// Both ends.
    pub fn new() -> (Barrier, Gate) {
        let (sender, waiters) = mpsc::unbounded_channel();
        (Barrier { waiters: sender }, Gate { waiters })
    }

    /// Waits until everything that the log had at this moment is applied. Says whether it is: not while the log does not
    /// answer, or where this node is seconds behind.
    pub async fn pass(&self) -> bool {
        let (waiter, passed) = oneshot::channel();
        // The gate is gone when the node ends.
        // Who comes just after a question was asked waits for that answer and its own: no longer than for one.
        self.waiters.send(waiter).is_ok() && matches!(timeout(ANSWER + PATIENCE, passed).await, Ok(Ok(true)))
    }
}

impl Gate {
    /// Answers until nobody is left to ask. `last` asks the log where it ends, anew for each call; `applied` says up to
    /// where this node has it.
    pub async fn run(self, last: impl AsyncFnMut() -> Option<Position>, applied: impl Fn() -> Position) {
        let (rounds, asked) = mpsc::unbounded_channel();
        tokio::select! {
            () = self.answer(rounds, applied) => {}
            () = ask(asked, last) => {}
        }
    }

    async fn answer(mut self, rounds: mpsc::UnboundedSender<Round>, applied: impl Fn() -> Position) {
        while let Some(first) = self.waiters.recv().await {
            let mut waiting = vec![first];
            // Asked before the log is: its answer holds for them too.
            while let Ok(another) = self.waiters.try_recv() {
                waiting.push(another);
            }
            let (round, last) = oneshot::channel();
            // Who asks ends with this.
            let _ = rounds.send(round);
            let is_fresh = match timeout(ANSWER, last).await {
                Ok(Ok(Some(last))) => reached(last, &applied).await,
                _ => false,
            };
            for waiter in waiting {
                // Who went away meanwhile does not care.
                let _ = waiter.send(is_fresh);
            }
        }
    }
}

/// Asks the log for each round that still waits. A question that takes longer than that is not cut off, for it may be connecting:
/// the next round would find no connection either. Its answer is nobody's, since it is older than who waits then.
async fn ask(mut rounds: mpsc::UnboundedReceiver<Round>, mut last: impl AsyncFnMut() -> Option<Position>) {
    while let Some(round) = rounds.recv().await {
        if !round.is_closed() {
            // Given up meanwhile.
            let _ = round.send(last().await);
        }
    }
}

async fn reached(last: Position, applied: &impl Fn() -> Position) -> bool {
    let until = Instant::now() + PATIENCE;
    while applied() < last {
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use quip_protocol::Epoch;

    use super::*;

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch(1), offset }
    }

    #[tokio::test(start_paused = true)]
    async fn it_passes_when_what_the_log_had_is_applied_and_not_before() {
        let (barrier, gate) = Barrier::new();
        let (end, applied) = (Arc::new(AtomicU64::new(5)), Arc::new(AtomicU64::new(3)));
        let (of_log, of_node) = (Arc::clone(&end), Arc::clone(&applied));
        let last = async move || Some(at(of_log.load(Ordering::Relaxed)));
        tokio::spawn(gate.run(last, move || at(of_node.load(Ordering::Relaxed))));
        let passing = barrier.clone();
        let passing = tokio::spawn(async move { passing.pass().await });
        tokio::time::advance(PATIENCE / 2).await;
        assert!(!passing.is_finished(), "two entries are not applied");
        applied.store(5, Ordering::Relaxed);
        assert!(passing.await.unwrap());
        end.store(9, Ordering::Relaxed);
        assert!(!barrier.pass().await, "it stays behind");
        applied.store(9, Ordering::Relaxed);
        assert!(barrier.pass().await);
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_pass_while_the_log_does_not_answer() {
        let (barrier, gate) = Barrier::new();
        let mut calls = 0;
        let last = async move || {
            calls += 1;
            if calls == 1 { None } else { std::future::pending().await }
        };
        tokio::spawn(gate.run(last, || at(3)));
        assert!(!barrier.pass().await, "it says that it does not know");
        assert!(!barrier.pass().await, "it says nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn connecting_takes_longer_than_a_question_and_is_done_once() {
        let (barrier, gate) = Barrier::new();
        let end = Arc::new(AtomicU64::new(3));
        let of_log = Arc::clone(&end);
        let mut is_connected = false;
        let last = async move || {
            let asked = of_log.load(Ordering::Relaxed);
            if !is_connected {
                // Two Sentinels that are away.
                tokio::time::sleep(ANSWER + ANSWER / 5).await;
                is_connected = true;
            }
            Some(at(asked))
        };
        tokio::spawn(gate.run(last, || at(3)));
        assert!(!barrier.pass().await, "there is no connection yet");
        assert!(barrier.pass().await, "it was made meanwhile");
        assert!(barrier.pass().await, "and stays");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_late_says_nothing_to_who_came_after_the_question() {
        let (barrier, gate) = Barrier::new();
        let end = Arc::new(AtomicU64::new(3));
        let of_log = Arc::clone(&end);
        let mut took = ANSWER + ANSWER / 5;
        let last = async move || {
            let asked = of_log.load(Ordering::Relaxed);
            tokio::time::sleep(std::mem::take(&mut took)).await;
            Some(at(asked))
        };
        tokio::spawn(gate.run(last, || at(3)));
        assert!(!barrier.pass().await, "it is late");
        end.store(9, Ordering::Relaxed);
        assert!(!barrier.pass().await, "this node is behind what the log has now");
    }

    #[tokio::test]
    async fn many_who_ask_at_once_ask_the_log_once() {
        let (barrier, gate) = Barrier::new();
        let passes = (0..1_000).map(|_| barrier.pass());
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let last = async move || {
            count.fetch_add(1, Ordering::Relaxed);
            Some(at(3))
        };
        let mut all = Box::pin(futures_util::future::join_all(passes));
        // All have asked before anybody answers.
        assert!(futures_util::FutureExt::now_or_never(&mut all).is_none());
        tokio::spawn(gate.run(last, || at(3)));
        assert!(all.await.into_iter().all(|passed| passed));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}
