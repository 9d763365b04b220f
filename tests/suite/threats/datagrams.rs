//! Datagrams: bytes that are none, floods of them, and those of people who have no right to be heard.

use std::time::{Duration, Instant};

use quip_protocol::RoomId;
use quip_protocol::codec::{decode_datagram, encode_datagram};
use quip_protocol::datagram::Datagram;
use quip_protocol::frame::{Reply, Request};
use quip_protocol::limits::MAX_DATAGRAM;
use quip_protocol::transport::DATAGRAM_BUFFER;
use quip_tests::random::Random;
use quip_tests::{Server, identity, join, within};

use super::raw::{Raw, assert_flat, resident_mib};

const CONFIG: &str = "http = \"127.0.0.1:0\"\n";
const FLOOD: u64 = 60_000;

/// A counter of the server's.
fn counted(server: &Server, name: &str) -> u64 {
    let (_, metrics) = server.http("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("quip_{name}_total ")));
    line.expect("it is counted").parse().unwrap()
}

/// A server with two members of a room, and a third who is not in it. The room, and their connections.
async fn three(server: &Server) -> (RoomId, [Raw; 3]) {
    let ann = join(server.owner.as_ref().unwrap(), "ann").await;
    for name in ["bob", "eve"] {
        join(&server.invite(&[]), name).await.close().await;
    }
    let create = Request::CreateRoom {
        name: "ops".parse().unwrap(),
        private: true,
        topic: quip_protocol::SafeLine::default(),
        members: vec!["bob".parse().unwrap()],
    };
    let Reply::Room(room) = ann.request(create).await.unwrap() else { panic!("a room") };
    ann.close().await;
    let mut all = Vec::new();
    for name in ["ann", "bob", "eve"] {
        let mut raw = Raw::connect(&server.link, &identity(name)).await;
        let watched = raw.ask(Request::Watch { rooms: vec![(room.id, None)] }).await;
        assert!(matches!(watched, Reply::Watching { .. }), "{watched:?}");
        all.push(raw);
    }
    (room.id, all.try_into().ok().expect("three"))
}

/// Waits until the server has dealt with everything that was said to it on this connection.
async fn all_counted(server: &Server, datagrams: u64) {
    let counting = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while counted(server, "datagrams") < datagrams {
            ticks.tick().await;
        }
    };
    within("the server has seen it", counting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_dropped_and_a_flood_costs_no_memory_and_reaches_nobody() {
    let server = Server::with_config(CONFIG);
    let (room, [mut ann, bob, _eve]) = three(&server).await;
    let most = ann.quic.max_datagram_size().expect("datagrams are taken");
    assert!(most <= DATAGRAM_BUFFER, "{most}");
    assert!(ann.quic.send_datagram(vec![0; DATAGRAM_BUFFER].into()).is_err(), "a longer one cannot be said");
    let (before, began) = (resident_mib(&server), Instant::now());
    let mut random = Random::new(3);
    let typing = encode_datagram(&Datagram::Typing { room });
    for n in 0..FLOOD {
        let datagram = match n % 4 {
            0 => typing.clone(),
            1 => random.bytes(MAX_DATAGRAM).into(),
            2 => vec![typing[0]; random.below(most)].into(),
            _ => encode_datagram(&Datagram::TypingBy { room, who: "bob".parse().unwrap() }),
        };
        ann.quic.send_datagram_wait(datagram).await.expect("the connection holds");
    }
    assert!(matches!(ann.ask(Request::WhoAmI).await, Reply::Account(_)), "on the same connection");
    assert_flat(&server, before, 16);
    // Most were let go before, when more came than are kept waiting.
    let (came, dropped) = (counted(&server, "datagrams"), counted(&server, "datagrams_dropped"));
    // Ten at once and two a second: a slow machine has more time to earn some.
    let budget = 10 + 2 * (began.elapsed().as_secs() + 1);
    assert!(
        came > 300 && came - dropped <= budget,
        "{dropped} of {came} were dropped, {budget} could be said"
    );
    // What came to bob is ann's typing alone, and as much of it as her budget has.
    let mut told = 0;
    bob.quic.close(0u32.into(), b"");
    while let Some(datagram) = typing_heard(&bob).await {
        let who = "ann".parse().unwrap();
        assert_eq!(decode_datagram(&datagram), Ok(Datagram::TypingBy { room, who }));
        told += 1;
    }
    assert!(told <= came - dropped, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_in_the_room_is_not_heard_and_hears_nothing() {
    let server = Server::with_config(CONFIG);
    let (room, [ann, bob, eve]) = three(&server).await;
    let stranger = Raw::connect(&server.link, &identity("stranger")).await;
    let typing = encode_datagram(&Datagram::Typing { room });
    let unknown = encode_datagram(&Datagram::Typing { room: RoomId(u64::MAX) });
    for (raw, datagram) in [(&eve, &typing), (&stranger, &typing), (&ann, &unknown)] {
        let before = counted(&server, "datagrams");
        raw.quic.send_datagram(datagram.clone()).unwrap();
        all_counted(&server, before + 1).await;
    }
    assert_eq!(counted(&server, "datagrams_dropped"), 3);
    ann.quic.send_datagram(typing).unwrap();
    let heard = within("ann is heard", typing_heard(&bob)).await.unwrap();
    let who = "ann".parse().unwrap();
    assert_eq!(decode_datagram(&heard), Ok(Datagram::TypingBy { room, who }), "and nobody before her");
    // Eve hears of a room that she is in, and nothing before that.
    let mut eve = eve;
    let Reply::Room(general) = eve.ask(Request::Open { target: "#general".parse().unwrap() }).await else {
        panic!("a room")
    };
    eve.ask(Request::Watch { rooms: vec![(general.id, None)] }).await;
    ann.quic.send_datagram(encode_datagram(&Datagram::Typing { room: general.id })).unwrap();
    let heard = within("eve hears", typing_heard(&eve)).await.unwrap();
    let who = "ann".parse().unwrap();
    assert_eq!(decode_datagram(&heard), Ok(Datagram::TypingBy { room: general.id, who }));
}

/// The next datagram that is not of who comes and goes; nothing once the connection has ended.
async fn typing_heard(raw: &Raw) -> Option<bytes::Bytes> {
    loop {
        let datagram = raw.quic.read_datagram().await.ok()?;
        if !matches!(decode_datagram(&datagram), Ok(Datagram::Presence { .. })) {
            return Some(datagram);
        }
    }
}
