//! Who is at the other end, and whether anybody is.

use std::time::Duration;

use quip_protocol::client::{Client, Config, Error, Event, Trust};
use quip_protocol::codec::{FrameKind, encode_frame};
use quip_protocol::error::close;
use quip_protocol::frame::{Labelled, Reply, Request};
use quip_protocol::{ErrorCode, Fingerprint, Identity, Refusal};

use crate::server::{SEED, Server, certificate, fingerprint, next, welcome, within};

/// Connects while the server accepts handshakes, whatever becomes of them.
async fn fail(server: &Server, config: Config) -> Error {
    let accepting = async {
        while let Some(incoming) = server.endpoint.accept().await {
            let _ = incoming.await;
        }
        unreachable!("the endpoint is open")
    };
    within(async {
        tokio::select! {
            result = Client::connect(config) => result.expect_err("must not connect"),
            () = accepting => unreachable!(),
        }
    })
    .await
}

#[tokio::test]
async fn the_device_shows_its_key_and_is_welcomed() {
    let server = Server::new();
    let (client, peer) = server.connected(server.config()).await;
    assert_eq!(client.welcome(), Some(welcome()));
    assert_eq!(peer.device_key(), Identity::from_seed(SEED).device_key());
}

#[tokio::test]
async fn a_name_with_several_addresses_is_tried_through() {
    let server = Server::new();
    let config = Config { host: "localhost".into(), ..server.config() };
    let (_client, _peer) = server.connected(config).await;
}

#[tokio::test]
async fn a_wrong_fingerprint_is_refused_with_both_shown() {
    let server = Server::new();
    let expected = Fingerprint([1; 32]);
    let config = Config { trust: Trust::Pinned(expected), ..server.config() };
    let address = config.address();
    let error = fail(&server, config).await;
    assert_eq!(error, Error::WrongServer { address, expected, found: server.fingerprint });
    for shown in [expected, server.fingerprint] {
        assert!(error.to_string().contains(&shown.to_string()), "{error}");
    }
}

#[tokio::test]
async fn an_unknown_server_is_asked_about() {
    let server = Server::new();
    let config = Config { trust: Trust::Ask, ..server.config() };
    let address = config.address();
    let error = fail(&server, config).await;
    assert_eq!(error, Error::UnknownServer { address, fingerprint: server.fingerprint });
}

#[tokio::test]
async fn the_right_certificate_with_the_wrong_key_is_refused() {
    let ((shown, right), (_, wrong)) = (certificate(), certificate());
    let server = Server::with(shown, &wrong, fingerprint(&right));
    let address = server.config().address();
    assert_eq!(fail(&server, server.config()).await, Error::ForgedServer { address });
}

#[tokio::test]
async fn nobody_listening_is_known_without_waiting() {
    // The port is free again once the socket is dropped.
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let trust = Trust::Pinned(Fingerprint([1; 32]));
    let config = Config {
        connect_timeout: Duration::from_secs(600),
        ..Config::new("127.0.0.1", port, trust, Identity::from_seed(SEED))
    };
    let error = within(Client::connect(config)).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { why, .. } if why.as_str().contains("nobody listens")));
}

#[tokio::test]
async fn a_client_that_was_started_says_why_it_is_down_and_comes_up() {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::new();
    let mut nobody = Client::start(Config { port, ..server.config() });
    assert!(matches!(next(&mut nobody).await, Event::Down { retry_in: Some(_), .. }));
    assert_eq!(nobody.request(Request::WhoAmI).await, Err(Error::Disconnected));
    let mut client = Client::start(server.config());
    let _peer = within(server.accept()).await;
    assert_eq!(next(&mut client).await, Event::Up(welcome()));
}

#[tokio::test]
async fn a_refused_hello_is_the_error() {
    let server = Server::new();
    let refusal = Refusal::new(ErrorCode::Version, "update your client");
    let answering = async {
        let mut peer = server.hello().await;
        let reply = Labelled { label: 0, body: Reply::Refused(refusal.clone()) };
        peer.write(encode_frame(FrameKind::Reply, &reply)).await;
        peer.quic.closed().await
    };
    let (result, _) = within(async { tokio::join!(Client::connect(server.config()), answering) }).await;
    assert_eq!(result.unwrap_err(), Error::Refused(refusal));
}

#[tokio::test]
async fn a_revoked_device_is_told_and_does_not_come_back() {
    let server = Server::new();
    let (mut client, peer) = server.connected(server.config()).await;
    peer.quic.close(close::REVOKED.into(), b"this device was revoked\x1b[2J");
    // A close does not say whether it is the account that is suspended, which passes: the client asks once more.
    let Event::Down { why, retry_in: Some(_) } = next(&mut client).await else { panic!("it is down") };
    assert_eq!(why.as_str(), "this device was revoked\u{241b}[2J");
    let refusal = Refusal::new(ErrorCode::Revoked, "this device was revoked");
    let mut again = within(server.hello()).await;
    let reply = Labelled { label: 0, body: Reply::Refused(refusal.clone()) };
    again.write(encode_frame(FrameKind::Reply, &reply)).await;
    let error = Error::Refused(refusal);
    assert_eq!(within(client.next()).await, Some(Err(error.clone())));
    assert_eq!(within(client.next()).await, None);
    assert_eq!(within(client.send(&"#ops".parse::<quip_protocol::Target>().unwrap(), "x")).await, Err(error));
}

#[tokio::test]
async fn closing_and_dropping_are_told_to_the_server() {
    let server = Server::new();
    for graceful in [true, false] {
        let (client, peer) = server.connected(server.config()).await;
        let handle = client.handle();
        if graceful {
            client.close().await;
        } else {
            drop(client);
        }
        match within(peer.quic.closed()).await {
            quinn::ConnectionError::ApplicationClosed(closed) => {
                assert_eq!(closed.error_code, close::DONE.into());
            }
            other => panic!("{other}"),
        }
        assert_eq!(handle.request(Request::WhoAmI).await, Err(Error::Disconnected));
    }
}
