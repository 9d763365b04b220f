//! Real nodes on a real Redis are one chat.

use quip_protocol::client::{Client, Event};
use quip_tests::{eventually, join, within};

use super::several::Several;

/// The next message that is seen.
async fn text(client: &mut Client) -> (String, u64) {
    loop {
        if let Event::Message(message) = within("a message", client.next()).await.unwrap().unwrap() {
            return (message.text().to_owned(), message.seq().0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_are_one_chat() {
    let mut several = Several::new(2);
    let [a, b] = &mut several.nodes[..] else { unreachable!("there are two") };
    let mut ann = join(&several.owner, "ann").await;
    let mut bob = join(&b.invite(1), "bob").await;
    let here = within("ann joins", ann.join("#general")).await.unwrap();
    let there = within("bob joins", bob.join("#general")).await.unwrap();
    assert_eq!(here.id, there.id);
    let first = within("a receipt", ann.send(&here, "hello from a")).await.unwrap();
    assert_eq!(text(&mut bob).await, ("hello from a".to_owned(), first.seq.0));
    let second = within("a receipt", bob.send(&there, "hello from b")).await.unwrap();
    assert_eq!(second.seq.0, first.seq.0 + 1);
    let seen = loop {
        let (text, seq) = text(&mut ann).await;
        if text != "hello from a" {
            break (text, seq);
        }
    };
    assert_eq!(seen, ("hello from b".to_owned(), second.seq.0));
    drop((ann, bob));

    // A node that was away has what was said meanwhile, and the epoch goes on.
    b.kill();
    let ann = join(&a.invite(1), "carl").await;
    let room = within("carl joins", ann.join("#general")).await.unwrap();
    let third = within("a receipt", ann.send(&room, "b is away")).await.unwrap();
    b.started();
    let mut dora = join(&b.invite(1), "dora").await;
    let room = within("dora joins", dora.join("#general")).await.unwrap();
    let fourth = within("a receipt", dora.send(&room, "b is back")).await.unwrap();
    assert_eq!(fourth.epoch, third.epoch);
    assert!(fourth.seq > third.seq);
    assert_eq!(text(&mut dora).await, ("b is back".to_owned(), fourth.seq.0));
    drop((ann, dora));

    assert!(a.stop() && b.stop());
    a.admin(&["check"]);
    b.admin(&["check"]);
}

#[test]
fn a_node_that_serves_says_so_from_the_first_moment() {
    let stats = Several::new(1).nodes[0].admin(&["stats"]);
    let own = stats.lines().find(|line| line.contains(r#""this":true"#)).unwrap();
    assert!(own.contains(r#""draining":false"#), "{own}");
}

/// Its journal has an entry that no other node has, and the cluster went on without it: the node takes what the others have, and
/// appends its own again, behind that.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_node_had_that_parted_is_appended_again() {
    let mut several = Several::new(2);
    let [a, b] = &mut several.nodes[..] else { unreachable!("there are two") };
    let ann = join(&several.owner, "ann").await;
    let room = within("ann joins", ann.join("#general")).await.unwrap();
    assert!(b.stop());
    let lost = within("a receipt", ann.send(&room, "only a has this")).await.unwrap();
    drop(ann);
    a.kill();
    several.redis.replace_by_an_empty_one();

    b.started();
    let mut carl = join(&b.invite(1), "carl").await;
    let room = within("carl joins", carl.join("#general")).await.unwrap();
    let after = within("a receipt", carl.send(&room, "b went on")).await.unwrap();
    assert!(after.epoch > lost.epoch, "{after:?} {lost:?}");
    a.started();
    let again = loop {
        let (text, seq) = text(&mut carl).await;
        if text == "only a has this" {
            break seq;
        }
    };
    assert!(again > after.seq.0);
    let kept = |prefix: &str| {
        let names = std::fs::read_dir(a.data_dir()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(prefix)).count()
    };
    eventually("nothing is left to append", || (kept("orphans-") == 0).then_some(()));
    assert_eq!(kept("diverged-"), 1);
    drop(carl);
    assert!(a.stop() && b.stop());
    a.admin(&["check"]);
    b.admin(&["check"]);
}
