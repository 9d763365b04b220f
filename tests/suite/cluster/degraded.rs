//! Without Redis reading goes on, writing is refused with when to try again, and comes back with it.

use quip_protocol::ErrorCode;
use quip_protocol::client::Error;
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
