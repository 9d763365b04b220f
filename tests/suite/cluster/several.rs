//! Some nodes on one Redis, and two people, each at a node, who say things that are checked on all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::future::join_all;
use quip_protocol::client::{Client, Error, Post};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{AccountName, MessageId, NodeName, SafeLine, ServerLink, Target};
use quip_tests::cluster::logs::{at_node, node_of, read_room};
use quip_tests::cluster::{Acked, Entry, History, Node, NodeLog, Outcome, Redis, Sent, check};
use quip_tests::{Middlebox, eventually, identity, join, within};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Nodes that serve, and the Redis that they share.
pub struct Several {
    pub redis: Redis,
    pub nodes: Vec<Node>,
    pub links: Vec<ServerLink>,
    pub owner: ServerLink,
    folder: TempDir,
}

impl Several {
    /// So many, `a`, `b`, `c`.
    pub fn new(count: usize) -> Several {
        let (redis, folder) = (Redis::start(), tempfile::tempdir().unwrap());
        let mut first = Node::new(folder.path(), "a", &redis.url(), &key_in(folder.path()));
        let link = first.started();
        let owner = first.owner();
        let mut several = Several { redis, nodes: vec![first], links: vec![link], owner, folder };
        ["b", "c", "d"].iter().take(count - 1).for_each(|name| several.add(name));
        several
    }

    /// One more.
    pub fn add(&mut self, name: &str) {
        let mut node = Node::new(self.folder.path(), name, &self.redis.url(), &self.key());
        self.links.push(node.started());
        self.nodes.push(node);
    }

    /// One more, which the other nodes reach through a box, of this rate if one is said; the tests' own clients reach it as it is.
    pub fn add_behind_a_box(&mut self, name: &str, rate: Option<u32>) -> Middlebox {
        let mut node = Node::new(self.folder.path(), name, &self.redis.url(), &self.key());
        let between = match rate {
            Some(rate) => Middlebox::narrow(node.port(), rate),
            None => Middlebox::new(node.port()),
        };
        let advertise = node.arguments.iter().position(|argument| argument == "--advertise").unwrap();
        node.arguments[advertise + 1] = format!("127.0.0.1:{}", between.port());
        self.links.push(node.started());
        self.nodes.push(node);
        between
    }

    /// The one of this name.
    pub fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.name.as_str() == name).expect("there is one of this name")
    }

    pub fn key(&self) -> PathBuf {
        key_in(self.folder.path())
    }

    /// Where more nodes can have their folders.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn key_in(folder: &Path) -> PathBuf {
    folder.join("cluster.key")
}

/// What is said, and how it was acknowledged.
pub struct Talk {
    pub runtime: Runtime,
    /// The owner, at the first node, and others.
    pub people: Vec<(AccountName, Client)>,
    pub room: Target,
    /// What may stand elsewhere than it was acknowledged: a node appended it again.
    pub reappended: BTreeSet<MessageId>,
    begun: Instant,
    sends: Vec<Sent>,
}

impl Talk {
    /// The owner at the first node, and somebody at each of the others, in one room.
    pub fn begin(several: &Several) -> Talk {
        let runtime = Runtime::new().unwrap();
        let owner = runtime.block_on(join(&several.owner, "owner"));
        let code = several.nodes[0].invite(several.nodes.len()).code;
        let room = runtime.block_on(make_room(&owner));
        let mut people = vec![("owner".parse().unwrap(), owner)];
        for (link, node) in several.links.iter().zip(&several.nodes).skip(1) {
            let name = format!("at-{}", node.name);
            let link = ServerLink { code: code.clone(), ..link.clone() };
            let client = runtime.block_on(async {
                let client = join(&link, &name).await;
                enter(&client, &room).await;
                client
            });
            people.push((name.parse().unwrap(), client));
        }
        Talk::of(runtime, people, room)
    }

    /// The only node of a server that has had people before.
    pub fn resume(runtime: Runtime, owner: Client, room: Target) -> Talk {
        Talk::of(runtime, vec![("owner".parse().unwrap(), owner)], room)
    }

    fn of(runtime: Runtime, people: Vec<(AccountName, Client)>, room: Target) -> Talk {
        Talk { runtime, people, room, reappended: BTreeSet::new(), begun: Instant::now(), sends: Vec::new() }
    }

    /// From now on only the owner speaks, at this node.
    pub fn move_to(&mut self, link: &ServerLink) {
        for (_, gone) in std::mem::take(&mut self.people) {
            self.runtime.block_on(gone.close());
        }
        let owner = self.runtime.block_on(at_node(link, identity("owner"))).unwrap();
        self.people = vec![("owner".parse().unwrap(), owner)];
    }

