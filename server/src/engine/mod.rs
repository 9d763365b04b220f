//! The engine: PURE and deterministic. It knows no clock, no randomness, no disk; time is a field of the command.
//!
//! [`Engine::apply`] takes one command and either refuses it, changing nothing, or changes the state and says what
//! changed. Applying the same commands in the same order under the same terms leads every node, and every restart, to
//! the same state; [`entry`] says how a rule is changed.

pub mod accounts;
pub mod command;
pub mod consumers;
pub mod entry;
pub mod messages;
pub mod people;
pub mod query;
pub mod rooms;
mod sorted;
pub mod state;

use quip_protocol::{
    AccountId, Cursor, ErrorCode, Event, EventBody, MessageId, Notice, NoticeBody, Receipt, Refusal, RoomId,
    Seq, Timestamp,
};
use quip_storage::record::{Account, Change, RecordedEvent, RecordedNotice, Snapshot};

pub use command::{Actor, Command, CommandBody};
pub use entry::{Entry, EntryError, Rules, Terms};
pub use state::{RoomState, State};

/// What the engine asks about the past, which it does not hold in memory. Answers follow from the log before the
/// command, and from nothing else.
pub trait Past {
    /// The receipt of a message id, and whose it is.
    ///
    /// # Errors
    /// When it cannot be read.
    fn receipt(&self, id: MessageId) -> Result<Option<(AccountId, Receipt)>, Unreadable>;

    /// An event as it is now, amended.
    ///
    /// # Errors
    /// When it cannot be read.
    fn event(&self, room: RoomId, seq: Seq) -> Result<Option<Event>, Unreadable>;
}

/// The past could not be read: deciding without it would not be deterministic, so nothing is decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read what was stored: {0}")]
pub struct Unreadable(pub String);

/// Why a command was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotApplied {
    /// It was refused; nothing changed.
    Refused(Refusal),
    /// It could not be decided; the writer must stop.
    Unreadable(Unreadable),
}

impl From<Refusal> for NotApplied {
    fn from(refusal: Refusal) -> Self {
        NotApplied::Refused(refusal)
    }
}

impl From<Unreadable> for NotApplied {
    fn from(unreadable: Unreadable) -> Self {
        NotApplied::Unreadable(unreadable)
    }
}

/// What an applied command comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to tell.
    Done,
    /// A place in a room.
    Receipt(Receipt),
    /// An account.
    Account(AccountId),
    /// A room.
    Room(RoomId),
    /// A durable cursor.
    Consumer {
        /// Its room.
        room: RoomId,
        /// The last event read.
        cursor: Cursor,
        /// Whether it was made just now.
        new: bool,
    },
}

/// The engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Engine {
    state: State,
}

type Applied = Result<Outcome, NotApplied>;

impl Engine {
    /// The engine as it was stored.
    pub fn from_snapshot(snapshot: Snapshot) -> Engine {
        Engine { state: State::from_snapshot(snapshot) }
    }

    /// Whether nobody has an account yet, and so nobody owns the server.
    pub fn is_unowned(&self) -> bool {
        self.state.accounts.is_empty()
    }

    /// Applies one command under the terms of its entry and appends what changed to `changes`.
    ///
    /// # Errors
    /// Refusals, which changed nothing; and [`Unreadable`].
    pub fn apply(
        &mut self,
        past: &impl Past,
        terms: Terms,
        command: &Command,
        changes: &mut Vec<Change>,
    ) -> Applied {
        let mut step = Step { state: &mut self.state, changes, terms, at: command.at };
        match command.by {
            Actor::Operator => step.operate(&command.body),
            Actor::Device(key) => match &command.body {
                CommandBody::Redeem { hash, name, label } => step.redeem(key, hash, name.as_ref(), label),
                CommandBody::Register { name, label } => step.register(key, name, label),
                body => {
                    let by = step.device_account(&key)?;
                    step.act(past, by, body)
                }
            },
        }
    }
}

/// One command being applied.
struct Step<'a> {
    state: &'a mut State,
    changes: &'a mut Vec<Change>,
    terms: Terms,
    at: Timestamp,
}

/// The account that asks: looked up once, copied, so that the state can change meanwhile.
struct By {
    id: AccountId,
    account: Account,
}

fn refuse<T>(code: ErrorCode, text: impl AsRef<str>) -> Result<T, NotApplied> {
    Err(Refusal::new(code, text).into())
}

