//! Questions about the state, answered without changing it: who may see what, and how it is shown to them.

use std::cmp::Reverse;
use std::ops::Bound;

use quip_protocol::limits::MAX_LISTED;
use quip_protocol::room::{AccountSummary, DeviceSummary, MemberSummary, RoomSummary};
use quip_protocol::{
    AccountId, AccountName, DeviceKey, ErrorCode, Refusal, Role, RoomId, RoomKind, RoomName, Target,
    Timestamp,
};
use quip_storage::record::{Account, Device, Grant, Head, Standing};

use super::{Engine, RoomState, State};

/// Of a person's devices that were revoked, so many are listed: the newest.
const REVOKED_LISTED: usize = 64;
/// Of a bot's.
const REVOKED_LISTED_OF_BOT: usize = 1;

impl State {
    /// Devices of an account that may connect.
    pub(super) fn live_devices(&self, account: AccountId) -> usize {
        let keys = self.devices_of.get(&account).into_iter().flatten();
        keys.filter(|key| self.devices.get(*key).is_some_and(|device| !device.revoked)).count()
    }

    /// The account of a key that may act.
    pub(super) fn account_of(&self, key: &DeviceKey) -> Result<&Account, Refusal> {
        let unknown = || {
            Refusal::new(
                ErrorCode::UnknownDevice,
                "this device is not known here; join with a link first: quip join LINK --name NAME",
            )
        };
        let device = self.devices.get(key).ok_or_else(unknown)?;
        if device.revoked {
            return Err(Refusal::new(
                ErrorCode::Revoked,
                "this device was revoked; join again with a new QUIP_HOME",
            ));
        }
        let account = self.accounts.get(&device.account).ok_or_else(unknown)?;
        // A bot is suspended with its owner.
        let owner = account.bot_of.and_then(|owner| self.accounts.get(&owner));
        if account.suspended || owner.is_some_and(|owner| owner.suspended) {
            return Err(Refusal::new(
                ErrorCode::Suspended,
                "this account was suspended; ask the server's operator",
            ));
        }
        Ok(account)
    }

    /// A room by its target, if `account` may know that it exists. A private room is to a stranger as if it did
    /// not exist.
    pub(super) fn resolve(&self, account: AccountId, target: &Target) -> Result<RoomId, Refusal> {
        match target {
            Target::Room(name) => {
                let room = self.room_names.get(name).and_then(|id| self.rooms.get(id));
                room.filter(|room| room.room.kind == RoomKind::Public || room.member(account).is_some())
                    .map(|room| room.room.id)
                    .ok_or_else(|| no_such_room(name))
            }
            Target::Direct(name) => {
                let other = self.account_names.get(name).ok_or_else(|| no_such_account(name))?;
                self.directs.get(&super::state::pair(account, *other)).copied().ok_or_else(|| {
                    Refusal::new(
                        ErrorCode::NoSuchRoom,
                        format!("there is no conversation with {name} yet; send something first"),
                    )
                })
            }
        }
    }

    /// Refuses unless `account` is in the room.
    pub(super) fn check_member(&self, account: AccountId, room: RoomId) -> Result<(), Refusal> {
        let state = self.rooms.get(&room);
        match state.and_then(|state| state.member(account)).map(|member| member.standing) {
            Some(Standing::In(_)) => Ok(()),
            Some(Standing::Removed(by)) => {
                let name = state.and_then(|state| state.room.name.as_ref());
                let name = name.map_or(String::new(), |name| format!(" from #{name}"));
                let text = format!("you were removed{name} by {by}; ask a moderator to invite you again");
                Err(Refusal::new(ErrorCode::Removed, text))
            }
            None => match state
                .filter(|state| state.room.kind == RoomKind::Public)
                .and_then(|s| s.room.name.as_ref())
            {
                Some(name) => Err(Refusal::new(
                    ErrorCode::NotMember,
                    format!("you are not in #{name}; join first: quip room join '#{name}'"),
                )),
                None => {
                    Err(Refusal::new(ErrorCode::NoSuchRoom, "there is no such room, or you are not in it"))
                }
            },
        }
    }

    /// Where a room's log stands, if `account` may read it: members, and everyone in a public room.
    pub(super) fn readable(&self, account: AccountId, room: RoomId) -> Result<Head, Refusal> {
        match self.check_member(account, room) {
            Err(refusal) if refusal.code != ErrorCode::NotMember => Err(refusal),
            _ => Ok(self.rooms[&room].head),
        }
    }

