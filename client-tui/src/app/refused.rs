//! What the server refused: messages stay below the timeline until they are sent again, edited or dropped; a command is
//! written again.

use quip_protocol::frame::Request;
use quip_protocol::{MessageId, RoomId, SafeText, Target};

use super::composer::{About, Composer};
use super::outbox::{Delivery, State, What};
use super::{App, Effect, Failure};

/// A command that the server was asked to carry out.
#[derive(Debug)]
pub(super) struct Commanded {
    request: Request,
    /// As it was typed, and where.
    line: String,
    room: Option<RoomId>,
}

impl Commanded {
    /// Whether this is what it asked for.
    pub(super) fn is(&self, request: &Request) -> bool {
        self.request == *request
    }
}

impl App {
    /// Asks for what a command is.
    pub(super) fn ask_by(&mut self, line: &str, request: Request) {
        let (line, room) = (line.to_owned(), self.rooms.current_id());
        self.commanded = Some(Commanded { request: request.clone(), line, room });
        self.ask(request);
    }

    /// The request was not carried out: the command that it was is written again, unless something else is written there by
    /// now. Ctrl+P has it, too.
    pub(super) fn give_back_command(&mut self, request: &Request) {
        let Some(commanded) = self.commanded.take_if(|it| it.is(request)) else { return };
        let composer = match commanded.room {
            room if room == self.rooms.current_id() => Some(&mut self.composer),
            room => room.and_then(|room| self.rooms.get_mut(room)).map(|room| &mut room.draft),
        };
        if let Some(composer) = composer.filter(|composer| **composer == Composer::default()) {
            composer.set(&commanded.line);
        }
    }

    /// Whether the keys for a refused message mean something.
    pub fn is_refused_selected(&self) -> bool {
        self.picked.is_some() && self.prompt.is_none()
    }

    /// Selects the refused message above or below the one that is; `false` if there is none on that side.
    pub(super) fn pick(&mut self, up: bool) -> bool {
        let Some(room) = self.rooms.current() else { return false };
        let refused: Vec<MessageId> = self.outbox.refused(&room.summary.target).map(|it| it.id).collect();
        let at = self.picked.and_then(|picked| refused.iter().position(|id| *id == picked));
        let found = match (at, up) {
            (Some(at), true) => at.checked_sub(1),
            (Some(at), false) => Some(at + 1).filter(|at| *at < refused.len()),
            (None, true) if room.selected.is_none() => refused.len().checked_sub(1),
            (None, _) => None,
        };
        self.picked = found.map(|at| refused[at]);
        if let (true, Some(room)) = (self.picked.is_some(), self.rooms.current_mut()) {
            room.to_bottom();
        }
        // Down from the newest of them is to nothing: there is nothing more below.
        found.is_some() || (at.is_some() && !up)
    }

    /// Letters that do something with the refused message that is selected; `false` for others.
    pub(super) fn picked_key(&mut self, c: char) -> bool {
        if self.picked.is_none() || !self.composer.is_empty() {
            return false;
        }
        let done = match c {
            'r' => self.resend(),
            'e' => self.take_back(),
            'd' => self.drop_refused(),
            _ => return false,
        };
        done.unwrap_or_else(|why| self.say(why));
        true
    }

    /// The refused message that is selected, or the newest of this room.
    fn take_refused(&mut self) -> Result<Delivery, String> {
        let target = self.rooms.current().map(|room| room.summary.target.clone());
        let picked = self.picked.take();
        let taken = target.and_then(|target| self.outbox.recall(&target, picked));
        taken.ok_or_else(|| "nothing of yours was refused here".to_owned())
    }

    /// Sends it again, as a new message. It is kept as that before the old one is forgotten.
    pub(super) fn resend(&mut self) -> Result<(), String> {
        let Delivery { id: old, target, what, text, .. } = self.take_refused()?;
        if let What::Post { kind, reply_to } = what {
            let id = self.new_id();
            let text = SafeText::new(&text);
            self.deliver(target.clone(), Request::Post { target, id, kind, text, reply_to });
        }
        self.effects.push(Effect::Forget(old));
        Ok(())
    }

    /// Takes its text into the composer.
    pub(super) fn take_back(&mut self) -> Result<(), String> {
        let delivery = self.take_refused()?;
        self.effects.push(Effect::Forget(delivery.id));
        self.composer.set(&delivery.text);
        if let What::Post { reply_to: Some(seq), .. } = delivery.what {
            self.composer.about = About::Reply(seq);
        }
        if let State::Refused(refusal) = delivery.state {
            self.complain(refusal.text.as_str());
        }
        Ok(())
    }

    /// What was refused in a room that the user is not in any more is seen nowhere: Ctrl+P has the texts.
    pub(super) fn give_back_strays(&mut self) {
        if !self.listed_once {
            // The rooms are yet to come.
            return;
        }
        let rooms = &self.rooms;
        let strays = self.outbox.strays(|target| rooms.find(target).is_some());
        let Some(Delivery { target, state: State::Refused(refusal), .. }) = strays.last() else { return };
        let (what, texts) = match strays.len() {
            1 => ("not sent".to_owned(), "its text"),
            count => (format!("{count} messages were not sent, the last"), "their texts"),
        };
        self.complain(format!("{what} to {target}: {refusal}; Ctrl+P has {texts}"));
        for stray in strays {
            self.effects.push(Effect::Forget(stray.id));
            self.history.push(&stray.text);
        }
    }

    /// The server did not open a room. What was written to somebody new is in the outbox: it is shown where it waits, and
    /// only whoever asked for no more than the room has to ask again.
    pub(super) fn not_opened(&mut self, target: &Target, why: &Failure) {
        let passes = matches!(why, Failure::Unanswered(_));
        // Whoever opens it later is not taken there.
        let going = self.going.take_if(|going| going == target).is_some();
        let is_new = matches!(target, Target::Direct(_)) && self.rooms.find(target).is_none();
        if passes && is_new && self.outbox.has_pending(target) {
            let id = self.rooms.hold(target.clone(), self.now);
            if going {
                self.show(id);
            }
        }
        let open = Request::Open { target: target.clone() };
        if !passes || self.commanded.as_ref().is_some_and(|commanded| commanded.is(&open)) {
            self.complain(why.text());
        }
        self.let_go(target, why);
    }

    /// A room that the server does not make is forgotten, unless there is something to be taken back from it.
    fn let_go(&mut self, target: &Target, why: &Failure) {
        let held = self.rooms.find(target).filter(|id| self.rooms.get(*id).is_some_and(|room| room.held));
        let written = self.outbox.posts(target).next().is_some();
        if let (Some(id), Failure::Refused(_), false) = (held, why, written) {
            self.forget(id);
        }
    }

    /// A room that the server did not make, and in which nothing is left, is none.
    fn leave_unmade(&mut self, target: &Target) {
        let unmade = self.rooms.find(target).filter(|id| self.rooms.get(*id).is_some_and(|room| room.held));
        let left = self.outbox.posts(target).next().is_some();
        if let (Some(id), true, false) = (unmade, self.is_up(), left) {
            self.forget(id);
        }
    }

    /// Forgets it; Ctrl+P has its text.
    pub(super) fn drop_refused(&mut self) -> Result<(), String> {
        let delivery = self.take_refused()?;
        self.effects.push(Effect::Forget(delivery.id));
        self.history.push(&delivery.text);
        self.leave_unmade(&delivery.target);
        self.say("dropped; Ctrl+P has its text");
        Ok(())
    }
}
