//! What only some nodes had when the cluster went on without it: what was refused stays refused, and nothing is there twice though
//! two nodes append it again. An edit changes the message that it changed, wherever that is by then. And the log does not grow by
//! much more than that.

use quip_protocol::client::{Client, Error, Post};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{Event, EventBody, MessageId, SafeLine, SafeText, ServerLink, Target};
use quip_server::log::redis::Connection;
use quip_server::log::shared::contract::{Answer, Ask};
use quip_tests::cluster::logs::{at_node, read_room};
use quip_tests::cluster::{Node, Redis};
use quip_tests::{eventually, identity, join, within};

use super::several::Several;

const FIRST: &str = "only a and b had that";
const LAST: &str = "only a and b have this";

fn has_message(log: &[Event], text: &str) -> usize {
    let is_it =
        |event: &&Event| matches!(&event.body, EventBody::Message(message) if message.text.as_str() == text);
    log.iter().filter(is_it).count()
}

/// Topics that only two have, none of which has an id; and as often something is read.
const TOPICS: usize = 25;

async fn set_topic(client: &Client, topic: &str) {
    let set = Request::SetTopic { room: "general".parse().unwrap(), topic: SafeLine::new(topic) };
    assert!(matches!(client.request(set).await, Ok(Reply::Done)));
}

/// Both have what the third does not; the last of it is a message.
async fn say_to_two(ann: Client, b: &ServerLink) {
    let general = within("ann joins", ann.join("#general")).await.unwrap();
    for number in 0..TOPICS {
        set_topic(&ann, &format!("topic {number}")).await;
    }
    let early = ann.request(Request::Join { room: "later".parse().unwrap() }).await;
    assert!(matches!(early, Err(Error::Refused(_))), "{early:?}");
    let said = within("a receipt", ann.post(Post::new(general.target.clone(), FIRST))).await.unwrap();
    for _ in 0..TOPICS {
        let read = Request::Mark { room: said.room, seq: said.seq };
        assert!(matches!(ann.request(read).await, Ok(Reply::Done)));
    }
    let (id, text) = (MessageId::generate(), SafeText::new(LAST));
    let edit = Request::Edit { room: said.room, target: said.seq, id, text };
    assert!(matches!(ann.request(edit).await, Ok(Reply::Receipt(_))));
    let there = within("b answers", at_node(b, identity("ann"))).await.unwrap();
    let arrived = async {
        while has_message(&read_room(&there, &general.target).await.unwrap(), LAST) == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("b has it", arrived).await;
}

/// How many entries the log has had.
async fn entries(redis: &Redis) -> u64 {
    let mut connection = Connection::new(redis.url().parse().unwrap());
    let Ok(Answer::Look(look)) = connection.ask(&Ask::Look).await else { panic!("no answer") };
    look.last.offset
}

fn left(node: &Node) -> usize {
    let names = std::fs::read_dir(node.data_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let is_left = |name: &str| name.starts_with("orphans-") || name.starts_with("unjudged-");
    names.filter(|name| is_left(&name.to_string_lossy())).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_nodes_append_again_is_there_once_and_what_was_refused_is_not() {
    let mut several = Several::new(3);
    let [a, b, c] = &mut several.nodes[..] else { unreachable!("there are three") };
    let ann = join(&several.owner, "ann").await;
    assert!(c.stop());
    say_to_two(ann, &several.links[1]).await;
    a.kill();
    b.kill();
    several.redis.replace_by_an_empty_one();

    c.started();
    let carl = join(&c.invite(1), "carl").await;
    let general = within("carl joins", carl.join("#general")).await.unwrap();
    let (name, topic) = ("later".parse().unwrap(), SafeLine::default());
    let create = Request::CreateRoom { name, private: false, topic, members: Vec::new() };
    let Ok(Reply::Room(later)) = carl.request(create).await else { panic!("no room") };
    let before = entries(&several.redis).await;
    a.started();
    b.started();
    eventually("nothing is left to append", || (left(a) + left(b) == 0).then_some(()));
    // Each topic once; what was read, the message and its edit by both. To look through the log takes an entry more each time.
    let (appended, needed) = (entries(&several.redis).await - before, TOPICS + 2 * (TOPICS + 2));
    assert!(appended < (needed + TOPICS) as u64, "{appended} entries for {needed}");

    let log = within("the log", read_room(&carl, &general.target)).await.unwrap();
    let is_topic = |event: &&Event| matches!(event.body, EventBody::Topic { .. });
    assert_eq!(log.iter().filter(is_topic).count(), TOPICS, "{log:#?}");
    assert_eq!((has_message(&log, FIRST), has_message(&log, LAST)), (0, 1));
    let log = within("the log", read_room(&carl, &later.target)).await.unwrap();
    assert_eq!(log.len(), 1, "it was made, and nobody came: {log:#?}");
    assert!(matches!(later.target, Target::Room(_)));
    drop(carl);
    for node in [a, b, c] {
        assert!(node.stop());
        node.admin(&["check"]);
    }
}
