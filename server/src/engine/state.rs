//! The state that the engine decides on: records and the indexes over them. Every mutation is a [`Change`], so that
//! what is stored and what is held cannot differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quip_protocol::{AccountId, AccountName, ConsumerName, Cursor, DeviceKey, Role, RoomId, RoomName};
use quip_storage::record::{
    Account, Change, Consumer, Device, Head, Invite, Member, Room, Snapshot, Standing,
};

/// A room, where its log stands, and everyone who has to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomState {
    /// The record.
    pub room: Room,
    /// Where the log stands.
    pub head: Head,
    /// Members, and those who were removed.
    pub people: BTreeMap<AccountId, Member>,
    /// How many of `people` are in.
    pub members: u32,
}

impl RoomState {
    /// The role of a member.
    pub fn role(&self, account: AccountId) -> Option<Role> {
        match self.people.get(&account)?.standing {
            Standing::In(role) => Some(role),
            Standing::Removed(_) => None,
        }
    }

    /// Ids of everyone who is in.
    pub fn member_ids(&self) -> impl Iterator<Item = AccountId> + '_ {
        self.people.values().filter(|m| matches!(m.standing, Standing::In(_))).map(|m| m.account)
    }
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub(super) accounts: BTreeMap<AccountId, Account>,
    pub(super) account_names: HashMap<AccountName, AccountId>,
    pub(super) devices: HashMap<DeviceKey, Device>,
    pub(super) devices_of: HashMap<AccountId, BTreeSet<DeviceKey>>,
    pub(super) bots_of: HashMap<AccountId, BTreeSet<AccountId>>,
    pub(super) invites: HashMap<[u8; 32], Invite>,
    pub(super) rooms: BTreeMap<RoomId, RoomState>,
    pub(super) room_names: BTreeMap<RoomName, RoomId>,
    pub(super) rooms_of: HashMap<AccountId, BTreeSet<RoomId>>,
    /// Direct rooms by their two members, the lesser id first.
    pub(super) directs: HashMap<(AccountId, AccountId), RoomId>,
    pub(super) consumers: HashMap<AccountId, BTreeMap<(RoomId, ConsumerName), Cursor>>,
}

/// The key of a direct room.
pub(super) fn pair(a: AccountId, b: AccountId) -> (AccountId, AccountId) {
    (a.min(b), a.max(b))
}

impl State {
    /// The state that was stored.
    pub fn from_snapshot(snapshot: Snapshot) -> State {
        let mut state = State::default();
        for account in snapshot.accounts {
            state.put_account(account);
        }
        for device in snapshot.devices {
            state.put_device(device);
        }
        state.invites = snapshot.invites.into_iter().map(|invite| (invite.hash, invite)).collect();
        for (room, head) in snapshot.rooms {
            let id = room.id;
            state.put_room(room);
            if let Some(room) = state.rooms.get_mut(&id) {
                room.head = head;
            }
        }
        for member in snapshot.members {
            state.put_member(member);
        }
        for consumer in snapshot.consumers {
            state.put_consumer(consumer);
        }
        state
    }

    /// Applies one change.
    pub(super) fn put(&mut self, change: &Change) {
        match change {
            Change::Account(account) => self.put_account(account.clone()),
            Change::Device(device) => self.put_device(device.clone()),
            Change::Invite(invite) => {
                self.invites.insert(invite.hash, invite.clone());
            }
            Change::Room(room) => self.put_room(room.clone()),
            Change::Member(member) => self.put_member(member.clone()),
            Change::MemberGone(room, account) => self.remove_member(*room, *account),
            Change::Event(recorded) => {
                if let Some(room) = self.rooms.get_mut(&recorded.event.room) {
                    room.head = Head {
                        cursor: Cursor { epoch: recorded.event.epoch, seq: recorded.event.seq },
                        ordinal: recorded.event.ordinal,
                        at: recorded.event.at,
                    };
                }
            }
            Change::Consumer(consumer) => self.put_consumer(consumer.clone()),
            Change::ConsumerGone(account, room, name) => self.remove_consumer(*account, *room, name),
            // The inbox head is part of the account's record.
            Change::Notice(_) => {}
        }
    }

    fn put_account(&mut self, account: Account) {
        if let Some(owner) = account.bot_of {
            self.bots_of.entry(owner).or_default().insert(account.id);
        }
        self.account_names.insert(account.name.clone(), account.id);
        self.accounts.insert(account.id, account);
    }

    fn put_device(&mut self, device: Device) {
        self.devices_of.entry(device.account).or_default().insert(device.key);
        self.devices.insert(device.key, device);
    }

    fn put_room(&mut self, room: Room) {
        if let Some(name) = &room.name {
            self.room_names.insert(name.clone(), room.id);
        }
        if let Some(pair) = room.direct {
            self.directs.insert(pair, room.id);
        }
        match self.rooms.get_mut(&room.id) {
            Some(state) => state.room = room,
            None => {
                let id = room.id;
                let state = RoomState { room, head: Head::default(), people: BTreeMap::new(), members: 0 };
                self.rooms.insert(id, state);
            }
        }
    }

    fn put_member(&mut self, member: Member) {
        let Some(room) = self.rooms.get_mut(&member.room) else { return };
        let is_in = matches!(member.standing, Standing::In(_));
        let (id, account) = (member.room, member.account);
        let was_in = room.role(account).is_some();
        room.people.insert(account, member);
        room.members = room.members + u32::from(is_in) - u32::from(was_in);
        if is_in {
            self.rooms_of.entry(account).or_default().insert(id);
        } else {
            self.not_in(account, id);
        }
    }

    fn put_consumer(&mut self, consumer: Consumer) {
        let own = self.consumers.entry(consumer.account).or_default();
        own.insert((consumer.room, consumer.name), consumer.cursor);
    }

    /// An account without consumers has no map of them, as if it had never had one.
    fn remove_consumer(&mut self, account: AccountId, room: RoomId, name: &ConsumerName) {
        if let Some(own) = self.consumers.get_mut(&account) {
            own.remove(&(room, name.clone()));
            if own.is_empty() {
                self.consumers.remove(&account);
            }
        }
    }

    /// An account that is in no room has no set of rooms, as if it had never been in one.
    fn not_in(&mut self, account: AccountId, room: RoomId) {
        if let Some(rooms) = self.rooms_of.get_mut(&account) {
            rooms.remove(&room);
            if rooms.is_empty() {
                self.rooms_of.remove(&account);
            }
        }
    }

    fn remove_member(&mut self, room: RoomId, account: AccountId) {
        if let Some(state) = self.rooms.get_mut(&room) {
            let was_in = state.role(account).is_some();
            state.people.remove(&account);
            state.members -= u32::from(was_in);
        }
        self.not_in(account, room);
    }
}
