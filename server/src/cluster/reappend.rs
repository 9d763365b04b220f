//! Appending again, one by one, what only this node had. A command with an id is there once however often it is appended; one
//! without is looked for in the log before each try: an earlier try of this node may have got a place after all, and another
//! node may have had the same command. Imports the log and the journal.

use std::collections::HashSet;
use std::time::Duration;

use quip_protocol::codec::encode;
use quip_protocol::{Epoch, ErrorCode, Position, Refusal, RoomId, Seq, Timestamp};
use tracing::warn;

use super::orphans::{OrphanError, entry_of};
use super::turn::Turn;
use crate::engine::{Actor, Command, CommandBody};
use crate::node::{Shared, submit};

/// When to try again what could not be taken.
const AGAIN: Duration = Duration::from_millis(500);

/// What is being appended.
pub(super) struct Reappend<'a> {
    shared: &'a Shared,
    /// The log was looked through up to there.
    seen: Position,
    /// Commands without an id, as bytes: when each was taken is in them, so that no two are the same.
    wanted: HashSet<Vec<u8>>,
    /// Those of them that the log has.
    found: HashSet<Vec<u8>>,
}

impl<'a> Reappend<'a> {
    /// Of these, which the log behind this offset lacks, or has by now.
    pub(super) fn new(shared: &'a Shared, common: u64, commands: &[Command]) -> Reappend<'a> {
        let wanted = commands.iter().filter(|command| command.id().is_none()).map(encode);
        let seen = Position { epoch: Epoch::FIRST, offset: common };
        Reappend { shared, seen, wanted: wanted.collect(), found: HashSet::new() }
    }

    /// Until it is taken, or refused for good; says whether it is in force.
    pub(super) async fn append(
        &mut self,
        command: Command,
        mut turn: Option<&mut Turn>,
    ) -> Result<bool, OrphanError> {
        loop {
            if command.id().is_none() {
                if let Some(turn) = &mut turn {
                    turn.take().await;
                }
                if self.has(&command).await? {
                    return Ok(true);
                }
            }
            match submit(&self.shared.log, command.clone()).await {
                Ok(_) => return Ok(true),
                Err(refusal) if passes(&refusal) => tokio::time::sleep(AGAIN).await,
                Err(refusal) => {
                    warn!(why = %refusal, "a command that only this node had is refused now");
                    return Ok(false);
                }
            }
        }
    }

    /// Whether the log has it, in all that has a place by now.
    async fn has(&mut self, command: &Command) -> Result<bool, OrphanError> {
        self.reach_end().await;
        let (journal, seen) = (self.shared.node.journal.clone(), self.seen);
        let (wanted, dir) = (std::mem::take(&mut self.wanted), self.shared.node.data_dir.join("journal"));
        let looking = tokio::task::spawn_blocking(move || {
            let (mut seen, mut found) = (seen, Vec::new());
            for record in journal.replay(seen)? {
                let (position, payload) = record?;
                let commands = entry_of(&dir, position, &payload)?.commands;
                found.extend(commands.iter().map(encode).filter(|c| wanted.contains(c)));
                seen = position;
            }
            Ok::<_, OrphanError>((wanted, seen, found))
        });
        let looked = looking.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let (wanted, seen, found) = looked?;
        (self.wanted, self.seen) = (wanted, seen);
        self.found.extend(found);
        Ok(self.found.contains(&encode(command)))
    }

    /// Waits until everything that has a place is in the journal, and nothing of this node waits for one: by a command that
    /// is always refused, and has its place behind all that.
    async fn reach_end(&self) {
        let body = CommandBody::Mark { room: RoomId(0), seq: Seq(0) };
        let nothing = Command { at: Timestamp::now(), by: Actor::Operator, body };
        while let Err(refusal) = submit(&self.shared.log, nothing.clone()).await
            && passes(&refusal)
        {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Whether it is not taken now, and may be later.
fn passes(refusal: &Refusal) -> bool {
    refusal.retry_after_ms.is_some() && refusal.code != ErrorCode::RateLimited
}
