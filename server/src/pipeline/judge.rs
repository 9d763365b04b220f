//! What commands of entries came to behind all that a store has, without changing it: for entries that the log went on
//! without, whose refusals were told. What one names by its place behind there is another one's place by the time that it is appended
//! again; so it is noted by its id, or left out. Imports the engine and the store.

use std::collections::HashMap;

use quip_protocol::{Cursor, MessageId, Position, RoomId, Seq};
use quip_storage::store::Store;

use crate::engine::{Command, CommandBody, Engine, Entry, NotApplied, Outcome, Terms};
use crate::feed::Feeds;

use super::open::OpenError;
use super::past::{Applied, Unpublished};

/// Decides entries as they were decided at their places.
#[derive(Debug)]
pub struct Judge<'a> {
    store: &'a Store,
    engine: Engine,
    /// Nothing of it is ever published.
    unpublished: Unpublished,
    feeds: Feeds,
    places: Places,
}

/// What the commands of entries came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Those that were accepted, but for what is left out. Read positions behind the store are at its end.
    pub commands: Vec<Command>,
    /// How many were refused.
    pub refused: usize,
    /// How many were accepted, and mean nothing without the places that they had: positions in a room that is not there.
    pub left_out: usize,
}

impl<'a> Judge<'a> {
    /// One that begins behind what the store has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(store: &'a Store) -> Result<Judge<'a>, OpenError> {
        let engine = Engine::from_snapshot(store.load()?);
        let places = Places::behind(&engine);
        Ok(Judge { store, engine, unpublished: Unpublished::default(), feeds: Feeds::default(), places })
    }

    /// What the commands of the next entry came to at this place.
    ///
    /// # Errors
    /// When what they ask about the past cannot be read.
    pub fn judged(&mut self, position: Position, entry: Entry) -> Result<Judged, OpenError> {
        let terms = Terms { epoch: position.epoch, rules: entry.rules };
        let mut judged = Judged::default();
        for mut command in entry.commands {
            match self.outcome(position, terms, &command)? {
                None => judged.refused += 1,
                Some(outcome) if self.places.carry(&mut command, outcome) => judged.commands.push(command),
                Some(_) => judged.left_out += 1,
            }
        }
        Ok(judged)
    }

    /// Of edits, deletions, reactions and replies, by their ids: the message that each named by a place behind the store.
    pub fn into_named(self) -> HashMap<MessageId, MessageId> {
        self.places.named
    }

    /// None of what was refused.
    fn outcome(
        &mut self,
        position: Position,
        terms: Terms,
        command: &Command,
    ) -> Result<Option<Outcome>, OpenError> {
        let unreadable = |why: String| OpenError::Replay { position, why };
        let past = Applied { unpublished: &self.unpublished, feeds: &self.feeds, store: self.store };
        let mut changes = Vec::new();
        let outcome = match self.engine.apply(&past, terms, command, &mut changes) {
            Ok(outcome) => outcome,
            Err(NotApplied::Refused(_)) => return Ok(None),
            Err(NotApplied::Unreadable(why)) => return Err(unreadable(why.to_string())),
        };
        let noted = self.unpublished.note(&self.feeds, self.store, &changes);
        noted.map(|_| Some(outcome)).map_err(|e| unreadable(e.to_string()))
    }
}

/// Places in rooms, before and behind the end of the store.
#[derive(Debug, Default)]
struct Places {
    /// Where each room ended there.
    ends: HashMap<RoomId, Cursor>,
    /// What has got a place behind there.
    placed: HashMap<(RoomId, Seq), MessageId>,
    /// What each command with an id named by such a place.
    named: HashMap<MessageId, MessageId>,
}

impl Places {
    fn behind(engine: &Engine) -> Places {
        let ends = engine.all_rooms().map(|room| (room.room.id, room.head.cursor)).collect();
        Places { ends, ..Places::default() }
    }

