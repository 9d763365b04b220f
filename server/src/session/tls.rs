//! TLS: the server's certificate, and the device key that a client shows in the handshake.
//!
//! Clients show an Ed25519 key as a raw public key (RFC 7250). Any key is let in here: whose it is, is asked behind
//! the handshake, where a refusal can say what to do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quinn::crypto::rustls::{HandshakeData, NoInitialCipherSuite, QuicServerConfig};
use quip_protocol::frame::ALPN;
use quip_protocol::{DeviceKey, Fingerprint};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};

use crate::cluster::peer;
use crate::ops::disk::write_private;

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
    /// The pair. Another one is another server to every client, so none is made in its place.
    #[error(
        "{cert} and {key} do not go together: {source}; put the right ones back, or remove both from the data directory for a new key, which clients refuse until they have a new link"
    )]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A certificate whose key is gone.
    #[error(
        "{key} is missing beside {cert}: put it back, or remove {cert} too for a new key, which clients refuse until they have a new link"
    )]
    KeyMissing {
        /// The certificate.
        cert: PathBuf,
        /// Where its key should be.
        key: PathBuf,
    },
    /// TLS itself.
    #[error("no TLS: {0}")]
    Tls(#[from] rustls::Error),
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

/// Loads the pair that is given, or the one that was made before, or makes one if there is nothing of one. Other nodes are
/// let in where this is one of a cluster.
///
/// # Errors
/// See [`TlsError`].
pub fn load(
    given: Option<&(PathBuf, PathBuf)>,
    data_dir: &Path,
    is_clustered: bool,
) -> Result<ServerTls, TlsError> {
    let (cert, key) = match given {
        Some(pair) => pair.clone(),
        None => {
            let pair = (data_dir.join("cert.pem"), data_dir.join("key.pem"));
            complete_pair(&pair)?;
            pair
        }
    };
    let (chain, fingerprint) = certificate(&cert)?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|e| not_pem(&key, &e))?;
    let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, private.secret_der());
    let config = match server_config(chain, private, is_clustered) {
        Err(TlsError::Tls(source)) => return Err(TlsError::Pair { cert, key, source }),
        config => config?,
    };
    Ok(ServerTls { fingerprint, config: Arc::new(config), reset_key })
}

/// What identifies a server with this certificate. Only the certificate is read, and nothing is made.
///
/// # Errors
/// When it cannot be read.
pub fn fingerprint(cert: &Path) -> Result<Fingerprint, TlsError> {
    Ok(certificate(cert)?.1)
}

type Chain = Vec<CertificateDer<'static>>;

fn certificate(path: &Path) -> Result<(Chain, Fingerprint), TlsError> {
    let chain = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Chain, _>>);
    let chain = chain.map_err(|e| not_pem(path, &e))?;
    let first = chain.first().ok_or_else(|| not_pem(path, &"no certificate"))?;
    let entity = webpki::EndEntityCert::try_from(first).map_err(|e| not_pem(path, &e))?;
    let fingerprint = Fingerprint::of_spki(&entity.subject_public_key_info());
    Ok((chain, fingerprint))
}

fn not_pem(path: &Path, why: &impl std::fmt::Display) -> TlsError {
    TlsError::Pem { path: path.to_owned(), why: why.to_string() }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    is_clustered: bool,
) -> Result<QuicServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyDevice { provider: Arc::clone(&provider) });
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    let nodes = is_clustered.then_some(peer::ALPN);
    config.alpn_protocols = [ALPN].into_iter().chain(nodes).map(<[u8]>::to_vec).collect();
    // A replayed first flight must have no effect.
    config.max_early_data_size = 0;
    Ok(QuicServerConfig::try_from(config)?)
}

/// Makes what is missing. The key is the server's identity and is kept first: a certificate alone lost its key, while a
/// key alone gets the certificate that a crash took from it.
fn complete_pair((cert, key): &(PathBuf, PathBuf)) -> Result<(), TlsError> {
    let signing = match (cert.exists(), key.exists()) {
        (true, true) => return Ok(()),
        (true, false) => return Err(TlsError::KeyMissing { cert: cert.clone(), key: key.clone() }),
        (false, true) => {
            let pem = fs::read_to_string(key).map_err(|source| unusable(key, source))?;
            KeyPair::from_pem(&pem).map_err(|e| not_pem(key, &e))?
        }
        (false, false) => {
            let made = KeyPair::generate()?;
            keep(key, &made.serialize_pem())?;
            made
        }
    };
    let params = CertificateParams::new(vec!["quip".to_owned()])?;
    keep(cert, &params.self_signed(&signing)?.pem())
}

fn keep(path: &Path, pem: &str) -> Result<(), TlsError> {
    write_private(path, pem.as_bytes()).map_err(|source| unusable(path, source))
}

fn unusable(path: &Path, source: io::Error) -> TlsError {
    TlsError::File { path: path.to_owned(), source }
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

/// Whether who connected speaks as a node.
pub(super) fn is_node(connection: &quinn::Connection) -> bool {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    data.is_some_and(|data| data.protocol.as_deref() == Some(peer::ALPN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_made_once_and_never_in_place_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let ours = load(None, dir.path(), false).unwrap().fingerprint;
        assert_eq!(load(None, dir.path(), false).unwrap().fingerprint, ours);
        assert_eq!(fingerprint(&path("cert.pem")).unwrap(), ours);
        // A crash between the two: the key is the identity.
        fs::remove_file(path("cert.pem")).unwrap();
        assert_eq!(load(None, dir.path(), false).unwrap().fingerprint, ours);
        fs::rename(path("key.pem"), path("kept")).unwrap();
        let error = load(None, dir.path(), false).err().unwrap();
        assert!(matches!(error, TlsError::KeyMissing { .. }), "{error}");
        assert!(!path("key.pem").exists(), "no other key is made");
        let other = tempfile::tempdir().unwrap();
        load(None, other.path(), false).unwrap();
        fs::copy(other.path().join("key.pem"), path("key.pem")).unwrap();
        let error = load(None, dir.path(), false).err().unwrap();
        assert!(matches!(error, TlsError::Pair { .. }), "{error}");
        assert!(error.to_string().contains("key.pem") && error.to_string().lines().count() == 1, "{error}");
        fs::rename(path("kept"), path("key.pem")).unwrap();
        assert_eq!(load(None, dir.path(), false).unwrap().fingerprint, ours, "the right one is back");
        for name in ["cert.pem", "key.pem"] {
            fs::remove_file(path(name)).unwrap();
        }
        assert_ne!(load(None, dir.path(), false).unwrap().fingerprint, ours, "asked for by removing both");
    }
}