impl Step<'_> {
    fn operate(&mut self, body: &CommandBody) -> Applied {
        match body {
            CommandBody::Bootstrap { owner, expires } => self.bootstrap(*owner, *expires),
            CommandBody::NewInvite { hash, room, admin, uses, expires } => {
                self.new_invite(None, *hash, room.as_ref(), *admin, *uses, *expires)
            }
            CommandBody::Suspend { name, on } => self.suspend(name, *on),
            CommandBody::RevokeDevice { key } => self.revoke_device(None, key),
            CommandBody::Archive { room } => self.archive(None, room),
            CommandBody::Restore { room } => self.restore(room),
            _ => refuse(ErrorCode::Forbidden, "an operator has no account for that; use a client"),
        }
    }

    fn act(&mut self, past: &impl Past, by: By, body: &CommandBody) -> Applied {
        match body {
            CommandBody::Post { target, id, kind, text, reply_to } => {
                self.post(past, &by, target, *id, *kind, text, *reply_to)
            }
            CommandBody::Edit { room, target, id, text } => self.edit(past, &by, *room, *target, *id, text),
            CommandBody::Delete { room, target, id } => self.delete(past, &by, *room, *target, *id),
            CommandBody::React { room, target, id, emoji, on } => {
                self.react(past, &by, *room, *target, *id, emoji, *on)
            }
            CommandBody::Mark { room, seq } => self.mark(past, &by, *room, *seq),
            CommandBody::MarkUnread { room, seq } => self.mark_unread(past, &by, *room, *seq),
            CommandBody::OpenDirect { with } => self.open_direct(&by, with).map(Outcome::Room),
            CommandBody::CreateRoom { name, private, topic, members } => {
                self.create_room(&by, name, *private, topic, members)
            }
            CommandBody::Join { room } => self.join(&by, room),
            CommandBody::Leave { room } => self.leave(&by, room),
            CommandBody::Invite { room, who } => self.invite(&by, room, who),
            CommandBody::Kick { room, who, reason } => self.kick(&by, room, who, reason),
            CommandBody::SetRole { room, who, role } => self.set_role(&by, room, who, *role),
            CommandBody::SetTopic { room, topic } => self.set_topic(&by, room, topic),
            CommandBody::Archive { room } => self.archive(Some(&by), room),
            CommandBody::NewInvite { hash, room, admin: _, uses, expires } => {
                self.new_invite(Some(&by), *hash, room.as_ref(), false, *uses, *expires)
            }
            CommandBody::NewDeviceCode { hash, expires } => self.new_device_code(&by, *hash, *expires),
            CommandBody::RevokeDevice { key } => self.revoke_device(Some(&by), key),
            CommandBody::NewToken { name, key, label } => self.new_token(&by, name, key, label),
            CommandBody::RevokeToken { name } => self.revoke_token(&by, name),
            CommandBody::OpenConsumer { name, target, since } => {
                self.open_consumer(past, &by, name, target, *since)
            }
            CommandBody::MoveConsumer { name, room, cursor } => self.move_consumer(&by, name, *room, *cursor),
            CommandBody::DropConsumer { name, target } => self.drop_consumer(&by, name, target.as_ref()),
            CommandBody::Bootstrap { .. }
            | CommandBody::Restore { .. }
            | CommandBody::Suspend { .. }
            | CommandBody::Redeem { .. }
            | CommandBody::Register { .. } => refuse(ErrorCode::Forbidden, "only an operator may do that"),
        }
    }

    /// The one way anything changes.
    fn put(&mut self, change: Change) {
        self.state.put(&change);
        self.changes.push(change);
    }

    /// Gives an event its place in a room.
    fn record(&mut self, room: RoomId, by: &By, body: EventBody) -> Receipt {
        let head = self.state.rooms.get(&room).map(|room| room.head).unwrap_or_default();
        let is_message = matches!(body, EventBody::Message(_));
        let event = Event {
            room,
            epoch: self.terms.epoch,
            seq: head.cursor.seq.next(),
            at: self.at,
            ordinal: head.ordinal + u64::from(is_message),
            author: by.account.name.clone(),
            body,
        };
        let id = event.body.id().unwrap_or(MessageId::from_bytes([0; 16]));
        let receipt = Receipt { room, epoch: event.epoch, seq: event.seq, id };
        self.put(Change::Event(RecordedEvent::new(event, by.id)));
        receipt
    }

    /// Gives a notice its place in an account's inbox.
    fn notify(&mut self, account: AccountId, body: NoticeBody) {
        let Some(mut record) = self.state.accounts.get(&account).cloned() else { return };
        record.inbox.seq = record.inbox.seq.next();
        record.inbox.epoch = self.terms.epoch;
        let notice = Notice { seq: record.inbox.seq, epoch: record.inbox.epoch, at: self.at, body };
        self.put(Change::Account(record));
        self.put(Change::Notice(RecordedNotice::new(account, notice)));
    }
}