    /// So many messages, each by the next of them when the one before is acknowledged.
    pub fn say(&mut self, count: usize) -> Vec<MessageId> {
        let before = self.sends.len();
        for number in 0..count {
            let (name, client) = &self.people[number % self.people.len()];
            let post = Post::new(self.room.clone(), &format!("{number} of {count}"));
            let (id, begun) = (post.id, self.now());
            let posting = async { within("a receipt", client.post(post)).await };
            let receipt = self.runtime.block_on(posting).unwrap();
            let node = node_of(client).unwrap_or_else(|_| alone());
            let outcome = Outcome::Acked(Acked { at: self.now(), node, receipt });
            let sent = Sent { client: name.clone(), number: begun, id, room: receipt.room, begun, outcome };
            self.sends.push(sent);
        }
        self.sends[before..].iter().map(|sent| sent.id).collect()
    }

    /// So many messages at once, by the first of them: their order is the node's.
    pub fn shout(&mut self, count: usize) -> Vec<MessageId> {
        let (name, client) = &self.people[0];
        let (node, begun) = (node_of(client).unwrap(), self.now());
        let posting = (0..count).map(|_| {
            let (handle, post) = (client.handle(), Post::new(self.room.clone(), "at once"));
            async move { (post.id, within("a receipt", handle.post(post)).await.unwrap()) }
        });
        let receipts = self.runtime.block_on(join_all(posting));
        let at = self.now();
        let sents = receipts.into_iter().map(|(id, receipt)| {
            let outcome = Outcome::Acked(Acked { at, node: node.clone(), receipt });
            Sent { client: name.clone(), number: begun, id, room: receipt.room, begun, outcome }
        });
        let sents: Vec<Sent> = sents.collect();
        let ids = sents.iter().map(|sent| sent.id).collect();
        self.sends.extend(sents);
        ids
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// The logs of all nodes, once each has the last message that was acknowledged, hold what a cluster promises.
    pub fn check(&self, links: &[ServerLink]) {
        let last = self.sends.last().expect("something was said").id;
        let nodes = links.iter().map(|link| self.log(link, last)).collect();
        let (sends, reappended) = (self.sends.clone(), self.reappended.clone());
        let history = History { sends, nodes, reappended, ..History::default() };
        let faults = check(&history).faults;
        assert!(faults.is_empty(), "{faults:#?}");
    }

    /// The room at one node, once it has this message.
    fn log(&self, link: &ServerLink, last: MessageId) -> NodeLog {
        eventually(&format!("{} has all", link.address()), || {
            let log = self.runtime.block_on(self.try_log(link)).ok()?;
            let has = log.rooms.values().flatten().any(|entry| entry.id == Some(last));
            has.then_some(log)
        })
    }

    async fn try_log(&self, link: &ServerLink) -> anyhow::Result<NodeLog> {
        let client = at_node(link, identity("owner")).await?;
        let node = node_of(&client).unwrap_or_else(|_| alone());
        let log = read_room(&client, &self.room).await?;
        client.close().await;
        let room = log.first().expect("a room begins with its making").room;
        Ok(NodeLog { node, rooms: BTreeMap::from([(room, log.iter().map(Entry::from).collect())]) })
    }

    /// What somebody who does not insist is told when they post at this node.
    pub fn try_to_post(&self, link: &ServerLink) -> Result<quip_protocol::Receipt, Error> {
        let client = self.runtime.block_on(at_node(link, identity("owner"))).unwrap();
        let Post { target, id, kind, text, reply_to } = Post::new(self.room.clone(), "once");
        let request = Request::Post { target, id, kind, text, reply_to };
        match self.runtime.block_on(client.request(request))? {
            Reply::Receipt(receipt) => Ok(receipt),
            other => panic!("{other:?}"),
        }
    }

    /// How many events of the room a node shows.
    pub fn shown(&self, link: &ServerLink) -> usize {
        self.runtime.block_on(self.try_log(link)).unwrap().rooms.values().flatten().count()
    }
}

/// What a server is called that is no node.
fn alone() -> NodeName {
    "alone".parse().unwrap()
}

/// A public room, made by the owner.
pub async fn make_room(owner: &Client) -> Target {
    let (name, topic) = ("talk".parse().unwrap(), SafeLine::default());
    let create = Request::CreateRoom { name, private: false, topic, members: Vec::new() };
    match owner.request(create).await.unwrap() {
        Reply::Room(summary) => summary.target,
        other => panic!("{other:?}"),
    }
}

/// Makes somebody a member, who does not watch: nobody takes the events.
async fn enter(client: &Client, room: &Target) {
    let Target::Room(room) = room.clone() else { panic!("{room} is no room") };
    let joined = client.request(Request::Join { room }).await;
    assert!(matches!(joined, Ok(Reply::Room(_))), "{joined:?}");
}
