//! Who is there and who is away: this user, and the members of rooms. Imports types of the protocol alone.

use std::collections::BTreeMap;

use quip_protocol::datagram;
use quip_protocol::frame::Request;
use quip_protocol::limits::{MAX_AWAY, MAX_TOLD_MEMBERS};
use quip_protocol::room::{AccountSummary, AwaySummary, MemberSummary};
use quip_protocol::{AccountName, RoomId, SafeLine, Target, Timestamp};

use super::room::{Room, Rooms};
use super::sheet::Line;
use super::{App, Effect, Input, MEMBERS_EVERY_MS, Sheet, TOLD_MEMBERS_EVERY_MS, dates};

/// Whether the user is there.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Away {
    /// As far as is known.
    #[default]
    No,
    /// They said so, and say so when they are back.
    Said(SafeLine),
    /// No key was pressed for long; the next one ends it.
    Idle,
}

/// This user's own presence.
#[derive(Debug, Default)]
pub(super) struct Own {
    away: Away,
    active_at: Timestamp,
}

impl Own {
    /// Somebody who is there now.
    pub(super) fn new(now: Timestamp) -> Own {
        Own { away: Away::No, active_at: now }
    }
}

/// How somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence<'a> {
    /// A device of theirs is active.
    Online,
    /// All that are connected are not, and this is what was said.
    Away(&'a str),
    /// None is connected.
    Offline,
}

impl<'a> Presence<'a> {
    /// That of somebody who is connected, or is not, and of whom this is known.
    pub fn of(online: bool, away: Option<&'a SafeLine>) -> Presence<'a> {
        match (online, away) {
            (false, _) => Presence::Offline,
            (true, Some(text)) => Presence::Away(text.as_str()),
            (true, None) => Presence::Online,
        }
    }

    /// In one character.
    pub fn sign(self) -> &'static str {
        match self {
            Presence::Online => "●",
            Presence::Away(_) => "◐",
            Presence::Offline => "○",
        }
    }

    /// In words.
    pub fn words(self) -> String {
        match self {
            Presence::Online => "online".to_owned(),
            Presence::Away("") => "away".to_owned(),
            Presence::Away(text) => format!("away: {text}"),
            Presence::Offline => "offline".to_owned(),
        }
    }
}

impl Room {
    /// How a member is.
    pub fn presence(&self, member: &MemberSummary) -> Presence<'_> {
        Presence::of(member.online, self.away.get(&member.name))
    }

    /// How often its members are asked for, in milliseconds: where the server tells of changes, that only repairs what
    /// got lost.
    pub(super) fn members_every_ms(&self) -> u64 {
        if self.summary.members <= MAX_TOLD_MEMBERS { TOLD_MEMBERS_EVERY_MS } else { MEMBERS_EVERY_MS }
    }

    fn is_now(&mut self, who: &AccountName, now: &datagram::Presence) {
        let members = &mut self.members;
        let Some(member) = members.list.iter_mut().find(|member| member.name == *who) else { return };
        let online = *now != datagram::Presence::Offline;
        match (member.online, online) {
            (false, true) => members.online += 1,
            (true, false) => members.online = members.online.saturating_sub(1),
            _ => {}
        }
        member.online = online;
        match now {
            datagram::Presence::Away { text } => drop(self.away.insert(who.clone(), text.clone())),
            _ => drop(self.away.remove(who)),
        }
    }

    /// How the other one of a direct room is, once that is known.
    pub fn other(&self) -> Option<Presence<'_>> {
        let Target::Direct(name) = &self.summary.target else { return None };
        let asked = self.members.asked_at != Timestamp::default();
        let found = self.members.list.iter().find(|member| asked && member.name == *name);
        found.map(|member| self.presence(member))
    }
}

impl Rooms {
    /// Without a connection nobody knows who is there.
    pub(super) fn forget_presence(&mut self) {
        for room in self.all_mut() {
            (room.members.online, room.members.asked_at) = (0, Timestamp::default());
            room.members.list.iter_mut().for_each(|member| member.online = false);
            room.away.clear();
        }
    }
}

impl App {
    /// Somebody comes, goes or is away: so they are in every list.
    pub(super) fn is_now(&mut self, who: &AccountName, now: &datagram::Presence) {
        let ids: Vec<RoomId> = self.rooms.listed().map(|(id, _)| id).collect();
        for id in ids {
            if let Some(room) = self.rooms.get_mut(id) {
                room.is_now(who, now);
            }
        }
    }

