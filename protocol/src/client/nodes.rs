//! Which address a client goes to next. PURE: time (since the client began) and random numbers are arguments.
//!
//! What a node that was trusted says of the others is trusted: each has a key of its own. The address that the user gave
//! stays a candidate, whatever is said.

use std::time::Duration;

use super::{Config, Trust};
use crate::node::{Address, NodeAddress, NodeSummary};

/// A node that failed is not the first choice again before this, and twice as long after each further time.
const AVOIDED: Duration = Duration::from_secs(1);
/// The longest that a node is avoided.
const LONGEST: Duration = Duration::from_secs(60);
/// So many are tried in one attempt.
const TRIED: usize = 8;

/// Where a server may be, and the key that it must have there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) trust: Trust,
}

impl Place {
    /// The one that the user gave.
    pub(super) fn of(config: &Config) -> Place {
        Place { host: config.host.clone(), port: config.port, trust: config.trust }
    }

    fn of_node(node: &NodeAddress) -> Place {
        let (host, port) = (node.address.host().to_owned(), node.address.port());
        Place { host, port, trust: Trust::Pinned(node.fingerprint) }
    }

    fn is_at(&self, address: &Address) -> bool {
        (self.host.as_str(), self.port) == (address.host(), address.port())
    }

    /// The configuration to dial it with.
    pub(super) fn config(&self, config: &Config) -> Config {
        let Place { host, port, trust } = self.clone();
        Config { host, port, trust, nodes: Vec::new(), ..config.clone() }
    }
}

#[derive(Debug)]
struct Candidate {
    place: Place,
    /// Connections, as they were told last.
    load: Option<u32>,
    draining: bool,
    failures: u32,
    avoided_until: Duration,
}

impl Candidate {
    fn new(place: Place) -> Candidate {
        Candidate { place, load: None, draining: false, failures: 0, avoided_until: Duration::ZERO }
    }

    fn is_ready(&self, now: Duration) -> bool {
        !self.draining && self.avoided_until <= now
    }
}

/// The addresses of one server.
#[derive(Debug)]
pub(super) struct Nodes {
    home: Place,
    /// First the one that the user gave.
    candidates: Vec<Candidate>,
}

impl Nodes {
    /// The address that was configured, and the nodes that the caller remembers.
    pub(super) fn new(config: &Config) -> Nodes {
        let home = Place::of(config);
        let mut nodes = Nodes { candidates: vec![Candidate::new(home.clone())], home };
        nodes.replace(config.nodes.iter().map(|node| (node, None, false)));
        nodes
    }

    /// What a node that is trusted says of all of them.
    pub(super) fn learn(&mut self, nodes: &[NodeSummary]) {
        self.replace(
            nodes.iter().map(|summary| (&summary.node, Some(summary.connections), summary.draining)),
        );
    }

    fn replace<'a>(&mut self, nodes: impl Iterator<Item = (&'a NodeAddress, Option<u32>, bool)>) {
        let home = Candidate::new(self.home.clone());
        let before = std::mem::replace(&mut self.candidates, vec![home]);
        for (node, load, draining) in nodes {
            let place = Place::of_node(node);
            // The same node, by another way.
            if self.home.trust == place.trust {
                (self.candidates[0].load, self.candidates[0].draining) = (load, draining);
            }
            let candidate = Candidate { load, draining, ..Candidate::new(place) };
            match self.candidates.iter_mut().find(|known| known.place.is_at(&node.address)) {
                Some(known) => *known = candidate,
                None => self.candidates.push(candidate),
            }
        }
        for candidate in &mut self.candidates {
            if let Some(before) = before.iter().find(|before| before.place == candidate.place) {
                (candidate.failures, candidate.avoided_until) = (before.failures, before.avoided_until);
            }
        }
    }

    /// How many addresses there are.
    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Whether there is one to which it makes sense to go at once.
    pub(super) fn is_ready(&self, now: Duration) -> bool {
        self.candidates.iter().any(|candidate| candidate.is_ready(now))
    }

    /// The order in which they are to be tried now. First those that are ready, each time the less loaded of two that chance
    /// takes; then the others, those that failed longest ago before those that are stopping.
    pub(super) fn order(&self, now: Duration, mut random: impl FnMut() -> u32) -> Vec<Place> {
        let (mut ready, mut later): (Vec<&Candidate>, Vec<&Candidate>) =
            self.candidates.iter().partition(|candidate| candidate.is_ready(now));
        later.sort_by_key(|candidate| (candidate.draining, candidate.avoided_until));
        let mut order = Vec::with_capacity(self.candidates.len());
        while !ready.is_empty() {
            let chosen = better_of_two(&ready, &mut random);
            order.push(ready.swap_remove(chosen));
        }
        order.extend(later);
        if let Some(home) = order.iter().position(|candidate| candidate.place.is_same(&self.home)) {
            order.swap(home, home.min(TRIED - 1));
        }
        order.truncate(TRIED);
        order.into_iter().map(|candidate| candidate.place.clone()).collect()
    }

    /// There was no connection, or it broke.
    pub(super) fn failed(&mut self, place: &Place, now: Duration) {
        if let Some(candidate) = self.find(place) {
            let avoided = AVOIDED.saturating_mul(1 << candidate.failures.min(16)).min(LONGEST);
            candidate.failures = candidate.failures.saturating_add(1);
            candidate.avoided_until = now + avoided;
        }
    }

    /// A connection lasted.
    pub(super) fn lasted(&mut self, place: &Place) {
        if let Some(candidate) = self.find(place) {
            (candidate.failures, candidate.avoided_until) = (0, Duration::ZERO);
        }
    }

    /// It says that it is stopping. Where no other is known, it is the one to come back to.
    pub(super) fn stopping(&mut self, place: &Place) {
        if self.len() > 1
            && let Some(candidate) = self.find(place)
        {
            candidate.draining = true;
        }
    }

    fn find(&mut self, place: &Place) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|candidate| candidate.place == *place)
    }
}

impl Place {
    /// Whether it is the same address, by whichever key.
    fn is_same(&self, other: &Place) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

/// The less loaded of two; of one whose load is not known nothing is said, so that chance decides.
fn better_of_two(ready: &[&Candidate], random: &mut impl FnMut() -> u32) -> usize {
    let count = u32::try_from(ready.len()).unwrap_or(u32::MAX);
    let mut pick = || (random() % count) as usize;
    let (one, other) = (pick(), pick());
    match (ready[one].load, ready[other].load) {
        (Some(load), Some(less)) if less < load => other,
        _ => one,
    }
}

/// What is said behind "does not answer" where so many others were tried too.
pub(super) fn none_of(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " (no answer from its other node)".to_owned(),
        count => format!(" (no answer from {count} other nodes)"),
    }
}

#[cfg(test)]
mod tests;
