//! TLS: the server's certificate, and the device key that a client shows in the handshake.
//!
//! Clients show an Ed25519 key as a raw public key (RFC 7250). Any key is let in here: whose it is, is asked behind
//! the handshake, where a refusal can say what to do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quip_protocol::frame::ALPN;
use quip_protocol::{DeviceKey, Fingerprint};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("cannot use {path}: {source}; check --cert and --key")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in a file.
    #[error("{path} holds no usable PEM: {why}; check --cert and --key")]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The pair.
    #[error("certificate and key do not go together: {0}")]
    Pair(#[from] rustls::Error),
    /// Making a pair.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The provider has not what QUIC needs.
    #[error("TLS without the cipher that QUIC begins with: {0}")]
    Cipher(#[from] NoInitialCipherSuite),
}

/// The server's certificate and what identifies it.
pub struct ServerTls {
    /// Of the certificate's key.
    pub fingerprint: Fingerprint,
    /// For quinn.
    pub config: Arc<QuicServerConfig>,
    /// Derived from the private key: the same after every restart, and known to nobody else.
    pub reset_key: ring::hmac::Key,
}

/// Loads the pair that is given, or the one that was made before, or makes one.
///
/// # Errors
/// See [`TlsError`].
pub fn load(given: Option<&(PathBuf, PathBuf)>, data_dir: &Path) -> Result<ServerTls, TlsError> {
    let (cert, key) = match given {
        Some(pair) => pair.clone(),
        None => {
            let pair = (data_dir.join("cert.pem"), data_dir.join("key.pem"));
            if !pair.1.exists() {
                make_pair(&pair)?;
            }
            pair
        }
    };
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |e: rustls::pki_types::pem::Error| TlsError::Pem { path, why: e.to_string() }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&cert)
        .map_err(pem(&cert))?
        .collect::<Result<_, _>>()
        .map_err(pem(&cert))?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(pem(&key))?;
    let first =
        chain.first().ok_or_else(|| TlsError::Pem { path: cert.clone(), why: "no certificate".into() })?;
    let entity = webpki::EndEntityCert::try_from(first);
    let entity = entity.map_err(|e| TlsError::Pem { path: cert.clone(), why: e.to_string() })?;
    let fingerprint = Fingerprint::of_spki(&entity.subject_public_key_info());
    let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, private.secret_der());
    Ok(ServerTls { fingerprint, config: Arc::new(server_config(chain, private)?), reset_key })
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<QuicServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyDevice { provider: Arc::clone(&provider) });
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A replayed first flight must have no effect.
    config.max_early_data_size = 0;
    Ok(QuicServerConfig::try_from(config)?)
}

/// Makes a pair and keeps it. The certificate is written first: one without its key is made anew with it.
fn make_pair((cert, key): &(PathBuf, PathBuf)) -> Result<(), TlsError> {
    let pair = rcgen::generate_simple_self_signed(vec!["quip".to_owned()])?;
    write_private(cert, pair.cert.pem().as_bytes())
        .map_err(|source| TlsError::File { path: cert.clone(), source })?;
    write_private(key, pair.signing_key.serialize_pem().as_bytes())
        .map_err(|source| TlsError::File { path: key.clone(), source })
}

/// Writes a file whole, readable by its owner alone.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let tmp = path.with_extension("tmp");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&tmp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&tmp, path)
}

/// Takes every Ed25519 key whose holder signs the handshake.
#[derive(Debug)]
struct AnyDevice {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyDevice {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match DeviceKey::from_spki(end_entity) {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        verify_tls13_signature_with_raw_key(
            message,
            &spki,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// The key that the client of a connection showed.
pub fn device_key(connection: &quinn::Connection) -> Option<DeviceKey> {
    let identity = connection.peer_identity()?;
    let certificates = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    DeviceKey::from_spki(certificates.first()?)
}
