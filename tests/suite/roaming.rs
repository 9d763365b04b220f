//! Laptops: closed, opened, carried to another network. The connection is the same one before and after.

use std::time::{Duration, Instant};

use quip_protocol::client::Event;
use quip_protocol::{ServerLink, Target};
use quip_tests::{Middlebox, Quip, Server, eventually, join, within};

use crate::running::{Running, signal};

/// Longer than the client takes for a busy machine.
const ASLEEP: Duration = Duration::from_secs(8);

fn through(middlebox: &Middlebox, link: &ServerLink) -> ServerLink {
    ServerLink { port: middlebox.port(), ..link.clone() }
}

#[test]
fn a_client_that_slept_goes_on_at_once_from_a_new_port() {
    let server = Server::start();
    let middlebox = Middlebox::new(server.link.port);
    let ann = Quip::joined(&through(&middlebox, server.owner.as_ref().unwrap()), "ann");
    let tail = Running::start(&ann, &["tail", "#general", "--follow", "--json"]);
    ann.run(&["send", "#general", "before"]).ok();
    while tail.next()["text"] != "before" {}
    let awake = middlebox.seen();
    signal(&tail.process, "STOP");
    let slept = Instant::now();
    eventually("it slept", || (slept.elapsed() >= ASLEEP).then_some(()));
    signal(&tail.process, "CONT");
    let moved =
        eventually("it comes from a new port", || Some(middlebox.seen()).filter(|seen| seen.0 > awake.0));
    assert_eq!(moved, (awake.0 + 1, awake.1), "no new handshake");
    ann.run(&["send", "#general", "after"]).ok();
    while tail.next()["text"] != "after" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_forgets_breaks_nothing() {
    let server = Server::start();
    let middlebox = Middlebox::new(server.link.port);
    let mut ann = join(&through(&middlebox, server.owner.as_ref().unwrap()), "ann").await;
    let general: Target = "#general".parse().unwrap();
    ann.join("#general").await.unwrap();
    for round in 0..5 {
        middlebox.forget();
        let text = format!("round {round}");
        within("a receipt", ann.send(&general, &text)).await.unwrap();
        loop {
            match within("the message comes back", ann.next()).await.unwrap().unwrap() {
                Event::Message(message) if message.text() == text => break,
                Event::Down { why, .. } => panic!("the connection was lost: {why}"),
                _ => {}
            }
        }
    }
    assert_eq!(middlebox.seen().1, 1, "one handshake");
}
