//! Redis loses what it acknowledged, and the nodes write it back: nothing is lost, doubled or moved.

use quip_tests::cluster::Redis;
use quip_tests::eventually;

use super::several::{Several, Talk};

/// Three nodes have a history, Redis loses it, and it goes on.
fn is_repaired(lose: impl FnOnce(&mut Redis, &mut Talk)) {
    let mut several = Several::new(3);
    let mut talk = Talk::begin(&several);
    talk.say(30);
    lose(&mut several.redis, &mut talk);
    talk.say(30);
    talk.check(&several.links);
    let log: String = several.nodes.iter().map(|node| node.log()).collect();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_rolled_back_redis_is_repaired() {
    is_repaired(|redis, talk| {
        let saved = redis.save();
        talk.say(30);
        redis.roll_back(&saved);
    });
}

#[test]
fn a_flushed_redis_is_repaired() {
    is_repaired(|redis, _| redis.wipe());
}

#[test]
fn a_fresh_redis_at_the_same_address_is_repaired() {
    is_repaired(|redis, _| redis.replace_by_an_empty_one());
}

#[test]
fn a_restarted_redis_that_lost_nothing_goes_on() {
    is_repaired(|redis, _| redis.restart());
}

#[test]
fn a_node_away_longer_than_the_log_comes_back_by_snapshot() {
    let mut several = Several::new(3);
    let mut talk = Talk::begin(&several);
    talk.say(30);
    let last = offset(&several.redis, "last");
    several.nodes[2].kill();
    let (_, gone) = talk.people.pop().expect("somebody was there");
    talk.runtime.block_on(gone.close());
    eventually("the log is trimmed behind the node that is away", || {
        talk.say(100);
        (offset(&several.redis, "base") > last).then_some(())
    });
    several.nodes[2].started();
    talk.say(10);
    talk.check(&several.links);
}

/// Of the position behind which the log begins, or the one where it ends.
fn offset(redis: &Redis, of: &str) -> u64 {
    let position = redis.cli(&["HGET", "{quip}:meta", of]);
    position.split_once('-').map_or(0, |(_, offset)| offset.parse().unwrap())
}
