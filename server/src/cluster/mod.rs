//! What a node is in a cluster: its name, the others, and how the log that they share stands. What the nodes say to each other
//! beside the log is in the files of this folder.

pub mod bus;
pub mod key;
mod pause;
pub mod peer;
pub mod presence;
pub mod whispers;

use std::collections::BTreeMap;
use std::time::Duration;

use quip_protocol::{Fingerprint, NodeName, Position};
use tokio::sync::watch;

use crate::log::shared::contract::ClusterId;
use crate::log::shared::member::Phase;

/// How often a node says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// A node that has not said so for this long does not.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);

/// One life of a process, made at random at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub [u8; 16]);

/// What a node says of itself with each heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Which life of it.
    pub boot: BootId,
    /// Where clients and nodes find it, as `host:port`.
    pub address: String,
    /// By which key they know it.
    pub fingerprint: Fingerprint,
    /// How many connections it has: what clients choose by.
    pub connections: u32,
    /// Its journal has everything up to there.
    pub position: Position,
    /// It is stopping: nobody new should come.
    pub draining: bool,
}

/// The nodes that live, this one too.
pub type Roster = BTreeMap<NodeName, Heartbeat>;

/// What the parts of a node share about its cluster. There is none on a single node.
#[derive(Debug)]
pub struct Cluster {
    /// Which.
    pub id: ClusterId,
    /// This node.
    pub name: NodeName,
    /// This life of it.
    pub boot: BootId,
    /// Who lives, as it was seen last.
    pub roster: watch::Sender<Roster>,
    /// How the shared log stands, as this node sees it.
    pub phase: watch::Sender<Phase>,
}
