//! What can be wrong with a history, in words that lead to it. Places are `epoch-seq`, as in the server's log.

use std::fmt;

use quip_protocol::{AccountName, Cursor, MessageId, NodeName, RoomId, Seq};

use super::history::Sent;

/// A message, as people look for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Whose.
    pub client: AccountName,
    /// Which of theirs.
    pub number: u64,
    /// Its id.
    pub id: MessageId,
}

impl From<&Sent> for Named {
    fn from(sent: &Sent) -> Named {
        Named { client: sent.client.clone(), number: sent.number, id: sent.id }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of {} ({})", self.number, self.client, self.id)
    }
}

/// One thing that may not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing can be said.
    #[error("no node's logs were read: nothing was checked")]
    NoNodes,
    /// A sender waits for ever.
    #[error("unacknowledged: {message} to room {} has neither receipt nor refusal", room.0)]
    Unacknowledged {
        /// Which.
        message: Named,
        /// Where to.
        room: RoomId,
    },
    /// It was acknowledged, and a node does not have it.
    #[error("lost: {message} was acknowledged by {acked} at {} in room {}, and {node} does not have it", place(*.at), room.0)]
    Lost {
        /// Which.
        message: Named,
        /// Who acknowledged it.
        acked: NodeName,
        /// Where it was said to be.
        at: Cursor,
        /// In which room.
        room: RoomId,
        /// Who lacks it.
        node: NodeName,
    },
    /// A node has it twice.
    #[error("doubled: {id} is at {} in room {} of {node}, and at {} in room {} again", place(first.1), first.0.0, place(again.1), again.0.0)]
    Doubled {
        /// Its id.
        id: MessageId,
        /// Where it is first.
        first: (RoomId, Cursor),
        /// Where it is once more.
        again: (RoomId, Cursor),
        /// Who has it so.
        node: NodeName,
    },
    /// It is not where its receipt says.
    #[error("moved: {message} was acknowledged by {acked} at {} in room {}, and {node} has it at {} in room {}", place(said.1), said.0.0, place(found.1), found.0.0)]
    Moved {
        /// Which.
        message: Named,
        /// Who acknowledged it.
        acked: NodeName,
        /// What the receipt said.
        said: (RoomId, Cursor),
        /// Where it is.
        found: (RoomId, Cursor),
        /// Who has it so.
        node: NodeName,
    },
    /// It is somebody else's.
    #[error("mistaken: {node} says that {message} is of {author}")]
    Mistaken {
        /// Which.
        message: Named,
        /// Whose the node says it is.
        author: AccountName,
        /// Which node.
        node: NodeName,
    },
    /// A room's log has a hole, or goes back.
    #[error("sparse: {node} has {} in room {} where seq {expected} belongs", place(*.found), room.0)]
    Sparse {
        /// The room.
        room: RoomId,
        /// The next seq.
        expected: Seq,
        /// What is there.
        found: Cursor,
        /// Which node.
        node: NodeName,
    },
    /// Two nodes do not have the same.
    #[error("different: at seq {seq} of room {} {one} has {}, and {other} has {}", room.0, what(.has.0), what(.has.1))]
    Different {
        /// The room.
        room: RoomId,
        /// The first place that differs.
        seq: Seq,
        /// A node.
        one: NodeName,
        /// Another.
        other: NodeName,
        /// What each has there.
        has: Box<(Option<Stands>, Option<Stands>)>,
    },
    /// It stands before one that was acknowledged before it was sent.
    #[error("overtaken: {then} was sent at {begun} and stands at seq {} of room {}, before {first}, acknowledged at {acked}, at seq {}", seqs.1, room.0, seqs.0)]
    Overtaken {
        /// The room.
        room: RoomId,
        /// The one that was acknowledged.
        first: Named,
        /// When.
        acked: u64,
        /// The one that was sent later.
        then: Named,
        /// When.
        begun: u64,
        /// Where the two stand.
        seqs: (Seq, Seq),
    },
    /// A client was told of a place twice, and not that it would be.
    #[error("went back: {client} saw {} in room {} after {}, and was not told to fetch again", place(*.to), room.0, place(*.from))]
    WentBack {
        /// Who.
        client: AccountName,
        /// The room.
        room: RoomId,
        /// Where it was.
        from: Cursor,
        /// Where that led.
        to: Cursor,
    },
    /// A client was not told of a place.
    #[error("skipped: {client} saw {} in room {} where seq {expected} belongs", place(*.found), room.0)]
    Skipped {
        /// Who.
        client: AccountName,
        /// The room.
        room: RoomId,
        /// The next seq.
        expected: Seq,
        /// What it saw.
        found: Cursor,
    },
    /// What a client has in the end is not the room's log.
    #[error("misled: at seq {seq} of room {} {client} has {}, and {node} has {}", room.0, what(.has.0), what(.has.1))]
    Misled {
        /// Who.
        client: AccountName,
        /// The room.
        room: RoomId,
        /// The first place that differs.
        seq: Seq,
        /// With whom it was compared.
        node: NodeName,
        /// What each has there.
        has: Box<(Option<Stands>, Option<Stands>)>,
    },
}

/// What stands at a place: its epoch and seq, and the id of a message.
pub type Stands = (Cursor, Option<MessageId>);

fn place(at: Cursor) -> String {
    format!("{}-{}", at.epoch, at.seq)
}

fn what(stands: Option<Stands>) -> String {
    match stands {
        Some((at, Some(id))) => format!("{id} at {}", place(at)),
        Some((at, None)) => format!("an event that is no message at {}", place(at)),
        None => "nothing".to_owned(),
    }
}