    /// What of an accepted command is good at another place, too; says whether anything is.
    fn carry(&mut self, command: &mut Command, outcome: Outcome) -> bool {
        let is_meant = match (&mut command.body, outcome) {
            (CommandBody::Post { id, reply_to, .. }, Outcome::Receipt(receipt)) => {
                *reply_to = reply_to.filter(|seq| self.name(*id, receipt.room, *seq));
                true
            }
            (
                CommandBody::Edit { id, room, target, .. }
                | CommandBody::Delete { id, room, target }
                | CommandBody::React { id, room, target, .. },
                _,
            ) => self.name(*id, *room, *target),
            (CommandBody::Mark { room, seq }, _) => {
                self.ends.get(room).map(|end| *seq = end.seq.min(*seq)).is_some()
            }
            (CommandBody::MarkUnread { room, seq }, _) => self.is_before(*room, *seq),
            (CommandBody::MoveConsumer { room, cursor, .. }, _) => {
                let end = self.ends.get(room);
                end.map(|end| *cursor = if cursor.seq > end.seq { *end } else { *cursor }).is_some()
            }
            (CommandBody::OpenConsumer { since: Some(since), .. }, Outcome::Consumer { room, .. }) => {
                let end = self.ends.get(&room).copied().unwrap_or_default();
                *since = end.seq.min(*since);
                true
            }
            _ => true,
        };
        if let Outcome::Receipt(receipt) = outcome {
            self.placed.insert((receipt.room, receipt.seq), receipt.id);
        }
        is_meant
    }

    /// Whether what a command names is known: by its place, or by its id from here on.
    fn name(&mut self, command: MessageId, room: RoomId, seq: Seq) -> bool {
        if self.is_before(room, seq) {
            return true;
        }
        let Some(message) = self.placed.get(&(room, seq)) else { return false };
        // A command that came twice is what it was the first time.
        self.named.entry(command).or_insert(*message);
        true
    }

