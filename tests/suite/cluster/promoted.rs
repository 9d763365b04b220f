//! A replica that lacks what the master acknowledged is promoted while everybody writes.

use std::path::PathBuf;

use quip_protocol::ServerLink;
use quip_tests::cluster::faults::{Options, Play};
use quip_tests::cluster::redis::Sentinel;
use quip_tests::cluster::{Node, Redis, check};
use quip_tests::eventually;
use tokio::runtime::Runtime;

/// Where a log ends, by `redis-cli`: a replica answers nobody else.
fn last(redis: &Redis) -> Option<(u64, u64)> {
    let last = redis.cli(&["HGET", "{quip}:meta", "last"]);
    let (epoch, offset) = last.split_once('-')?;
    Some((epoch.parse().ok()?, offset.parse().ok()?))
}

#[test]
fn a_promoted_replica_that_lacks_something_gets_it_while_everybody_writes() {
    let mut master = Redis::start();
    let replica = Redis::replica(&master);
    let sentinel = Sentinel::of(&master);
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let key = folder.path().join("cluster.key");
    let mut nodes = ["a", "b", "c"].map(|name| Node::new(folder.path(), name, &sentinel.url(), &key));
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
    let owner = nodes[0].owner();
    let mut play =
        runtime.block_on(Play::begin(&options, &links, &owner, |clients| nodes[0].invite(clients))).unwrap();
    let more = |play: &Play, what: &str| {
        let before = play.acked();
        eventually(what, || (play.acked() >= before + 100).then_some(()));
    };
    more(&play, "everybody writes");
    master.keep_to_itself();
    eventually("the replica gets no more", || {
        replica.cli(&["INFO", "replication"]).contains("master_link_status:down").then_some(())
    });
    let had = last(&replica).unwrap();
    more(&play, "the replica lacks something");
    let acknowledged = last(&master).unwrap();
    master.kill();
    assert_eq!(last(&replica).unwrap(), had);
    assert!(had.0 == acknowledged.0 && had.1 < acknowledged.1, "{had:?} {acknowledged:?}");
    eventually("it is promoted and agreed on", || {
        last(&replica).filter(|last| last.0 > acknowledged.0 && last.1 > acknowledged.1)
    });
    more(&play, "everybody writes again");
    let history = runtime.block_on(play.end(&links)).unwrap();
    let verdict = check(&history);
    assert!(verdict.faults.is_empty(), "{:#?}", verdict.faults);
    let figures = verdict.figures;
    assert_eq!((figures.acked, figures.refused, figures.reappended), (figures.sent, 0, 0), "{figures:?}");
    assert!(nodes.iter().all(|node| !node.log().contains("panicked")));
}
