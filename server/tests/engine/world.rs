//! A world of one engine: its past in plain maps, accounts by name, and a check on every command that a refusal
//! changes nothing.

use std::collections::{BTreeMap, HashMap};

use quip_protocol::room::RoomSummary;
use quip_protocol::{
    AccountId, AccountName, DeviceKey, Epoch, ErrorCode, Event, MessageId, MessageKind, NoticeBody, Receipt,
    Refusal, RoomId, RoomName, SafeLine, SafeText, Seq, Target, Timestamp,
};
use quip_server::engine::{
    Actor, Command, CommandBody, Engine, NotApplied, Outcome, Past, Rules, Terms, Unreadable,
};
use quip_storage::record::{Change, Head, Snapshot};

/// The past in plain maps.
#[derive(Debug, Clone, Default)]
pub struct PlainPast {
    pub receipts: HashMap<MessageId, (AccountId, Receipt)>,
    pub events: BTreeMap<(RoomId, Seq), Event>,
}

impl Past for PlainPast {
    fn receipt(&self, id: MessageId) -> Result<Option<(AccountId, Receipt)>, Unreadable> {
        Ok(self.receipts.get(&id).copied())
    }

    fn event(&self, room: RoomId, seq: Seq) -> Result<Option<Event>, Unreadable> {
        Ok(self.events.get(&(room, seq)).cloned())
    }
}

impl PlainPast {
    pub fn note(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::Event(recorded) = change else { continue };
            let event = &recorded.event;
            if let Some(id) = recorded.id() {
                let receipt = Receipt { room: event.room, epoch: event.epoch, seq: event.seq, id };
                assert!(self.receipts.insert(id, (recorded.by, receipt)).is_none(), "{id} was taken twice");
            }
            for target in event.body.rewrites() {
                let rewritten =
                    self.events.get_mut(&(event.room, target)).expect("an event rewrites those before it");
                rewritten.amend(event);
            }
            self.events.insert((event.room, event.seq), event.clone());
        }
    }
}

/// What every command here is decided under.
pub const FIRST: Terms = Terms { epoch: Epoch::FIRST, rules: Rules::FIRST };
/// SHA-256 of the first owner's code, which nothing else here uses.
pub const OWNER: [u8; 32] = [0xee; 32];

/// One engine and all that led to it.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub engine: Engine,
    pub past: PlainPast,
    pub changes: Vec<Change>,
    pub now: Timestamp,
    ids: u128,
}

