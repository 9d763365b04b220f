//! What commands of entries came to behind all that a store has, without changing it: for entries that the log went on
//! without, whose refusals were told. Imports the engine and the store.

use quip_protocol::Position;
use quip_storage::store::Store;

use crate::engine::{Command, Engine, Entry, NotApplied, Terms};
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
}

impl<'a> Judge<'a> {
    /// One that begins behind what the store has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(store: &'a Store) -> Result<Judge<'a>, OpenError> {
        let engine = Engine::from_snapshot(store.load()?);
        Ok(Judge { store, engine, unpublished: Unpublished::default(), feeds: Feeds::default() })
    }

    /// The commands of the next entry that were accepted at this place.
    ///
    /// # Errors
    /// When what they ask about the past cannot be read.
    pub fn accepted(&mut self, position: Position, entry: Entry) -> Result<Vec<Command>, OpenError> {
        let terms = Terms { epoch: position.epoch, rules: entry.rules };
        let mut accepted = Vec::new();
        for command in entry.commands {
            if self.is_accepted(position, terms, &command)? {
                accepted.push(command);
            }
        }
        Ok(accepted)
    }

    fn is_accepted(
        &mut self,
        position: Position,
        terms: Terms,
        command: &Command,
    ) -> Result<bool, OpenError> {
        let unreadable = |why: String| OpenError::Replay { position, why };
        let past = Applied { unpublished: &self.unpublished, feeds: &self.feeds, store: self.store };
        let mut changes = Vec::new();
        match self.engine.apply(&past, terms, command, &mut changes) {
            Ok(_) => {}
            Err(NotApplied::Refused(_)) => return Ok(false),
            Err(NotApplied::Unreadable(why)) => return Err(unreadable(why.to_string())),
        }
        let noted = self.unpublished.note(&self.feeds, self.store, &changes);
        noted.map(|_| true).map_err(|e| unreadable(e.to_string()))
    }
}
