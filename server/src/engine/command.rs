//! Commands: what goes into the log. Variants are only ever added at the end, fields never: journals carry their
//! numbers.

use quip_protocol::name::MAX_ACCOUNT_NAME;
use quip_protocol::{
    AccountName, ConsumerName, Cursor, DeviceKey, MessageId, MessageKind, Role, RoomId, RoomName, SafeLine,
    SafeText, Seq, Target, Timestamp,
};
use serde::{Deserialize, Serialize};

/// A change of state that somebody asks for. Everything that decides is in it: the engine has no clock and no
/// randomness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// When the node took it.
    pub at: Timestamp,
    /// Who asks. Resolved where it is applied, so that a revoked device cannot slip in before its revocation.
    pub by: Actor,
    /// What.
    pub body: CommandBody,
}

impl Command {
    /// The idempotency key, if it has one.
    pub fn id(&self) -> Option<MessageId> {
        match &self.body {
            CommandBody::Post { id, .. }
            | CommandBody::Edit { id, .. }
            | CommandBody::Delete { id, .. }
            | CommandBody::React { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// At least as many bytes as it has in the log if it is applied, where texts and lists are within their limits.
    pub fn weight(&self) -> usize {
        /// All fields of the largest command but its text and its list.
        const FIELDS: usize = 1024;
        FIELDS
            + match &self.body {
                CommandBody::Post { text, .. } | CommandBody::Edit { text, .. } => text.len(),
                body => body.names() * (MAX_ACCOUNT_NAME + 1),
            }
    }

    /// About as many changes as it makes if it is applied.
    pub fn changes(&self) -> usize {
        /// Of a post that names nobody: the event, and its author's read marker.
        const POST: usize = 2;
        /// Of one account that enters: its membership, its notice, and the head of its inbox.
        const ENTERS: usize = 3;
        POST + self.body.names() * ENTERS
    }
}

impl CommandBody {
    /// How many accounts it names to enter a room.
    pub fn names(&self) -> usize {
        match self {
            CommandBody::CreateRoom { members: names, .. } | CommandBody::Invite { who: names, .. } => {
                names.len()
            }
            _ => 0,
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// Whoever may use the admin socket.
    Operator,
    /// The holder of this key.
    Device(DeviceKey),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandBody {
    /// A new message.
    Post {
        /// Where.
        target: Target,
        /// The idempotency key.
        id: MessageId,
        /// How it is shown.
        kind: MessageKind,
        /// What it says.
        text: SafeText,
        /// What it answers.
        reply_to: Option<Seq>,
    },
    /// A change of a message.
    Edit {
        /// Where.
        room: RoomId,
        /// Which.
        target: Seq,
        /// The idempotency key.
        id: MessageId,
        /// What it says now.
        text: SafeText,
    },
    /// A deletion.
    Delete {
        /// Where.
        room: RoomId,
        /// Which.
        target: Seq,
        /// The idempotency key.
        id: MessageId,
    },
    /// A reaction put or taken away.
    React {
        /// Where.
        room: RoomId,
        /// On which.
        target: Seq,
        /// The idempotency key.
        id: MessageId,
        /// What.
        emoji: SafeLine,
        /// Put, or taken away.
        on: bool,
    },
    /// A read marker moves forward.
    Mark {
        /// Where.
        room: RoomId,
        /// The last event read.
        seq: Seq,
    },
    /// The direct room with an account, made if there is none.
    OpenDirect {
        /// With whom.
        with: AccountName,
    },
    /// A new room with all its members.
    CreateRoom {
        /// Its name.
        name: RoomName,
        /// Private, or public.
        private: bool,
        /// What it is about.
        topic: SafeLine,
        /// Beside the maker.
        members: Vec<AccountName>,
    },
    /// Enter a public room.
    Join {
        /// Which.
        room: RoomName,
    },
    /// Leave a room.
    Leave {
        /// Which.
        room: RoomName,
    },
    /// Make others members.
    Invite {
        /// Where.
        room: RoomName,
        /// Whom.
        who: Vec<AccountName>,
    },
    /// Remove a member.
    Kick {
        /// From where.
        room: RoomName,
        /// Whom.
        who: AccountName,
        /// Why.
        reason: SafeLine,
    },
    /// Give a role.
    SetRole {
        /// Where.
        room: RoomName,
        /// To whom.
        who: AccountName,
        /// Which.
        role: Role,
    },
    /// Set the topic.
    SetTopic {
        /// Where.
        room: RoomName,
        /// To what.
        topic: SafeLine,
    },
    /// End writing.
    Archive {
        /// Where.
        room: RoomName,
    },
    /// The first command of an empty log: makes `#general`, and the code of the server's first owner. One command, so
    /// that no crash leaves a server that nobody can own. As long as there is no account it comes again with every
    /// start, and makes another code in place of the one before.
    Bootstrap {
        /// SHA-256 of the code.
        owner: [u8; 32],
        /// Until when.
        expires: Timestamp,
    },
    /// A code that makes accounts.
    NewInvite {
        /// SHA-256 of the code.
        hash: [u8; 32],
        /// Also a member of.
        room: Option<RoomName>,
        /// Administers the server. Only the operator's invites do.
        admin: bool,
        /// How many accounts.
        uses: u32,
        /// Until when.
        expires: Timestamp,
    },
    /// A code that adds a device.
    NewDeviceCode {
        /// SHA-256 of the code.
        hash: [u8; 32],
        /// Until when.
        expires: Timestamp,
    },
    /// The asking key is bound to an account by a code.
    Redeem {
        /// SHA-256 of the code.
        hash: [u8; 32],
        /// The new account's name; none for a device code.
        name: Option<AccountName>,
        /// What the owner calls the device.
        label: SafeLine,
    },
    /// The asking key makes an account without a code. The session lets it pass only where registration is open.
    Register {
        /// The new account's name.
        name: AccountName,
        /// What the owner calls the device.
        label: SafeLine,
    },
    /// A key may no longer connect.
    RevokeDevice {
        /// Which; of the asking account unless the operator asks.
        key: DeviceKey,
    },
    /// A bot, or one more key of it.
    NewToken {
        /// The bot.
        name: AccountName,
        /// The key.
        key: DeviceKey,
        /// What the owner calls it.
        label: SafeLine,
    },
    /// A bot's keys may no longer connect.
    RevokeToken {
        /// The bot.
        name: AccountName,
    },
    /// An account may not do anything, or may again. The operator's.
    Suspend {
        /// Whom.
        name: AccountName,
        /// Suspended, or resumed.
        on: bool,
    },
    /// A durable cursor, made if there is none.
    OpenConsumer {
        /// Which.
        name: ConsumerName,
        /// In which room.
        target: Target,
        /// Where a new one starts; none is the newest event.
        since: Option<Seq>,
    },
    /// A durable cursor moves forward.
    MoveConsumer {
        /// Which.
        name: ConsumerName,
        /// In which room.
        room: RoomId,
        /// The last event read.
        cursor: Cursor,
    },
    /// A durable cursor is forgotten.
    DropConsumer {
        /// Which.
        name: ConsumerName,
        /// In which room; none is in every room.
        target: Option<Target>,
    },
    /// Writing goes on in a room that was archived. The operator's.
    Restore {
        /// Where.
        room: RoomName,
    },
    /// A message is unread again.
    MarkUnread {
        /// Where.
        room: RoomId,
        /// The message.
        seq: Seq,
    },
}