    /// Takes note that time passes, or that the user is there.
    pub(super) fn note_activity(&mut self, input: &Input) {
        match input {
            Input::Key(_) | Input::Paste(_) | Input::Line(_) | Input::Mouse { .. } => self.active(),
            Input::Focus(true) | Input::Composed(_) => self.active(),
            Input::Tick => self.idle(),
            _ => {}
        }
    }

    /// The user did something at another server. What follows for this one.
    pub(super) fn user_is_beside(&mut self, input: &Input, now: Timestamp) -> Vec<Effect> {
        if !matches!(input, Input::Tick) {
            self.now = now;
            self.note_activity(input);
        }
        std::mem::take(&mut self.effects)
    }

    fn active(&mut self) {
        self.own.active_at = self.now;
        if self.own.away == Away::Idle {
            self.own.away = Away::No;
            self.tell_presence();
        }
    }

    fn idle(&mut self) {
        let after = self.preferences.away_after_ms;
        if after > 0 && self.own.away == Away::No && self.now >= self.own.active_at.plus_ms(after) {
            self.own.away = Away::Idle;
            self.changed = true;
            self.tell_presence();
        }
    }

    /// `/away`: with a text, or when the user is there, away; else back.
    pub(super) fn set_away(&mut self, text: SafeLine) -> Result<(), String> {
        if text.len() > MAX_AWAY {
            return Err(format!("why you are away has at most {MAX_AWAY} bytes; shorten it"));
        }
        let back = text.is_empty() && matches!(self.own.away, Away::Said(_));
        self.own.away = if back { Away::No } else { Away::Said(text) };
        self.say(if back { "you are back" } else { "you are away; /away says that you are back" });
        self.tell_presence();
        Ok(())
    }

    /// The server knows of presence only while there is a connection: it is told with each one.
    pub(super) fn tell_presence_again(&mut self) {
        if self.own.away != Away::No {
            self.tell_presence();
        }
    }

    fn tell_presence(&mut self) {
        let text = match &self.own.away {
            Away::No => None,
            Away::Said(text) => Some(text.clone()),
            Away::Idle => Some(SafeLine::default()),
        };
        if self.is_up() && self.me.is_some() {
            self.ask(Request::SetAway { text });
        }
    }

    /// That this user is away, in words.
    pub(super) fn own_away(&self) -> Option<String> {
        match &self.own.away {
            Away::No => None,
            Away::Idle => Some("away: no key was pressed for long".to_owned()),
            Away::Said(text) => Some(format!("{} · /away ends it", Presence::Away(text.as_str()).words())),
        }
    }

    /// Who is away of a room, whose members are asked for next; or whether somebody is who was asked about.
    pub(super) fn away_came(&mut self, target: Target, members: Vec<AwaySummary>) {
        let away: BTreeMap<AccountName, SafeLine> =
            members.into_iter().map(|member| (member.name, member.text)).collect();
        let about = |name: &AccountName| target == Target::Direct(name.clone());
        if let Some(account) = self.asked_account.take_if(|account| about(&account.name)) {
            let presence = Presence::of(account.online, away.get(&account.name));
            return self.who_is(&account, presence);
        }
        if let Some(room) = self.rooms.find(&target).and_then(|id| self.rooms.get_mut(id)) {
            room.away = away;
            self.ask(Request::Members { target, after: None });
        }
    }

    fn who_is(&mut self, account: &AccountSummary, presence: Presence<'_>) {
        let yes = |what: bool, word: &str| if what { format!(", {word}") } else { String::new() };
        let mut lines = vec![
            Line::Pair("Now".to_owned(), presence.words()),
            Line::Pair(
                "Kind".to_owned(),
                format!(
                    "{}{}{}",
                    if account.bot { "bot" } else { "person" },
                    yes(account.admin, "administers the server"),
                    yes(account.suspended, "suspended")
                ),
            ),
            Line::Pair("Account since".to_owned(), dates::date_and_time(account.created_at, &self.zone)),
        ];
        if let Some(owner) = &account.owner {
            lines.push(Line::Pair("Made by".to_owned(), owner.to_string()));
        }
        self.sheet = Some(Sheet::new(account.name.to_string(), lines));
    }
}

/// A member in a list.
pub(super) fn member_line(member: &MemberSummary, presence: Presence<'_>) -> Line {
    let words = presence.words();
    let mut about = vec![words.as_str()];
    if member.role != quip_protocol::Role::Member {
        about.push(member.role.as_str());
    }
    if member.bot {
        about.push("bot");
    }
    Line::Pair(format!("{} {}", presence.sign(), member.name), about.join(", "))
}
