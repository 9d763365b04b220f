//! Who writes a message now: what the others are told of this user, and what is seen of them. Imports types of the
//! protocol alone.

use quip_protocol::{AccountName, RoomId, Timestamp};

use super::{App, Effect, commands};

/// The others are told this often, in milliseconds.
const SAY_EVERY_MS: u64 = 3_000;
/// What was told is seen this long, in milliseconds: one that is lost does not show.
const SEEN_MS: u64 = 2 * SAY_EVERY_MS + 500;
/// Most people who are known to write at a time, in all rooms.
const MOST: usize = 32;

/// Who writes.
#[derive(Debug, Default)]
pub(super) struct Typing {
    /// Where and when the others were told last.
    told: Option<(RoomId, Timestamp)>,
    seen: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    room: RoomId,
    who: AccountName,
    until: Timestamp,
}

impl Typing {
    /// Forgets who has stopped by `now`; whether there was somebody.
    pub(super) fn pass(&mut self, now: Timestamp) -> bool {
        let before = self.seen.len();
        self.seen.retain(|seen| seen.until > now);
        self.seen.len() < before
    }

    /// Somebody writes.
    pub(super) fn seen(&mut self, room: RoomId, who: AccountName, now: Timestamp) {
        self.stopped(room, &who);
        if self.seen.len() < MOST {
            self.seen.push(Seen { room, who, until: now.plus_ms(SEEN_MS) });
        }
    }

    /// Somebody has sent what they wrote, or left.
    pub(super) fn stopped(&mut self, room: RoomId, who: &AccountName) {
        self.seen.retain(|seen| seen.room != room || seen.who != *who);
    }

    /// Nobody can be heard any more.
    pub(super) fn clear(&mut self) {
        self.seen.clear();
    }

    /// Whether the others are to be told now.
    fn is_due(&mut self, room: RoomId, now: Timestamp) -> bool {
        let due = self.told.is_none_or(|(told, at)| told != room || now >= at.plus_ms(SAY_EVERY_MS));
        if due {
            self.told = Some((room, now));
        }
        due
    }

    fn words(&self, room: RoomId) -> Option<String> {
        let mut names: Vec<&str> =
            self.seen.iter().filter(|seen| seen.room == room).map(|seen| seen.who.as_str()).collect();
        // By name, so that they do not change places each time one says it again.
        names.sort_unstable();
        Some(match names.as_slice() {
            [] => return None,
            [one] => format!("{one} is typing…"),
            [one, other] => format!("{one} and {other} are typing…"),
            [one, other, rest @ ..] => format!("{one}, {other} and {} more are typing…", rest.len()),
        })
    }
}

impl App {
    /// The user has written something on. Commands are nobody's business.
    pub(super) fn types(&mut self) {
        let text = self.composer.text();
        if !self.preferences.typing || text.trim().is_empty() || commands::is_command(text) || !self.is_up() {
            return;
        }
        let Some(room) = self.rooms.current().filter(|room| !room.held) else { return };
        let id = room.summary.id;
        if self.typing.is_due(id, self.now) {
            self.effects.push(Effect::Typing(id));
        }
    }

    /// Who writes in the room that is seen, in words.
    pub(super) fn typists(&self) -> Option<String> {
        self.typing.words(self.rooms.current_id()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomId = RoomId(1);

    #[test]
    fn who_types_is_said_by_name_for_some_seconds() {
        let name = |name: &str| name.parse::<AccountName>().unwrap();
        let table = [
            ("carl", "carl is typing…"),
            ("bob", "bob and carl are typing…"),
            ("carl", "bob and carl are typing…"),
            ("dan", "bob, carl and 1 more are typing…"),
            ("ann", "ann, bob and 2 more are typing…"),
        ];
        let mut typing = Typing::default();
        for (who, words) in table {
            typing.seen(ROOM, name(who), Timestamp(0));
            assert_eq!(typing.words(ROOM).as_deref(), Some(words), "{who}");
        }
        assert_eq!(typing.words(RoomId(2)), None);
        typing.stopped(ROOM, &name("ann"));
        typing.stopped(RoomId(2), &name("bob"));
        assert_eq!(typing.words(ROOM).as_deref(), Some("bob, carl and 1 more are typing…"));
        typing.seen(ROOM, name("dan"), Timestamp(1_000));
        assert!(!typing.pass(Timestamp(SEEN_MS - 1)) && typing.pass(Timestamp(SEEN_MS)));
        assert_eq!(typing.words(ROOM).as_deref(), Some("dan is typing…"));
        assert!(typing.pass(Timestamp(SEEN_MS + 1_000)) && typing.words(ROOM).is_none());
        for n in 0..1_000 {
            typing.seen(RoomId(n), name("ann"), Timestamp(0));
        }
        assert_eq!(typing.seen.len(), MOST);
    }

    #[test]
    fn the_others_are_told_once_in_some_seconds() {
        let mut typing = Typing::default();
        let table = [(1, 0, true), (1, 2_999, false), (1, 3_000, true), (2, 3_001, true), (1, 3_002, true)];
        for (room, ms, due) in table {
            assert_eq!(typing.is_due(RoomId(room), Timestamp(ms)), due, "{room} at {ms}");
        }
    }
}
