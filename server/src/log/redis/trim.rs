//! Trims the stream behind the slowest node that lives, keeps it within its bound of memory, and measures it. Every node measures;
//! the first of those that live and follow the log trims.

use std::sync::Arc;
use std::time::Duration;

use quip_protocol::{NodeName, Position};
use quip_storage::JournalReader;
use redis::Value;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::address::Address;
use super::connection::Connection;
use super::scripts::STREAM;
use crate::cluster::{Cluster, Heartbeat, Roster};
use crate::log::shared::contract::{Answer, Ask, Look, Lost};

/// How often.
const EVERY: Duration = Duration::from_secs(5);
/// So many entries stay, for nodes that are away for a moment.
const KEEP: u64 = 1_000;

/// What the stream takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    entries: u64,
    bytes: u64,
}

/// Who trims.
#[derive(Debug)]
pub struct Trimmer {
    connection: Connection,
    cluster: Arc<Cluster>,
    journal: JournalReader,
    max_bytes: u64,
}

impl Trimmer {
    /// For a stream of at most so many bytes of Redis' memory.
    pub fn new(address: Address, cluster: Arc<Cluster>, journal: JournalReader, max_bytes: u64) -> Trimmer {
        Trimmer { connection: Connection::new(address), cluster, journal, max_bytes }
    }

    /// Until it is told to stop.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // An error means that the server is gone, which is a stop too.
                _ = stopped.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            if let Err(Lost(e)) = self.once().await {
                debug!(error = e, "the shared log is not trimmed");
            }
        }
    }

    /// Once.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn once(&mut self) -> Result<(), Lost> {
        let Answer::Look(look) = self.connection.ask(&Ask::Look).await? else { return Ok(()) };
        let size = Size {
            entries: self.number(redis::cmd("XLEN").arg(STREAM)).await?,
            bytes: self.number(redis::cmd("MEMORY").arg("USAGE").arg(STREAM)).await?,
        };
        self.cluster.counts.measured(size.entries, size.bytes);
        let roster = self.cluster.roster.borrow().clone();
        if trims(&roster) != Some(&self.cluster.name) || !look.is_agreed() {
            return Ok(());
        }
        let Some(upto) = upto(&look, &roster, self.journal.last(), size, self.max_bytes) else {
            return Ok(());
        };
        self.connection.ask(&Ask::Trim { upto }).await.map(|_| ())
    }

    /// Nothing counts as none.
    async fn number(&mut self, command: &redis::Cmd) -> Result<u64, Lost> {
        match self.connection.command(command, Duration::ZERO).await? {
            Value::Int(number) => Ok(u64::try_from(number).unwrap_or(0)),
            _ => Ok(0),
        }
    }
}

/// Who trims: the first by name, but for those that are far behind. One that lives and cannot write can let nothing go, however
/// large the stream becomes.
fn trims(roster: &Roster) -> Option<&NodeName> {
    let newest = roster.values().map(|node| node.position.offset).max()?;
    let follows = |node: &Heartbeat| node.position.offset.saturating_add(KEEP) >= newest;
    roster.iter().find(|(_, node)| follows(node)).map(|(name, _)| name)
}

/// Up to where it is to be trimmed, if at all: to where all nodes are that live, and where it is too large to what this node has.
fn upto(look: &Look, roster: &Roster, durable: Position, size: Size, max_bytes: u64) -> Option<Position> {
    let slowest = roster.values().map(|node| node.position).fold(durable, Position::min);
    let kept = look.last.offset.saturating_sub(KEEP);
    let upto = Position { offset: slowest.offset.min(kept), ..slowest };
    let upto = match size.bytes > max_bytes {
        true => upto.max(down_to_half(look, durable, size, max_bytes)),
        false => upto,
    };
    if size.bytes > max_bytes && upto > slowest {
        warn!(%upto, bytes = size.bytes, "the shared log is larger than redis_log_mib: nodes that are behind get the rest from others");
    }
    (upto > look.base && upto.offset > look.base.offset).then_some(upto)
}

fn down_to_half(look: &Look, durable: Position, size: Size, max_bytes: u64) -> Position {
    let surplus = u128::from(size.bytes - max_bytes / 2);
    let entries = u128::from(size.entries) * surplus / u128::from(size.bytes.max(1));
    let offset = look.base.offset.saturating_add(u64::try_from(entries).unwrap_or(u64::MAX));
    Position { offset: offset.min(durable.offset), ..durable }
}

#[cfg(test)]
mod tests {
    use quip_protocol::{Epoch, Fingerprint};

    use super::*;
    use crate::cluster::BootId;
    use crate::log::shared::contract::Incarnation;

    fn at(epoch: u32, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    fn roster(positions: &[Position]) -> Roster {
        let node = |(i, position): (usize, &Position)| {
            let heartbeat = Heartbeat {
                boot: BootId([0; 16]),
                address: String::new(),
                fingerprint: Fingerprint([0; 32]),
                connections: 0,
                position: *position,
                draining: false,
            };
            (format!("n{i}").parse().unwrap(), heartbeat)
        };
        positions.iter().enumerate().map(node).collect()
    }

    #[test]
    fn a_node_that_cannot_write_does_not_keep_the_others_from_trimming() {
        let table = [
            (&[at(2, 5_000), at(2, 5_000)][..], Some("n0")),
            (&[at(2, 4_000), at(2, 5_000)], Some("n0")),
            (&[at(1, 3_999), at(2, 5_000)], Some("n1")),
            (&[at(1, 0), at(1, 10), at(2, 9_000)], Some("n2")),
            (&[], None),
        ];
        for (positions, expected) in table {
            assert_eq!(trims(&roster(positions)).map(NodeName::as_str), expected, "{positions:?}");
        }
    }

    #[test]
    fn it_is_trimmed_behind_the_slowest_and_where_it_is_too_large_in_any_case() {
        let both = [at(2, 5_000), at(2, 3_000)];
        let small = Size { entries: 5_000, bytes: 1_000 };
        let large = Size { entries: 5_000, bytes: 2_000 };
        let table = [
            // nodes, durable here, base, size, up to where
            (&both[..], at(2, 5_000), at(1, 0), small, Some(at(2, 3_000))),
            (&both[..1], at(2, 5_000), at(1, 0), small, Some(at(2, 4_000))),
            (&both[..1], at(2, 2_000), at(1, 0), small, Some(at(2, 2_000))),
            (&both[..], at(2, 5_000), at(2, 3_000), small, None),
            (&[at(1, 0)], at(2, 5_000), at(1, 0), small, None),
            // 3/4 of it go, whoever is behind, but not what this node does not have.
            (&[at(1, 0)], at(2, 5_000), at(1, 0), large, Some(at(2, 3_750))),
            (&[at(1, 0)], at(2, 3_100), at(1, 0), large, Some(at(2, 3_100))),
            (&[at(1, 0)], at(1, 0), at(1, 0), large, None),
        ];
        for (positions, durable, base, size, expected) in table {
            let look = Look {
                incarnation: Incarnation(String::new()),
                agreed: None,
                base,
                last: at(2, 5_000),
                reports: Default::default(),
                reported_for_ms: 0,
            };
            assert_eq!(
                upto(&look, &roster(positions), durable, size, 1_000),
                expected,
                "{positions:?} {durable}"
            );
        }
    }
}
