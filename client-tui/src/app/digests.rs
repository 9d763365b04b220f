//! Very large rooms, whose events come only while the user looks: from the others come digests. What is missing of them is
//! brought into the copy in the background, some time later, all at once; and at once when the user comes.

use std::collections::{BTreeMap, BTreeSet};

use quip_protocol::frame::{Request, Watch};
use quip_protocol::limits::MAX_UNREAD_MENTIONS;
use quip_protocol::room::Digest;
use quip_protocol::{AccountName, Cursor, RoomId, Seq, Timestamp};

use super::alerts::Alert;
use super::room::Room;
use super::{App, Effect};

/// A room that was left is still watched live for so long, in milliseconds: users go back and forth.
const LEAVE_AFTER_MS: u64 = 10_000;
/// What is missing is brought after this long at least, in milliseconds, so that much comes at once …
const BRING_AFTER_MS: u64 = 20_000;
/// … and up to this much later, so that the members of a room do not all ask at the same time.
const SPREAD_MS: u64 = 40_000;

/// How the events of one room come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Digests {
    /// Every event was asked for.
    live: bool,
    /// Since when the user is elsewhere.
    left_at: Option<Timestamp>,
    /// The last word was a digest: what is missing does not come by itself.
    pub(super) told: bool,
    /// Messages so far, where that is known.
    pub(super) messages: Option<u64>,
    /// When what is missing is to be brought.
    bring_at: Option<Timestamp>,
    /// What is being brought.
    pub(super) filling: Option<Filling>,
    /// Messages that name the user and have not come, nor a digest that says that they will not.
    named: BTreeMap<Seq, AccountName>,
    /// Messages that name the user and were counted before they came.
    counted: BTreeSet<Seq>,
}

/// A hole at the newer end of the copy that is being closed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Filling {
    /// Its last event.
    head: Cursor,
    /// From here on the events are there.
    pub(super) below: Seq,
}

impl Digests {
    /// An event has come, and names the user if `named`; whether that was counted before.
    pub(super) fn came(&mut self, seq: Seq, ordinal: u64) -> bool {
        self.messages = Some(ordinal);
        self.named.remove(&seq);
        self.counted.remove(&seq)
    }
}

impl App {
    /// A very large room stands there; its events up to there do not come.
    pub(super) fn digest(&mut self, digest: Digest) {
        let Some(room) = self.rooms.get_mut(digest.room) else { return };
        let before = room.digests.messages.replace(digest.messages);
        if digest.head.seq > room.summary.head.seq {
            (room.summary.head, room.summary.active_at) = (digest.head, digest.at);
            match before {
                _ if digest.head.seq <= room.summary.read => room.read_to(digest.head.seq),
                Some(before) => room.summary.unread += digest.messages.saturating_sub(before),
                None => {
                    let target = room.summary.target.clone();
                    self.effects.push(Effect::Ask(Request::Open { target }));
                }
            }
        }
        room.digests.told = room.caught.is_none_or(|caught| caught.seq < room.summary.head.seq);
        let named = room.digests.named.split_off(&digest.head.seq.next());
        let named = std::mem::replace(&mut room.digests.named, named);
        self.bring_later(digest.room);
        for (seq, by) in named {
            self.count_mention(digest.room, seq, &by);
        }
    }

