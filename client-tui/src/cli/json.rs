//! What `--json` prints: one object a line, each with a `type`. Scripts depend on these shapes; fields are only
//! ever added. Imports the protocol's types.

use std::fmt::Display;

use quip_protocol::room::{AccountSummary, DeviceSummary, MemberSummary, RoomSummary};
use quip_protocol::{
    AccountName, ConsumerName, Cursor, DeviceKey, Event, EventBody, Message, MessageId, MessageKind,
    Reaction, Receipt, Role, RoomKind, SafeLine, SafeText, Seq, Target, Timestamp,
};
use serde::{Serialize, Serializer};

use super::time::rfc3339;
pub use deed::Deed;
pub use place::Place;

fn shown<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn time<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

/// One line of output.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Line<'a> {
    /// A message.
    Message(MessageLine<'a>),
    /// What was sent is durable, and this is its place.
    Receipt(ReceiptLine<'a>),
    /// Events that should be there and are not.
    Gap {
        /// Where.
        #[serde(serialize_with = "shown")]
        room: &'a Target,
        /// The first that is missing.
        from: Seq,
        /// The last that is missing.
        to: Seq,
    },
    /// The server's log was repaired: what was printed behind `seq` is void and comes again.
    Reset {
        /// Where.
        #[serde(serialize_with = "shown")]
        room: &'a Target,
        /// The epoch of the last event that stays.
        epoch: u32,
        /// The last event that stays.
        seq: Seq,
    },
    /// A message now says `text`.
    Edit {
        /// Where, when, by whom.
        #[serde(flatten)]
        head: Head<'a>,
        /// The message.
        target: Seq,
        /// The id of the edit.
        id: MessageId,
        /// What it said from then on; `null` where that is not kept any more.
        text: Option<&'a str>,
    },
    /// A message was deleted.
    Delete {
        /// Where, when, by whom.
        #[serde(flatten)]
        head: Head<'a>,
        /// The message.
        target: Seq,
        /// The id of the deletion.
        id: MessageId,
    },
    /// An emoji was put on a message, or taken away.
    Reaction {
        /// Where, when, by whom.
        #[serde(flatten)]
        head: Head<'a>,
        /// The message.
        target: Seq,
        /// The id of the reaction.
        id: MessageId,
        /// The emoji.
        emoji: &'a SafeLine,
        /// Put, or taken away.
        on: bool,
    },
    /// The room was made.
    Create {
        /// Where, when, by whom.
        #[serde(flatten)]
        head: Head<'a>,
        /// With how many members.
        members: u32,
    },
    /// The author entered.
    Join {
        /// Where, when, by whom.
        #[serde(flatten)]
        head: Head<'a>,
    },
    /// The author left.
    Leave {
        /// Where, when, by whom.
        #[serde(flatten)]
        head: Head<'a>,
    },
    /// The author made others members.
    Invite {
        /// Where, when, by whom.
        #[serde(flatten)]
        head: Head<'a>,
        /// Whom; of many only the first by name.
        who: &'a [AccountName],
        /// How many in all.
        count: u32,
    },
    /// The author removed somebody.
    Kick {
        /// Where, when, by whom.
        #[serde(flatten)]
        head: Head<'a>,
        /// Whom.
        who: &'a AccountName,
        /// Why; may be empty.
        reason: &'a SafeLine,
    },
    /// The author gave somebody a role.
    Role {
        /// Where, when, by whom.
        #[serde(flatten)]
        head: Head<'a>,
        /// Whom.
        who: &'a AccountName,
        /// Which.
        #[serde(serialize_with = "shown")]
        role: Role,
    },
    /// The topic is now this.
    Topic {
        /// Where, when, by whom.
        #[serde(flatten)]
        head: Head<'a>,
        /// May be empty.
        topic: &'a SafeLine,
    },
    /// From here on the room is read, not written.
    Archive {
        /// Where, when, by whom.
        #[serde(flatten)]
        head: Head<'a>,
    },
    /// A room, as this account sees it.
    Room(RoomLine<'a>),
    /// A room with something unread.
    Unread {
        /// Where.
        #[serde(serialize_with = "shown")]
        room: &'a Target,
        /// Messages.
        unread: u64,
        /// Those of them that name this account.
        mentions: u32,
        /// The last event that was read.
        read: Seq,
        /// The newest event.
        seq: Seq,
    },
    /// A member of a room.
    Member {
        /// Where.
        #[serde(serialize_with = "shown")]
        room: &'a Target,
        /// Who.
        name: &'a AccountName,
        /// What they may do.
        #[serde(serialize_with = "shown")]
        role: Role,
        /// Whether a device of theirs is connected.
        online: bool,
        /// Whether it is a bot.
        bot: bool,
        /// `online`, `away` or `offline`.
        presence: &'static str,
        /// What who is away said.
        #[serde(skip_serializing_if = "Option::is_none")]
        away: Option<&'a SafeLine>,
    },
    /// An account.
    Account(AccountLine<'a>),
    /// A device of this account, or a key of a bot.
    Device(DeviceLine<'a>),
    /// A bot of this account, just made.
    Token {
        /// Its name.
        name: &'a AccountName,
        /// What `QUIP_TOKEN` takes. Said once.
        token: &'a str,
        /// What `QUIP_SERVER` takes.
        server: &'a str,
    },
    /// A durable cursor of this account.
    Consumer {
        /// Its name.
        #[serde(serialize_with = "shown")]
        name: &'a ConsumerName,
        /// Where.
        #[serde(serialize_with = "shown")]
        room: &'a Target,
        /// The epoch of the last event read.
        epoch: u32,
        /// The last event read.
        seq: Seq,
    },
    /// A link for a colleague or another device.
    Link {
        /// The link.
        link: &'a str,
        /// Until when it is good.
        #[serde(serialize_with = "time")]
        expires: Timestamp,
    },
    /// `quip host` serves.
    Ready {
        /// The server, with its fingerprint.
        link: &'a str,
    },
    /// A room that was marked as read.
    Read {
        /// Where.
        #[serde(serialize_with = "shown")]
        room: &'a Target,
        /// The last event that is read now.
        seq: Seq,
        /// How many messages were unread before.
        was_unread: u64,
    },
}

/// A message, as it is now.
#[derive(Debug, Serialize)]
pub struct MessageLine<'a> {
    #[serde(serialize_with = "shown")]
    room: &'a Target,
    epoch: u32,
    seq: Seq,
    id: MessageId,
    author: &'a AccountName,
    #[serde(serialize_with = "time")]
    at: Timestamp,
    text: &'a str,
    edited: bool,
    reply_to: Option<Seq>,
    #[serde(skip_serializing_if = "is_false")]
    action: bool,
    #[serde(skip_serializing_if = "is_false")]
    deleted: bool,
    #[serde(skip_serializing_if = "<[Reaction]>::is_empty")]
    reactions: &'a [Reaction],
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<&'a str>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The place of what was sent.
#[derive(Debug, Serialize)]
pub struct ReceiptLine<'a> {
    #[serde(serialize_with = "shown")]
    room: &'a Target,
    epoch: u32,
    seq: Seq,
    id: MessageId,
}

/// Where, when and by whom.
#[derive(Debug, Serialize)]
pub struct Head<'a> {
    #[serde(serialize_with = "shown")]
    room: &'a Target,
    epoch: u32,
    seq: Seq,
    author: &'a AccountName,
    #[serde(serialize_with = "time")]
    at: Timestamp,
}

/// A room.
#[derive(Debug, Serialize)]
pub struct RoomLine<'a> {
    #[serde(serialize_with = "shown")]
    room: &'a Target,
    kind: &'static str,
    topic: &'a SafeLine,
    archived: bool,
    role: Option<&'static str>,
    members: u32,
    epoch: u32,
    seq: Seq,
    #[serde(serialize_with = "time")]
    active_at: Timestamp,
    read: Seq,
    unread: u64,
    mentions: u32,
}

/// An account.
#[derive(Debug, Serialize)]
pub struct AccountLine<'a> {
    name: &'a AccountName,
    bot: bool,
    owner: Option<&'a AccountName>,
    admin: bool,
    suspended: bool,
    online: bool,
    presence: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    away: Option<&'a SafeLine>,
    #[serde(serialize_with = "time")]
    created_at: Timestamp,
    #[serde(flatten)]
    place: Option<Place<'a>>,
}

