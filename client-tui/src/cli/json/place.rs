//! Where an account is: its server, and of a cluster the nodes.

use quip_protocol::{NodeName, NodeSummary};
use serde::Serialize;

use super::shown;

/// A server, and of a cluster the node that answered and all that there are.
#[derive(Debug, Serialize)]
pub struct Place<'a> {
    server: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a NodeName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<NodeLine<'a>>,
}

#[derive(Debug, Serialize)]
struct NodeLine<'a> {
    name: &'a NodeName,
    #[serde(serialize_with = "shown")]
    address: &'a quip_protocol::Address,
    #[serde(serialize_with = "shown")]
    fingerprint: &'a quip_protocol::Fingerprint,
    connections: u32,
    draining: bool,
}

impl<'a> Place<'a> {
    /// The server at this address. Of the nodes the first is the one that answered.
    pub fn new(server: &'a str, nodes: &'a [NodeSummary]) -> Place<'a> {
        let line = |summary: &'a NodeSummary| NodeLine {
            name: &summary.node.name,
            address: &summary.node.address,
            fingerprint: &summary.node.fingerprint,
            connections: summary.connections,
            draining: summary.draining,
        };
        let node = nodes.first().map(|summary| &summary.node.name);
        Place { server, node, nodes: nodes.iter().map(line).collect() }
    }
}
