//! What every client is told of the node: which nodes there are, and whether anything can be written. One task looks
//! and posts it, encoded once; sessions that are rung read what they were not told yet, and hold eight bytes for that.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use quip_protocol::codec::{FrameKind, encode_frame};
use quip_protocol::frame::Push;
use quip_protocol::{NodeSummary, SafeLine};
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::log::shared::member::Phase;
use crate::node::Node;

/// How often a change is looked for, and the least time between two that are told.
const EVERY: Duration = Duration::from_secs(1);
/// So many sessions are rung at a time, and what is between: ten thousand at once would be a burst of as many packets.
const AT_ONCE: usize = 256;
const BETWEEN: Duration = Duration::from_millis(5);

/// What is posted now.
#[derive(Debug, Default)]
pub struct Bulletin(RwLock<Board>);

#[derive(Debug, Default)]
struct Board {
    nodes: Vec<NodeSummary>,
    /// The frame that says so; of a server alone there is none.
    nodes_frame: Bytes,
    /// Raised with each change.
    nodes_version: u32,
    why: Option<SafeLine>,
    /// The frame that says why nothing can be written.
    read_only_frame: Bytes,
    /// Raised each time it begins.
    read_only_version: u32,
}

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A device of an account.
    Account,
    /// A device of nobody: where the nodes are is not its business.
    Stranger,
}

/// What a session was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    nodes: u32,
    /// 0: that everything is written.
    read_only: u32,
}

impl Bulletin {
    /// How it is now. Whether that is another thing than was posted.
    pub fn post(&self, nodes: Vec<NodeSummary>, why: Option<SafeLine>) -> bool {
        let mut board = self.0.write();
        let moved = !is_alike(&board.nodes, &nodes);
        if moved {
            board.nodes_frame = encode_frame(FrameKind::Push, &Push::Nodes(nodes.clone()));
            board.nodes_version += 1;
        }
        // Their loads are told to who comes.
        board.nodes = nodes;
        let changed = board.why != why;
        if let (true, Some(why)) = (changed, &why) {
            board.read_only_frame = encode_frame(FrameKind::Push, &Push::ReadOnly { why: why.clone() });
            board.read_only_version += 1;
        }
        board.why = why;
        moved || changed
    }

    /// The nodes as they were posted, for a `Welcome`, and what its session is told by that. Strangers are told of none.
    pub fn welcome(&self, to: Reader) -> (Vec<NodeSummary>, Told) {
        let board = self.0.read();
        match to {
            Reader::Account => (board.nodes.clone(), Told { nodes: board.nodes_version, read_only: 0 }),
            Reader::Stranger => (Vec::new(), Told::default()),
        }
    }

    /// The frames of what a session was not told yet; from now on it was. Who is no stranger any more is told of the nodes.
    pub fn news(&self, to: Reader, told: &mut Told) -> [Option<Bytes>; 2] {
        let board = self.0.read();
        let read_only = if board.why.is_some() { board.read_only_version } else { 0 };
        let nodes = if to == Reader::Account { board.nodes_version } else { told.nodes };
        let now = Told { nodes, read_only };
        let before = std::mem::replace(told, now);
        let nodes = (before.nodes != now.nodes).then(|| board.nodes_frame.clone());
        let writing = (before.read_only != now.read_only).then(|| match read_only {
            0 => encode_frame(FrameKind::Push, &Push::Writable),
            _ => board.read_only_frame.clone(),
        });
        [nodes, writing]
    }
}

/// Whether they are the same but for their loads, which are no news.
fn is_alike(before: &[NodeSummary], now: &[NodeSummary]) -> bool {
    let said = |summary: &NodeSummary| (summary.node.clone(), summary.draining);
    before.iter().map(said).eq(now.iter().map(said))
}

