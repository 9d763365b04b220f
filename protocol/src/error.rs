//! Refusals: typed, numbered, with one line for the user. A refused request is a reply, not a Rust error.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::safe_text::SafeLine;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $word:literal;)*) => {
        /// Why a request was refused. Numbers are part of the protocol and never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "u16", into = "u16")]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code of a newer server.
            Unknown(u16),
        }

        impl ErrorCode {
            /// Its number on the wire.
            pub fn number(self) -> u16 {
                match self {
                    $(ErrorCode::$name => $number,)*
                    ErrorCode::Unknown(number) => number,
                }
            }

            /// Its word, for `--json` and logs.
            pub fn word(self) -> &'static str {
                match self {
                    $(ErrorCode::$name => $word,)*
                    ErrorCode::Unknown(_) => "unknown",
                }
            }
        }

        impl From<ErrorCode> for u16 {
            fn from(code: ErrorCode) -> u16 {
                code.number()
            }
        }

        impl From<u16> for ErrorCode {
            fn from(number: u16) -> Self {
                match number {
                    $($number => ErrorCode::$name,)*
                    other => ErrorCode::Unknown(other),
                }
            }
        }
    };
}

error_codes! {
    /// The bytes are no request, or it makes no sense.
    BadRequest = 1, "bad_request";
    /// Longer than a limit, which the text names.
    TooLong = 2, "too_long";
    /// More than a limit, which the text names.
    TooMany = 3, "too_many";
    /// No common version of the protocol.
    Version = 4, "version";
    /// This device's key belongs to no account here.
    UnknownDevice = 10, "unknown_device";
    /// This device was revoked.
    Revoked = 11, "revoked";
    /// The account was suspended by an operator.
    Suspended = 12, "suspended";
    /// No such invite or device code, or too many attempts.
    BadCode = 13, "bad_code";
    /// The code was good and is used up.
    UsedCode = 14, "used_code";
    /// The code was good and is too old.
    ExpiredCode = 15, "expired_code";
    /// An account or room has that name.
    NameTaken = 16, "name_taken";
    /// No room of that name that this account may know of.
    NoSuchRoom = 20, "no_such_room";
    /// No account of that name.
    NoSuchAccount = 21, "no_such_account";
    /// The account is not in the room.
    NotMember = 22, "not_member";
    /// The account was removed from the room and has to be invited again.
    Removed = 23, "removed";
    /// The account's role does not allow it.
    Forbidden = 24, "forbidden";
    /// The room is archived.
    Archived = 25, "archived";
    /// No such message, or it was deleted.
    NoSuchMessage = 26, "no_such_message";
    /// Another account used that message id.
    IdReused = 27, "id_reused";
    /// No such device or token.
    NoSuchDevice = 28, "no_such_device";
    /// The cursor is of another log than the server's: read from the beginning.
    BadCursor = 29, "bad_cursor";
    /// Too fast; `retry_after_ms` says when to try again.
    RateLimited = 40, "rate_limited";
    /// Not now; try again.
    Unavailable = 41, "unavailable";
    /// The server cannot write (a disk that is full or broken, a shared log that does not answer): reading goes on.
    Degraded = 42, "degraded";
    /// A mistake of the server.
    Internal = 50, "internal";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A request was refused: why, in one line that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The reason, for programs.
    pub code: ErrorCode,
    /// The reason and what to do, for people.
    pub text: SafeLine,
    /// Try again after this long, in milliseconds; `None` if trying again will not help.
    pub retry_after_ms: Option<u32>,
}

impl Refusal {
    /// A refusal that trying again will not change.
    pub fn new(code: ErrorCode, text: impl AsRef<str>) -> Refusal {
        Refusal { code, text: SafeLine::new(text.as_ref()), retry_after_ms: None }
    }

    /// A refusal that passes.
    pub fn retry(code: ErrorCode, text: impl AsRef<str>, after_ms: u32) -> Refusal {
        Refusal { retry_after_ms: Some(after_ms), ..Refusal::new(code, text) }
    }
}

/// QUIC application close codes.
pub mod close {
    /// Nothing is wrong.
    pub const DONE: u32 = 0;
    /// The server is stopping; connect again later.
    pub const STOPPING: u32 = 1;
    /// The peer broke the protocol.
    pub const PROTOCOL: u32 = 2;
    /// A frame was not complete in time.
    pub const DEADLINE: u32 = 3;
    /// The device was revoked or its account suspended.
    pub const REVOKED: u32 = 4;
}
