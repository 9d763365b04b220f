//! A room as the client knows it, and all of them in their order. Imports the state machines of its parts.

use std::collections::BTreeMap;

use quip_protocol::frame::PageFrom;
use quip_protocol::limits::MAX_UNREAD_MENTIONS;
use quip_protocol::room::{MemberSummary, RoomSummary};
use quip_protocol::{
    AccountName, Cursor, Event, EventBody, RoomId, RoomKind, SafeLine, Seq, Target, Timestamp,
};

use super::LARGE_PAGE;
use super::composer::Composer;
use super::digests::Digests;
use super::runs::Hole;
use super::scroll::Scroll;
use super::timeline::Timeline;

/// Members of a room, as far as they were fetched.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Members {
    /// By name.
    pub list: Vec<MemberSummary>,
    /// How many there are.
    pub total: u32,
    /// How many are connected.
    pub online: u32,
    /// When they were asked for.
    pub asked_at: Timestamp,
}

/// An event that is gone to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    /// Its place.
    pub seq: Seq,
    /// Whether it is to be seen at the top, and not in the middle.
    pub at_top: bool,
    /// Whether it is to be there also if it is seen elsewhere.
    pub moves: bool,
}

/// A room.
#[derive(Debug, Clone, PartialEq)]
pub struct Room {
    /// As the account sees it, kept up by the events that come.
    pub summary: RoomSummary,
    /// Its events in memory.
    pub timeline: Timeline,
    /// Messages that the server lost, by their old places.
    pub lost: Vec<Event>,
    /// The server does not know of it yet: a direct room that was opened without a connection.
    pub held: bool,
    /// Its events come.
    pub watched: bool,
    /// How they come.
    pub digests: Digests,
    /// Up to here no event is missing in the local copy; what is behind it is on its way, but for digests.
    pub caught: Option<Cursor>,
    /// From here on the local copy has everything that came, if that was looked at.
    pub whole: Option<Seq>,
    /// What is seen of them.
    pub scroll: Scroll,
    /// What was being written when the room was left.
    pub draft: Composer,
    /// The line above what was new when the room was opened stands behind this event.
    pub unread_line: Option<Seq>,
    /// Messages that came while the reader was not at the bottom.
    pub below: u64,
    /// The message that commands are about.
    pub selected: Option<Seq>,
    /// A page was asked for and has not come.
    pub fetching: bool,
    /// No page is asked for before this: the last one failed or brought nothing.
    pub retry_at: Timestamp,
    /// The event that is gone to, until it is where it is to be seen.
    pub goal: Option<Goal>,
    /// Holes that the local copy has too, as far as it was asked without a connection.
    pub absent: Vec<Hole>,
    /// What the user wants to have of a hole, and did not get yet.
    pub filling: Option<Hole>,
    /// Its members.
    pub members: Members,
    /// Those of them who are away, and what they said; asked for before the members.
    pub away: BTreeMap<AccountName, SafeLine>,
    /// Up to where the server was told that this account has read.
    pub marked: Seq,
    /// When it was told.
    pub marked_at: Timestamp,
}

impl Room {
    /// A room of which nothing but this is known.
    pub fn new(summary: RoomSummary) -> Room {
        Room {
            marked: summary.read,
            summary,
            timeline: Timeline::default(),
            lost: Vec::new(),
            held: false,
            watched: false,
            digests: Digests::default(),
            caught: None,
            whole: None,
            scroll: Scroll::Bottom,
            draft: Composer::default(),
            unread_line: None,
            below: 0,
            selected: None,
            fetching: false,
            retry_at: Timestamp::default(),
            goal: None,
            absent: Vec::new(),
            filling: None,
            members: Members::default(),
            away: BTreeMap::new(),
            marked_at: Timestamp::default(),
        }
    }

    /// Whether it is a direct room.
    pub fn is_direct(&self) -> bool {
        matches!(self.summary.target, Target::Direct(_))
    }

    /// Whether someone waits for the account: a mention, or a direct message.
    pub fn needs_me(&self) -> bool {
        self.summary.mentions > 0 || (self.is_direct() && self.summary.unread > 0)
    }

    /// Takes the server's word for the room, unless more is known already.
    pub fn refresh(&mut self, summary: RoomSummary) {
        let newer = summary.head.epoch > self.summary.head.epoch || summary.head.seq >= self.summary.head.seq;
        let read = self.summary.read.max(summary.read);
        self.marked = self.marked.max(summary.read);
        if newer {
            self.summary = summary;
        } else {
            self.summary.role = summary.role;
            self.summary.members = summary.members;
        }
        if read > self.summary.read {
            self.read_to(read);
        }
    }

