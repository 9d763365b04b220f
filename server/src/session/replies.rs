//! Replies: answers and results, written to the request stream, as many at once as there are.

use std::sync::Arc;

use bytes::Bytes;
use futures_channel::mpsc::UnboundedReceiver;
use quip_protocol::frame::Reply;
use quip_protocol::{ErrorCode, Refusal};

use crate::engine::Outcome;
use crate::log::Finished;
use crate::pipeline::durable::NeverDurable;

use super::{Ended, Session};

/// Most replies in one write.
const BATCH: usize = 256;

/// The answer to a question, told once this group is durable.
pub struct Answer {
    pub label: u32,
    pub frame: Bytes,
    pub group: u64,
}

/// Writes what was answered and what was finished. Ends when both channels have.
pub struct Replies {
    pub session: Arc<Session>,
    pub send: quinn::SendStream,
    pub answered: UnboundedReceiver<Answer>,
    pub finished: UnboundedReceiver<Finished>,
}

impl Replies {
    pub async fn run(mut self) -> Result<(), Ended> {
        // Replies before everything else: they are what a user waits for.
        let _ = self.send.set_priority(2);
        let (mut answers, mut results) = (Vec::new(), Vec::new());
        let (mut answering, mut finishing) = (true, true);
        loop {
            // A channel that has ended is not asked again: it would answer at once, for as long as the other lasts.
            tokio::select! {
                next = self.answered.recv(), if answering => answering = next.map(|next| answers.push(next)).is_ok(),
                next = self.finished.recv(), if finishing => finishing = next.map(|next| results.push(next)).is_ok(),
                else => break,
            }
            fill(&mut answers, &mut self.answered);
            fill(&mut results, &mut self.finished);
            Box::pin(self.write(&mut answers, &mut results)).await?;
        }
        let _ = self.send.finish();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), self.send.stopped()).await;
        Ok(())
    }

    async fn write(&mut self, answers: &mut Vec<Answer>, results: &mut Vec<Finished>) -> Result<(), Ended> {
        let session = &self.session;
        let mut frames = Vec::with_capacity(answers.len() + results.len());
        let mut bytes = 0;
        for answer in answers.drain(..) {
            frames.push(match session.shared.node.durable.reached(answer.group).await {
                Ok(()) => answer.frame,
                Err(e) => session.reply_frame(answer.label, degraded(&e)),
            });
            bytes += session.unanswered.answered(answer.label);
        }
        for finished in results.drain(..) {
            let reply = self.reply(finished.result).await;
            frames.push(session.reply_frame(finished.label, reply));
            bytes += session.unanswered.answered(finished.label);
        }
        let written = frames.len();
        self.send.write_all_chunks(&mut frames).await?;
        session.unanswered.written(written, bytes);
        answers.shrink_to(1);
        results.shrink_to(1);
        Ok(())
    }

    async fn reply(&self, result: Result<Outcome, Refusal>) -> Reply {
        let outcome = match result {
            Ok(Outcome::Receipt(receipt)) => return Reply::Receipt(receipt),
            Ok(Outcome::Done) => return Reply::Done,
            Ok(outcome) => outcome,
            Err(refusal) => return Reply::Refused(refusal),
        };
        let session = &self.session;
        let known = *session.account.lock();
        let account = match (known, outcome) {
            (Some(account), _) => account,
            // A code was redeemed: from now on this is its account.
            (None, Outcome::Account(account)) => {
                session.enter(account);
                // What strangers are not told.
                session.watching.doorbell().ring();
                account
            }
            (None, _) => return Reply::Done,
        };
        let asked = session.ask(|engine| Session::render(engine, account, outcome));
        match session.shared.node.settled(asked).await {
            Ok(reply) => reply,
            Err(e) => degraded(&e),
        }
    }
}

/// Takes what is there already, as much as one write may have.
fn fill<T>(batch: &mut Vec<T>, channel: &mut UnboundedReceiver<T>) {
    while batch.len() < BATCH
        && let Ok(next) = channel.try_recv()
    {
        batch.push(next);
    }
}

fn degraded(error: &NeverDurable) -> Reply {
    Reply::Refused(Refusal::retry(ErrorCode::Degraded, error.to_string(), 5_000))
}