/// Posts what changes and rings every session then, until the server stops.
pub async fn post(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let mut phase = node.cluster.as_ref().map(|cluster| cluster.phase.subscribe());
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if look(&node) {
            ring(&node).await;
            // Not sooner than that is there more to tell.
            ticks.reset();
            tokio::select! {
                _ = ticks.tick() => continue,
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
        tokio::select! {
            _ = ticks.tick() => {}
            () = changed(&mut phase) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Posts how it is; whether that is news.
pub fn look(node: &Node) -> bool {
    let nodes = node.cluster.as_ref().map(|cluster| cluster.summaries(node.sessions.total()));
    node.bulletin.post(nodes.unwrap_or_default(), node.read_only())
}

/// Has every session read what is posted.
pub async fn ring(node: &Node) {
    for doorbells in node.sessions.doorbells().chunks(AT_ONCE) {
        doorbells.iter().for_each(|doorbell| doorbell.ring());
        tokio::time::sleep(BETWEEN).await;
    }
}

async fn changed(phase: &mut Option<watch::Receiver<Phase>>) {
    if let Some(phase) = phase
        && phase.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Why nothing is written in a cluster, if so.
pub fn read_only(cluster: &Cluster) -> Option<&'static str> {
    match &*cluster.phase.borrow() {
        Phase::Live => None,
        Phase::CatchingUp { .. } => Some("this server is catching up with the others"),
        Phase::Unreachable => Some("the servers' log is away"),
        Phase::Repairing => Some("the servers' log is in repair"),
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::codec::{Frame, LENGTH_BYTES};
    use quip_protocol::{Address, Fingerprint, NodeAddress};

    use super::*;

    fn summary(name: &str, connections: u32, draining: bool) -> NodeSummary {
        let (address, fingerprint) = (Address::new(name, 1).unwrap(), Fingerprint([1; 32]));
        let node = NodeAddress { name: name.parse().unwrap(), address, fingerprint };
        NodeSummary { node, connections, draining }
    }

    fn said(news: [Option<Bytes>; 2]) -> Vec<String> {
        let word = |frame: Bytes| {
            let frame = Frame::from_stored(&frame.slice(LENGTH_BYTES..)).unwrap();
            match frame.decode(FrameKind::Push, "push").unwrap() {
                Push::Nodes(nodes) => format!("{} nodes", nodes.len()),
                Push::ReadOnly { why } => why.to_string(),
                Push::Writable => "writable".to_owned(),
                other => panic!("{other:?}"),
            }
        };
        news.into_iter().flatten().map(word).collect()
    }

    #[test]
    fn each_is_told_once_what_has_changed_since() {
        let bulletin = Bulletin::default();
        let mut early = bulletin.welcome(Reader::Account).1;
        let one = || vec![summary("a", 5, false)];
        let two = || vec![summary("a", 5, false), summary("b", 7, false)];
        let stopping = || vec![summary("a", 5, false), summary("b", 7, true)];
        let full = || Some(SafeLine::new("full"));
        // What is posted, whether it is news, and what who was there from the beginning is told.
        type Case<'a> = (Vec<NodeSummary>, Option<SafeLine>, bool, &'a [&'a str]);
        let table: [Case<'_>; 8] = [
            (vec![], None, false, &[]),
            (one(), None, true, &["1 nodes"]),
            (two(), None, true, &["2 nodes"]),
            (vec![summary("a", 9, false), summary("b", 0, false)], None, false, &[]),
            (stopping(), full(), true, &["2 nodes", "full"]),
            (stopping(), full(), false, &[]),
            (stopping(), Some(SafeLine::new("broken")), true, &["broken"]),
            (stopping(), None, true, &["writable"]),
        ];
        for (nodes, why, news, told) in table {
            assert_eq!(bulletin.post(nodes, why), news, "{told:?}");
            assert_eq!(said(bulletin.news(Reader::Account, &mut early)), told);
            assert_eq!(said(bulletin.news(Reader::Account, &mut early)), [""; 0], "once");
        }
        let (nodes, mut late) = bulletin.welcome(Reader::Account);
        assert_eq!((nodes, said(bulletin.news(Reader::Account, &mut late))), (stopping(), vec![]));
        bulletin.post(stopping(), full());
        let mut late = bulletin.welcome(Reader::Account).1;
        assert_eq!(said(bulletin.news(Reader::Account, &mut late)), ["full"], "also to who comes then");
    }

    #[test]
    fn a_stranger_is_told_of_the_nodes_once_it_has_an_account() {
        let bulletin = Bulletin::default();
        bulletin.post(vec![summary("a", 5, false)], Some(SafeLine::new("full")));
        let (nodes, mut told) = bulletin.welcome(Reader::Stranger);
        assert_eq!(
            (nodes, said(bulletin.news(Reader::Stranger, &mut told))),
            (vec![], vec!["full".to_owned()])
        );
        bulletin.post(vec![summary("a", 5, false), summary("b", 5, false)], None);
        assert_eq!(said(bulletin.news(Reader::Stranger, &mut told)), ["writable"]);
        assert_eq!(said(bulletin.news(Reader::Account, &mut told)), ["2 nodes"]);
        assert_eq!(said(bulletin.news(Reader::Account, &mut told)), [""; 0]);
    }

    #[test]
    fn what_was_over_before_it_was_told_is_no_news() {
        let bulletin = Bulletin::default();
        let mut told = bulletin.welcome(Reader::Account).1;
        bulletin.post(vec![], Some(SafeLine::new("full")));
        bulletin.post(vec![], None);
        assert_eq!(said(bulletin.news(Reader::Account, &mut told)), [""; 0]);
    }
}
