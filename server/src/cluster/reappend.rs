//! Appending again, one by one, what only this node had. A command with an id is there once however often it is appended, and a
//! read marker only moves forward; what else has no id is looked for in the log first: an earlier try of this node may have
//! got a place after all, and another node may have had the same command. The log is looked through once, for all of them, and
//! again when others may have appended since. One that names another of them by its place names it by its new one, which is
//! known by then: they are in order. Imports the log and the journal.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use quip_protocol::codec::encode;
use quip_protocol::{Epoch, ErrorCode, MessageId, Position, Receipt, Refusal, RoomId, Seq, Timestamp};
use tracing::warn;

use super::orphans::{OrphanError, entry_of};
use crate::engine::{Actor, Command, CommandBody, Outcome};
use crate::node::{Shared, submit};

/// When to try again what could not be taken.
const AGAIN: Duration = Duration::from_millis(500);

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// It is in the log.
    InForce,
    /// It never will be.
    Refused,
    /// It is appended when it is this node's turn.
    Waits,
}

/// What is being appended.
pub(super) struct Reappend {
    shared: Shared,
    /// The log was looked through up to there.
    seen: Position,
    /// Whether that was all, but for what this node has appended since and knows of; good as long as it is its turn.
    is_searched: bool,
    /// Rooms in which something becomes unread again.
    unread: HashSet<RoomId>,
    /// What is looked for, as bytes: when each command was taken is in them, so that no two are the same.
    wanted: Arc<HashSet<Vec<u8>>>,
    /// What of it the log has.
    found: HashSet<Vec<u8>>,
    /// What each command names that names another one.
    named: HashMap<MessageId, MessageId>,
    /// Where what was appended again is now.
    placed: HashMap<MessageId, Receipt>,
}

impl Reappend {
    /// Of these, which the log behind this offset lacks, or has by now.
    pub(super) fn new(
        shared: Shared,
        common: u64,
        commands: &[Command],
        named: HashMap<MessageId, MessageId>,
    ) -> Reappend {
        let unread = commands.iter().filter_map(|command| match command.body {
            CommandBody::MarkUnread { room, .. } => Some(room),
            _ => None,
        });
        let unread = unread.collect();
        let wanted = commands.iter().filter(|command| !is_repeatable(command, &unread)).map(encode);
        let wanted = Arc::new(wanted.collect());
        let seen = Position { epoch: Epoch::FIRST, offset: common };
        let (found, placed) = (HashSet::new(), HashMap::new());
        Reappend { shared, seen, is_searched: false, unread, wanted, found, named, placed }
    }

    /// The message that it names is named by the place that it has now. Without one an answer answers nothing, and what
    /// changes a message is left out: then it says no.
    pub(super) fn place(&self, command: &mut Command) -> bool {
        let message = command.id().and_then(|id| self.named.get(&id));
        match message {
            Some(message) => name(&mut command.body, self.placed.get(message)),
            None => true,
        }
    }

    /// Until it is taken, or refused for good, or its turn is needed: then it is to be tried again with what taking the turn
    /// said, whether it is certain that it has been this node's ever since it was taken before. So the turn is made sure of
    /// behind each search, which may take longer than a turn lasts.
    pub(super) async fn append(
        &mut self,
        command: &mut Command,
        mut turn: Option<bool>,
    ) -> Result<Tried, OrphanError> {
        let is_repeatable = is_repeatable(command, &self.unread);
        loop {
            if !is_repeatable {
                if self.found.contains(&encode(command)) {
                    return Ok(Tried::InForce);
                }
                match turn.take() {
                    None => return Ok(Tried::Waits),
                    Some(is_still) if is_still && self.is_searched => {}
                    Some(_) => {
                        self.search().await?;
                        continue;
                    }
                }
            }
            if let Some(tried) = self.submit(command).await {
                return Ok(tried);
            }
        }
    }

