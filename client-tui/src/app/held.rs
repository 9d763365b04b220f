//! Whether the server takes what is written, and on which of its nodes this client is.

use quip_protocol::{ErrorCode, NodeName, NodeSummary, Refusal, SafeLine, Timestamp};

use super::{App, dates};

/// Why the server takes nothing for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    why: SafeLine,
    since: Timestamp,
    /// It said so unasked, and says when that is over.
    read_only: bool,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnNode {
    name: NodeName,
    /// How many there are.
    of: usize,
}

impl App {
    /// A delivery is not taken. What is held up for a moment, because it is a lot, is no news.
    pub(super) fn held_up(&mut self, refusal: Refusal) {
        let is_news = matches!(refusal.code, ErrorCode::Degraded | ErrorCode::Unavailable);
        if is_news && !self.held.as_ref().is_some_and(|held| held.read_only) {
            let since = self.held.take().map_or(self.now, |held| held.since);
            self.held = Some(Held { why: refusal.text, since, read_only: false });
        }
    }

    /// The server says that it writes nothing now.
    pub(super) fn is_read_only(&mut self, why: SafeLine) {
        let since = self.held.take().map_or(self.now, |held| held.since);
        self.held = Some(Held { why, since, read_only: true });
    }

    /// A delivery was taken. A server that says that it writes nothing may have taken it before.
    pub(super) fn took_one(&mut self) {
        self.held.take_if(|held| !held.read_only);
    }

    /// The nodes of the cluster, first the one that this client is connected to.
    pub(super) fn nodes_are(&mut self, nodes: &[NodeSummary]) {
        let of = nodes.len();
        self.node = nodes.first().map(|summary| OwnNode { name: summary.node.name.clone(), of });
    }

    /// ` · node a of 3`, in a cluster.
    pub(super) fn node_words(&self) -> String {
        self.node.as_ref().map_or_else(String::new, |node| format!(" · node {} of {}", node.name, node.of))
    }

    /// Why nothing is written, in one line, where the server said so.
    pub(super) fn read_only_words(&self) -> Option<String> {
        let held = self.held.as_ref().filter(|held| held.read_only)?;
        let since = dates::clock(held.since, &self.zone);
        Some(format!("read-only since {since}: {}; what you send waits", held.why))
    }

    /// Why nothing is taken, and what waits for that: the same in fewer and fewer words.
    pub(super) fn held_words(&self, waiting: &str) -> Option<[String; 3]> {
        let Held { why, since, read_only } = self.held.as_ref()?;
        let since = format!(" since {}", dates::clock(*since, &self.zone));
        let (long, short, then) = match (read_only, waiting) {
            (true, "") => ("read-only".to_owned(), "read-only", "; what you send waits"),
            (true, _) => ("read-only".to_owned(), "read-only", waiting),
            (false, _) => (format!("{} takes no messages", self.server), "takes no messages", waiting),
        };
        Some([
            format!("{long}{since}: {why}{then}"),
            format!("{short}{since}: {why}{waiting}"),
            format!("{short}: {why}{waiting}"),
        ])
    }
}