    /// What `account` calls a room.
    pub(super) fn target_for(&self, account: AccountId, room: &RoomState) -> Target {
        match (&room.room.name, room.room.direct) {
            (Some(name), _) => Target::Room(name.clone()),
            (None, Some((a, b))) => {
                Target::Direct(self.accounts[&if a == account { b } else { a }].name.clone())
            }
            (None, None) => unreachable!("a room has a name or two members: rooms.rs makes no other"),
        }
    }
}

impl Engine {
    /// The account of a key that may act.
    ///
    /// # Errors
    /// When the key is unknown or revoked, or the account suspended.
    pub fn account_of(&self, key: &DeviceKey) -> Result<&Account, Refusal> {
        self.state.account_of(key)
    }

    /// An account by id.
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.state.accounts.get(&id)
    }

    /// A room by its target, if the account may know of it.
    ///
    /// # Errors
    /// When there is none.
    pub fn resolve(&self, account: AccountId, target: &Target) -> Result<RoomId, Refusal> {
        self.state.resolve(account, target)
    }

    /// Where a room's log stands, if `account` may read it: members, and everyone in a public room.
    ///
    /// # Errors
    /// When it may not.
    pub fn readable(&self, account: AccountId, room: RoomId) -> Result<Head, Refusal> {
        self.state.readable(account, room)
    }

    /// A room as `account` sees it.
    pub fn summary(&self, account: AccountId, room: RoomId) -> Option<RoomSummary> {
        let state = self.state.rooms.get(&room)?;
        let member = state.member(account).filter(|_| state.role(account).is_some());
        Some(RoomSummary {
            id: room,
            target: self.state.target_for(account, state),
            kind: state.room.kind,
            topic: state.room.topic.clone(),
            archived: state.room.archived,
            role: state.role(account),
            members: state.members(),
            head: state.head.cursor,
            active_at: state.head.at,
            read: member.as_ref().map_or(state.head.cursor.seq, |m| m.read),
            unread: member.as_ref().map_or(0, |m| state.head.ordinal.saturating_sub(m.read_ordinal)),
            mentions: member.as_ref().map_or(0, |m| u32::try_from(m.mentions.len()).unwrap_or(u32::MAX)),
        })
    }

    /// A page of the rooms that `account` is in, and whether there are more.
    pub fn rooms(&self, account: AccountId, after: Option<RoomId>) -> (Vec<RoomSummary>, bool) {
        let Some(rooms) = self.state.rooms_of.get(&account) else { return (Vec::new(), false) };
        paged(rooms.after(after.as_ref()).filter_map(|room| self.summary(account, *room)))
    }

    /// The rooms that `account` is in.
    pub fn rooms_of(&self, account: AccountId) -> impl Iterator<Item = &RoomState> {
        let rooms = self.state.rooms_of.get(&account).into_iter().flatten();
        rooms.filter_map(|room| self.state.rooms.get(room))
    }

    /// A page of the public rooms by name, and whether there are more.
    pub fn public_rooms(&self, account: AccountId, after: Option<&RoomName>) -> (Vec<RoomSummary>, bool) {
        let names = self
            .state
            .room_names
            .range::<RoomName, _>((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
        let public =
            names.filter(|(_, id)| self.state.rooms.get(id).is_some_and(|r| r.room.kind == RoomKind::Public));
        paged(public.filter_map(|(_, room)| self.summary(account, *room)))
    }

    /// All rooms with a name, for the operator.
    pub fn all_rooms(&self) -> impl Iterator<Item = &RoomState> {
        self.state.rooms.values().filter(|state| state.room.name.is_some())
    }

    /// All accounts, for the operator.
    pub fn all_accounts(&self) -> impl Iterator<Item = &Account> {
        self.state.accounts.values()
    }

    /// A page of a room's members by name, and whether there are more.
    pub fn members(
        &self,
        room: RoomId,
        after: Option<&AccountName>,
        online: impl Fn(AccountId) -> bool,
    ) -> (Vec<MemberSummary>, bool) {
        let Some(state) = self.state.rooms.get(&room) else { return (Vec::new(), false) };
        let mut ids: Vec<(&AccountName, AccountId)> = state
            .member_ids()
            .filter_map(|id| self.state.accounts.get(&id).map(|account| (&account.name, id)))
            .filter(|(name, _)| after.is_none_or(|after| *name > after))
            .collect();
        ids.sort_unstable();
        paged(ids.into_iter().filter_map(|(name, id)| {
            let bot = self.state.accounts.get(&id)?.bot_of.is_some();
            Some(MemberSummary { name: name.clone(), role: state.role(id)?, online: online(id), bot })
        }))
    }

    /// A room's state.
    pub fn room(&self, room: RoomId) -> Option<&RoomState> {
        self.state.rooms.get(&room)
    }

    /// An account as others see it.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn account_named(&self, name: &AccountName) -> Result<AccountId, Refusal> {
        self.state.account_names.get(name).copied().ok_or_else(|| no_such_account(name))
    }

    /// An account as others see it.
    pub fn account_summary(&self, id: AccountId, online: bool) -> Option<AccountSummary> {
        let account = self.state.accounts.get(&id)?;
        let owner = account.bot_of.and_then(|owner| self.state.accounts.get(&owner));
        Some(AccountSummary {
            name: account.name.clone(),
            bot: account.bot_of.is_some(),
            owner: owner.map(|owner| owner.name.clone()),
            admin: account.admin,
            suspended: account.suspended,
            online,
            created_at: account.created_at,
        })
    }

    /// Devices of an account, by key. Of those that were revoked the newest: the list has to fit into a reply.
    pub fn devices(&self, account: AccountId, online: impl Fn(&DeviceKey) -> bool) -> Vec<DeviceSummary> {
        let is_bot = self.state.accounts.get(&account).is_some_and(|account| account.bot_of.is_some());
        let keys = self.state.devices_of.get(&account).into_iter().flatten();
        let all = keys.filter_map(|key| self.state.devices.get(key));
        let (mut revoked, mut listed): (Vec<&Device>, Vec<&Device>) = all.partition(|device| device.revoked);
        revoked.sort_unstable_by_key(|device| (Reverse(device.added_at), device.key));
        revoked.truncate(if is_bot { REVOKED_LISTED_OF_BOT } else { REVOKED_LISTED });
        listed.append(&mut revoked);
        listed.sort_unstable_by_key(|device| device.key);
        listed
            .into_iter()
            .map(|device| DeviceSummary {
                key: device.key,
                label: device.label.clone(),
                added_at: device.added_at,
                revoked: device.revoked,
                online: online(&device.key),
            })
            .collect()
    }

    /// Devices of an account that may connect.
    pub fn live_devices(&self, account: AccountId) -> usize {
        self.state.live_devices(account)
    }

    /// Codes of an account that can still be used: links that make accounts, and codes for its own devices.
    pub fn open_codes(&self, account: AccountId, now: Timestamp) -> (usize, usize) {
        let own = self.state.invites.values().filter(|invite| invite.by == Some(account));
        let open = own.filter(|invite| invite.expires >= now);
        let (links, devices): (Vec<_>, Vec<_>) =
            open.partition(|invite| matches!(invite.grant, Grant::Account { .. }));
        (links.len(), devices.len())
    }

    /// Rooms with a name that an account owns and that are not archived.
    pub fn owned_rooms(&self, account: AccountId) -> usize {
        let rooms = self.state.rooms_of.get(&account).into_iter().flatten();
        let rooms = rooms.filter_map(|room| self.state.rooms.get(room)).filter(|state| !state.room.archived);
        rooms.filter(|state| state.role(account) == Some(Role::Owner)).count()
    }

    /// Bots of an account.
    pub fn bots(&self, account: AccountId) -> impl Iterator<Item = AccountId> + '_ {
        self.state.bots_of.get(&account).into_iter().flatten().copied()
    }
}

/// One page of a listing, and whether there is more.
fn paged<T>(items: impl Iterator<Item = T>) -> (Vec<T>, bool) {
    let limit = MAX_LISTED as usize;
    let mut items: Vec<T> = items.take(limit + 1).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    (items, more)
}

fn no_such_room(name: &RoomName) -> Refusal {
    Refusal::new(ErrorCode::NoSuchRoom, format!("there is no room #{name}, or you are not in it"))
}

fn no_such_account(name: &AccountName) -> Refusal {
    Refusal::new(ErrorCode::NoSuchAccount, format!("there is no account named {name}; check the spelling"))
}
