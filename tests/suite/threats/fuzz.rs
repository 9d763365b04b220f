//! Random bytes on the request stream of a connection that was let in: the server stays up, for everyone else.

use quip_protocol::codec::{FrameKind, encode};
use quip_protocol::frame::{Labelled, PageFrom, PageRequest, Reply, Request};
use quip_protocol::{MessageId, MessageKind, Role, RoomId, SafeLine, SafeText, Seq};
use quip_tests::{Random, Server, identity, join, within};

use super::raw::{Raw, assert_flat, frame, resident_mib};

const ROUNDS: u64 = 500;

/// Requests that are right, to be made wrong.
fn requests() -> Vec<Request> {
    let (room, target, id) = (RoomId(1), Seq(1), MessageId::from_bytes([7; 16]));
    let general = || "general".parse().expect("a valid name");
    let text = SafeText::new("hello \u{1F44B}");
    vec![
        Request::WhoAmI,
        Request::Post {
            target: "#general".parse().expect("a target"),
            id,
            kind: MessageKind::Plain,
            text: text.clone(),
            reply_to: Some(target),
        },
        Request::Edit { room, target, id, text },
        Request::React { room, target, id, emoji: SafeLine::new("+1"), on: true },
        Request::Rooms { after: Some(room) },
        Request::CreateRoom {
            name: general(),
            private: true,
            topic: SafeLine::new("t"),
            members: vec!["bob".parse().expect("a name"); 3],
        },
        Request::SetRole { room: general(), who: "bob".parse().expect("a name"), role: Role::Reader },
        Request::Watch { rooms: vec![(room, None), (RoomId(2), None), (RoomId(3), None)] },
        Request::WatchInbox { from: None },
        Request::NewInvite { room: None, uses: 1, ttl_s: 60 },
    ]
}

/// Noise, a frame of noise, or a request with some bits turned, cut or continued.
fn attempt(random: &mut Random, requests: &[Request]) -> Vec<u8> {
    match random.below(4) {
        0 => random.bytes(200),
        1 => frame(FrameKind::Request, &random.bytes(2_000)).to_vec(),
        _ => {
            let label = random.any() as u32;
            let mut body = encode(&Labelled { label, body: requests[random.below(requests.len())].clone() });
            for _ in 0..=random.below(4) {
                let at = random.below(body.len());
                body[at] ^= 1 << random.below(8);
            }
            if random.below(3) == 0 {
                body.truncate(random.below(body.len() + 1));
            }
            frame(FrameKind::Request, &body).to_vec()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_from_within() {
    let server = Server::with_config("[limits]\nmessages_per_second = 100000\nburst_messages = 100000\n");
    join(server.owner.as_ref().unwrap(), "ann").await.close().await;
    let mut other = Raw::connect(&server.link, &identity("ann")).await;
    let requests = requests();
    let before = resident_mib(&server);
    for seed in 0..ROUNDS {
        let mut random = Random::new(seed);
        let mut raw = Raw::connect(&server.link, &identity("ann")).await;
        for _ in 0..=random.below(5) {
            raw.write(attempt(&mut random, &requests)).await;
        }
        if random.below(2) == 0
            && let Ok(Ok((mut send, _recv))) =
                tokio::time::timeout(std::time::Duration::from_secs(5), raw.quic.open_bi()).await
        {
            let page = PageRequest { target: "#general".parse().unwrap(), from: PageFrom::Latest, limit: 9 };
            let mut bytes = frame(FrameKind::Page, &encode(&page)).to_vec();
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            let _ = send.write_all(&bytes).await;
            let _ = send.finish();
        }
        // The end of the stream, within a frame or behind one, ends the session in any case.
        let _ = raw.send.finish();
        within(&format!("the end of round {seed}"), raw.quic.closed()).await;
        if seed % 25 == 0 {
            assert!(matches!(other.ask(Request::WhoAmI).await, Reply::Account(_)), "seed {seed}");
        }
    }
    assert!(matches!(other.ask(Request::WhoAmI).await, Reply::Account(_)));
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert_flat(&server, before, 64);
}