    /// Whether it is the place of the same event in every log that goes on from there.
    fn is_before(&self, room: RoomId, seq: Seq) -> bool {
        self.ends.get(&room).is_some_and(|end| seq <= end.seq)
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::{Epoch, MessageKind, Receipt, SafeLine, SafeText, Target, Timestamp};

    use super::*;
    use crate::engine::Actor;

    /// Its log ended at 10; two messages came behind.
    const ROOM: RoomId = RoomId(1);
    /// It was made behind the end, and has one message.
    const NEW: RoomId = RoomId(9);

    fn id(number: u8) -> MessageId {
        MessageId::from_bytes([number; 16])
    }

    fn cursor(seq: u64) -> Cursor {
        Cursor { epoch: Epoch(3), seq: Seq(seq) }
    }

    /// Of the command that is judged.
    const OWN: u8 = 77;

    fn edit(room: RoomId, seq: u64) -> CommandBody {
        CommandBody::Edit { room, target: Seq(seq), id: id(OWN), text: SafeText::new("new") }
    }

    fn delete(room: RoomId, seq: u64) -> CommandBody {
        CommandBody::Delete { room, target: Seq(seq), id: id(OWN) }
    }

    fn react(room: RoomId, seq: u64) -> CommandBody {
        CommandBody::React { room, target: Seq(seq), id: id(OWN), emoji: SafeLine::new("+"), on: true }
    }

    fn post(reply_to: Option<u64>) -> CommandBody {
        let (target, text) = ("#room".parse().unwrap(), SafeText::new("said"));
        let reply_to = reply_to.map(Seq);
        CommandBody::Post { target, id: id(OWN), kind: MessageKind::Plain, text, reply_to }
    }

    fn mark(room: RoomId, seq: u64) -> CommandBody {
        CommandBody::Mark { room, seq: Seq(seq) }
    }

    fn unread(room: RoomId, seq: u64) -> CommandBody {
        CommandBody::MarkUnread { room, seq: Seq(seq) }
    }

    fn moved(room: RoomId, cursor: Cursor) -> CommandBody {
        CommandBody::MoveConsumer { name: "bot".parse().unwrap(), room, cursor }
    }

    fn consumer(since: Option<u64>) -> CommandBody {
        let target: Target = "#room".parse().unwrap();
        CommandBody::OpenConsumer { name: "bot".parse().unwrap(), target, since: since.map(Seq) }
    }

    fn places() -> Places {
        let ends = HashMap::from([(ROOM, cursor(10))]);
        let placed = [((ROOM, Seq(11)), id(1)), ((ROOM, Seq(12)), id(2)), ((NEW, Seq(1)), id(3))];
        Places { ends, placed: placed.into(), named: HashMap::new() }
    }

    /// What of it is carried on, and which message it names by an id.
    fn carried(body: CommandBody, outcome: Outcome) -> (Option<CommandBody>, Option<MessageId>) {
        let (mut places, at) = (places(), Timestamp(7));
        let mut command = Command { at, by: Actor::Operator, body };
        let is_meant = places.carry(&mut command, outcome);
        (is_meant.then_some(command.body), places.named.remove(&id(OWN)))
    }

    #[test]
    fn what_changes_a_message_names_it_by_its_id_behind_the_end() {
        for body in [edit, delete, react] {
            let table = [
                (body(ROOM, 10), true, None),
                (body(ROOM, 11), true, Some(id(1))),
                (body(ROOM, 12), true, Some(id(2))),
                (body(ROOM, 13), false, None),
                (body(NEW, 1), true, Some(id(3))),
                (body(NEW, 2), false, None),
            ];
            for (body, is_meant, named) in table {
                let outcome = Outcome::Done;
                assert_eq!(carried(body.clone(), outcome), (is_meant.then_some(body), named));
            }
        }
    }

    #[test]
    fn an_answer_to_what_is_not_known_answers_nothing() {
        let table = [
            (ROOM, None, None, None),
            (ROOM, Some(10), Some(10), None),
            (ROOM, Some(12), Some(12), Some(id(2))),
            (ROOM, Some(13), None, None),
            (NEW, Some(1), Some(1), Some(id(3))),
            (NEW, Some(2), None, None),
        ];
        for (room, reply_to, expected, named) in table {
            let receipt = Receipt { room, epoch: Epoch(3), seq: Seq(20), id: id(OWN) };
            let carried = carried(post(reply_to), Outcome::Receipt(receipt));
            assert_eq!(carried, (Some(post(expected)), named), "{room:?} {reply_to:?}");
        }
    }

    #[test]
    fn a_read_position_is_at_most_at_the_end() {
        let opened = |room| Outcome::Consumer { room, cursor: cursor(10), new: true };
        let newer = |seq| Cursor { epoch: Epoch(5), seq: Seq(seq) };
        let table = [
            (mark(ROOM, 10), Outcome::Done, Some(mark(ROOM, 10))),
            (mark(ROOM, 12), Outcome::Done, Some(mark(ROOM, 10))),
            (mark(NEW, 1), Outcome::Done, None),
            (unread(ROOM, 10), Outcome::Done, Some(unread(ROOM, 10))),
            (unread(ROOM, 11), Outcome::Done, None),
            (unread(NEW, 1), Outcome::Done, None),
            (moved(ROOM, cursor(9)), Outcome::Done, Some(moved(ROOM, cursor(9)))),
            (moved(ROOM, newer(12)), Outcome::Done, Some(moved(ROOM, cursor(10)))),
            (moved(NEW, newer(1)), Outcome::Done, None),
            (consumer(None), opened(ROOM), Some(consumer(None))),
            (consumer(Some(9)), opened(ROOM), Some(consumer(Some(9)))),
            (consumer(Some(12)), opened(ROOM), Some(consumer(Some(10)))),
            (consumer(Some(1)), opened(NEW), Some(consumer(Some(0)))),
        ];
        for (body, outcome, expected) in table {
            assert_eq!(carried(body.clone(), outcome), (expected, None), "{body:?}");
        }
    }

    #[test]
    fn a_command_that_comes_twice_names_what_it_named_first() {
        let mut places = places();
        for seq in [11, 12] {
            let mut command = Command { at: Timestamp(7), by: Actor::Operator, body: edit(ROOM, seq) };
            assert!(places.carry(&mut command, Outcome::Done));
        }
        assert_eq!(places.named, HashMap::from([(id(OWN), id(1))]));
    }
}
