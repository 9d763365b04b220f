//! Tests of what is looked for in the log, and when: as one of several nodes that have the same and take turns.

use std::thread;

use parking_lot::Mutex;
use quip_storage::store::StoreOptions;
use tempfile::TempDir;

use super::*;
use crate::log::{LocalLog, Log, NotTaken, Submission, Waiter};
use crate::pipeline::open::open;
use crate::start::Core;
use crate::{Config, Stopping};

const ROOM: RoomId = RoomId(1);

fn command(body: CommandBody) -> Command {
    Command { at: Timestamp(7), by: Actor::Operator, body }
}

/// Accepted as long as nobody has an account, each time anew.
fn accepted(owner: u8) -> Command {
    command(CommandBody::Bootstrap { owner: [owner; 32], expires: Timestamp(1_000_000) })
}

fn read(seq: u64) -> Command {
    command(CommandBody::Mark { room: ROOM, seq: Seq(seq) })
}

fn unread(room: RoomId) -> Command {
    command(CommandBody::MarkUnread { room, seq: Seq(1) })
}

/// What was given to the log to be appended, in order.
type Given = Arc<Mutex<Vec<Command>>>;

/// A node, and a way to its log on which everything is seen.
struct Spied {
    core: Core,
    shared: Shared,
    given: Given,
    _dir: TempDir,
}

impl Spied {
    /// What the first of these comes to, is not told in time.
    fn start(mut late: Option<Command>) -> Spied {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { cache_bytes: 4 << 20 };
        let opened = open(dir.path(), options, false, &Stopping::default()).unwrap();
        let core = Core::start(&Config::new(Vec::new(), dir.path().to_owned()), opened).unwrap();
        let (log, mut intake) = LocalLog::new();
        let (given, to) = (Given::default(), core.shared.log.clone());
        let shared = Shared { node: Arc::clone(&core.shared.node), log: Log::Local(log) };
        let spied = Spied { core, shared, given: Arc::clone(&given), _dir: dir };
        thread::spawn(move || {
            while let Some(group) = intake.submissions(Duration::from_secs(1)) {
                for submission in group {
                    given.lock().push(submission.command.clone());
                    let is_late = late.take_if(|late| *late == submission.command).is_some();
                    to.offer(if is_late { unanswered(submission) } else { submission }).unwrap();
                }
            }
        });
        spied
    }

    fn again(&self, commands: &[Command]) -> Reappend {
        let common = self.shared.node.journal.last().offset;
        Reappend::new(self.shared.clone(), common, commands, HashMap::new())
    }

    /// By another node.
    async fn append(&self, command: Command) {
        submit(&self.core.shared.log, command).await.unwrap();
    }

    /// What was given to the log, and how often it was looked through.
    fn given(&self) -> (Vec<Command>, usize) {
        let (looked, given): (Vec<Command>, Vec<Command>) = self
            .given
            .lock()
            .drain(..)
            .partition(|command| matches!(command.body, CommandBody::Mark { room: RoomId(0), .. }));
        (given, looked.len())
    }

    /// All commands in the log.
    fn log(&self) -> Vec<Command> {
        let records = self.shared.node.journal.replay(Position::ZERO).unwrap();
        let entries = records.map(|record| {
            let (position, payload) = record.unwrap();
            entry_of(&self.shared.node.data_dir, position, &payload).unwrap()
        });
        entries.flat_map(|entry| entry.commands).collect()
    }
}

fn unanswered(Submission { command, waiter }: Submission) -> Submission {
    waiter.finish(Err(NotTaken::Unreachable { retry_after_ms: 1 }.into()));
    let (results, _) = futures_channel::mpsc::unbounded();
    Submission { command, waiter: Waiter { label: 0, results } }
}

/// By this node, whose `turn` is taken as often as that is needed.
async fn append(again: &mut Reappend, mut command: Command, turn: &mut impl AsyncFnMut() -> bool) -> Tried {
    let mut taken = None;
    loop {
        match again.append(&mut command, taken).await.unwrap() {
            Tried::Waits => taken = Some(turn().await),
            tried => return tried,
        }
    }
}

#[tokio::test]
async fn read_markers_are_not_looked_for() {
    let spied = Spied::start(None);
    let commands = [read(1), read(2), unread(RoomId(9)), read(3)];
    let mut again = spied.again(&commands);
    for mut mark in [read(1), read(2), read(3)] {
        assert_eq!(
            again.append(&mut mark, None).await.unwrap(),
            Tried::Refused,
            "the operator reads nothing"
        );
    }
    assert_eq!(spied.given(), (vec![read(1), read(2), read(3)], 0));
}

/// Or the marker would be behind it again.
#[tokio::test]
async fn a_read_marker_does_not_come_again_behind_what_made_that_unread() {
    let spied = Spied::start(None);
    let mut again = spied.again(&[read(2), unread(ROOM)]);
    again.found = [read(2), unread(ROOM)].iter().map(encode).collect();
    for mut command in [read(2), unread(ROOM)] {
        assert_eq!(again.append(&mut command, None).await.unwrap(), Tried::InForce);
    }
    assert_eq!(spied.given(), (Vec::new(), 0));
}

#[tokio::test]
async fn the_log_is_looked_through_once_a_turn() {
    let spied = Spied::start(None);
    let commands: Vec<Command> = (1..=6).map(accepted).collect();
    let mut again = spied.again(&commands);
    spied.append(accepted(2)).await;
    let mut asked = 0;
    // It is newly this node's when it is asked first, and for the fifth command.
    let mut turn = async || {
        asked += 1;
        asked != 1 && asked != 5
    };
    for command in &commands {
        assert_eq!(append(&mut again, command.clone(), &mut turn).await, Tried::InForce);
    }
    let missing = [1, 3, 4, 5, 6].map(accepted);
    assert_eq!(spied.given(), (missing.to_vec(), 2));
    assert_eq!(spied.log(), [2, 1, 3, 4, 5, 6].map(accepted));
}

/// While the log is looked through, and between two commands.
#[tokio::test]
async fn what_another_node_appended_in_its_turn_is_not_appended_again() {
    let spied = Spied::start(None);
    let commands = [1, 2, 3].map(accepted);
    let mut again = spied.again(&commands);
    let mut asked = 0;
    let mut turn = async || {
        asked += 1;
        match asked {
            2 => spied.append(accepted(1)).await,
            4 => spied.append(accepted(3)).await,
            _ => {}
        }
        asked % 2 == 1 && asked > 1
    };
    for command in &commands {
        assert_eq!(append(&mut again, command.clone(), &mut turn).await, Tried::InForce);
    }
    assert_eq!(spied.given().0, [accepted(2)]);
    assert_eq!(spied.log(), commands);
}

#[tokio::test(start_paused = true)]
async fn what_got_its_place_late_is_not_appended_again() {
    let spied = Spied::start(Some(accepted(1)));
    let commands = [1, 2].map(accepted);
    let mut again = spied.again(&commands);
    let mut turn = async || true;
    for command in &commands {
        assert_eq!(append(&mut again, command.clone(), &mut turn).await, Tried::InForce);
    }
    assert_eq!(spied.given(), (commands.to_vec(), 2));
    assert_eq!(spied.log(), commands);
}
