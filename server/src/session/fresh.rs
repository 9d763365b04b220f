//! A session of a node that may be behind what other nodes have told its client: what is not there yet is not refused, and a
//! cursor that is ahead is not said to be of another log. Imports the cluster's barrier.

use std::sync::atomic::{AtomicBool, Ordering};

use quip_protocol::{ErrorCode, Refusal};

use crate::node::Node;

/// Whether the node has all that its client can have been told when it came.
#[derive(Debug, Default)]
pub struct Fresh(AtomicBool);

impl Fresh {
    /// Whether it has; waits some two seconds for it at the most. Always on a single node.
    pub async fn is_so(&self, node: &Node) -> bool {
        let Some(cluster) = &node.cluster else { return true };
        if !self.0.load(Ordering::Relaxed) && cluster.barrier.pass().await {
            self.0.store(true, Ordering::Relaxed);
        }
        self.0.load(Ordering::Relaxed)
    }
}

/// What is said instead of what may be wrong.
pub fn not_fresh() -> Refusal {
    let text = "this node cannot tell whether it has all that the cluster has; try again, or at another node";
    Refusal::retry(ErrorCode::Unavailable, text, 1_000)
}