    /// Takes an event that came live; whether it calls the user.
    pub fn take(&mut self, event: Event, me: Option<&AccountName>) -> bool {
        if self.caught.is_some_and(|caught| event.seq == caught.seq.next()) {
            self.caught = Some(Cursor { epoch: event.epoch, seq: event.seq });
        }
        let calls = event.seq > self.summary.head.seq && self.note(&event, me);
        let is_message = event.message().is_some();
        if self.timeline.push(event) && self.scroll != Scroll::Bottom {
            self.below += u64::from(is_message);
        }
        calls
    }

    /// What a new event changes about the room; whether it calls the user.
    fn note(&mut self, event: &Event, me: Option<&AccountName>) -> bool {
        self.summary.head = Cursor { epoch: event.epoch, seq: event.seq };
        self.summary.active_at = event.at;
        let counted = self.digests.came(event.seq, event.ordinal);
        match &event.body {
            // The news that another device has read it may have come before it.
            EventBody::Message(message) if me != Some(&event.author) && event.seq > self.summary.read => {
                self.summary.unread += 1;
                let named =
                    me.is_some_and(|me| quip_protocol::message::mentions(message.text()).contains(me));
                let named = named && !counted;
                self.summary.mentions = (self.summary.mentions + u32::from(named)).min(MAX_UNREAD_MENTIONS);
                return named || self.is_direct();
            }
            EventBody::Joined => self.summary.members += 1,
            EventBody::Invited { count, .. } => {
                self.summary.members = self.summary.members.saturating_add(*count);
            }
            EventBody::Left | EventBody::Kicked { .. } => {
                self.summary.members = self.summary.members.saturating_sub(1);
            }
            EventBody::Topic { topic } => self.summary.topic = topic.clone(),
            EventBody::RoleSet { who, role } if me == Some(who) => self.summary.role = Some(*role),
            EventBody::Archived => self.summary.archived = true,
            _ => {}
        }
        false
    }

    /// Takes note that the account has read up to `seq`.
    pub fn read_to(&mut self, seq: Seq) {
        self.summary.read = self.summary.read.max(seq);
        if seq >= self.summary.head.seq {
            self.summary.unread = 0;
            self.summary.mentions = 0;
        }
    }

    /// Takes note that from the message `seq` on nothing counts as read.
    pub fn unread_from(&mut self, seq: Seq) {
        let before = Seq(seq.0.saturating_sub(1));
        self.summary.read = self.summary.read.min(before);
        self.marked = self.marked.min(before);
        self.unread_line = Some(before);
    }

    /// The newest event that is known of.
    pub fn upto(&self) -> Seq {
        self.summary.head.seq.max(self.timeline.last())
    }

    /// The hole at the newer end, if there is one.
    pub fn newest_hole(&self) -> Option<Hole> {
        self.timeline.hole(self.timeline.last().next(), self.upto())
    }

    /// The hole that is selected.
    pub fn selected_hole(&self) -> Option<Hole> {
        self.timeline.hole(self.selected?, self.upto())
    }

    /// Which page is missing at the newer end, if one is that is not left until it is read.
    pub fn missing(&self) -> Option<PageFrom> {
        const FAR: u64 = 1_000;
        const NEAR: u64 = LARGE_PAGE as u64;
        if !self.timeline.is_loaded() {
            return Some(PageFrom::Latest);
        }
        let hole = self.newest_hole().filter(|hole| !self.is_absent(*hole))?;
        match (hole.count(), self.scroll) {
            (FAR.., Scroll::Bottom) => Some(PageFrom::Latest),
            (_, Scroll::Bottom) | (..=NEAR, _) => Some(PageFrom::After(self.timeline.last())),
            _ => None,
        }
    }

    /// Whether the local copy has nothing of a hole.
    pub fn is_absent(&self, hole: Hole) -> bool {
        self.absent.iter().any(|absent| absent.first <= hole.first && hole.last <= absent.last)
    }

    /// To the newest.
    pub fn to_bottom(&mut self) {
        self.scroll = Scroll::Bottom;
        self.below = 0;
        self.goal = None;
    }
}

/// All rooms the account is in, in the order in which they are listed.
#[derive(Debug, Clone, Default)]
pub struct Rooms {
    rooms: BTreeMap<RoomId, Room>,
    order: Vec<RoomId>,
    current: Option<RoomId>,
}

impl Rooms {
    /// The room that is seen.
    pub fn current(&self) -> Option<&Room> {
        self.get(self.current?)
    }

