//! What was sent and is not yet in its room's log. Imports types of the protocol alone.

use std::collections::VecDeque;

use quip_protocol::frame::Request;
use quip_protocol::{Event, MessageId, MessageKind, Receipt, Refusal, RoomId, Seq, Target, Timestamp};

/// What a delivery does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A new message.
    Post {
        /// How it is shown.
        kind: MessageKind,
        /// What it answers.
        reply_to: Option<Seq>,
    },
    /// Another text for a message.
    Edit(Seq),
    /// A deletion.
    Delete(Seq),
    /// A reaction, put or taken away.
    React(Seq),
}

/// How far a delivery is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No answer yet.
    Waiting,
    /// It is durable; its event is about to come.
    Durable,
    /// It was refused.
    Refused(Refusal),
}

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The idempotency key.
    pub id: MessageId,
    /// Where.
    pub target: Target,
    /// What it does.
    pub what: What,
    /// The text, if it has one.
    pub text: String,
    /// When it was sent.
    pub at: Timestamp,
    /// How far it is.
    pub state: State,
}

impl Delivery {
    /// A delivery of `request`, which is a `Post`, `Edit`, `Delete` or `React` to `target`.
    pub fn new(target: Target, request: &Request, at: Timestamp) -> Option<Delivery> {
        let (id, what, text) = match request {
            Request::Post { id, kind, text, reply_to, .. } => {
                (*id, What::Post { kind: *kind, reply_to: *reply_to }, text.as_str().to_owned())
            }
            Request::Edit { id, target, text, .. } => (*id, What::Edit(*target), text.as_str().to_owned()),
            Request::Delete { id, target, .. } => (*id, What::Delete(*target), String::new()),
            Request::React { id, target, .. } => (*id, What::React(*target), String::new()),
            _ => return None,
        };
        Some(Delivery { id, target, what, text, at, state: State::Waiting })
    }

    /// Whether it is a message of its own.
    pub fn is_post(&self) -> bool {
        matches!(self.what, What::Post { .. })
    }
}

/// Deliveries in the order in which they were made.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    deliveries: VecDeque<Delivery>,
}

impl Outbox {
    /// Adds a delivery.
    pub fn push(&mut self, delivery: Delivery) {
        self.deliveries.push_back(delivery);
    }

    /// Messages to `target` that are not in its log yet.
    pub fn posts<'a>(&'a self, target: &'a Target) -> impl DoubleEndedIterator<Item = &'a Delivery> {
        self.deliveries.iter().filter(move |delivery| delivery.is_post() && delivery.target == *target)
    }

    /// Whether a message to `target` is on its way.
    pub fn has_pending(&self, target: &Target) -> bool {
        self.posts(target).any(|delivery| !matches!(delivery.state, State::Refused(_)))
    }

    /// Edits of messages in `target` that have no answer yet.
    pub fn edits<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = &'a Delivery> {
        self.deliveries.iter().filter(move |delivery| {
            matches!(delivery.what, What::Edit(_))
                && delivery.target == *target
                && delivery.state == State::Waiting
        })
    }

    /// How many have no answer yet.
    pub fn waiting(&self) -> usize {
        self.deliveries.iter().filter(|delivery| delivery.state == State::Waiting).count()
    }

    /// Takes out the delivery that became `event`, which is the account's own.
    pub fn settle(&mut self, event: &Event) -> bool {
        let Some(id) = event.body.id() else { return false };
        let before = self.deliveries.len();
        self.deliveries.retain(|delivery| delivery.id != id);
        self.deliveries.len() != before
    }

    /// Takes note of a receipt. What has no event to wait for (`shown` says that its event is here, or will not come)
    /// is taken out.
    pub fn receipt(&mut self, receipt: Receipt, shown: impl Fn(RoomId, Seq) -> bool) {
        let gone = shown(receipt.room, receipt.seq);
        if let Some(at) = self.deliveries.iter().position(|delivery| delivery.id == receipt.id) {
            if gone || !self.deliveries[at].is_post() {
                self.deliveries.remove(at);
            } else {
                self.deliveries[at].state = State::Durable;
            }
        }
    }

    /// Takes out the messages that were refused and have no room (`has_room` says which have one) where they could be
    /// seen.
    pub fn strays(&mut self, has_room: impl Fn(&Target) -> bool) -> Vec<Delivery> {
        let strays =
            |delivery: &Delivery| matches!(delivery.state, State::Refused(_)) && !has_room(&delivery.target);
        let (strays, kept): (Vec<Delivery>, Vec<Delivery>) = self.deliveries.drain(..).partition(strays);
        self.deliveries = kept.into();
        strays
    }

    /// Takes note of a refusal. A refused message stays until its text is taken back; the rest is taken out and
    /// returned.
    pub fn refuse(&mut self, id: MessageId, refusal: &Refusal) -> Option<Delivery> {
        let at = self.deliveries.iter().position(|delivery| delivery.id == id)?;
        if self.deliveries[at].is_post() {
            self.deliveries[at].state = State::Refused(refusal.clone());
            return None;
        }
        self.deliveries.remove(at)
    }

    /// Where this delivery goes.
    pub fn target(&self, id: MessageId) -> Option<&Target> {
        self.deliveries.iter().find(|delivery| delivery.id == id).map(|delivery| &delivery.target)
    }

    /// Messages to `target` that were refused.
    pub fn refused<'a>(&'a self, target: &'a Target) -> impl DoubleEndedIterator<Item = &'a Delivery> {
        self.posts(target).filter(|delivery| matches!(delivery.state, State::Refused(_)))
    }

    /// Takes a refused message to `target` out: this one, or the newest.
    pub fn recall(&mut self, target: &Target, which: Option<MessageId>) -> Option<Delivery> {
        let wanted = |delivery: &&Delivery| which.is_none_or(|id| delivery.id == id);
        let id = self.refused(target).rfind(wanted)?.id;
        let at = self.deliveries.iter().position(|delivery| delivery.id == id)?;
        self.deliveries.remove(at)
    }
}
