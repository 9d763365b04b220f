//! What can go wrong between a client and its server, each in one line that says what to do.
//! Imports protocol types only.

use crate::codec::CodecError;
use crate::error::{ErrorCode, Refusal};
use crate::identity::Fingerprint;
use crate::name::NameError;
use crate::safe_text::SafeLine;
use crate::transport::FrameError;

/// Why a request, a connection or a client ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server understood and said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody answers there, or not as a Quip server does.
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// `quip://host:port`.
        address: String,
        /// In a few words.
        why: SafeLine,
    },
    /// [`super::Trust::Ask`]: show this to the user, and connect again with [`super::Trust::Pinned`].
    #[error("{address} is not known yet; compare its fingerprint {fingerprint} before you trust it")]
    UnknownServer {
        /// `quip://host:port`.
        address: String,
        /// Of the key it shows.
        fingerprint: Fingerprint,
    },
    /// It shows another key than the pinned one. Final.
    #[error(
        "{address} shows the key {found} and {expected} was expected: another server, or someone in between; \
         ask its operator before you trust the new key"
    )]
    WrongServer {
        /// `quip://host:port`.
        address: String,
        /// The pinned one.
        expected: Fingerprint,
        /// The one it shows.
        found: Fingerprint,
    },
    /// It shows the pinned certificate but cannot sign with its key. Final.
    #[error("{address} shows a certificate without having its key: someone is in between; do not trust it")]
    ForgedServer {
        /// `quip://host:port`.
        address: String,
    },
    /// There is no connection, or it broke before the answer came.
    #[error("the connection to the server is lost; try again")]
    Disconnected,
    /// The server is connected and does not answer.
    #[error("the server did not answer in time; try again")]
    TimedOut,
    /// The server sent what the protocol does not allow.
    #[error("the server broke the protocol ({0}); update the client or the server")]
    Protocol(SafeLine),
    /// `QUIP_SERVER`, `QUIP_TOKEN` or a value of [`super::Config`] is missing or malformed.
    #[error("{0}")]
    Config(SafeLine),
    /// Not `#room` or `@user`.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Error {
    pub(super) fn protocol(what: impl AsRef<str>) -> Error {
        Error::Protocol(SafeLine::new(what.as_ref()))
    }

    pub(super) fn config(what: impl AsRef<str>) -> Error {
        Error::Config(SafeLine::new(what.as_ref()))
    }

    /// Whether connecting again cannot help.
    pub fn is_final(&self) -> bool {
        match self {
            Error::Refused(refusal) => refusal.retry_after_ms.is_none() && !is_passing(refusal.code),
            Error::Unreachable { .. } | Error::Disconnected | Error::TimedOut | Error::Protocol(_) => false,
            Error::UnknownServer { .. }
            | Error::WrongServer { .. }
            | Error::ForgedServer { .. }
            | Error::Config(_)
            | Error::Name(_) => true,
        }
    }
}

/// Refusals that speak of the server's state, not of what was asked; and an account that its operator may resume.
fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::RateLimited
            | ErrorCode::Unavailable
            | ErrorCode::Degraded
            | ErrorCode::Internal
            | ErrorCode::Suspended
    )
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Error {
        match error {
            FrameError::Io(_) => Error::Disconnected,
            FrameError::Codec(error) => error.into(),
            FrameError::Deadline(_) => Error::TimedOut,
            FrameError::Cut => Error::protocol("a stream ended within a frame"),
        }
    }
}

impl From<CodecError> for Error {
    fn from(error: CodecError) -> Error {
        Error::protocol(error.to_string())
    }
}

impl From<quinn::WriteError> for Error {
    fn from(_: quinn::WriteError) -> Error {
        Error::Disconnected
    }
}

impl From<quinn::ConnectionError> for Error {
    fn from(_: quinn::ConnectionError) -> Error {
        Error::Disconnected
    }
}
