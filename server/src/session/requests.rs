//! Requests: which are commands for the log, and which are questions answered from the state.

use quip_protocol::frame::{Reply, Request};
use quip_protocol::limits::MAX_LISTED;
use quip_protocol::room::BotSummary;
use quip_protocol::{AccountId, Cursor, ErrorCode, InviteCode, Refusal, RoomId, Target, Timestamp};

use crate::engine::{CommandBody, Engine, Outcome};
use crate::feed::{FeedKey, Tier};

use super::Session;

/// How long a device code is good, in milliseconds.
const DEVICE_CODE_MS: u64 = 10 * 60 * 1000;
/// The longest that an invite can be good, in seconds: thirty days.
const MAX_INVITE_S: u32 = 30 * 24 * 3600;

/// What is done about a request.
pub enum Todo {
    /// It goes into the log; its outcome is the reply.
    Append(CommandBody),
    /// It goes into the log; the reply tells a secret that only the client learns.
    AppendCode(CommandBody, InviteCode, Timestamp),
    /// It was answered; the answer is told once this group is durable.
    Answer(Reply, u64),
    /// Rooms are to be watched.
    Watch(AccountId, Vec<(RoomId, Option<Cursor>)>, Tier),
    /// The inbox is to be watched.
    WatchInbox(AccountId, Option<Cursor>),
}

impl Session {
    /// Decides what to do about a request of a device that has an account.
    pub(super) fn decide(
        &self,
        account: AccountId,
        request: Request,
        now: Timestamp,
    ) -> Result<Todo, Refusal> {
        use CommandBody as C;
        Ok(Todo::Append(match request {
            Request::Post { target, id, kind, text, reply_to } => {
                C::Post { target, id, kind, text, reply_to }
            }
            Request::Edit { room, target, id, text } => C::Edit { room, target, id, text },
            Request::Delete { room, target, id } => C::Delete { room, target, id },
            Request::React { room, target, id, emoji, on } => C::React { room, target, id, emoji, on },
            Request::Mark { room, seq } => C::Mark { room, seq },
            Request::MarkUnread { room, seq } => C::MarkUnread { room, seq },
            Request::CreateRoom { name, private, topic, members } => {
                C::CreateRoom { name, private, topic, members }
            }
            Request::Join { room } => C::Join { room },
            Request::Leave { room } => C::Leave { room },
            Request::Invite { room, who } => C::Invite { room, who },
            Request::Kick { room, who, reason } => C::Kick { room, who, reason },
            Request::SetRole { room, who, role } => C::SetRole { room, who, role },
            Request::SetTopic { room, topic } => C::SetTopic { room, topic },
            Request::Archive { room } => C::Archive { room },
            Request::RevokeDevice { key } => C::RevokeDevice { key },
            Request::NewToken { name, key, label } => C::NewToken { name, key, label },
            Request::RevokeToken { name } => C::RevokeToken { name },
            Request::OpenConsumer { name, target, since } => C::OpenConsumer { name, target, since },
            Request::MoveConsumer { name, room, cursor } => C::MoveConsumer { name, room, cursor },
            Request::DropConsumer { name, target } => C::DropConsumer { name, target },
            Request::NewInvite { room, uses, ttl_s } => {
                let expires = now.plus_ms(u64::from(ttl_s.min(MAX_INVITE_S)) * 1_000);
                return new_code(expires, |hash| C::NewInvite { hash, room, admin: false, uses, expires });
            }
            Request::NewDeviceCode => {
                let expires = now.plus_ms(DEVICE_CODE_MS);
                return new_code(expires, |hash| C::NewDeviceCode { hash, expires });
            }
            Request::Redeem { .. } | Request::Register { .. } => {
                return Err(Refusal::new(
                    ErrorCode::NameTaken,
                    "this device already has an account here; `quip whoami` says which",
                ));
            }
            Request::Open { target } => return self.open(account, target),
            Request::Watch { rooms } => return Ok(Todo::Watch(account, rooms, Tier::Live)),
            Request::Digest { rooms } => return Ok(Todo::Watch(account, rooms, Tier::Digest)),
            Request::WatchInbox { from } => return Ok(Todo::WatchInbox(account, from)),
            Request::SetAway { text } => return Ok(Todo::Answer(self.set_away(account, text)?, 0)),
            Request::Unwatch { room } => {
                self.watching.remove(&self.shared.node.feeds, FeedKey::Room(room));
                return Ok(Todo::Answer(Reply::Done, 0));
            }
            question => return Ok(self.question(account, question)),
        }))
    }

