//! Rooms as both ends speak of them: ids, kinds, roles, summaries.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cursor::{Cursor, Seq, Timestamp};
use crate::identity::DeviceKey;
use crate::limits::MAX_LISTED;
use crate::name::{AccountName, ConsumerName, Target};
use crate::safe_text::SafeLine;

/// A room, for as long as the server's data lives. Names are for people, ids for logs and cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoomId(pub u64);

/// An account, for as long as the server's data lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub u64);

/// Who may see and enter a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RoomKind {
    /// Listed, and everyone with an account may read and join.
    Public,
    /// Only members know that it exists; they are invited.
    Private,
    /// Two members, no name.
    Direct,
}

/// What a member may do; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Reads and reacts.
    Reader,
    /// Also writes, and edits and deletes what is their own; invites.
    Member,
    /// Also deletes what others wrote, kicks, sets the topic, makes readers and members.
    Moderator,
    /// Also makes moderators and owners, and archives.
    Owner,
}

impl Role {
    /// All roles, least first.
    pub const ALL: [Role; 4] = [Role::Reader, Role::Member, Role::Moderator, Role::Owner];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Member => "member",
            Role::Moderator => "moderator",
            Role::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or("a role is reader, member, moderator or owner")
    }
}

/// A room as one account sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSummary {
    /// The room.
    pub id: RoomId,
    /// `#name`, or `@name` of the other member of a direct room.
    pub target: Target,
    /// Who may enter.
    pub kind: RoomKind,
    /// What it is about; may be empty.
    pub topic: SafeLine,
    /// Archived rooms are read, not written.
    pub archived: bool,
    /// This account's role; `None` if it is not a member (a public room).
    pub role: Option<Role>,
    /// Members, this account included.
    pub members: u32,
    /// The newest event.
    pub head: Cursor,
    /// When the newest event was accepted.
    pub active_at: Timestamp,
    /// Up to where this account has read.
    pub read: Seq,
    /// Messages behind `read`.
    pub unread: u64,
    /// Unread messages that name this account, at most [`crate::limits::MAX_UNREAD_MENTIONS`].
    pub mentions: u32,
}

/// Where a room stands: what is told of a very large one instead of its events to who does not look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The room.
    pub room: RoomId,
    /// The newest event.
    pub head: Cursor,
    /// Messages so far, that one included: what two digests differ in is how many were said between them.
    pub messages: u64,
    /// When the newest event was accepted.
    pub at: Timestamp,
}

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSummary {
    /// Who.
    pub name: AccountName,
    /// What they may do.
    pub role: Role,
    /// Whether a device of theirs is connected.
    pub online: bool,
    /// Whether it is a bot.
    pub bot: bool,
}

/// Someone all of whose connected devices are away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaySummary {
    /// Who.
    pub name: AccountName,
    /// What they said last; may be empty.
    pub text: SafeLine,
}

/// An account as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSummary {
    /// Its name.
    pub name: AccountName,
    /// Whether it is a bot.
    pub bot: bool,
    /// Who made the bot.
    pub owner: Option<AccountName>,
    /// Whether it administers the server.
    pub admin: bool,
    /// Whether an operator suspended it.
    pub suspended: bool,
    /// Whether a device of theirs is connected.
    pub online: bool,
    /// Since when it exists.
    pub created_at: Timestamp,
}

/// A durable cursor of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerSummary {
    /// Its name.
    pub name: ConsumerName,
    /// Its room, as the account calls it.
    pub target: Target,
    /// The last event read.
    pub cursor: Cursor,
}

/// A bot and its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BotSummary {
    /// The bot.
    pub account: AccountSummary,
    /// Its keys.
    #[serde(deserialize_with = "crate::codec::list::<_, _, { MAX_LISTED as usize }>")]
    pub keys: Vec<DeviceSummary>,
}

/// A device of an account, or a bot's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSummary {
    /// Its public key.
    pub key: DeviceKey,
    /// What its owner called it.
    pub label: SafeLine,
    /// Since when it belongs to the account.
    pub added_at: Timestamp,
    /// Whether it may no longer connect.
    pub revoked: bool,
    /// Whether it is connected to the node that was asked: of the others' connections only the accounts are known.
    pub online: bool,
}