/// A device, or a key of a bot.
#[derive(Debug, Serialize)]
pub struct DeviceLine<'a> {
    account: &'a AccountName,
    #[serde(serialize_with = "shown")]
    key: DeviceKey,
    label: &'a SafeLine,
    #[serde(serialize_with = "time")]
    added_at: Timestamp,
    revoked: bool,
    online: bool,
    this: bool,
}

impl<'a> Line<'a> {
    /// An event of `room`.
    pub fn event(room: &'a Target, event: &'a Event) -> Line<'a> {
        let head = Head { room, epoch: event.epoch.0, seq: event.seq, author: &event.author, at: event.at };
        match &event.body {
            EventBody::Message(message) => Line::message(head, message),
            EventBody::Edited { target, id, text, .. } => {
                let text = Some(text.as_str()).filter(|text| !text.is_empty());
                Line::Edit { head, target: *target, id: *id, text }
            }
            EventBody::Deleted { target, id, .. } => Line::Delete { head, target: *target, id: *id },
            EventBody::Reacted { target, id, emoji, on } => {
                Line::Reaction { head, target: *target, id: *id, emoji, on: *on }
            }
            EventBody::Created { members } => Line::Create { head, members: *members },
            EventBody::Joined => Line::Join { head },
            EventBody::Left => Line::Leave { head },
            EventBody::Invited { who, count } => Line::Invite { head, who, count: *count },
            EventBody::Kicked { who, reason } => Line::Kick { head, who, reason },
            EventBody::RoleSet { who, role } => Line::Role { head, who, role: *role },
            EventBody::Topic { topic } => Line::Topic { head, topic },
            EventBody::Archived => Line::Archive { head },
        }
    }

    fn message(head: Head<'a>, message: &'a Message) -> Line<'a> {
        Line::Message(MessageLine {
            room: head.room,
            epoch: head.epoch,
            seq: head.seq,
            id: message.id,
            author: head.author,
            at: head.at,
            text: message.text(),
            edited: message.edited.is_some(),
            reply_to: message.reply_to,
            action: message.kind == MessageKind::Action,
            deleted: message.deleted,
            reactions: &message.reactions,
            original: message.original.as_ref().map(SafeText::as_str),
        })
    }

    /// A receipt for what was sent to `room`.
    pub fn receipt(room: &'a Target, receipt: &Receipt) -> Line<'a> {
        let Receipt { epoch, seq, id, .. } = *receipt;
        Line::Receipt(ReceiptLine { room, epoch: epoch.0, seq, id })
    }

    /// What is behind `keep` is void.
    pub fn reset(room: &'a Target, keep: Cursor) -> Line<'a> {
        Line::Reset { room, epoch: keep.epoch.0, seq: keep.seq }
    }

    /// A room.
    pub fn room(room: &'a RoomSummary) -> Line<'a> {
        Line::Room(RoomLine {
            room: &room.target,
            kind: kind(room.kind),
            topic: &room.topic,
            archived: room.archived,
            role: room.role.map(Role::as_str),
            members: room.members,
            epoch: room.head.epoch.0,
            seq: room.head.seq,
            active_at: room.active_at,
            read: room.read,
            unread: room.unread,
            mentions: room.mentions,
        })
    }

    /// A room's unread counts.
    pub fn unread(room: &'a RoomSummary) -> Line<'a> {
        let RoomSummary { target, unread, mentions, read, head, .. } = room;
        Line::Unread { room: target, unread: *unread, mentions: *mentions, read: *read, seq: head.seq }
    }

    /// A member of `room`, and what they said if they are away.
    pub fn member(room: &'a Target, member: &'a MemberSummary, away: Option<&'a SafeLine>) -> Line<'a> {
        let MemberSummary { name, role, online, bot } = member;
        let away = away.filter(|_| *online);
        let presence = presence(*online, away);
        Line::Member { room, name, role: *role, online: *online, bot: *bot, presence, away }
    }

    /// An account, what they said if they are away, and where it is if that was asked.
    pub fn account(
        account: &'a AccountSummary,
        away: Option<&'a SafeLine>,
        place: Option<Place<'a>>,
    ) -> Line<'a> {
        let away = away.filter(|_| account.online);
        Line::Account(AccountLine {
            name: &account.name,
            bot: account.bot,
            owner: account.owner.as_ref(),
            admin: account.admin,
            suspended: account.suspended,
            online: account.online,
            presence: presence(account.online, away),
            away,
            created_at: account.created_at,
            place,
        })
    }

    /// A device of `account`; `this` if it is the one that asks.
    pub fn device(account: &'a AccountName, device: &'a DeviceSummary, this: bool) -> Line<'a> {
        Line::Device(DeviceLine {
            account,
            key: device.key,
            label: &device.label,
            added_at: device.added_at,
            revoked: device.revoked,
            online: device.online,
            this,
        })
    }
}

/// The word for how somebody is.
fn presence(online: bool, away: Option<&SafeLine>) -> &'static str {
    match (online, away) {
        (false, _) => "offline",
        (true, Some(_)) => "away",
        (true, None) => "online",
    }
}

/// The word for a room's kind.
pub fn kind(kind: RoomKind) -> &'static str {
    match kind {
        RoomKind::Public => "public",
        RoomKind::Private => "private",
        RoomKind::Direct => "direct",
    }
}

mod deed;
mod place;
#[cfg(test)]
mod tests;
