//! What a node is in a cluster: its name, the others, and how the log that they share stands. What the nodes say to each other
//! beside the log is in the files of this folder.

pub mod barrier;
pub mod bus;
pub mod join;
pub mod key;
pub mod membership;
pub mod orphans;
mod parted;
mod pause;
pub mod peer;
pub mod presence;
pub mod realign;
mod reappend;
pub mod roster;
pub mod turn;
pub mod whispers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quip_protocol::limits::MAX_NODES;
use quip_protocol::{Fingerprint, NodeAddress, NodeName, NodeSummary, Position};
use tokio::sync::watch;

use self::barrier::Barrier;
use crate::log::redis::counts::Counts;
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
    /// It is stopping, or does not serve yet: nobody new should come, nodes neither.
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
    /// What is counted of the shared log.
    pub counts: Arc<Counts>,
    /// Makes sure that this node is not behind what others have told.
    pub barrier: Barrier,
}

/// How long a node that stops or begins to serve waits until it has told so: some heartbeats.
const TELL_WITHIN: Duration = Duration::from_millis(1_500);

impl Cluster {
    /// The nodes that live, for clients: this one first, which has so many connections.
    pub fn summaries(&self, connections: u32) -> Vec<NodeSummary> {
        let roster = self.roster.borrow();
        let own = roster.get_key_value(&self.name);
        let others = roster.iter().filter(|(name, _)| **name != self.name);
        let mut summaries: Vec<NodeSummary> =
            own.into_iter().chain(others).filter_map(summary).take(MAX_NODES).collect();
        if let Some(own) = summaries.first_mut().filter(|summary| summary.node.name == self.name) {
            own.connections = connections;
        }
        summaries
    }

    /// Whether another node lives that clients can go to.
    pub fn has_others(&self) -> bool {
        self.roster.borrow().iter().any(|(name, heartbeat)| *name != self.name && !heartbeat.draining)
    }

    /// This node says that it is stopping, or that it serves. Waits until Redis has heard it, or should have.
    pub async fn is_told(&self, draining: bool) {
        let mut roster = self.roster.subscribe();
        let is_so = |own: &Heartbeat| own.draining == draining;
        let told = roster.wait_for(|roster| roster.get(&self.name).is_none_or(is_so));
        let _ = tokio::time::timeout(TELL_WITHIN, told).await;
    }
}

/// None of a node whose address cannot stand in a link: clients could not go there.
fn summary((name, heartbeat): (&NodeName, &Heartbeat)) -> Option<NodeSummary> {
    let (name, fingerprint) = (name.clone(), heartbeat.fingerprint);
    let node = NodeAddress { name, address: heartbeat.address.parse().ok()?, fingerprint };
    Some(NodeSummary { node, connections: heartbeat.connections, draining: heartbeat.draining })
}