pub fn key(name: &str) -> DeviceKey {
    let mut bytes = [0x2e; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    DeviceKey(bytes)
}

pub fn account(name: &str) -> AccountName {
    name.parse().expect("a valid account name")
}

pub fn room(name: &str) -> RoomName {
    name.parse().expect("a valid room name")
}

pub fn id(number: u128) -> MessageId {
    MessageId::from_bytes(number.to_be_bytes())
}

/// The first command, with the code of the first owner.
pub fn bootstrap() -> CommandBody {
    CommandBody::Bootstrap { owner: OWNER, expires: Timestamp(1_000_000) }
}

pub fn post(target: &str, number: u128, text: &str) -> CommandBody {
    reply(target, number, text, None)
}

pub fn reply(target: &str, number: u128, text: &str, to: Option<u64>) -> CommandBody {
    CommandBody::Post {
        target: target.parse().expect("a valid target"),
        id: id(number),
        kind: MessageKind::Plain,
        text: SafeText::new(text),
        reply_to: to.map(Seq),
    }
}

pub fn react(room: RoomId, target: u64, number: u128, emoji: &str, on: bool) -> CommandBody {
    CommandBody::React { room, target: Seq(target), id: id(number), emoji: SafeLine::new(emoji), on }
}

pub fn create(name: &str, private: bool, members: &[&str]) -> CommandBody {
    CommandBody::CreateRoom {
        name: room(name),
        private,
        topic: SafeLine::default(),
        members: members.iter().map(|name| account(name)).collect(),
    }
}

pub fn kick(name: &str, who: &str) -> CommandBody {
    CommandBody::Kick { room: room(name), who: account(who), reason: SafeLine::default() }
}

pub fn invite(name: &str, who: &[&str]) -> CommandBody {
    CommandBody::Invite { room: room(name), who: who.iter().map(|name| account(name)).collect() }
}

pub fn set_role(name: &str, who: &str, role: quip_protocol::Role) -> CommandBody {
    CommandBody::SetRole { room: room(name), who: account(who), role }
}

impl World {
    /// With `#general`, and these people.
    pub fn with(names: &[&str]) -> World {
        let mut world = World { now: Timestamp(1_000), ids: 1 << 64, ..World::default() };
        world.apply(Actor::Operator, bootstrap()).expect("an empty log takes its first command");
        for name in names {
            world.register(name);
        }
        world
    }

    pub fn register(&mut self, name: &str) {
        let body = CommandBody::Register { name: account(name), label: SafeLine::new("laptop") };
        self.act(name, body).expect("the name is free");
    }

    /// An account that administers the server.
    pub fn admin(&mut self, name: &str) {
        let hash = [name.as_bytes()[0]; 32];
        let expires = self.now.plus_ms(1_000);
        let code = CommandBody::NewInvite { hash, room: None, admin: true, uses: 1, expires };
        self.apply(Actor::Operator, code).expect("an operator makes codes");
        let redeem = CommandBody::Redeem { hash, name: Some(account(name)), label: SafeLine::new("laptop") };
        self.act(name, redeem).expect("the code is good");
    }

    /// Applies one command; a refusal must have changed nothing.
    pub fn apply(&mut self, by: Actor, body: CommandBody) -> Result<Outcome, Refusal> {
        let before = self.engine.clone();
        let result = self.apply_unchecked(by, body);
        if result.is_err() {
            assert!(self.engine == before, "a refused command changed the state: {result:?}");
        }
        result
    }

    /// The same without the comparison, for many commands on a large state.
    pub fn apply_unchecked(&mut self, by: Actor, body: CommandBody) -> Result<Outcome, Refusal> {
        self.now = self.now.plus_ms(1);
        let command = Command { at: self.now, by, body };
        let mut changes = Vec::new();
        match self.engine.apply(&self.past, FIRST, &command, &mut changes) {
            Ok(outcome) => {
                self.past.note(&changes);
                self.changes.extend(changes);
                Ok(outcome)
            }
            Err(NotApplied::Refused(refusal)) => {
                assert!(changes.is_empty(), "a refused command left {changes:?}: {refusal:?}");
                Err(refusal)
            }
            Err(NotApplied::Unreadable(unreadable)) => panic!("plain maps can be read: {unreadable}"),
        }
    }

    /// The device of `name` asks.
    pub fn act(&mut self, name: &str, body: CommandBody) -> Result<Outcome, Refusal> {
        self.apply(Actor::Device(key(name)), body)
    }

    /// The command goes through.
    pub fn does(&mut self, name: &str, body: CommandBody) -> Outcome {
        self.act(name, body.clone()).unwrap_or_else(|refusal| panic!("{name}: {body:?}: {refusal:?}"))
    }

    /// The command is refused with this code.
    pub fn refuses(&mut self, name: &str, body: CommandBody, code: ErrorCode) {
        let result = self.act(name, body.clone());
        assert_eq!(result.map_err(|refusal| refusal.code), Err(code), "{name}: {body:?}");
    }

    pub fn operates(&mut self, body: CommandBody) {
        self.apply(Actor::Operator, body).expect("an operator may");
    }

    /// A message with an id of its own goes through; its seq.
    pub fn say(&mut self, name: &str, target: &str, text: &str) -> u64 {
        self.ids += 1;
        match self.does(name, post(target, self.ids, text)) {
            Outcome::Receipt(receipt) => receipt.seq.0,
            other => panic!("a post gives a receipt, not {other:?}"),
        }
    }

    pub fn account_id(&self, name: &str) -> AccountId {
        self.engine.account_named(&account(name)).expect("the account was made")
    }

    pub fn room_id(&self, name: &str) -> RoomId {
        let named = |state: &&quip_server::engine::RoomState| state.room.name == Some(room(name));
        self.engine.all_rooms().find(named).expect("the room was made").room.id
    }

    /// The room as `name` sees it.
    pub fn sees(&self, name: &str, target: &str) -> RoomSummary {
        let account = self.account_id(name);
        let target: Target = target.parse().expect("a valid target");
        let room = self.engine.resolve(account, &target).expect("the room can be seen");
        self.engine.summary(account, room).expect("a room that was resolved is there")
    }

    /// The notices of an inbox, oldest first.
    pub fn inbox(&self, name: &str) -> Vec<NoticeBody> {
        let account = self.account_id(name);
        let own = self.changes.iter().filter_map(|change| match change {
            Change::Notice(recorded) if recorded.account == account => Some(recorded.notice.body.clone()),
            _ => None,
        });
        own.collect()
    }

    /// The message at a place as it is now.
    pub fn event(&self, room: RoomId, seq: u64) -> &Event {
        &self.past.events[&(room, Seq(seq))]
    }
}

/// What a store would hold after these changes.
pub fn snapshot(changes: &[Change]) -> Snapshot {
    let (mut accounts, mut devices, mut invites) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let (mut rooms, mut heads, mut members) = (BTreeMap::new(), HashMap::new(), BTreeMap::new());
    let mut consumers = BTreeMap::new();
    for change in changes {
        match change {
            Change::Account(account) => drop(accounts.insert(account.id, account.clone())),
            Change::Device(device) => drop(devices.insert(device.key, device.clone())),
            Change::Invite(invite) => drop(invites.insert(invite.hash, invite.clone())),
            Change::Room(room) => drop(rooms.insert(room.id, room.clone())),
            Change::Member(member) => drop(members.insert((member.room, member.account), member.clone())),
            Change::MemberGone(room, account) => drop(members.remove(&(*room, *account))),
            Change::Event(recorded) => {
                let event = &recorded.event;
                let cursor = quip_protocol::Cursor { epoch: event.epoch, seq: event.seq };
                heads.insert(event.room, Head { cursor, ordinal: event.ordinal, at: event.at });
            }
            Change::Consumer(it) => {
                drop(consumers.insert((it.account, it.room, it.name.clone()), it.clone()));
            }
            Change::ConsumerGone(account, room, name) => {
                drop(consumers.remove(&(*account, *room, name.clone())));
            }
            Change::Notice(_) => {}
        }
    }
    Snapshot {
        accounts: accounts.into_values().collect(),
        devices: devices.into_values().collect(),
        invites: invites.into_values().collect(),
        rooms: rooms
            .into_values()
            .map(|room| {
                let head = heads.get(&room.id).copied().unwrap_or_default();
                (room, head)
            })
            .collect(),
        members: members.into_values().collect(),
        consumers: consumers.into_values().collect(),
    }
}
