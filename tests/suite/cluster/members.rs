//! Which data directories are of a cluster: how one is founded, joined and left.

use std::net::UdpSocket;
use std::process::Command;

use quip_tests::cluster::Node;
use quip_tests::cluster::logs::at_node;
use quip_tests::{eventually, identity, join};
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
    let log = second.log();
    let said = log.lines().find(|line| line.contains("getting the rest from another node"));
    assert!(said.is_some_and(|line| line.contains(" INFO ")), "{log}");
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
    let log = node.log();
    assert!(log.contains("the epoch is raised") && !log.contains("may be lost"), "{log}");
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
    // The directory is bound to nothing: it comes by another name, as it is told to.
    assert!(!double.data_dir().join("cluster").exists());
    let at = double.arguments.iter().position(|argument| argument == "b").unwrap();
    double.arguments[at] = "other".to_owned();
    double.started();
}

/// Without Redis it would wait for that first.
#[test]
fn an_address_that_is_in_use_is_told_before_anything_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("cluster.key");
    let mut node = Node::new(folder.path(), "a", "redis://127.0.0.1:1", &key);
    let _busy = UdpSocket::bind(("127.0.0.1", node.port())).unwrap();
    let why = node.refused();
    assert!(why.contains(&format!("cannot listen on 127.0.0.1:{}", node.port())), "{why}");
}

#[test]
fn leaving_where_there_is_nothing_to_leave_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::alone(folder.path(), "a");
    node.arguments = vec!["--leave-cluster".to_owned()];
    node.started();
    assert!(node.log().contains("this data directory is of no cluster"), "{}", node.log());
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

/// Redis was wiped, and a new node is started before any that has been in the cluster: it must not found one of its own, and the
/// same node with an empty directory neither.
#[test]
fn a_new_node_waits_for_a_wiped_redis_to_be_written_back() {
    let mut several = Several::new(1);
    let mut talk = Talk::begin(&several);
    talk.say(10);
    several.nodes[0].kill();
    several.redis.replace_by_an_empty_one();
    let mut second = Node::new(several.folder(), "b", &several.redis.url(), &several.key());
    second.start();
    let said = || second.log().contains("waiting for a node of the cluster").then_some(());
    eventually("it says what it waits for", said);
    assert_eq!(second.log().matches("waiting for a node").count(), 1, "once a minute");
    several.nodes[0].started();
    let link = second.ready();
    talk.say(10);
    talk.check(&[several.links[0].clone(), link]);
}

#[test]
fn who_waits_for_a_cluster_ends_when_it_is_told_to() {
    let several = Several::new(1);
    let (redis, folder) = (Redis::start(), tempfile::tempdir().unwrap());
    let mut node = Node::new(folder.path(), "a", &redis.url(), &several.key());
    node.start();
    eventually("it waits", || node.log().contains("--found-cluster").then_some(()));
    assert!(node.stop());
    // The operator made the key, and means it.
    node.arguments.push("--found-cluster".to_owned());
    node.started();
    node.owner();
    assert!(node.stop());
    node.arguments.pop();
    node.started();
}

/// What a cluster had in Redis is being written back, or was begun to be.
#[test]
fn a_new_node_founds_nothing_beside_the_remains_of_a_log() {
    let (redis, folder) = (Redis::start(), tempfile::tempdir().unwrap());
    redis.cli(&["XADD", "{quip}:log", "1-1", "prev", "0-0", "entry", "x"]);
    let mut node = Node::new(folder.path(), "a", &redis.url(), &folder.path().join("cluster.key"));
    node.start();
    eventually("it waits", || node.log().contains("are writing it back").then_some(()));
    assert!(node.stop(), "while it waits, too");
    assert!(!node.data_dir().join("cluster").exists(), "it is of no cluster");
    node.start();
    eventually("it waits again", || node.log().contains("are writing it back").then_some(()));
    redis.cli(&["DEL", "{quip}:log"]);
    node.ready();
}

/// It was killed when its directory said that it founds a cluster, and there was no key, and nothing in Redis.
#[test]
fn a_founder_that_was_killed_founds_when_it_is_started_again() {
    let (redis, folder) = (Redis::start(), tempfile::tempdir().unwrap());
    let key = folder.path().join("cluster.key");
    let mut node = Node::new(folder.path(), "a", &redis.url(), &key);
    std::fs::create_dir_all(node.data_dir()).unwrap();
    let founds = format!("cluster = \"{0}\"\nnode = \"a\"\nid = \"{0}\"\nfounder = true\n", "ab".repeat(16));
    std::fs::write(node.data_dir().join("cluster"), founds).unwrap();
    node.started();
    node.owner();
    assert!(key.exists());
    let mut second = Node::new(folder.path(), "b", &redis.url(), &key);
    second.started();
}

/// Nobody else opens a directory of which a node waits for Redis.
#[test]
fn a_node_that_waits_for_redis_has_its_directory() {
    let mut several = Several::new(1);
    assert!(several.nodes[0].stop());
    several.redis.kill();
    let node = &mut several.nodes[0];
    node.start();
    let log = eventually("it waits", || Some(node.log()).filter(|log| log.contains("waiting for Redis")));
    let waits = log.lines().find(|line| line.contains("waiting for Redis")).unwrap();
    assert!(waits.contains(&several.redis.url()), "{waits}");
    let why = quip_storage::data_dir::DataDir::open(node.data_dir()).unwrap_err().to_string();
    assert!(why.contains(&format!("in use by process {}", node.pid())), "{why}");
    let mut stats = Command::new(quip_tests::binary("quipd"));
    let stats = stats.arg("stats").arg("--data-dir").arg(node.data_dir()).output().unwrap();
    let said = String::from_utf8(stats.stderr).unwrap();
    assert!(!stats.status.success() && said.lines().count() == 1, "{said}");
    assert!(said.contains(&format!("process {}", node.pid())) && said.contains("waits for Redis"), "{said}");
    assert!(node.stop());
}