    /// Once; nothing if it is to be tried again.
    async fn submit(&mut self, command: &mut Command) -> Option<Tried> {
        match submit(&self.shared.log, command.clone()).await {
            Ok(outcome) => {
                if let Outcome::Receipt(receipt) = outcome {
                    self.placed.insert(receipt.id, receipt);
                }
                return Some(Tried::InForce);
            }
            Err(refusal) if passes(&refusal) => {
                // It may get its place yet.
                self.is_searched = false;
                tokio::time::sleep(AGAIN).await;
            }
            // The message that it answers was deleted meanwhile: what it says was acknowledged all the same.
            Err(refusal) if refusal.code == ErrorCode::NoSuchMessage && is_answer(command) => {
                name(&mut command.body, None);
            }
            Err(refusal) => {
                warn!(why = %refusal, "a command that only this node had is refused now");
                return Some(Tried::Refused);
            }
        }
        None
    }

    /// Finds what the log has, in all that has a place by now.
    async fn search(&mut self) -> Result<(), OrphanError> {
        self.is_searched = false;
        self.reach_end().await;
        let (journal, seen) = (self.shared.node.journal.clone(), self.seen);
        let (wanted, dir) = (Arc::clone(&self.wanted), self.shared.node.data_dir.join("journal"));
        let looking = tokio::task::spawn_blocking(move || {
            let (mut seen, mut found) = (seen, Vec::new());
            for record in journal.replay(seen)? {
                let (position, payload) = record?;
                let commands = entry_of(&dir, position, &payload)?.commands;
                found.extend(commands.iter().map(encode).filter(|c| wanted.contains(c)));
                seen = position;
            }
            Ok::<_, OrphanError>((seen, found))
        });
        let looked = looking.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let (seen, found) = looked?;
        (self.seen, self.is_searched) = (seen, true);
        self.found.extend(found);
        Ok(())
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

/// Whether nothing changes by appending it once more. A read marker does not come before what made unread what it read.
fn is_repeatable(command: &Command, unread: &HashSet<RoomId>) -> bool {
    match &command.body {
        CommandBody::Mark { room, .. } => !unread.contains(room),
        _ => command.id().is_some(),
    }
}

/// Says whether there is anything left of what is to name this message.
fn name(body: &mut CommandBody, message: Option<&Receipt>) -> bool {
    match (body, message) {
        (CommandBody::Post { reply_to, .. }, message) => *reply_to = message.map(|receipt| receipt.seq),
        (
            CommandBody::Edit { room, target, .. }
            | CommandBody::Delete { room, target, .. }
            | CommandBody::React { room, target, .. },
            Some(receipt),
        ) => (*room, *target) = (receipt.room, receipt.seq),
        _ => return false,
    }
    true
}

fn is_answer(command: &Command) -> bool {
    matches!(command.body, CommandBody::Post { reply_to: Some(_), .. })
}

/// Whether it is not taken now, and may be later.
fn passes(refusal: &Refusal) -> bool {
    refusal.retry_after_ms.is_some() && refusal.code != ErrorCode::RateLimited
}

#[cfg(test)]
mod turns;

#[cfg(test)]
mod tests {
    use quip_protocol::{MessageKind, SafeLine, SafeText};

    use super::*;

    #[test]
    fn a_message_is_named_by_the_place_that_it_has_now() {
        let id = MessageId::from_bytes([1; 16]);
        let text = || SafeText::new("said");
        let bodies = |room: u64, seq: u64| {
            let (room, target) = (RoomId(room), Seq(seq));
            let emoji = SafeLine::new("+");
            [
                CommandBody::Edit { room, target, id, text: text() },
                CommandBody::Delete { room, target, id },
                CommandBody::React { room, target, id, emoji, on: false },
            ]
        };
        let answer = |reply_to| {
            let target = "#room".parse().unwrap();
            CommandBody::Post { target, id, kind: MessageKind::Plain, text: text(), reply_to }
        };
        let receipt = Receipt { room: RoomId(8), epoch: Epoch(3), seq: Seq(20), id };
        for (mut body, expected) in bodies(1, 5).into_iter().zip(bodies(8, 20)) {
            assert!(!name(&mut body.clone(), None), "there is nothing to be changed");
            assert!(name(&mut body, Some(&receipt)));
            assert_eq!(body, expected);
        }
        for (now, expected) in [(Some(&receipt), Some(Seq(20))), (None, None)] {
            let mut body = answer(Some(Seq(5)));
            assert!(name(&mut body, now));
            assert_eq!(body, answer(expected));
        }
    }
}
