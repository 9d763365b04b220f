//! Appending what is kept, a directory after the other, until nothing is left: what fails is tried again, from where it was.
//! Imports what appends one command, and whose turn it is.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{Kept, OrphanError, PREFIX, forget, named, read};
use crate::cluster::pause::{Reminder, pause};
use crate::cluster::reappend::{Reappend, Tried};
use crate::cluster::turn::Turn;
use crate::engine::Command;
use crate::node::Shared;

/// After so many failures, some seconds, what comes behind a directory does not wait for it any more. Until then it does: what
/// is in it may be in a room that is made in the one before.
const IN_ORDER: u32 = 5;

/// Appends again what is kept, until it is told to stop; the next start goes on. Then the turn is not given back: what is on its
/// way into the log may get its place yet.
pub async fn append_until(shared: Shared, turn: Turn, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = append_all(&shared, Some(turn)) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Appends everything that is kept, in its order, and forgets it when it is durable. What is refused now (of a device that was
/// revoked meanwhile, a room that is archived) is refused as it would be for anybody.
pub(super) async fn append_all(shared: &Shared, mut turn: Option<Turn>) {
    let (mut underway, mut reminder) = (BTreeMap::new(), Reminder::default());
    for failures in 0_u32.. {
        let failed = append_each(shared, &mut turn, &mut underway, failures >= IN_ORDER).await;
        if failed.is_empty() {
            return;
        }
        if reminder.is_due() {
            for (dir, why) in failed {
                error!(dir = %dir.display(), error = %why, "what only this node had cannot be appended again now: it stays where it is and is tried again");
            }
        }
        tokio::time::sleep(pause(failures)).await;
    }
}

/// Each once; which failed. Ends with the first of them unless it is to go `past` them.
async fn append_each(
    shared: &Shared,
    turn: &mut Option<Turn>,
    underway: &mut BTreeMap<PathBuf, Underway>,
    past: bool,
) -> Vec<(PathBuf, OrphanError)> {
    let data_dir = &shared.node.data_dir;
    let dirs = match named(data_dir, PREFIX) {
        Ok(dirs) => dirs,
        Err(why) => return vec![(data_dir.clone(), why)],
    };
    let mut failed = Vec::new();
    for dir in dirs {
        if !past && !failed.is_empty() {
            break;
        }
        if let Err(why) = append_one(shared, turn, underway, &dir).await {
            failed.push((dir, why));
        }
    }
    failed
}

async fn append_one(
    shared: &Shared,
    turn: &mut Option<Turn>,
    underway: &mut BTreeMap<PathBuf, Underway>,
    dir: &Path,
) -> Result<(), OrphanError> {
    if !underway.contains_key(dir) {
        underway.insert(dir.to_owned(), Underway::begin(shared, dir).await?);
    }
    if let Some(underway) = underway.get_mut(dir) {
        let appended = underway.append(turn).await;
        if let Some(turn) = turn {
            turn.give_back().await;
        }
        appended?;
    }
    let data_dir = &shared.node.data_dir;
    forget(data_dir, dir).map_err(|source| OrphanError::Io { dir: dir.to_owned(), source })?;
    if let Some(done) = underway.remove(dir) {
        done.say();
    }
    Ok(())
}

/// What is appended of one directory.
struct Underway {
    again: Reappend,
    /// What is yet to be appended.
    rest: VecDeque<Command>,
    count: usize,
    refused: usize,
    left_out: usize,
}

impl Underway {
    async fn begin(shared: &Shared, dir: &Path) -> Result<Underway, OrphanError> {
        let from = dir.to_owned();
        let read = tokio::task::spawn_blocking(move || read(&from)).await;
        let Kept { common, commands, named } =
            read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        let again = Reappend::new(shared.clone(), common, &commands, named);
        Ok(Underway { again, count: commands.len(), rest: commands.into(), refused: 0, left_out: 0 })
    }

    /// Everything, or up to what fails: then it goes on with that.
    async fn append(&mut self, turn: &mut Option<Turn>) -> Result<(), OrphanError> {
        while let Some(command) = self.rest.front() {
            let mut command = command.clone();
            match self.again.place(&mut command) {
                true => self.refused += usize::from(!self.append_one(command, turn).await?),
                false => self.left_out += 1,
            }
            self.rest.pop_front();
        }
        Ok(())
    }

    /// When it is its turn; says whether it is in force. Without one, nobody else has the same.
    async fn append_one(
        &mut self,
        mut command: Command,
        turn: &mut Option<Turn>,
    ) -> Result<bool, OrphanError> {
        let mut taken = None;
        loop {
            match (self.again.append(&mut command, taken).await?, &mut *turn) {
                (Tried::InForce, _) => return Ok(true),
                (Tried::Refused, _) => return Ok(false),
                (Tried::Waits, Some(turn)) => taken = Some(turn.take().await),
                (Tried::Waits, None) => taken = Some(true),
            }
        }
    }

    fn say(&self) {
        let Underway { count, refused, left_out, .. } = self;
        info!(count, refused, "what only this node had is appended again");
        if *left_out > 0 {
            warn!(left_out, "edits, deletions and reactions of messages that were refused now are left out");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, Instant};

    use quip_protocol::{Position, RoomId, Seq, Timestamp};

    use super::*;
    use crate::Config;
    use crate::cluster::orphans::tests::{accepted, keep_them, names, opened};
    use crate::cluster::orphans::{NAMED, entry_of};
    use crate::engine::{Actor, CommandBody};
    use crate::node::submit;
    use crate::start::Core;

    fn started(dir: &Path) -> Core {
        Core::start(&Config::new(Vec::new(), dir.to_owned()), opened(dir)).unwrap()
    }

    /// All commands in the log.
    fn log(core: &Core) -> Vec<Command> {
        let node = &core.shared.node;
        let entries = node.journal.replay(Position::ZERO).unwrap().map(|record| {
            let (position, payload) = record.unwrap();
            entry_of(&node.data_dir, position, &payload).unwrap()
        });
        entries.flat_map(|entry| entry.commands).collect()
    }

    /// Two directories; what is damaged in the first.
    fn keep_two(dir: &Path) -> PathBuf {
        keep_them(&dir.join("orphans-76"), 1, &[&[accepted(1)]]);
        keep_them(&dir.join("orphans-77"), 1, &[&[accepted(2)]]);
        let damaged = dir.join("orphans-76").join(NAMED);
        fs::write(&damaged, [0xff; 20]).unwrap();
        damaged
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_tried_again_and_holds_up_the_rest_for_some_seconds() {
        let dir = tempfile::tempdir().unwrap();
        let core = started(dir.path());
        let damaged = keep_two(dir.path());
        let mended = async {
            let deadline = Instant::now() + Duration::from_secs(60);
            while names(dir.path()) != ["orphans-76"] {
                assert!(Instant::now() < deadline, "{:?}", names(dir.path()));
                tokio::time::advance(Duration::from_millis(10)).await;
            }
            fs::remove_file(&damaged).unwrap();
        };
        tokio::join!(append_all(&core.shared, None), mended);
        assert_eq!(names(dir.path()), [""; 0]);
        assert_eq!(log(&core), [accepted(2), accepted(1)]);
        core.close().await;
    }

    #[tokio::test]
    async fn what_can_be_read_soon_is_appended_in_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let core = started(dir.path());
        let damaged = keep_two(dir.path());
        let failed = append_each(&core.shared, &mut None, &mut BTreeMap::new(), false).await;
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert_eq!(names(dir.path()).len(), 2);
        fs::remove_file(&damaged).unwrap();
        append_all(&core.shared, None).await;
        assert_eq!(log(&core), [accepted(1), accepted(2)]);
        core.close().await;
    }

    /// What was appended before is not appended once more.
    #[tokio::test]
    async fn what_fails_goes_on_from_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let core = started(dir.path());
        submit(&core.shared.log, accepted(1)).await.unwrap();
        let kept = dir.path().join("orphans-77");
        let body = CommandBody::Mark { room: RoomId(1), seq: Seq(1) };
        let read = Command { at: Timestamp(7), by: Actor::Operator, body };
        keep_them(&kept, 2, &[&[read, accepted(2)]]);
        let mut underway = Underway::begin(&core.shared, &kept).await.unwrap();
        let (journal, away) = (dir.path().join("journal"), dir.path().join("away"));
        fs::rename(&journal, &away).unwrap();
        for _ in 0..2 {
            assert!(underway.append(&mut None).await.is_err(), "the log cannot be looked through");
            assert_eq!((underway.refused, underway.rest.len()), (1, 1), "the operator reads nothing");
        }
        fs::rename(&away, &journal).unwrap();
        underway.append(&mut None).await.unwrap();
        assert_eq!((underway.refused, underway.rest.len()), (1, 0));
        // It has a way to the log.
        drop(underway);
        assert_eq!(log(&core), [accepted(1), accepted(2)]);
        core.close().await;
    }
}
