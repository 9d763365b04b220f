//! TLS of who connects: the server, or another node, is pinned by its key, and the own key is shown as an RFC 7250 raw public
//! key. TLS 1.3 only, no early data, no resumption (which would skip the pin). Knows keys, and no streams.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use crate::identity::{Fingerprint, Identity, PKCS8_PREFIX};

/// What the verifier saw: rustls turns its verdict into an alert, which says too little.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// The fingerprint of the key that the server showed; none if the handshake resumed a session.
    pub fingerprint: Option<Fingerprint>,
    /// The server could not sign with that key.
    pub forged: bool,
}

/// Shared by the verifier and whoever reports why a handshake failed.
pub type SeenCell = Arc<Mutex<Seen>>;

/// A configuration for one connection to who has this key, and where its verifier leaves what it saw. Without a key nobody is
/// the right one: what is seen can be shown then.
pub fn client_config(
    identity: &Identity,
    pinned: Option<Fingerprint>,
    alpn: &[u8],
) -> (rustls::ClientConfig, SeenCell) {
    let provider = Arc::new(ring::default_provider());
    let seen = SeenCell::default();
    let verifier = PinnedServer {
        pinned,
        algorithms: provider.signature_verification_algorithms,
        seen: Arc::clone(&seen),
    };
    let mut config = builder(provider)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(
            Arc::new(certified_key(identity)),
        )));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    (config, seen)
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier> {
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has TLS 1.3 cipher suites")
}

fn certified_key(identity: &Identity) -> CertifiedKey {
    let pkcs8 = [PKCS8_PREFIX.as_slice(), identity.seed()].concat();
    let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8))
        .expect("the prefix and 32 bytes are an Ed25519 key");
    CertifiedKey::new(vec![CertificateDer::from(identity.device_key().to_spki())], key)
}

/// Trusts one key, not names or authorities, as ssh does.
#[derive(Debug)]
struct PinnedServer {
    pinned: Option<Fingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
    seen: SeenCell,
}

impl PinnedServer {
    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = webpki::EndEntityCert::try_from(end_entity)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let found = Fingerprint::of_spki(&certificate.subject_public_key_info());
        self.note(|seen| seen.fingerprint = Some(found));
        if self.pinned == Some(found) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has TLS 1.3 only".into()))
    }

    /// The certificate is public: only this shows that the server has its key.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verdict = verify_tls13_signature(message, certificate, signature, &self.algorithms);
        if verdict.is_err() {
            self.note(|seen| seen.forged = true);
        }
        verdict
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
