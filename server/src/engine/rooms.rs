//! Rooms: making, entering, leaving, roles, topics.

use std::collections::HashSet;

use quip_protocol::limits::{MAX_LINE, MAX_NAMED_IN_EVENT, MAX_NAMES};
use quip_protocol::{
    AccountId, AccountName, ErrorCode, EventBody, NoticeBody, Role, RoomId, RoomKind, RoomName, SafeLine,
    Seq, Target, Timestamp,
};
use quip_storage::record::{Change, Grant, Invite, Member, Room, Standing};

use super::accounts::GENERAL;
use super::state::pair;
use super::{Applied, By, NotApplied, Outcome, Step, refuse};

impl Step<'_> {
    pub(super) fn bootstrap(&mut self, owner: [u8; 32], expires: Timestamp) -> Applied {
        if !self.state.accounts.is_empty() {
            return refuse(ErrorCode::BadRequest, "this server already has an account");
        }
        let general = GENERAL.parse().expect("the name of the first room is a valid name");
        if !self.state.room_names.contains_key(&general) {
            self.new_room(Some(general), RoomKind::Public, SafeLine::default(), None);
        }
        // Nobody has used the code of the start before, and who has seen it is not known. What the operator gave to
        // somebody stays good.
        self.withdraw_first_owner_codes();
        let grant = Grant::FirstOwner;
        self.put(Change::Invite(Invite { hash: owner, grant, by: None, uses_left: 1, expires }));
        Ok(Outcome::Done)
    }

    pub(super) fn create_room(
        &mut self,
        by: &By,
        name: &RoomName,
        private: bool,
        topic: &SafeLine,
        members: &[AccountName],
    ) -> Applied {
        check_line(topic, "a topic")?;
        if members.len() > MAX_NAMES {
            return refuse(
                ErrorCode::TooMany,
                format!("a room is made with at most {MAX_NAMES} members; invite the rest later"),
            );
        }
        if self.state.room_names.contains_key(name) {
            return refuse(ErrorCode::NameTaken, format!("the name #{name} is taken; choose another"));
        }
        let mut ids = Vec::with_capacity(members.len());
        for member in members {
            ids.push(self.named_account(member)?);
        }
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| *id != by.id);
        let kind = if private { RoomKind::Private } else { RoomKind::Public };
        let room = self.new_room(Some(name.clone()), kind, topic.clone(), None);
        self.admit(by, room, by.id, Role::Owner);
        for id in &ids {
            self.admit(by, room, *id, Role::Member);
        }
        let members = u32::try_from(ids.len() + 1).unwrap_or(u32::MAX);
        self.record(room, by, EventBody::Created { members });
        Ok(Outcome::Room(room))
    }

    /// The direct room with `with`, if there is one.
    pub(super) fn direct_with(&self, by: &By, with: &AccountName) -> Result<Option<RoomId>, NotApplied> {
        let other = self.named_account(with)?;
        Ok(self.state.directs.get(&pair(by.id, other)).copied())
    }

    /// The direct room with `with`, made if there is none.
    pub(super) fn open_direct(&mut self, by: &By, with: &AccountName) -> Result<RoomId, NotApplied> {
        if let Some(room) = self.direct_with(by, with)? {
            return Ok(room);
        }
        let other = self.named_account(with)?;
        let key = pair(by.id, other);
        let room = self.new_room(None, RoomKind::Direct, SafeLine::default(), Some(key));
        self.admit(by, room, by.id, Role::Member);
        if other != by.id {
            self.admit(by, room, other, Role::Member);
        }
        Ok(room)
    }

    pub(super) fn join(&mut self, by: &By, name: &RoomName) -> Applied {
        let room = self.visible_room(by, name)?;
        let state = &self.state.rooms[&room];
        match state.member(by.id).map(|member| member.standing) {
            Some(Standing::In(_)) => return Ok(Outcome::Room(room)),
            Some(Standing::Removed(who)) => return refuse_removed(name, &who),
            None => {}
        }
        if state.room.archived {
            return refuse_archived(name);
        }
        // A room that everyone has left belongs to whoever comes first.
        let role = if state.people.is_empty() { Role::Owner } else { Role::Member };
        self.enter(by, room, role);
        Ok(Outcome::Room(room))
    }

    pub(super) fn leave(&mut self, by: &By, name: &RoomName) -> Applied {
        let room = self.visible_room(by, name)?;
        let state = &self.state.rooms[&room];
        let Some(role) = state.role(by.id) else {
            return refuse(ErrorCode::NotMember, format!("you are not in #{name}"));
        };
        if role == Role::Owner && state.owners() == 1 && state.members() > 1 {
            return refuse(
                ErrorCode::Forbidden,
                format!(
                    "you are the only owner of #{name}; make someone else owner first: quip room role '#{name}' NAME owner"
                ),
            );
        }
        self.record(room, by, EventBody::Left);
        self.put(Change::MemberGone(room, by.id));
        self.notify(
            by.id,
            NoticeBody::Gone { room, target: name.clone().into(), by: by.account.name.clone() },
        );
        Ok(Outcome::Done)
    }

    pub(super) fn invite(&mut self, by: &By, name: &RoomName, who: &[AccountName]) -> Applied {
        let room = self.room_to_write(by, name, Role::Member)?;
        if who.is_empty() || who.len() > MAX_NAMES {
            return refuse(ErrorCode::TooMany, format!("invite 1 to {MAX_NAMES} accounts at once"));
        }
        let (mut ids, mut seen) = (Vec::with_capacity(who.len()), HashSet::with_capacity(who.len()));
        for member in who {
            let id = self.named_account(member)?;
            match self.state.rooms[&room].member(id).map(|member| member.standing) {
                Some(Standing::In(_)) => {}
                Some(Standing::Removed(_)) if self.power(by, room) < Some(Role::Moderator) => {
                    return refuse(
                        ErrorCode::Forbidden,
                        format!("{member} was removed from #{name}; only a moderator invites them again"),
                    );
                }
                _ if !seen.insert(id) => {}
                _ => ids.push(id),
            }
        }
        if ids.is_empty() {
            return Ok(Outcome::Done);
        }
        let named =
            ids.iter().take(MAX_NAMED_IN_EVENT).map(|id| self.state.accounts[id].name.clone()).collect();
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        self.record(room, by, EventBody::Invited { who: named, count });
        for id in ids {
            self.admit(by, room, id, Role::Member);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn kick(&mut self, by: &By, name: &RoomName, who: &AccountName, reason: &SafeLine) -> Applied {
        check_line(reason, "a reason")?;
        let room = self.room_to_write(by, name, Role::Moderator)?;
        let (id, _) = self.other_member(room, name, who)?;
        if id == by.id {
            return refuse(
                ErrorCode::BadRequest,
                format!("to go yourself, leave: quip room leave '#{name}'"),
            );
        }
        let power = self.power_of(id, room);
        if power >= self.power(by, room) {
            let role = power.unwrap_or(Role::Member);
            return refuse(
                ErrorCode::Forbidden,
                format!("{who} is {role} of #{name}; only a higher role removes them"),
            );
        }
        self.record(room, by, EventBody::Kicked { who: who.clone(), reason: reason.clone() });
        if let Some(member) = self.state.rooms[&room].member(id) {
            let standing = Standing::Removed(by.account.name.clone());
            self.put(Change::Member(Member { standing, ..member }));
        }
        self.notify(id, NoticeBody::Gone { room, target: name.clone().into(), by: by.account.name.clone() });
        Ok(Outcome::Done)
    }

    pub(super) fn set_role(&mut self, by: &By, name: &RoomName, who: &AccountName, role: Role) -> Applied {
        let room = self.room_to_write(by, name, Role::Moderator)?;
        let (id, had) = self.other_member(room, name, who)?;
        let power = self.power(by, room).unwrap_or(Role::Reader);
        if power < Role::Owner && (had >= power || role >= power) {
            return refuse(
                ErrorCode::Forbidden,
                format!("as {power} of #{name} you make readers and members only"),
            );
        }
        if had == Role::Owner && role != Role::Owner && self.state.rooms[&room].owners() == 1 {
            return refuse(
                ErrorCode::Forbidden,
                format!("{who} is the only owner of #{name}; make someone else owner first"),
            );
        }
        if let Some(member) = self.state.rooms[&room].member(id).filter(|_| had != role) {
            self.record(room, by, EventBody::RoleSet { who: who.clone(), role });
            self.put(Change::Member(Member { standing: Standing::In(role), ..member }));
        }
        Ok(Outcome::Done)
    }

    pub(super) fn set_topic(&mut self, by: &By, name: &RoomName, topic: &SafeLine) -> Applied {
        check_line(topic, "a topic")?;
        let room = self.room_to_write(by, name, Role::Moderator)?;
        let record = self.state.rooms[&room].room.clone();
        self.put(Change::Room(Room { topic: topic.clone(), ..record }));
        self.record(room, by, EventBody::Topic { topic: topic.clone() });
        Ok(Outcome::Done)
    }

    pub(super) fn archive(&mut self, by: Option<&By>, name: &RoomName) -> Applied {
        let room = match by {
            Some(by) => self.room_to_write(by, name, Role::Owner)?,
            None => self.named_room(name)?,
        };
        let record = self.state.rooms[&room].room.clone();
        if !record.archived {
            if let Some(by) = by {
                self.record(room, by, EventBody::Archived);
            }
            self.put(Change::Room(Room { archived: true, ..record }));
        }
        Ok(Outcome::Done)
    }

    /// Ends the archiving of a room. The operator's: like an operator's archiving it is no event of the room.
    pub(super) fn restore(&mut self, name: &RoomName) -> Applied {
        let room = self.named_room(name)?;
        let record = self.state.rooms[&room].room.clone();
        if record.archived {
            self.put(Change::Room(Room { archived: false, ..record }));
        }
        Ok(Outcome::Done)
    }

    /// A room by name, for the operator, who may know of every room.
    pub(super) fn named_room(&self, name: &RoomName) -> Result<RoomId, NotApplied> {
        match self.state.room_names.get(name) {
            Some(room) => Ok(*room),
            None => refuse(ErrorCode::NoSuchRoom, format!("there is no room #{name}")),
        }
    }

    /// A room by name, if this account may know of it.
    pub(super) fn visible_room(&self, by: &By, name: &RoomName) -> Result<RoomId, NotApplied> {
        Ok(self.state.resolve(by.id, &Target::Room(name.clone()))?)
    }

    /// A room that this account is in, with at least this power, and that is not archived.
    pub(super) fn room_to_write(&self, by: &By, name: &RoomName, least: Role) -> Result<RoomId, NotApplied> {
        let room = self.visible_room(by, name)?;
        self.check_power(by, room, least)?;
        Ok(room)
    }

    /// Refuses unless the account is in the room, has at least this power, and the room is not archived.
    pub(super) fn check_power(&self, by: &By, room: RoomId, least: Role) -> Result<(), NotApplied> {
        self.state.check_member(by.id, room)?;
        let state = &self.state.rooms[&room];
        let target = self.state.target_for(by.id, state);
        if state.room.archived {
            return refuse(ErrorCode::Archived, format!("{target} is archived: it can be read, not changed"));
        }
        match self.power(by, room) {
            Some(power) if power >= least => Ok(()),
            _ => {
                refuse(ErrorCode::Forbidden, format!("only a {least} of {target} may do that; ask its owner"))
            }
        }
    }

    /// The role that counts: whoever administers the server is an owner wherever they are a member.
    pub(super) fn power(&self, by: &By, room: RoomId) -> Option<Role> {
        self.power_of(by.id, room)
    }

    fn power_of(&self, account: AccountId, room: RoomId) -> Option<Role> {
        let role = self.state.rooms.get(&room)?.role(account)?;
        let is_admin = self.state.accounts.get(&account).is_some_and(|account| account.admin);
        Some(if is_admin { Role::Owner } else { role })
    }

    fn other_member(
        &self,
        room: RoomId,
        name: &RoomName,
        who: &AccountName,
    ) -> Result<(AccountId, Role), NotApplied> {
        let id = self.named_account(who)?;
        match self.state.rooms[&room].role(id) {
            Some(role) => Ok((id, role)),
            None => refuse(ErrorCode::NotMember, format!("{who} is not in #{name}")),
        }
    }

    fn new_room(
        &mut self,
        name: Option<RoomName>,
        kind: RoomKind,
        topic: SafeLine,
        direct: Option<(AccountId, AccountId)>,
    ) -> RoomId {
        let id = self.state.rooms.last_key_value().map_or(RoomId(1), |(last, _)| RoomId(last.0 + 1));
        self.put(Change::Room(Room { id, name, direct, kind, topic, archived: false }));
        id
    }

    /// The account enters by itself: an event, and its membership.
    pub(super) fn enter(&mut self, by: &By, room: RoomId, role: Role) {
        self.record(room, by, EventBody::Joined);
        self.admit(by, room, by.id, role);
    }

    /// Makes `account` a member, who has read everything so far, and tells its inbox.
    fn admit(&mut self, by: &By, room: RoomId, account: AccountId, role: Role) {
        let head = self.state.rooms[&room].head;
        let standing = Standing::In(role);
        let read = head.cursor.seq;
        self.put(Change::Member(Member {
            room,
            account,
            standing,
            read,
            read_ordinal: head.ordinal,
            mentions: Vec::new(),
        }));
        let target = self.state.target_for(account, &self.state.rooms[&room]);
        self.notify(account, NoticeBody::Entered { room, target, by: by.account.name.clone() });
    }

    /// The account has read up to here, if that is further than it was.
    pub(super) fn advance_marker(
        &mut self,
        room: RoomId,
        account: AccountId,
        seq: Seq,
        ordinal: u64,
    ) -> bool {
        let member = self.state.rooms.get(&room).and_then(|state| state.member(account));
        let Some(mut member) = member.filter(|member| member.read < seq) else { return false };
        member.read = seq;
        member.read_ordinal = ordinal;
        member.mentions.retain(|mention| *mention > seq);
        self.put(Change::Member(member));
        true
    }
}

pub(super) fn refuse_removed<T>(name: &RoomName, by: &AccountName) -> Result<T, NotApplied> {
    refuse(
        ErrorCode::Removed,
        format!("you were removed from #{name} by {by}; ask a moderator to invite you again"),
    )
}

fn refuse_archived<T>(name: &RoomName) -> Result<T, NotApplied> {
    refuse(ErrorCode::Archived, format!("#{name} is archived: it can be read, not changed"))
}

fn check_line(line: &SafeLine, what: &str) -> Result<(), NotApplied> {
    if line.len() > MAX_LINE {
        return refuse(ErrorCode::TooLong, format!("{what} has at most {MAX_LINE} bytes"));
    }
    Ok(())
}