    /// The room that is seen.
    pub fn current_mut(&mut self) -> Option<&mut Room> {
        self.rooms.get_mut(&self.current?)
    }

    /// The id of the room that is seen.
    pub fn current_id(&self) -> Option<RoomId> {
        self.current
    }

    /// A room.
    pub fn get(&self, id: RoomId) -> Option<&Room> {
        self.rooms.get(&id)
    }

    /// A room.
    pub fn get_mut(&mut self, id: RoomId) -> Option<&mut Room> {
        self.rooms.get_mut(&id)
    }

    /// All rooms, in no order that means something.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Room> {
        self.rooms.values_mut()
    }

    /// Rooms as they are listed: rooms, then direct rooms, each by name.
    pub fn listed(&self) -> impl ExactSizeIterator<Item = (RoomId, &Room)> {
        self.order.iter().map(|id| (*id, &self.rooms[id]))
    }

    /// The room that is listed at `place`.
    pub fn at(&self, place: usize) -> Option<RoomId> {
        self.order.get(place).copied()
    }

    /// The place of the room that is seen.
    pub fn place(&self) -> Option<usize> {
        let current = self.current?;
        self.order.iter().position(|id| *id == current)
    }

    /// The room of this name.
    pub fn find(&self, target: &Target) -> Option<RoomId> {
        self.rooms.iter().find(|(_, room)| room.summary.target == *target).map(|(id, _)| *id)
    }

    /// Takes the server's word for one room; whether it is new.
    pub fn put(&mut self, summary: RoomSummary) -> bool {
        let id = summary.id;
        if let Some(room) = self.rooms.get_mut(&id) {
            room.refresh(summary);
            return false;
        }
        let held = self.find(&summary.target).filter(|other| self.rooms[other].held);
        let shown = held.is_some() && self.current == held;
        let draft = held.and_then(|held| self.remove(held)).map(|room| room.draft);
        self.insert(Room { draft: draft.unwrap_or_default(), ..Room::new(summary) });
        if shown {
            self.current = Some(id);
        }
        true
    }

    /// A direct room that the server is yet to be asked for: it has an id that no server gives.
    pub fn hold(&mut self, target: Target, now: Timestamp) -> RoomId {
        let number = self.rooms.values().filter(|room| room.held).map(|room| room.summary.id.0).min();
        let id = RoomId(number.unwrap_or(u64::MAX) - 1);
        let summary = RoomSummary {
            id,
            target,
            kind: RoomKind::Direct,
            topic: SafeLine::default(),
            archived: false,
            role: None,
            members: 2,
            head: Cursor::default(),
            active_at: now,
            read: Seq::ZERO,
            unread: 0,
            mentions: 0,
        };
        self.insert(Room { held: true, ..Room::new(summary) });
        id
    }

    /// Direct rooms that the server is yet to be asked for.
    pub fn held(&self) -> impl Iterator<Item = &Target> {
        self.rooms.values().filter(|room| room.held).map(|room| &room.summary.target)
    }

    fn insert(&mut self, room: Room) {
        let id = room.summary.id;
        self.rooms.insert(id, room);
        let key = |id: &RoomId| self.rooms[id].summary.target.clone();
        let at = self.order.partition_point(|other| key(other) < key(&id));
        self.order.insert(at, id);
    }

    /// Forgets a room; returns it.
    pub fn remove(&mut self, id: RoomId) -> Option<Room> {
        self.order.retain(|other| *other != id);
        if self.current == Some(id) {
            self.current = None;
        }
        self.rooms.remove(&id)
    }

    /// Shows another room.
    pub fn show(&mut self, id: RoomId) {
        self.current = Some(id).filter(|id| self.rooms.contains_key(id));
    }

    /// The next room that needs the account, behind the one that is seen.
    pub fn next_needy(&self) -> Option<RoomId> {
        next_needy(&self.listed().collect::<Vec<_>>(), self.current)
    }
}

/// The next of `rooms` that needs the account, behind the one that is seen and around: mentions and direct messages
/// first.
pub fn next_needy<K: Copy + PartialEq>(rooms: &[(K, &Room)], seen: Option<K>) -> Option<K> {
    let place = rooms.iter().position(|(key, _)| Some(*key) == seen);
    let start = place.map_or(0, |place| place + 1);
    let around = || rooms[start..].iter().chain(rooms).filter(|(key, _)| Some(*key) != seen);
    let found = around().find(|(_, room)| room.needs_me());
    found.or_else(|| around().find(|(_, room)| room.summary.unread > 0)).map(|(key, _)| *key)
}
