//! What happens while everybody writes, at three nodes: a replica that lacks what the master acknowledged is promoted; a node
//! parts from the others, and comes back.

use std::path::PathBuf;

use quip_protocol::{Epoch, Position, ServerLink};
use quip_server::log::redis::Connection;
use quip_server::log::shared::contract::{Answer, Ask};
use quip_tests::cluster::checker::Figures;
use quip_tests::cluster::faults::{Options, Play};
use quip_tests::cluster::redis::Sentinel;
use quip_tests::cluster::{Node, Redis, check};
use quip_tests::eventually;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The nodes, and those who write.
struct Scene {
    runtime: Runtime,
    nodes: [Node; 3],
    links: Vec<ServerLink>,
    play: Play,
    _folder: TempDir,
}

impl Scene {
    fn begin(redis: &str) -> Scene {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
        let key = folder.path().join("cluster.key");
        let mut nodes = ["a", "b", "c"].map(|name| Node::new(folder.path(), name, redis, &key));
        let links: Vec<ServerLink> = nodes.iter_mut().map(Node::started).collect();
        let options = Options {
            seconds: 0,
            seed: 5,
            clients: 12,
            rooms: 4,
            nodes: nodes.len(),
            rate: 200,
            rollback: false,
            folder: PathBuf::new(),
        };
        let (owner, invite) = (nodes[0].owner(), |clients| nodes[0].invite(clients));
        let play = runtime.block_on(Play::begin(&options, &links, &owner, invite)).unwrap();
        Scene { runtime, nodes, links, play, _folder: folder }
    }

    /// Waits until so many more messages are acknowledged.
    fn more(&self, what: &str) {
        let before = self.play.acked();
        eventually(what, || (self.play.acked() >= before + 100).then_some(()));
    }

    /// Nobody writes any more, and all is as it should be: every message that was sent is acknowledged.
    fn end(mut self) -> Figures {
        let history = self.runtime.block_on(self.play.end(&self.links)).unwrap();
        let verdict = check(&history);
        assert!(verdict.faults.is_empty(), "{:#?}", verdict.faults);
        assert_eq!((verdict.figures.acked, verdict.figures.refused), (verdict.figures.sent, 0));
        assert!(self.nodes.iter().all(|node| !node.log().contains("panicked")));
        verdict.figures
    }
}

/// Where a log ends, as `redis-cli` tells: a replica, too.
fn last(redis: &Redis) -> Option<Position> {
    let last = redis.cli(&["HGET", "{quip}:meta", "last"]);
    let (epoch, offset) = last.split_once('-')?;
    Some(Position { epoch: Epoch(epoch.parse().ok()?), offset: offset.parse().ok()? })
}

#[test]
fn a_promoted_replica_gets_what_it_lacks() {
    let mut master = Redis::start();
    let replica = Redis::replica(&master);
    let sentinel = Sentinel::of(&master);
    let scene = Scene::begin(&sentinel.url());
    scene.more("everybody writes");
    master.keep_to_itself();
    eventually("the replica gets no more", || {
        replica.cli(&["INFO", "replication"]).contains("master_link_status:down").then_some(())
    });
    let had = last(&replica).unwrap();
    // Soon: Sentinel promotes no replica that has heard nothing for long.
    let before = scene.play.acked();
    let acknowledged = eventually("the replica lacks what was acknowledged", || {
        last(&master).filter(|last| last.offset > had.offset + 10 && scene.play.acked() > before + 10)
    });
    master.kill();
    assert_eq!(last(&replica).unwrap(), had);
    assert!(had.epoch == acknowledged.epoch && had < acknowledged, "{had} {acknowledged}");
    eventually("it is promoted and agreed on", || {
        last(&replica).filter(|last| last.epoch > acknowledged.epoch && last.offset > acknowledged.offset)
    });
    scene.more("everybody writes again");
    let figures = scene.end();
    assert_eq!(
        (figures.reappended, figures.resets),
        (0, 0),
        "each stands where it was acknowledged: {figures:?}"
    );
}

#[test]
fn a_node_that_has_parted_comes_back() {
    let mut redis = Redis::start();
    let mut scene = Scene::begin(&redis.url());
    scene.more("everybody writes");
    let [_, b, c] = &mut scene.nodes;
    assert!(b.stop() && c.stop());
    scene.more("one has what nobody else has");
    scene.nodes[0].kill();
    redis.replace_by_an_empty_one();
    scene.nodes[1..].iter_mut().for_each(Node::start);
    scene.nodes[1..].iter().for_each(|node| drop(node.ready()));
    let begun = last(&redis).unwrap();
    let upto = eventually("the others go on without it", || {
        let last = last(&redis).filter(|last| last.offset > begun.offset + 100)?;
        Some(Position { offset: begun.offset + 50, ..last })
    });
    let mut connection = Connection::new(redis.url().parse().unwrap());
    let trimmed = scene.runtime.block_on(connection.ask(&Ask::Trim { upto }));
    assert_eq!(trimmed, Ok(Answer::Done));
    scene.nodes[0].started();
    eventually("it appends again what only it had", || {
        scene.nodes[0].log().contains("what only this node had is appended again").then_some(())
    });
    scene.more("everybody writes again");
    let log = scene.nodes[0].log();
    assert!(log.contains("comparing journals") && log.contains("got what was missing"), "{log}");
    let figures = scene.end();
    assert!(figures.reappended > 0 && figures.resets > 0, "{figures:?}");
}
