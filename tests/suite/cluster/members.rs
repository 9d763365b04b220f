//! Which data directories are of a cluster: how one is founded, joined and left.

use quip_tests::cluster::Node;
use quip_tests::cluster::logs::at_node;
use quip_tests::identity;
use quip_tests::join;
use tokio::runtime::Runtime;

use super::several::{Several, Talk, make_room};
use quip_tests::cluster::Redis;

/// A server alone, with a history.
fn with_history(node: &mut Node) -> Talk {
    let (link, runtime) = (node.started(), Runtime::new().unwrap());
    assert!(link.fingerprint.is_some());
    let owner = node.owner();
    let (client, room) = runtime.block_on(async {
        let client = join(&owner, "owner").await;
        let room = make_room(&client).await;
        (client, room)
    });
    let mut talk = Talk::resume(runtime, client, room);
    talk.say(30);
    talk
}

#[test]
fn a_directory_with_history_founds_a_cluster() {
    let (redis, folder) = (Redis::start(), tempfile::tempdir().unwrap());
    let key = folder.path().join("cluster.key");
    let mut first = Node::alone(folder.path(), "a");
    let mut talk = with_history(&mut first);
    assert!(first.stop());
    first.enter(&redis.url(), &key);
    let one = first.started();
    let mut second = Node::new(folder.path(), "b", &redis.url(), &key);
    let other = second.started();
    talk.say(10);
    talk.check(&[one, other]);
}

#[test]
fn a_second_history_is_refused() {
    let several = Several::new(1);
    let mut second = Node::alone(several.folder(), "b");
    with_history(&mut second);
    assert!(second.stop());
    second.enter(&several.redis.url(), &several.key());
    let why = second.refused();
    assert!(why.contains("history of its own") && why.contains("empty --data-dir"), "{why}");
}

#[test]
fn leaving_needs_to_be_said() {
    let mut several = Several::new(2);
    let mut talk = Talk::begin(&several);
    talk.say(10);
    talk.check(&several.links);
    let node = &mut several.nodes[1];
    assert!(node.stop());
    node.arguments.clear();
    let why = node.refused();
    assert!(why.contains("--leave-cluster"), "{why}");
    node.arguments = vec!["--leave-cluster".to_owned()];
    let link = node.started();
    let alone = talk.runtime.block_on(at_node(&link, identity("owner"))).unwrap();
    assert!(alone.welcome().is_some_and(|welcome| welcome.nodes.is_empty()), "it is a server alone");
    assert!(node.stop());
    node.arguments.clear();
    node.started();
}

#[test]
fn a_second_node_of_the_same_name_is_refused() {
    let several = Several::new(2);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut double = Node::new(elsewhere.path(), "b", &several.redis.url(), &several.key());
    let why = double.refused();
    assert!(why.contains('b') && why.contains("--node"), "{why}");
}

#[test]
fn a_fourth_node_joins_while_the_others_serve() {
    let mut several = Several::new(3);
    let mut talk = Talk::begin(&several);
    talk.say(300);
    several.add("d");
    talk.say(30);
    talk.check(&several.links);
}
