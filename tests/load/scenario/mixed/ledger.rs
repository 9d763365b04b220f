//! What everyone in a room must agree on: which event is at which place, that what was acknowledged is there, and what edits
//! left. Keeps the newest of each room only, so that a soak needs no more at its end. PURE.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::mem::discriminant;

use quip_protocol::{Event, EventBody, MessageId, Seq};

/// Places of a room that are remembered.
const PLACES: usize = 1_024;
/// Edits of a room that are remembered.
const EDITS: usize = 32;

/// What cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Two readers got different events at one place.
    #[error("seq {seq} is not the event that others got there: {what}")]
    Differs {
        /// Where.
        seq: Seq,
        /// In which way.
        what: &'static str,
    },
    /// A receipt names a place that has another event.
    #[error("what was acknowledged at seq {seq} is not there")]
    NotThere {
        /// Where.
        seq: Seq,
    },
    /// A page shows a message as it was before an edit that was acknowledged before the page was asked for.
    #[error("a page does not show the edit {edit} of message {target}")]
    EditUnseen {
        /// The message.
        target: Seq,
        /// The edit.
        edit: Seq,
    },
    /// A page with a hole, or of another order.
    #[error("a page has seq {found} where {expected} belongs")]
    Page {
        /// The one behind the one before.
        expected: Seq,
        /// What came.
        found: Seq,
    },
    /// The end came before what was acknowledged.
    #[error("{count} acknowledged events reached nobody, the first at seq {first}")]
    Lost {
        /// How many.
        count: usize,
        /// The first.
        first: Seq,
    },
}

/// An edit that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    target: Seq,
    seq: Seq,
    text: u64,
}

/// What is known of one room.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The newest places that somebody saw.
    places: BTreeMap<Seq, Place>,
    /// Acknowledged, and not seen by anyone yet.
    awaited: BTreeMap<Seq, MessageId>,
    edits: VecDeque<Edit>,
}

/// What is at a place, for whoever reads it whenever: an event that is read later may have been rewritten meanwhile.
#[derive(Debug)]
struct Place {
    /// Author, kind and id.
    what: u64,
    id: Option<MessageId>,
    /// The text of a message that was never edited.
    text: Option<u64>,
}

impl Place {
    fn of(event: &Event) -> Place {
        let (id, message) = (event.body.id(), event.message());
        let what = hash(|to| {
            (event.author.as_str(), event.epoch.0, discriminant(&event.body), id.map(MessageId::to_bytes))
                .hash(to)
        });
        let text =
            message.filter(|message| message.edits.is_empty()).map(|message| hash_text(message.text()));
        Place { what, id, text }
    }
}

impl Ledger {
    /// Somebody got this event.
    ///
    /// # Errors
    /// When others got another one there, or another one was acknowledged.
    pub fn saw(&mut self, event: &Event) -> Result<(), Fault> {
        let seq = event.seq;
        let place = Place::of(event);
        if let Some(known) = self.places.get(&seq) {
            if known.what != place.what {
                return Err(Fault::Differs { seq, what: "author, kind or id" });
            }
            if known.text.zip(place.text).is_some_and(|(known, text)| known != text) {
                return Err(Fault::Differs { seq, what: "text" });
            }
            return Ok(());
        }
        if self.awaited.remove(&seq).is_some_and(|id| Some(id) != place.id) {
            return Err(Fault::NotThere { seq });
        }
        // Of what was long ago nothing is known any more: who reads it is held to its place alone.
        self.places.insert(seq, place);
        if self.places.len() > PLACES {
            self.places.pop_first();
        }
        Ok(())
    }

    /// Somebody has a receipt.
    ///
    /// # Errors
    /// When another event is known to be there.
    pub fn acknowledged(&mut self, seq: Seq, id: MessageId) -> Result<(), Fault> {
        match self.places.get(&seq) {
            Some(known) if known.id == Some(id) => Ok(()),
            Some(_) => Err(Fault::NotThere { seq }),
            None => match self.awaited.insert(seq, id) {
                Some(other) if other != id => Err(Fault::NotThere { seq }),
                _ => Ok(()),
            },
        }
    }

    /// An edit was acknowledged.
    pub fn edited(&mut self, target: Seq, seq: Seq, text: &str) {
        if self.edits.len() == EDITS {
            self.edits.pop_front();
        }
        self.edits.push_back(Edit { target, seq, text: hash_text(text) });
    }

    /// Edits that whatever is read from now on must show.
    pub fn edits(&self) -> Vec<Edit> {
        self.edits.iter().cloned().collect()
    }

    /// Whether nothing that was acknowledged is missing.
    ///
    /// # Errors
    /// When some is.
    pub fn complete(&self) -> Result<(), Fault> {
        match self.awaited.keys().next() {
            Some(first) => Err(Fault::Lost { count: self.awaited.len(), first: *first }),
            None => Ok(()),
        }
    }
}

