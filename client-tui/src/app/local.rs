//! What the client knows before it has asked anyone: its rooms, and what it has yet to deliver.

use quip_protocol::{AccountName, Cursor, SafeLine, Target};
use quip_storage::Copied;

use super::App;
use super::outbox::Delivery;

/// What lay on the disk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// The account.
    pub me: Option<AccountName>,
    /// The newest notice that it has taken.
    pub inbox: Option<Cursor>,
    /// Its rooms.
    pub rooms: Vec<Copied>,
    /// Where the user was when this was closed.
    pub last: Option<Target>,
    /// What is to be delivered, and what was refused.
    pub deliveries: Vec<Delivery>,
}

impl App {
    pub(super) fn local(&mut self, loaded: Result<Loaded, SafeLine>) {
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(why) => return self.complain(why.as_str()),
        };
        self.local = true;
        (self.me, self.inbox) = (loaded.me, loaded.inbox);
        for Copied { summary, cursor, whole } in loaded.rooms {
            let id = summary.id;
            self.rooms.put(summary);
            if let Some(room) = self.rooms.get_mut(id) {
                (room.caught, room.whole) = (cursor, whole);
            }
        }
        for delivery in loaded.deliveries {
            // What was written to somebody for the first time has no room yet to be seen in.
            if let (Target::Direct(_), true, None) =
                (&delivery.target, delivery.is_post(), self.rooms.find(&delivery.target))
            {
                self.rooms.hold(delivery.target.clone(), delivery.at);
            }
            self.outbox.push(delivery);
        }
        let last = loaded.last.and_then(|target| self.rooms.find(&target));
        if let Some(first) = last.or_else(|| self.rooms.next_needy()).or_else(|| self.rooms.at(0)) {
            self.show(first);
        }
    }

    /// How many events are on their way that happened while the client was away.
    pub fn behind(&self) -> u64 {
        let of = |room: &super::room::Room| {
            let caught = room.caught.filter(|_| room.watched && !room.digests.told);
            caught.map_or(0, |caught| room.summary.head.seq.0.saturating_sub(caught.seq.0))
        };
        self.rooms.listed().map(|(_, room)| of(room)).sum()
    }

    /// How many deliveries wait for the server.
    pub fn waiting(&self) -> usize {
        self.outbox.waiting()
    }
}
