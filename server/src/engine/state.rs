//! The state that the engine decides on: records and the indexes over them. Every mutation is a [`Change`], so that
//! what is stored and what is held cannot differ.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use quip_protocol::{AccountId, AccountName, ConsumerName, Cursor, DeviceKey, Role, RoomId, RoomName};
use quip_storage::record::{
    Account, Change, Consumer, Device, Head, Invite, Member, Room, Snapshot, Standing,
};

use super::people::People;
use super::sorted::Sorted;

/// A room, where its log stands, and everyone who has to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomState {
    /// The record.
    pub room: Room,
    /// Where the log stands.
    pub head: Head,
    /// Members, and those who were removed.
    pub people: People,
}

impl RoomState {
    /// The role of a member.
    pub fn role(&self, account: AccountId) -> Option<Role> {
        self.people.role(account)
    }

    /// The whole record of an account that has to do with it.
    pub fn member(&self, account: AccountId) -> Option<Member> {
        self.people.member(self.room.id, account)
    }

    /// How many are in.
    pub fn members(&self) -> u32 {
        u32::try_from(self.people.len()).unwrap_or(u32::MAX)
    }

    /// How many of them own it.
    pub(super) fn owners(&self) -> usize {
        self.people.roles().filter(|(_, role)| *role == Role::Owner).count()
    }

    /// Ids of everyone who is in.
    pub fn member_ids(&self) -> impl Iterator<Item = AccountId> + '_ {
        self.people.roles().map(|(account, _)| account)
    }
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub(super) accounts: BTreeMap<AccountId, Account>,
    pub(super) account_names: HashMap<AccountName, AccountId>,
    pub(super) devices: HashMap<DeviceKey, Device>,
    pub(super) devices_of: HashMap<AccountId, Sorted<DeviceKey>>,
    pub(super) bots_of: HashMap<AccountId, BTreeSet<AccountId>>,
    /// Codes that can be used, but for those that are too old.
    pub(super) invites: HashMap<[u8; 32], Invite>,
    /// Hashes of those that were used up or withdrawn: their holders are told so. Nothing else of them is asked for.
    pub(super) spent: HashSet<[u8; 32]>,
    pub(super) rooms: BTreeMap<RoomId, RoomState>,
    pub(super) room_names: BTreeMap<RoomName, RoomId>,
    pub(super) rooms_of: HashMap<AccountId, Sorted<RoomId>>,
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
        for invite in &snapshot.invites {
            state.put_invite(invite);
        }
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
            Change::Invite(invite) => self.put_invite(invite),
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

    fn put_invite(&mut self, invite: &Invite) {
        if invite.uses_left > 0 {
            self.spent.remove(&invite.hash);
            self.invites.insert(invite.hash, invite.clone());
        } else {
            self.invites.remove(&invite.hash);
            self.spent.insert(invite.hash);
        }
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
                let state = RoomState { room, head: Head::default(), people: People::default() };
                self.rooms.insert(id, state);
            }
        }
    }

    fn put_member(&mut self, member: Member) {
        let Some(room) = self.rooms.get_mut(&member.room) else { return };
        let is_in = matches!(member.standing, Standing::In(_));
        let (id, account) = (member.room, member.account);
        room.people.put(member);
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
            state.people.remove(account);
        }
        self.not_in(account, room);
    }
}
