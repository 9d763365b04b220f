//! A client of a cluster: where it goes when a node dies, stops, is silent or is not the one that it should be.

use std::time::Duration;

use quip_protocol::client::{Client, Config, Error, Event, Trust};
use quip_protocol::error::close;
use quip_protocol::frame::{Push, Reply, Welcome};
use quip_protocol::{
    Address, ErrorCode, Fingerprint, Identity, NodeAddress, NodeSummary, Refusal, SafeLine, Target,
};

use crate::server::{Peer, SEED, Server, live, message, next, receipt, welcome, within};
use crate::server::{ROOM, cursor};

/// As its node announces the server.
fn node(name: &str, server: &Server) -> NodeAddress {
    let port = server.endpoint.local_addr().unwrap().port();
    let address = Address::new("127.0.0.1", port).unwrap();
    NodeAddress { name: name.parse().unwrap(), address, fingerprint: server.fingerprint }
}

fn summary(name: &str, server: &Server, connections: u32) -> NodeSummary {
    NodeSummary { node: node(name, server), connections, draining: false }
}

fn welcome_of(nodes: &[NodeSummary]) -> Welcome {
    Welcome { nodes: nodes.to_vec(), ..welcome() }
}

/// Two nodes, and a client of the first.
async fn two() -> (Server, Server, Client, Peer) {
    let (a, b) = (Server::new(), Server::new());
    let welcomed = welcome_of(&[summary("a", &a, 1), summary("b", &b, 1)]);
    let connecting = async { tokio::join!(Client::connect(a.config()), a.accept_as(&welcomed)) };
    let (client, peer) = within(connecting).await;
    let mut client = client.unwrap();
    assert_eq!(next(&mut client).await, Event::Up(welcomed));
    (a, b, client, peer)
}

/// What `b` says when a client has come to it.
fn second(a: &Server, b: &Server) -> Welcome {
    welcome_of(&[summary("b", b, 1), summary("a", a, 1)])
}

fn ops() -> Target {
    "#ops".parse().unwrap()
}

#[tokio::test]
async fn a_client_that_loses_its_node_goes_to_another_with_its_cursors_and_posts() {
    let (a, b, mut client, mut peer) = two().await;
    let handle = client.handle();
    assert_eq!(client.node().unwrap(), node("a", &a));
    let watching = async { tokio::join!(handle.watch(vec![(ROOM, Some(cursor(4)))]), peer.watch(live)) };
    assert!(within(watching).await.0.is_ok());
    peer.push_messages([5]).await;
    assert!(matches!(next(&mut client).await, Event::Message(_)));
    let posting = tokio::spawn(async move { handle.send(&ops(), "kept").await });
    let (_, id) = peer.post().await;
    // It dies with the post, and does not come back.
    a.endpoint.close(close::PROTOCOL.into(), b"");
    let mut other = within(b.accept_as(&second(&a, &b))).await;
    assert_eq!(within(other.watch(live)).await, cursor(5), "the cursor goes with it");
    assert!(matches!(next(&mut client).await, Event::Down { .. }));
    assert_eq!(next(&mut client).await, Event::Up(second(&a, &b)));
    let (label, again) = other.post().await;
    assert_eq!(again, id, "the same message");
    other.reply(label, receipt(id, 6)).await;
    assert_eq!(within(posting).await.unwrap().unwrap().id, id);
    assert_eq!(client.node().unwrap().name.as_str(), "b");
    other.push(quip_protocol::codec::encode_event(&message(1, 6))).await;
    assert!(matches!(next(&mut client).await, Event::Message(_)));
}

#[tokio::test]
async fn a_node_that_stops_is_left_at_once_whenever_it_wants_to_be_asked_again() {
    let (a, b, mut client, mut peer) = two().await;
    // Who waited for it would wait longer than this test may last.
    peer.say(&Push::Stopping { retry_after_ms: 60_000 }).await;
    peer.live.as_mut().unwrap().finish().unwrap();
    within(peer.live.as_mut().unwrap().stopped()).await.unwrap();
    peer.cut(close::STOPPING);
    let _other = within(b.accept_as(&second(&a, &b))).await;
    assert!(matches!(next(&mut client).await, Event::Down { .. }));
    assert_eq!(next(&mut client).await, Event::Up(second(&a, &b)));
}

#[tokio::test]
async fn nodes_that_come_and_go_are_told() {
    let (a, b, mut client, mut peer) = two().await;
    let c = Server::new();
    let nodes = vec![summary("a", &a, 2), summary("c", &c, 3)];
    peer.say(&Push::Nodes(nodes.clone())).await;
    assert_eq!(next(&mut client).await, Event::Nodes(nodes.clone()));
    assert_eq!(client.nodes(), nodes);
    drop((a, peer, b));
    let _other = within(c.accept_as(&welcome_of(&[summary("c", &c, 1)]))).await;
    assert!(matches!(next(&mut client).await, Event::Down { .. }));
    assert!(matches!(next(&mut client).await, Event::Up(_)));
    assert_eq!(client.node().unwrap(), node("c", &c));
}

