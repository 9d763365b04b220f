//! Accounts, devices, codes and tokens.

use quip_protocol::limits::MAX_LINE;
use quip_protocol::{
    AccountId, AccountName, Cursor, DeviceKey, ErrorCode, NoticeBody, Role, RoomId, RoomName, SafeLine,
    Timestamp,
};
use quip_storage::record::{Account, Change, Device, Grant, Invite};

use super::{Applied, By, NotApplied, Outcome, Step, refuse};

/// The room that everyone is in, made with the server.
pub const GENERAL: &str = "general";
/// Most accounts that one code makes.
const MAX_USES: u32 = 10_000;
/// Most devices of one account, revoked ones not counted. An operator may allow fewer.
pub const MAX_DEVICES: u32 = 64;
/// Most bots of one account. An operator may allow fewer.
pub const MAX_BOTS: u32 = 100;
/// Most keys of all bots of one account, revoked ones not counted: all of them are told in one reply.
const MAX_TOKENS: usize = 256;

impl Step<'_> {
    /// Resolves the key that asks.
    pub(super) fn device_account(&self, key: &DeviceKey) -> Result<By, NotApplied> {
        let account = self.state.account_of(key)?;
        Ok(By { id: account.id, account: account.clone() })
    }

    pub(super) fn redeem(
        &mut self,
        key: DeviceKey,
        hash: &[u8; 32],
        name: Option<&AccountName>,
        label: &SafeLine,
    ) -> Applied {
        self.check_new_device(&key, label)?;
        let invite = self.good_invite(hash)?;
        let (room, admin) = match invite.grant {
            Grant::Account { room, admin } => (room, admin),
            Grant::FirstOwner => (None, true),
            Grant::Device(account) => {
                self.check_device_room(account)?;
                self.use_up(invite);
                self.add_device(key, account, label);
                self.notify(account, NoticeBody::Devices);
                return Ok(Outcome::Account(account));
            }
        };
        let Some(name) = name else {
            return refuse(
                ErrorCode::BadRequest,
                "this link makes a new account: say which with --name NAME",
            );
        };
        self.check_name_free(name)?;
        let room = room.filter(|room| self.may_still_invite(invite.by, *room));
        self.use_up(invite);
        let by = self.new_account(name, None, admin);
        self.add_device(key, by.id, label);
        self.enter_first_rooms(&by, room);
        Ok(Outcome::Account(by.id))
    }

    pub(super) fn register(&mut self, key: DeviceKey, name: &AccountName, label: &SafeLine) -> Applied {
        self.check_new_device(&key, label)?;
        self.check_name_free(name)?;
        let by = self.new_account(name, None, false);
        self.add_device(key, by.id, label);
        self.enter_first_rooms(&by, None);
        Ok(Outcome::Account(by.id))
    }

    pub(super) fn new_invite(
        &mut self,
        by: Option<&By>,
        hash: [u8; 32],
        room: Option<&RoomName>,
        admin: bool,
        uses: u32,
        expires: Timestamp,
    ) -> Applied {
        if by.is_some_and(|by| by.account.bot_of.is_some()) {
            return refuse(ErrorCode::Forbidden, "a bot cannot invite people; ask its owner");
        }
        if uses == 0 || uses > MAX_USES {
            return refuse(ErrorCode::TooMany, format!("a link makes 1 to {MAX_USES} accounts"));
        }
        let room = match (room, by) {
            (None, _) => None,
            (Some(name), Some(by)) => Some(self.room_to_write(by, name, Role::Member)?),
            (Some(name), None) => Some(self.named_room(name)?),
        };
        let grant = Grant::Account { room, admin };
        self.put(Change::Invite(Invite { hash, grant, by: by.map(|by| by.id), uses_left: uses, expires }));
        Ok(Outcome::Done)
    }

    pub(super) fn new_device_code(&mut self, by: &By, hash: [u8; 32], expires: Timestamp) -> Applied {
        if by.account.bot_of.is_some() {
            return refuse(
                ErrorCode::Forbidden,
                "a bot has tokens, not devices; its owner makes another token",
            );
        }
        self.check_device_room(by.id)?;
        self.put(Change::Invite(Invite {
            hash,
            grant: Grant::Device(by.id),
            by: Some(by.id),
            uses_left: 1,
            expires,
        }));
        Ok(Outcome::Done)
    }

    pub(super) fn revoke_device(&mut self, by: Option<&By>, key: &DeviceKey) -> Applied {
        let known = self.state.devices.get(key);
        let Some(device) = known.filter(|device| by.is_none_or(|by| device.account == by.id)).cloned() else {
            return refuse(ErrorCode::NoSuchDevice, "no such device; `quip device list` shows their keys");
        };
        let account = device.account;
        if !device.revoked {
            self.put(Change::Device(Device { revoked: true, ..device }));
            self.withdraw_device_codes(account);
            self.notify(account, NoticeBody::Devices);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn new_token(
        &mut self,
        by: &By,
        name: &AccountName,
        key: &DeviceKey,
        label: &SafeLine,
    ) -> Applied {
        self.check_new_device(key, label)?;
        if by.account.bot_of.is_some() {
            return refuse(ErrorCode::Forbidden, "a bot cannot make tokens; ask its owner");
        }
        let bot = match self.state.account_names.get(name).copied() {
            None => {
                self.check_bots(by)?;
                self.check_tokens(by)?;
                let bot = self.new_account(name, Some(by.id), false);
                self.enter_first_rooms(&bot, None);
                bot.id
            }
            Some(bot) if self.state.accounts.get(&bot).is_some_and(|a| a.bot_of == Some(by.id)) => {
                self.check_device_room(bot)?;
                self.check_tokens(by)?;
                bot
            }
            Some(_) => {
                return refuse(ErrorCode::NameTaken, format!("the name {name} is taken; choose another"));
            }
        };
        self.add_device(*key, bot, label);
        Ok(Outcome::Account(bot))
    }

    pub(super) fn revoke_token(&mut self, by: &By, name: &AccountName) -> Applied {
        let bot = self.state.account_names.get(name).copied();
        let own = bot.filter(|bot| self.state.accounts.get(bot).is_some_and(|a| a.bot_of == Some(by.id)));
        let Some(bot) = own else {
            return refuse(
                ErrorCode::NoSuchDevice,
                format!("you have no bot named {name}; see `quip token list`"),
            );
        };
        let keys = self.state.devices_of.get(&bot).into_iter().flatten();
        let devices: Vec<Device> = keys.filter_map(|key| self.state.devices.get(key)).cloned().collect();
        for device in devices.into_iter().filter(|device| !device.revoked) {
            self.put(Change::Device(Device { revoked: true, ..device }));
        }
        Ok(Outcome::Done)
    }

    pub(super) fn suspend(&mut self, name: &AccountName, on: bool) -> Applied {
        let id = self.named_account(name)?;
        let account = self.state.accounts.get(&id).cloned();
        if let Some(account) = account.filter(|account| account.suspended != on) {
            self.put(Change::Account(Account { suspended: on, ..account }));
        }
        Ok(Outcome::Account(id))
    }

    /// The id of an account by its name.
    pub(super) fn named_account(&self, name: &AccountName) -> Result<AccountId, NotApplied> {
        match self.state.account_names.get(name) {
            Some(id) => Ok(*id),
            None => refuse(
                ErrorCode::NoSuchAccount,
                format!("there is no account named {name}; check the spelling"),
            ),
        }
    }

    fn check_new_device(&self, key: &DeviceKey, label: &SafeLine) -> Result<(), NotApplied> {
        if label.len() > MAX_LINE {
            return refuse(ErrorCode::TooLong, format!("a device label has at most {MAX_LINE} bytes"));
        }
        match self.state.devices.get(key) {
            None => Ok(()),
            Some(device) if device.revoked => {
                refuse(ErrorCode::Revoked, "this device's key was revoked here; make a new key")
            }
            Some(_) => refuse(
                ErrorCode::NameTaken,
                "this device already has an account here; `quip whoami` says which",
            ),
        }
    }

    fn check_device_room(&self, account: AccountId) -> Result<(), NotApplied> {
        if self.state.live_devices(account) >= MAX_DEVICES as usize {
            return refuse(
                ErrorCode::TooMany,
                format!("an account has at most {MAX_DEVICES} devices; revoke one first"),
            );
        }
        Ok(())
    }

    fn check_bots(&self, by: &By) -> Result<(), NotApplied> {
        if self.state.bots_of.get(&by.id).is_some_and(|bots| bots.len() >= MAX_BOTS as usize) {
            let text = format!("an account has at most {MAX_BOTS} bots; give one of yours another token");
            return refuse(ErrorCode::TooMany, text);
        }
        Ok(())
    }

    fn check_tokens(&self, by: &By) -> Result<(), NotApplied> {
        let bots = self.state.bots_of.get(&by.id).into_iter().flatten();
        if bots.map(|bot| self.state.live_devices(*bot)).sum::<usize>() >= MAX_TOKENS {
            let text = format!("an account has at most {MAX_TOKENS} tokens; revoke those of a bot first");
            return refuse(ErrorCode::TooMany, text);
        }
        Ok(())
    }

    fn check_name_free(&self, name: &AccountName) -> Result<(), NotApplied> {
        if self.state.account_names.contains_key(name) {
            return refuse(ErrorCode::NameTaken, format!("the name {name} is taken; choose another"));
        }
        Ok(())
    }

    /// A code that can be used now. Only its holder learns that it was used or is too old.
    fn good_invite(&self, hash: &[u8; 32]) -> Result<Invite, NotApplied> {
        match self.state.invites.get(hash) {
            None if self.state.spent.contains(hash) => {
                refuse(ErrorCode::UsedCode, "this code was already used or withdrawn; ask for a new link")
            }
            None => refuse(ErrorCode::BadCode, "this code is not valid here; ask for a new link"),
            Some(invite) if invite.expires < self.at => {
                refuse(ErrorCode::ExpiredCode, "this code has expired; ask for a new link")
            }
            Some(invite) if self.is_suspended(invite.by) => {
                refuse(ErrorCode::BadCode, "this code is not valid here; ask for a new link")
            }
            Some(invite) => Ok(invite.clone()),
        }
    }

    /// Of the codes that starts made for the first owner none is good any more.
    pub(super) fn withdraw_first_owner_codes(&mut self) {
        self.withdraw(|invite| invite.grant == Grant::FirstOwner);
    }

    /// Whoever has the lost device may have made a code with it: codes of the account that wait are good no longer.
    fn withdraw_device_codes(&mut self, account: AccountId) {
        self.withdraw(|invite| invite.grant == Grant::Device(account));
    }

    fn withdraw(&mut self, which: impl Fn(&Invite) -> bool) {
        let codes = self.state.invites.values().filter(|invite| which(invite));
        let mut codes: Vec<Invite> = codes.cloned().collect();
        // The order of changes must be the same everywhere.
        codes.sort_unstable_by_key(|invite| invite.hash);
        for code in codes {
            self.put(Change::Invite(Invite { uses_left: 0, ..code }));
        }
    }

    /// Whoever made the link must still be able to bring someone into the room: a link is no way back in.
    fn may_still_invite(&self, by: Option<AccountId>, room: RoomId) -> bool {
        by.is_none_or(|by| self.state.rooms.get(&room).and_then(|room| room.role(by)) >= Some(Role::Member))
    }

    fn is_suspended(&self, account: Option<AccountId>) -> bool {
        account.and_then(|id| self.state.accounts.get(&id)).is_some_and(|account| account.suspended)
    }

    fn use_up(&mut self, invite: Invite) {
        self.put(Change::Invite(Invite { uses_left: invite.uses_left - 1, ..invite }));
    }

    fn new_account(&mut self, name: &AccountName, bot_of: Option<AccountId>, admin: bool) -> By {
        let id = self.state.accounts.last_key_value().map_or(AccountId(1), |(last, _)| AccountId(last.0 + 1));
        let account = Account {
            id,
            name: name.clone(),
            bot_of,
            admin,
            suspended: false,
            created_at: self.at,
            inbox: Cursor { epoch: self.terms.epoch, ..Cursor::default() },
        };
        self.put(Change::Account(account.clone()));
        By { id, account }
    }

    fn add_device(&mut self, key: DeviceKey, account: AccountId, label: &SafeLine) {
        self.put(Change::Device(Device {
            key,
            account,
            label: label.clone(),
            added_at: self.at,
            revoked: false,
        }));
    }

    fn enter_first_rooms(&mut self, by: &By, room: Option<RoomId>) {
        let general =
            GENERAL.parse::<RoomName>().ok().and_then(|name| self.state.room_names.get(&name).copied());
        let role = if by.account.admin { Role::Owner } else { Role::Member };
        let rooms = [general.map(|room| (room, role)), room.map(|room| (room, Role::Member))];
        for (room, role) in rooms.into_iter().flatten() {
            let state = &self.state.rooms[&room];
            // Nothing is written in an archived room; and one code may name the room that everyone is in.
            if !state.room.archived && state.role(by.id).is_none() {
                self.enter(by, room, role);
            }
        }
    }
}
