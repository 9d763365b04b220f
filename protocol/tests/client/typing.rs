//! Who writes a message now: told to a user who listens, and never in the way of what must not be lost.

use std::time::Duration;

use quip_protocol::client::{Client, Event};
use quip_protocol::codec::{decode_datagram, encode_datagram};
use quip_protocol::datagram::Datagram;
use quip_protocol::{RoomId, Seq};

use crate::server::{Peer, ROOM, Server, cursor, live, name, next, within};

async fn watching(server: &Server) -> (Client, Peer) {
    let (client, mut peer) = server.connected(server.config()).await;
    let rooms = vec![(ROOM, Some(cursor(0)))];
    let (states, _) = within(async { tokio::join!(client.watch(rooms), peer.watch(live)) }).await;
    assert_eq!(states, Ok(vec![live(cursor(0))]));
    (client, peer)
}

fn writes(room: RoomId, who: &str) -> bytes::Bytes {
    encode_datagram(&Datagram::TypingBy { room, who: name(who) })
}

#[tokio::test]
async fn who_types_is_told_and_what_is_no_such_datagram_is_dropped() {
    let server = Server::new();
    let (mut client, peer) = watching(&server).await;
    let mut again = tokio::time::interval(Duration::from_millis(50));
    let heard = async {
        loop {
            tokio::select! {
                event = next(&mut client) => return event,
                _ = again.tick() => {
                    // Also what a server must not say: garbage, a room that is not watched, a client's word.
                    for datagram in [
                        bytes::Bytes::from_static(&[8, 9, 9]),
                        bytes::Bytes::new(),
                        vec![0xFF; 900].into(),
                        writes(RoomId(ROOM.0 + 1), "eve"),
                        encode_datagram(&Datagram::Typing { room: ROOM }),
                        writes(ROOM, "bob"),
                    ] {
                        peer.quic.send_datagram(datagram).unwrap();
                    }
                }
            }
        }
    };
    assert_eq!(within(heard).await, Event::Typing { room: ROOM, who: name("bob") });
    let said = async {
        loop {
            tokio::select! {
                datagram = peer.quic.read_datagram() => return datagram.unwrap(),
                _ = again.tick() => client.typing(ROOM),
            }
        }
    };
    assert_eq!(decode_datagram(&within(said).await), Ok(Datagram::Typing { room: ROOM }));
}

#[tokio::test]
async fn a_flood_of_typing_is_dropped_and_the_events_come() {
    const MESSAGES: u64 = 600;
    let server = Server::new();
    let (mut client, mut peer) = watching(&server).await;
    for round in 1..=MESSAGES {
        for n in 0..20 {
            // Too much for the connection is lost: nothing else is promised.
            let _ = peer.quic.send_datagram(writes(ROOM, &format!("eve{}", n + 20 * round)));
        }
        peer.push_messages([round]).await;
    }
    let (mut seen, mut typing) = (0, 0);
    while seen < MESSAGES {
        match next(&mut client).await {
            Event::Message(message) => {
                seen += 1;
                assert_eq!(message.seq(), Seq(seen), "nothing is lost");
            }
            Event::Typing { .. } => typing += 1,
            other => panic!("{other:?}"),
        }
    }
    // Fewer than the places for events, which a user who takes nothing must not find full of this.
    assert!(typing < 200, "{typing} of a flood were told");
}