/// Nobody answers at the address that was given: it is dead, or takes everything and says nothing.
#[tokio::test]
async fn a_client_that_remembers_the_nodes_starts_without_the_first() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for home in [free, silent.local_addr().unwrap().port()] {
        let b = Server::new();
        let config = Config {
            nodes: vec![node("b", &b)],
            // Who waited for the first would wait longer than this test may last.
            connect_timeout: Duration::from_secs(600),
            ..Config::new("127.0.0.1", home, Trust::Pinned(Fingerprint([1; 32])), Identity::from_seed(SEED))
        };
        let welcomed = welcome_of(&[summary("b", &b, 1)]);
        let connecting = async { tokio::join!(Client::connect(config), b.accept_as(&welcomed)) };
        let (client, _peer) = within(connecting).await;
        assert_eq!(client.unwrap().node().unwrap().name.as_str(), "b");
    }
}

#[tokio::test]
async fn when_none_answers_that_is_said() {
    let free = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let other = |name: &str| NodeAddress {
        name: name.parse().unwrap(),
        address: Address::new("127.0.0.1", free()).unwrap(),
        fingerprint: Fingerprint([2; 32]),
    };
    let trust = Trust::Pinned(Fingerprint([1; 32]));
    let config = Config::new("127.0.0.1", free(), trust, Identity::from_seed(SEED));
    let error = within(Client::connect(Config { nodes: vec![other("b"), other("c")], ..config })).await;
    let said = error.unwrap_err().to_string();
    assert!(said.ends_with(": nobody listens there (no answer from 2 other nodes)"), "{said}");
}

/// A key that a trusted node announced is the right one, whatever was known; any other is refused.
#[tokio::test]
async fn another_key_is_taken_only_from_a_node_that_is_trusted() {
    let a = Server::new();
    let before = Config { trust: Trust::Pinned(Fingerprint([1; 32])), ..a.config() };
    let announced = Config { nodes: vec![node("a", &a)], ..before };
    let connecting = async { tokio::join!(Client::connect(announced), a.accept()) };
    assert!(within(connecting).await.0.is_ok());

    let (a, b, mut client, mut peer) = two().await;
    let mut wrong = summary("b", &b, 0);
    wrong.node.fingerprint = Fingerprint([3; 32]);
    peer.say(&Push::Nodes(vec![summary("a", &a, 1), wrong])).await;
    assert!(matches!(next(&mut client).await, Event::Nodes(_)));
    peer.cut(close::PROTOCOL);
    let refusing = tokio::spawn(async move {
        let Some(incoming) = b.endpoint.accept().await else { panic!("b is there") };
        incoming.await.err()
    });
    // It is tried, refused, and is not the end of the client: there is another node.
    let _again = within(a.accept()).await;
    assert!(matches!(next(&mut client).await, Event::Down { .. }));
    assert!(matches!(next(&mut client).await, Event::Up(_)));
    assert!(within(refusing).await.unwrap().is_some(), "no handshake was done");
}

#[tokio::test]
async fn the_only_server_with_a_wrong_key_is_the_end() {
    let server = Server::new();
    let (mut client, peer) = server.connected(server.config()).await;
    server.change_key();
    peer.cut(close::PROTOCOL);
    tokio::spawn(async move {
        while let Some(incoming) = server.endpoint.accept().await {
            let _ = incoming.await;
        }
    });
    let error = loop {
        match within(client.next()).await.expect("it ends with an error") {
            Err(error) => break error,
            Ok(event) => assert!(matches!(event, Event::Down { .. }), "{event:?}"),
        }
    };
    assert!(matches!(error, Error::WrongServer { .. }), "{error}");
}

#[tokio::test]
async fn what_waits_for_a_server_that_writes_nothing_goes_when_it_writes_again() {
    let server = Server::new();
    let (mut client, mut peer) = server.connected(server.config()).await;
    let why = SafeLine::new("the disk is full");
    peer.say(&Push::ReadOnly { why: why.clone() }).await;
    assert_eq!(next(&mut client).await, Event::ReadOnly { why: why.clone() });
    assert_eq!(client.read_only(), Some(why));
    let handle = client.handle();
    let posting = tokio::spawn(async move { handle.send(&ops(), "kept").await });
    let (label, id) = peer.post().await;
    // Who only waited as long would wait longer than this test may last.
    let refusal = Refusal::retry(ErrorCode::Degraded, "not now", 60_000);
    peer.reply(label, Reply::Refused(refusal)).await;
    peer.say(&Push::Writable).await;
    assert_eq!(next(&mut client).await, Event::Writable);
    assert_eq!(client.read_only(), None);
    let (label, again) = peer.post().await;
    assert_eq!(again, id);
    peer.reply(label, receipt(id, 1)).await;
    assert!(within(posting).await.unwrap().is_ok());
}
