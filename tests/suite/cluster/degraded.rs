//! Without Redis, or room on a node's disk, reading goes on, writing is refused with when to try again, and comes back with it.

use quip_protocol::ErrorCode;
use quip_protocol::client::Error;
use quip_tests::cluster::Node;
use quip_tests::eventually;

use super::several::{Several, Talk};

#[test]
fn without_redis_reading_goes_on_and_writing_comes_back() {
    let mut several = Several::new(2);
    let mut talk = Talk::begin(&several);
    talk.say(20);
    talk.check(&several.links);
    let before = talk.shown(&several.links[0]);
    several.redis.kill();
    for link in &several.links {
        let refused = eventually("writing is refused", || match talk.try_to_post(link) {
            Err(Error::Refused(refusal)) => Some(refusal),
            _ => None,
        });
        assert!(matches!(refused.code, ErrorCode::Degraded | ErrorCode::Unavailable), "{refused:?}");
        assert!(refused.retry_after_ms.is_some(), "{refused:?}");
        assert!(talk.shown(link) >= before, "history is read without Redis");
    }
    several.redis.restart();
    talk.say(20);
    talk.check(&several.links);
}

#[test]
fn a_node_whose_disk_is_full_appends_nothing_that_it_could_not_answer() {
    let several = Several::new(2);
    let mut talk = Talk::begin(&several);
    talk.say(4);
    talk.check(&several.links);
    let appended = || several.redis.cli(&["XLEN", "{quip}:log"]);
    let before = appended();
    let full = &several.nodes[1];
    reserve(full, 1 << 40);
    eventually("it is noticed", || full.log().contains("the disk is full").then_some(()));
    for _ in 0..3 {
        let refused = talk.try_to_post(&several.links[1]).unwrap_err();
        let Error::Refused(refusal) = refused else { panic!("{refused}") };
        assert_eq!((refusal.code, refusal.retry_after_ms), (ErrorCode::Degraded, Some(5_000)));
    }
    assert_eq!(appended(), before, "not even one");
    talk.try_to_post(&several.links[0]).expect("the other one has room");
    reserve(full, 1);
    talk.say(4);
    talk.check(&several.links);
}

/// So many MiB of its disk are to be left free from now on.
fn reserve(node: &Node, mib: u64) {
    let file = node.data_dir().with_file_name("quipd.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let (_, others) = config.split_once('\n').expect("the reserve stands in its first line");
    std::fs::write(&file, format!("disk_reserve_mib = {mib}\n{others}")).unwrap();
    node.signal("HUP");
}
