//! The nodes and the Redis of a run, and what is done to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::plan::{self, Act};
use super::wires::Wires;
use crate::cluster::redis::Saved;
use crate::cluster::{Node, Redis};

/// What a run is played on.
#[derive(Debug)]
pub struct Stage {
    /// In the order in which the plan counts them.
    pub nodes: Vec<Node>,
    redis: Redis,
    /// How everyone reaches everyone, or not.
    pub wires: Wires,
    saved: Option<Saved>,
    /// How often each kind of blow fell.
    pub blows: BTreeMap<&'static str, u64>,
    /// How often each kind of partition was made.
    pub partitions: BTreeMap<&'static str, u64>,
    /// What no plan said.
    pub surprises: Vec<String>,
}

impl Stage {
    /// So many nodes on one Redis, none started: their folders, and the cluster's key, are in `folder`.
    pub fn new(folder: &Path, nodes: usize) -> Stage {
        let ((wires, redis), key) = (Wires::lay(nodes), folder.join("cluster.key"));
        let node = |index| {
            let mut node = Node::alone(folder, &called(index));
            let (machine, address) = wires.place(index);
            node.place(machine, address);
            node.enter(&wires.url(&redis, index), &key);
            node
        };
        let nodes = (0..nodes).map(node).collect();
        let (blows, partitions) = (BTreeMap::new(), BTreeMap::new());
        Stage { nodes, redis, wires, saved: None, blows, partitions, surprises: Vec::new() }
    }

    /// Carries the plan out, each act at its time from now on.
    pub fn play(&mut self, plan: &[(u64, Act)], length: Duration) {
        let begun = Instant::now();
        for (at, act) in plan {
            wait_until(begun + Duration::from_millis(*at));
            match act {
                Act::Cut(cut) => *self.partitions.entry(cut.name()).or_default() += 1,
                act => {
                    plan::name(*act).into_iter().for_each(|name| *self.blows.entry(name).or_default() += 1)
                }
            }
            self.revive();
            self.act(*act);
        }
        wait_until(begun + length);
        self.revive();
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Kill(node) => self.nodes[node].kill(),
            Act::Start(node) => self.nodes[node].start(),
            Act::Pause(node) => self.nodes[node].signal("STOP"),
            Act::Resume(node) => self.nodes[node].signal("CONT"),
            Act::Cut(cut) => self.wires.cut(cut),
            Act::Mend(cut) => self.wires.mend(cut),
            Act::KillRedis => self.redis.kill(),
            Act::StartRedis => self.redis.restart(),
            Act::PauseRedis => self.redis.pause(),
            Act::ResumeRedis => self.redis.resume(),
            Act::SaveRedis => self.saved = Some(self.redis.save()),
            Act::RollRedisBack => {
                let saved = self.saved.take().expect("a plan saves before it rolls back");
                self.redis.roll_back(&saved);
            }
            Act::Flush => drop(self.redis.cli(&["FLUSHALL"])),
            Act::EmptyRedis => self.redis.replace_by_an_empty_one(),
        }
    }

    /// A node that ended by itself is a fault, and started again so that the rest can be seen.
    fn revive(&mut self) {
        for node in &mut self.nodes {
            if node.has_ended() {
                let said = node.log().lines().last().unwrap_or_default().to_owned();
                self.surprises.push(format!("node {} ended by itself; it said last: {said}", node.name));
                node.kill();
                node.start();
            }
        }
    }
}

/// Nodes are `a`, `b`, `c`, …
fn called(index: usize) -> String {
    char::from(b'a' + (index % 26) as u8).to_string()
}

fn wait_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}
