//! Rooms whose log the server repaired: which of their messages did not come again. Imports the replica and the
//! app's inputs.

use std::collections::BTreeMap;

use quip_protocol::RoomId;
use quip_storage::{Replica, ReplicaError};

use crate::app::Input;

/// Rooms of which the app is to be told, and how many lost messages it was told of.
#[derive(Debug, Default)]
pub struct Merges {
    told: BTreeMap<RoomId, Option<usize>>,
}

impl Merges {
    /// A room whose log may have been repaired.
    pub fn begin(&mut self, room: RoomId) {
        self.told.insert(room, None);
    }

    /// What is known by now and was not told.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn news(&mut self, replica: &Replica) -> Result<Vec<Input>, ReplicaError> {
        let mut news = Vec::new();
        for (room, told) in &mut self.told {
            let Some(events) = replica.lost(*room)? else { continue };
            if told.unwrap_or(0) != events.len() {
                news.push(Input::Lost { room: *room, events: events.clone() });
            }
            *told = Some(events.len());
        }
        self.told.retain(|_, told| *told != Some(0));
        Ok(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::pages::tests::message;
    use quip_protocol::{Cursor, Epoch, Event, MessageId, Seq};

    fn said(seq: u64) -> Event {
        let mut event = message(seq, "words");
        let quip_protocol::EventBody::Message(message) = &mut event.body else { unreachable!("made as one") };
        message.id = MessageId::from_bytes([seq as u8; 16]);
        event
    }

    #[test]
    fn it_is_told_once_and_only_when_all_came_again() {
        let dir = tempfile::tempdir().unwrap();
        let (replica, _) = Replica::open(dir.path().join("replica")).unwrap();
        let had: Vec<Event> = (1..=4).map(said).collect();
        let room = had[0].room;
        replica.insert(room, &had, Seq::ZERO).unwrap();
        let mut merges = Merges::default();
        merges.begin(room);
        assert_eq!(merges.news(&replica).unwrap(), [], "nothing was cut");
        replica.cut(room, Cursor { epoch: Epoch::FIRST, seq: Seq(1) }, Seq(2)).unwrap();
        merges.begin(room);
        assert_eq!(merges.news(&replica).unwrap(), [], "not all came again");
        let moved = Event { seq: Seq(2), ..said(3) };
        replica.insert(room, &[moved], Seq(1)).unwrap();
        let events = vec![said(2), said(4)];
        assert_eq!(merges.news(&replica).unwrap(), [Input::Lost { room, events }]);
        assert_eq!(merges.news(&replica).unwrap(), [], "once");
        replica.insert(room, &[Event { seq: Seq(3), ..said(4) }], Seq(2)).unwrap();
        assert_eq!(merges.news(&replica).unwrap(), [Input::Lost { room, events: vec![said(2)] }]);
    }
}