/// Holds a page to its order, and to the edits that were acknowledged before it was asked for.
///
/// # Errors
/// When it has a hole or misses an edit.
pub fn check_page(events: &[Event], edits: &[Edit]) -> Result<(), Fault> {
    for pair in events.windows(2) {
        let (expected, found) = (pair[0].seq.next(), pair[1].seq);
        if expected != found {
            return Err(Fault::Page { expected, found });
        }
    }
    for edit in edits {
        let event = events.iter().find(|event| event.seq == edit.target);
        let Some(EventBody::Message(message)) = event.map(|event| &event.body) else { continue };
        let shown = match message.edits.last() {
            Some(last) if *last == edit.seq => hash_text(message.text()) == edit.text,
            Some(last) => *last > edit.seq,
            None => false,
        };
        if !shown {
            return Err(Fault::EditUnseen { target: edit.target, edit: edit.seq });
        }
    }
    Ok(())
}

fn hash_text(text: &str) -> u64 {
    hash(|to| text.hash(to))
}

fn hash(feed: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    feed(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use quip_protocol::{SafeText, Timestamp};
    use quip_tests::copied;

    use super::*;

    fn message(seq: u64, text: &str) -> Event {
        copied::message(1, seq, Timestamp(9), "ann".parse().unwrap(), text)
    }

    fn id(seq: u64) -> MessageId {
        message(seq, "").body.id().unwrap()
    }

    fn edit(seq: u64, target: u64, text: &str) -> Event {
        let (target, text) = (Seq(target), SafeText::new(text));
        Event { body: EventBody::Edited { target, id: id(seq), text, drops: None }, ..message(seq, "") }
    }

    #[test]
    fn everyone_gets_the_same_at_the_same_place() {
        let mut ledger = Ledger::default();
        for event in [message(4, "a"), message(5, "b"), message(4, "a")] {
            assert_eq!(ledger.saw(&event), Ok(()));
        }
        let swapped = Event { seq: Seq(4), ..message(5, "b") };
        assert!(matches!(ledger.saw(&swapped), Err(Fault::Differs { .. })));
        assert_eq!(ledger.saw(&message(5, "c")), Err(Fault::Differs { seq: Seq(5), what: "text" }));
        let mut later = message(4, "a");
        later.amend(&edit(6, 4, "better"));
        assert_eq!(ledger.saw(&later), Ok(()), "read behind its edit");
    }

    #[test]
    fn what_was_acknowledged_is_there_whoever_is_first() {
        let mut ledger = Ledger::default();
        ledger.acknowledged(Seq(1), id(1)).unwrap();
        assert_eq!(ledger.complete(), Err(Fault::Lost { count: 1, first: Seq(1) }));
        ledger.saw(&message(1, "a")).unwrap();
        assert_eq!(ledger.complete(), Ok(()));
        ledger.saw(&message(2, "b")).unwrap();
        assert_eq!(ledger.acknowledged(Seq(2), id(2)), Ok(()));
        assert_eq!(ledger.acknowledged(Seq(2), id(3)), Err(Fault::NotThere { seq: Seq(2) }));
        ledger.acknowledged(Seq(3), id(4)).unwrap();
        assert_eq!(ledger.saw(&message(3, "c")), Err(Fault::NotThere { seq: Seq(3) }));
    }

    #[test]
    fn who_joins_at_the_head_may_be_ahead_of_the_others() {
        let mut ledger = Ledger::default();
        ledger.acknowledged(Seq(2), id(2)).unwrap();
        ledger.saw(&message(3, "c")).unwrap();
        ledger.saw(&message(2, "b")).unwrap();
        assert_eq!(ledger.complete(), Ok(()));
    }

    #[test]
    fn no_more_is_kept_than_the_newest() {
        let mut ledger = Ledger::default();
        for seq in 1..=3 * PLACES as u64 {
            ledger.saw(&message(seq, "a")).unwrap();
            ledger.edited(Seq(seq), Seq(seq + 1), "b");
        }
        assert_eq!((ledger.places.len(), ledger.edits().len()), (PLACES, EDITS));
        assert_eq!(ledger.saw(&message(1, "not known any more")), Ok(()));
    }

    #[test]
    fn a_page_shows_what_was_edited_before() {
        let mut ledger = Ledger::default();
        ledger.edited(Seq(4), Seq(6), "better");
        let mut seen = message(4, "a");
        assert!(check_page(&[seen.clone()], &ledger.edits()).is_err());
        seen.amend(&edit(6, 4, "worse"));
        assert!(check_page(&[seen], &ledger.edits()).is_err());
        let mut seen = message(4, "a");
        seen.amend(&edit(6, 4, "better"));
        assert_eq!(check_page(&[seen.clone()], &ledger.edits()), Ok(()));
        seen.amend(&edit(7, 4, "newer"));
        assert_eq!(check_page(&[seen], &ledger.edits()), Ok(()));
        assert_eq!(check_page(&[message(3, "a"), message(4, "b")], &[]), Ok(()));
        let hole = Fault::Page { expected: Seq(4), found: Seq(5) };
        assert_eq!(check_page(&[message(3, "a"), message(5, "b")], &[]), Err(hole));
    }
}
