//! Keys: a device's Ed25519 key, the server's fingerprint. Secrets never show in `Debug`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// `SubjectPublicKeyInfo` of an Ed25519 key up to the key itself (RFC 8410).
pub(crate) const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// PKCS#8 version 1 of an Ed25519 key up to the seed (RFC 8410).
#[cfg(feature = "transport")]
pub(crate) const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What was mistyped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a fingerprint.
    #[error("a fingerprint is SHA256: and 43 characters")]
    Fingerprint,
    /// Not a device key.
    #[error("a device key is 43 characters, as `quip device list` shows it")]
    Device,
    /// Not a token.
    #[error("a token is quip_ and 43 characters, as `quip token new` printed it")]
    Token,
}

fn decode_32(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// The public half of a device's Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceKey(pub [u8; 32]);

impl DeviceKey {
    /// The key inside a `SubjectPublicKeyInfo`, if it is an Ed25519 key.
    pub fn from_spki(spki: &[u8]) -> Option<DeviceKey> {
        spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok().map(DeviceKey)
    }

    /// The key as TLS carries it.
    pub fn to_spki(self) -> Vec<u8> {
        [SPKI_PREFIX.as_slice(), &self.0].concat()
    }
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DeviceKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode_32(text).map(DeviceKey).ok_or(KeyError::Device)
    }
}

/// SHA-256 of the server's `SubjectPublicKeyInfo`: it stays when a certificate is renewed with the same key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of a `SubjectPublicKeyInfo`.
    pub fn of_spki(spki: &[u8]) -> Fingerprint {
        Fingerprint(Sha256::digest(spki).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        text.strip_prefix("SHA256:").and_then(decode_32).map(Fingerprint).ok_or(KeyError::Fingerprint)
    }
}

/// The secret half of a device's key: who this device is. A bot's token is one too.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    seed: [u8; 32],
}

impl Identity {
    /// A new key.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Identity, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Identity { seed })
    }

    /// The key made from 32 random bytes that were kept.
    pub fn from_seed(seed: [u8; 32]) -> Identity {
        Identity { seed }
    }

    /// The 32 bytes to keep. A secret.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The key as a token, for `QUIP_TOKEN`. A secret.
    pub fn to_token(&self) -> String {
        format!("quip_{}", URL_SAFE_NO_PAD.encode(self.seed))
    }

    /// Reads a token.
    ///
    /// # Errors
    /// When it is not one.
    pub fn from_token(token: &str) -> Result<Identity, KeyError> {
        token.trim().strip_prefix("quip_").and_then(decode_32).map(Identity::from_seed).ok_or(KeyError::Token)
    }

    /// The public half.
    #[cfg(feature = "transport")]
    pub fn device_key(&self) -> DeviceKey {
        use ring::signature::KeyPair as _;
        let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&self.seed)
            .expect("32 bytes are always an Ed25519 seed");
        DeviceKey(pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes"))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}
