//! Events: what took a place in a room's log; notices: what took a place in an account's inbox.

use serde::{Deserialize, Serialize};

use crate::cursor::{Epoch, Seq, Timestamp};
use crate::message::{Message, MessageId};
use crate::name::{AccountName, Target};
use crate::room::{Role, RoomId};
use crate::safe_text::{SafeLine, SafeText};

/// Something that took a place in a room's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The room.
    pub room: RoomId,
    /// The epoch in which it got its place.
    pub epoch: Epoch,
    /// Its place.
    pub seq: Seq,
    /// When the server accepted it.
    pub at: Timestamp,
    /// Messages in the room up to here, this one included: unread counts are differences of these.
    pub ordinal: u64,
    /// Who did it.
    pub author: AccountName,
    /// What it is.
    pub body: EventBody,
}

/// What an event is. Variants are only ever added at the end: stored bytes carry their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventBody {
    /// A message.
    Message(Message),
    /// `target` now says `text`.
    Edited {
        /// The message.
        target: Seq,
        /// The idempotency key of the edit.
        id: MessageId,
        /// What it says now; empty once it is not kept any more.
        text: SafeText,
        /// An earlier edit of the same message whose text is no longer kept.
        drops: Option<Seq>,
    },
    /// `target` was deleted.
    Deleted {
        /// The message.
        target: Seq,
        /// The idempotency key of the deletion.
        id: MessageId,
        /// The edits of the message that still had their texts: they are deleted with it.
        #[serde(deserialize_with = "crate::codec::list::<_, _, { crate::limits::MAX_EDITS_KEPT }>")]
        edits: Vec<Seq>,
    },
    /// The author put `emoji` on `target`, or took it away.
    Reacted {
        /// The message.
        target: Seq,
        /// The idempotency key of the reaction.
        id: MessageId,
        /// The emoji.
        emoji: SafeLine,
        /// Put, or taken away.
        on: bool,
    },
    /// The room was made, with this many members beside the author.
    Created {
        /// Initial members, the author included.
        members: u32,
    },
    /// The author entered.
    Joined,
    /// The author left.
    Left,
    /// The author made `who` members.
    Invited {
        /// Whom, at most [`crate::limits::MAX_NAMED_IN_EVENT`] of them by name.
        #[serde(deserialize_with = "crate::codec::list::<_, _, { crate::limits::MAX_NAMED_IN_EVENT }>")]
        who: Vec<AccountName>,
        /// How many in all.
        count: u32,
    },
    /// The author removed `who`, who can only come back by an invitation.
    Kicked {
        /// Whom.
        who: AccountName,
        /// Why; may be empty.
        reason: SafeLine,
    },
    /// The author gave `who` a role.
    RoleSet {
        /// Whom.
        who: AccountName,
        /// The role.
        role: Role,
    },
    /// The topic is now this.
    Topic {
        /// May be empty.
        topic: SafeLine,
    },
    /// From here on the room is read, not written.
    Archived,
}

impl EventBody {
    /// The message in this room that the event amends, if it is an edit, a deletion or a reaction.
    pub fn amends(&self) -> Option<Seq> {
        match self {
            EventBody::Edited { target, .. }
            | EventBody::Deleted { target, .. }
            | EventBody::Reacted { target, .. } => Some(*target),
            _ => None,
        }
    }

    /// The events of this room that are changed by this one: the message that it amends, and edits of that message
    /// whose texts go.
    pub fn rewrites(&self) -> impl Iterator<Item = Seq> + '_ {
        let edits = match self {
            EventBody::Edited { drops, .. } => drops.as_slice(),
            EventBody::Deleted { edits, .. } => edits,
            _ => &[],
        };
        self.amends().into_iter().chain(edits.iter().copied())
    }

    /// The sender's id, for events that a sender may repeat.
    pub fn id(&self) -> Option<MessageId> {
        match self {
            EventBody::Message(message) => Some(message.id),
            EventBody::Edited { id, .. } | EventBody::Deleted { id, .. } | EventBody::Reacted { id, .. } => {
                Some(*id)
            }
            _ => None,
        }
    }
}

impl Event {
    /// The message, if it is one.
    pub fn message(&self) -> Option<&Message> {
        match &self.body {
            EventBody::Message(message) => Some(message),
            _ => None,
        }
    }

    /// Applies `by`, an event of the same room that rewrites this one. Anything else changes nothing. The one place
    /// that says what an edit or a deletion does to the edits before it.
    pub fn amend(&mut self, by: &Event) {
        if by.room != self.room || !by.body.rewrites().any(|seq| seq == self.seq) {
            return;
        }
        match &mut self.body {
            EventBody::Message(message) if by.body.amends() == Some(self.seq) => message.amend(by),
            EventBody::Edited { target, text, .. } if by.body.amends() == Some(*target) => {
                *text = SafeText::default();
            }
            _ => {}
        }
    }
}

/// Something that took a place in an account's inbox, its own log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its place in the inbox.
    pub seq: Seq,
    /// The epoch in which it got its place.
    pub epoch: Epoch,
    /// When the server accepted it.
    pub at: Timestamp,
    /// What it is.
    pub body: NoticeBody,
}

/// What a notice is. Variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoticeBody {
    /// The account is now a member: it joined or made the room (`by` is itself), or was invited.
    Entered {
        /// The room.
        room: RoomId,
        /// As this account sees it.
        target: Target,
        /// Who did it.
        by: AccountName,
    },
    /// The account is no longer a member: it left, or was kicked.
    Gone {
        /// The room.
        room: RoomId,
        /// As this account saw it.
        target: Target,
        /// Who did it.
        by: AccountName,
    },
    /// A message names the account.
    Mentioned {
        /// The room.
        room: RoomId,
        /// The message.
        seq: Seq,
        /// Who wrote it.
        by: AccountName,
    },
    /// A device of the account read up to here.
    Read {
        /// The room.
        room: RoomId,
        /// The last event read.
        seq: Seq,
    },
    /// A device was added to the account, or revoked.
    Devices,
    /// A device of the account marked this message as unread: what is behind the one before it was not read.
    Unread {
        /// The room.
        room: RoomId,
        /// The first message that is unread now.
        seq: Seq,
    },
}
