//! A server that sends what is no protocol: a typed error each time, no panic, no waiting.

use bytes::Bytes;
use quip_protocol::SafeText;
use quip_protocol::client::{Client, Config, Error};
use quip_protocol::codec::{FrameKind, encode_frame};
use quip_protocol::frame::{Labelled, PageFrom, Reply, Request};

use crate::server::{Server, within};

/// Frames that are none: a length beyond every limit, an unknown kind, a body that is not of its kind, a kind that
/// does not belong there, an empty one, and one that claims 20 million elements.
fn garbage() -> Vec<Bytes> {
    let bomb = [9, 0, 0, 0, FrameKind::Reply as u8, 0, 5, 0xFC, 0, 0x2D, 0x31, 1, 0];
    vec![
        Bytes::from_static(&[0xFF; 64]),
        Bytes::from_static(&[1, 0, 0, 0, 0xEE]),
        Bytes::from_static(&[0; 64]),
        Bytes::from_static(&[3, 0, 0, 0, FrameKind::Reply as u8, 0xFF, 0xFF]),
        Bytes::from_static(&[3, 0, 0, 0, FrameKind::Welcome as u8, 0xFF, 0xFF]),
        Bytes::from_static(&[3, 0, 0, 0, FrameKind::Event as u8, 0xFF, 0xFF]),
        Bytes::copy_from_slice(&bomb),
        encode_frame(FrameKind::Page, &SafeText::new("what?")),
    ]
}

fn is_protocol(error: &Error) -> bool {
    matches!(error, Error::Protocol(_))
}

#[tokio::test]
async fn for_a_welcome() {
    let server = Server::new();
    for bytes in garbage() {
        let serving = async {
            let mut peer = server.hello().await;
            peer.write(bytes.clone()).await;
            peer.quic.closed().await
        };
        let (result, _) = within(async { tokio::join!(Client::connect(server.config()), serving) }).await;
        assert!(result.as_ref().is_err_and(is_protocol), "{bytes:?}: {result:?}");
    }
}

#[tokio::test]
async fn for_a_reply() {
    let server = Server::new();
    let config = Config { reconnect: false, ..server.config() };
    let stray = encode_frame(FrameKind::Reply, &Labelled { label: 77, body: Reply::Done });
    for bytes in garbage().into_iter().chain([stray]) {
        let (mut client, mut peer) = server.connected(config.clone()).await;
        let serving = async {
            peer.request().await;
            peer.write(bytes.clone()).await;
        };
        let (reply, ()) = within(async { tokio::join!(client.request(Request::WhoAmI), serving) }).await;
        assert_eq!(reply, Err(Error::Disconnected), "{bytes:?}");
        let end = within(client.next()).await;
        assert!(matches!(&end, Some(Err(error)) if is_protocol(error)), "{bytes:?}: {end:?}");
        assert_eq!(within(client.next()).await, None);
    }
}

#[tokio::test]
async fn for_an_event() {
    let server = Server::new();
    let config = Config { reconnect: false, ..server.config() };
    for bytes in garbage() {
        let (mut client, mut peer) = server.connected(config.clone()).await;
        peer.push(bytes.clone()).await;
        let end = within(client.next()).await;
        assert!(matches!(&end, Some(Err(error)) if is_protocol(error)), "{bytes:?}: {end:?}");
    }
}

#[tokio::test]
async fn for_a_page() {
    let server = Server::new();
    let (client, mut peer) = server.connected(server.config()).await;
    let target = "#ops".parse().unwrap();
    for bytes in garbage() {
        let serving = async {
            let (mut send, _) = peer.page().await;
            send.write_all(&bytes).await.unwrap();
            send.finish().unwrap();
        };
        let asking = client.page(&target, PageFrom::Latest, 10);
        let (page, ()) = within(async { tokio::join!(asking, serving) }).await;
        assert!(page.as_ref().is_err_and(is_protocol), "{bytes:?}: {page:?}");
    }
}

#[tokio::test]
async fn for_the_end_of_a_stream() {
    let server = Server::new();
    let config = Config { reconnect: false, ..server.config() };
    let (mut client, mut peer) = server.connected(config.clone()).await;
    peer.send.finish().unwrap();
    assert_eq!(within(client.next()).await, Some(Err(Error::Disconnected)));
    let (mut client, mut peer) = server.connected(config).await;
    peer.push(Bytes::from_static(&[9, 0])).await;
    peer.live.as_mut().unwrap().finish().unwrap();
    let end = within(client.next()).await;
    assert!(matches!(&end, Some(Err(error)) if is_protocol(error)), "{end:?}");
}
