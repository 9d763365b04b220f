//! A past in which nothing was, for engines whose commands are about nothing earlier.

use quip_protocol::{AccountId, Event, MessageId, Receipt, RoomId, Seq};
use quip_server::engine::{Past, Unreadable};

/// Nothing was before.
#[derive(Debug)]
pub struct NoPast;

impl Past for NoPast {
    fn receipt(&self, _: MessageId) -> Result<Option<(AccountId, Receipt)>, Unreadable> {
        Ok(None)
    }

    fn event(&self, _: RoomId, _: Seq) -> Result<Option<Event>, Unreadable> {
        Ok(None)
    }
}