    fn open(&self, account: AccountId, target: Target) -> Result<Todo, Refusal> {
        let found = self.ask(|engine| {
            let room = engine.resolve(account, &target)?;
            engine.readable(account, room)?;
            Ok::<_, Refusal>(engine.summary(account, room))
        });
        match (found.answer, target) {
            (Ok(Some(summary)), _) => Ok(Todo::Answer(Reply::Room(summary), found.group)),
            (Err(refusal), Target::Direct(with)) if refusal.code == ErrorCode::NoSuchRoom => {
                Ok(Todo::Append(CommandBody::OpenDirect { with }))
            }
            (Ok(None), _) => {
                Err(Refusal::new(ErrorCode::Internal, "the room has no state; tell the server's operator"))
            }
            (Err(refusal), _) => Ok(Todo::Answer(Reply::Refused(refusal), found.group)),
        }
    }

    /// A refusal tells of the state as any answer does: it waits for the same.
    fn question(&self, account: AccountId, question: Request) -> Todo {
        let sessions = &self.shared.node.sessions;
        let asked = self.ask(|engine| match question {
            Request::WhoAmI => account_reply(engine, account, true),
            Request::WhoIs { name } => {
                let id = engine.account_named(&name)?;
                account_reply(engine, id, sessions.is_online(id))
            }
            Request::Rooms { after } => {
                let (rooms, more) = engine.rooms(account, after);
                Ok(Reply::Rooms { rooms, more })
            }
            Request::PublicRooms { after } => {
                let (rooms, more) = engine.public_rooms(account, after.as_ref());
                Ok(Reply::Rooms { rooms, more })
            }
            Request::Members { target, after } => self.members(engine, account, &target, after.as_ref()),
            Request::WhoIsAway { target, after } => {
                self.who_is_away(engine, account, &target, after.as_ref())
            }
            Request::Devices => Ok(Reply::Devices(self.devices(engine, account))),
            Request::Tokens => {
                let bots = engine.bots(account).filter_map(|bot| {
                    let account = engine.account_summary(bot, sessions.is_online(bot))?;
                    Some(BotSummary { account, keys: self.devices(engine, bot) })
                });
                Ok(Reply::Tokens(bots.take(MAX_LISTED as usize).collect()))
            }
            Request::Consumers => Ok(Reply::Consumers(engine.consumers(account))),
            _ => Err(Refusal::new(ErrorCode::BadRequest, "this request is not known here")),
        });
        Todo::Answer(asked.answer.unwrap_or_else(Reply::Refused), asked.group)
    }

    fn devices(&self, engine: &Engine, account: AccountId) -> Vec<quip_protocol::room::DeviceSummary> {
        engine.devices(account, |key| self.shared.node.sessions.is_device_here(account, key))
    }

    fn members(
        &self,
        engine: &Engine,
        account: AccountId,
        target: &Target,
        after: Option<&quip_protocol::AccountName>,
    ) -> Result<Reply, Refusal> {
        let room = engine.resolve(account, target)?;
        engine.readable(account, room)?;
        let is_online = |id| self.shared.node.sessions.is_online(id);
        let (members, more) = engine.members(room, after, is_online);
        let state = engine.room(room);
        let online = state.map_or(0, |state| state.member_ids().filter(|id| is_online(*id)).count());
        Ok(Reply::Members {
            members,
            total: state.map_or(0, |state| state.members()),
            online: u32::try_from(online).unwrap_or(u32::MAX),
            more,
        })
    }

    /// The reply that tells an outcome.
    pub(super) fn render(engine: &Engine, account: AccountId, outcome: Outcome) -> Reply {
        let gone =
            || Reply::Refused(Refusal::new(ErrorCode::Internal, "what was just made is gone; try again"));
        match outcome {
            Outcome::Done => Reply::Done,
            Outcome::Receipt(receipt) => Reply::Receipt(receipt),
            Outcome::Consumer { room, cursor, new } => Reply::Consumer { room, cursor, new },
            Outcome::Account(id) => account_reply(engine, id, true).unwrap_or_else(Reply::Refused),
            Outcome::Room(room) => engine.summary(account, room).map_or_else(gone, Reply::Room),
        }
    }
}

fn account_reply(engine: &Engine, id: AccountId, online: bool) -> Result<Reply, Refusal> {
    engine
        .account_summary(id, online)
        .map(Reply::Account)
        .ok_or_else(|| Refusal::new(ErrorCode::NoSuchAccount, "there is no such account"))
}

fn new_code(expires: Timestamp, body: impl FnOnce([u8; 32]) -> CommandBody) -> Result<Todo, Refusal> {
    let code = InviteCode::generate().map_err(|_| {
        Refusal::retry(ErrorCode::Unavailable, "the server has no randomness now; try again", 1_000)
    })?;
    Ok(Todo::AppendCode(body(code.hash()), code, expires))
}