    /// Somebody named the user. Where events come, the message says so itself.
    pub(super) fn mentioned(&mut self, id: RoomId, seq: Seq, by: AccountName) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let is_known = seq <= room.summary.read || room.caught.is_some_and(|caught| seq <= caught.seq);
        if is_known || self.me.as_ref() == Some(&by) {
            return;
        }
        if room.digests.told {
            return self.count_mention(id, seq, &by);
        }
        room.digests.named.insert(seq, by);
        while room.digests.named.len() > MAX_UNREAD_MENTIONS as usize {
            room.digests.named.pop_first();
        }
    }

    fn count_mention(&mut self, id: RoomId, seq: Seq, by: &AccountName) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        if !room.digests.counted.insert(seq) {
            return;
        }
        while room.digests.counted.len() > MAX_UNREAD_MENTIONS as usize {
            room.digests.counted.pop_first();
        }
        room.summary.mentions = (room.summary.mentions + 1).min(MAX_UNREAD_MENTIONS);
        // The message is to be there when the user comes.
        room.digests.bring_at = Some(self.now);
        let (target, alert) = (room.summary.target.clone(), Alert::named(room, by));
        self.alert(&target, true, alert);
    }

    /// What is missing is brought some time from now, if that was not settled before.
    fn bring_later(&mut self, id: RoomId) {
        let wanted = |room: &&mut Room| room.digests.told && room.digests.bring_at.is_none();
        if let Some(room) = self.rooms.get_mut(id).filter(wanted) {
            let [.., high, low] = (self.new_id)().to_bytes();
            let random = u64::from(u16::from_be_bytes([high, low]));
            room.digests.bring_at = Some(self.now.plus_ms(BRING_AFTER_MS + random % SPREAD_MS));
        }
    }

    /// Every event comes of the room that is seen, and digests of what was left a while ago.
    pub(super) fn attend(&mut self, time_passes: bool) {
        let current = self.rooms.current_id();
        if let Some(room) = self.rooms.current_mut().filter(|room| room.watched) {
            room.digests.left_at = None;
            if room.digests.told || !room.digests.live {
                room.digests.told = false;
                self.watch_as(current, Watch::Live);
            }
        }
        if time_passes {
            let ids: Vec<RoomId> =
                self.rooms.listed().map(|(id, _)| id).filter(|id| Some(*id) != current).collect();
            ids.into_iter().for_each(|id| self.look_away(id));
        }
    }

    fn look_away(&mut self, id: RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(id).filter(|room| room.watched) else { return };
        let digests = &mut room.digests;
        if digests.live && now >= digests.left_at.get_or_insert(now).plus_ms(LEAVE_AFTER_MS) {
            return self.watch_as(Some(id), Watch::Digest);
        }
        if digests.told && digests.filling.is_none() && digests.bring_at.is_some_and(|at| now >= at) {
            digests.bring_at = None;
            let head = room.summary.head;
            digests.filling = Some(Filling { head, below: head.seq.next() });
        }
    }

    /// Watches a room otherwise than before, from where nothing is missing.
    fn watch_as(&mut self, id: Option<RoomId>, watch: Watch) {
        let Some(room) = id.and_then(|id| self.rooms.get_mut(id)) else { return };
        room.digests.live = watch == Watch::Live;
        room.digests.left_at = None;
        let rooms = vec![(room.summary.id, room.caught)];
        self.effects.push(Effect::Ask(watch.request(rooms)));
    }

    /// Takes note of how a room is watched from the beginning.
    pub(super) fn watched_as(&mut self, id: RoomId, watch: Watch) {
        if let Some(room) = self.rooms.get_mut(id) {
            room.digests.live = watch == Watch::Live;
        }
    }

    /// The copy has everything from `whole` on up to where it was being brought. Whether it was.
    pub(super) fn filled(&mut self, id: RoomId, whole: Seq) -> bool {
        let Some(room) = self.rooms.get_mut(id) else { return false };
        let Some(filling) = &mut room.digests.filling else { return false };
        filling.below = whole;
        let head = filling.head;
        if room.caught.is_none_or(|caught| whole <= caught.seq.next()) {
            room.caught = room.caught.max(Some(head));
            room.digests.filling = None;
            room.digests.told &= room.caught.is_some_and(|caught| caught.seq < room.summary.head.seq);
            // How many of them are unread is the server's to count: some may be of another device of this account.
            let target = room.summary.target.clone();
            self.ask(Request::Open { target });
            self.bring_later(id);
        }
        true
    }

    /// It cannot be brought.
    pub(super) fn not_filled(&mut self, id: RoomId) -> bool {
        self.rooms.get_mut(id).is_some_and(|room| room.digests.filling.take().is_some())
    }
}
