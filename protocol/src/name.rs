//! Parsed names: a value of these types is a valid name. Imports nothing of Quip.
//!
//! Names are ASCII, so that no two names look alike; upper case typed by a user is folded to lower case.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest account name, in bytes.
pub const MAX_ACCOUNT_NAME: usize = 32;
/// Longest room name without its `#`, in bytes.
pub const MAX_ROOM_NAME: usize = 64;

/// Longest name of a consumer, in bytes.
pub const MAX_CONSUMER_NAME: usize = 64;

/// Longest name of a node, in bytes.
pub const MAX_NODE_NAME: usize = 32;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or more bytes than the limit.
    #[error("a name has 1 to {limit} characters")]
    Length {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The first character is not a letter or digit.
    #[error("a name starts with a letter or a digit, a–z or 0–9")]
    Start,
    /// A character that names do not have.
    #[error("a name has only a–z, 0–9, '-', '_' and '.'")]
    Character,
    /// A target without its sigil.
    #[error("a target is #room or @user (in a shell, quote it: '#room')")]
    Sigil,
}

fn parse(text: &str, limit: usize) -> Result<Arc<str>, NameError> {
    if text.is_empty() || text.len() > limit {
        return Err(NameError::Length { limit });
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(NameError::Character);
    }
    if !text.as_bytes()[0].is_ascii_alphanumeric() {
        return Err(NameError::Start);
    }
    Ok(text.to_ascii_lowercase().into())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $sigil:literal, $limit:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name without its sigil.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            /// Takes the name with or without its sigil.
            fn from_str(text: &str) -> Result<Self, NameError> {
                parse(text.strip_prefix($sigil).unwrap_or(text), $limit).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                parse(&text, $limit).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $sigil, self.0)
            }
        }
    };
}

name_type!(
    /// The name of a person or a bot, shown without a sigil where it is the author.
    AccountName, '@', MAX_ACCOUNT_NAME
);
name_type!(
    /// The name of a room, without its `#`.
    RoomName, '#', MAX_ROOM_NAME
);
name_type!(
    /// The name of a durable cursor, which an account chooses for a program that reads.
    ConsumerName, "", MAX_CONSUMER_NAME
);
name_type!(
    /// The name of a node, which its operator chooses; no two nodes of a cluster have the same.
    NodeName, "", MAX_NODE_NAME
);

/// Where something is sent: `#room`, or `@user` for the direct room with that account.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    /// A room.
    Room(RoomName),
    /// The direct room with this account.
    Direct(AccountName),
}

impl FromStr for Target {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.as_bytes().first() {
            Some(b'#') => text.parse().map(Target::Room),
            Some(b'@') => text.parse().map(Target::Direct),
            _ => Err(NameError::Sigil),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Room(name) => f.pad(&format!("#{name}")),
            Target::Direct(name) => f.pad(&format!("@{name}")),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<RoomName> for Target {
    fn from(name: RoomName) -> Self {
        Target::Room(name)
    }
}

impl From<AccountName> for Target {
    fn from(name: AccountName) -> Self {
        Target::Direct(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_and_bounded() {
        let table: &[(&str, Option<&str>)] = &[
            ("ann", Some("ann")),
            ("Ann", Some("ann")),
            ("@ann", Some("ann")),
            ("build-bot_2.x", Some("build-bot_2.x")),
            ("", None),
            ("-ann", None),
            (".", None),
            ("a b", None),
            ("a\u{1b}b", None),
            ("\u{430}dmin", None),
            ("abcdefghijklmnopqrstuvwxyz012345", Some("abcdefghijklmnopqrstuvwxyz012345")),
            ("abcdefghijklmnopqrstuvwxyz0123456", None),
        ];
        for (text, name) in table {
            assert_eq!(text.parse::<AccountName>().ok().as_ref().map(AccountName::as_str), *name, "{text:?}");
        }
    }

    #[test]
    fn consumers_have_no_sigil() {
        let longest = "x".repeat(MAX_CONSUMER_NAME);
        let table = [
            ("deploy-bot.prod_1", true),
            ("7", true),
            (&longest, true),
            (&format!("{longest}x"), false),
            ("", false),
            ("#ops", false),
            ("@ann", false),
            ("a b", false),
            ("a/b", false),
        ];
        for (text, good) in table {
            assert_eq!(text.parse::<ConsumerName>().is_ok(), good, "{text:?}");
        }
        assert_eq!(format!("{:?}", "Deploy".parse::<ConsumerName>().unwrap()), "deploy");
    }

    #[test]
    fn targets_need_their_sigil() {
        assert_eq!("#Ops".parse(), Ok(Target::Room("ops".parse().unwrap())));
        assert_eq!("@bob".parse(), Ok(Target::Direct("bob".parse().unwrap())));
        assert_eq!("ops".parse::<Target>(), Err(NameError::Sigil));
        assert_eq!("".parse::<Target>(), Err(NameError::Sigil));
    }
}
