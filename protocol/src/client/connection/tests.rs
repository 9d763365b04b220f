use super::*;

const WITHIN: Duration = Duration::from_secs(8);

/// A server that asks for acknowledgements as `quipd` does, and what its clients need for TLS.
fn server() -> (Endpoint, rustls::ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["quip".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = &[&rustls::version::TLS13];
    let tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let tls = tls.with_protocol_versions(versions).unwrap().with_no_client_auth();
    let tls = tls.with_single_cert(vec![certificate.clone()], key.into()).unwrap();
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let mut transport = quinn::TransportConfig::default();
    transport.ack_frequency_config(Some(ack_frequency()));
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(provider);
    let tls = tls.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
    (Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap(), tls.with_no_client_auth())
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WITHIN, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// What was sent before the last tick is asked for again too: else nobody would notice a server that is gone before the
/// connection's own end, half a minute later.
#[tokio::test]
async fn what_is_not_acknowledged_is_asked_for_again_and_again() {
    let (server, tls) = server();
    let address = server.local_addr().unwrap();
    let connecting = endpoint(address).unwrap().connect_with(quic_config(tls), address, "quip").unwrap();
    let (client, accepted) = tokio::join!(connecting, async { server.accept().await.unwrap().await });
    let (client, accepted) = (client.unwrap(), accepted.unwrap());
    let (mut send, _receive) = client.open_bi().await.unwrap();
    send.write_all(b"one").await.unwrap();
    accepted.accept_bi().await.unwrap();
    until("both know that both are there", || client.stats().frame_rx.handshake_done > 0).await;
    // Its packets are of another address from now on, and none comes to where it was.
    server.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let streams = client.stats().frame_tx.stream;
    send.write_all(b"two").await.unwrap();
    until("it is sent", || client.stats().frame_tx.stream > streams).await;
    let before = asked(&client.stats().frame_tx);
    until("it is asked for again, three times", || asked(&client.stats().frame_tx) >= before + 3).await;
}
