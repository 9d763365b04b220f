//! What keys do while something is asked in the composer's place.

use quip_protocol::Seq;

use super::keymap::Action;
use super::keys::edit_line;
use super::prompt::{Deed, Kind, Prompt};
use super::rows::{Ink, Layout, Row};
use super::scroll::Scroll;
use super::{App, scroll};

impl App {
    /// Asks for a room, for words to find, or for a line written before.
    pub(super) fn open_prompt(&mut self, action: Action) {
        self.completion = None;
        self.prompt = match (action, self.rooms.current()) {
            (Action::Switch, _) => Some(Prompt::switch(&self.rooms)),
            (Action::Find, Some(room)) => Some(Prompt::find(room)),
            (Action::Recall, _) => Some(Prompt::recall(&self.history)),
            _ => None,
        };
    }

    /// The words that are looked for in the room.
    pub(super) fn finding(&self) -> &str {
        match &self.prompt {
            Some(Prompt { kind: Kind::Find(_), query, .. }) => query.text(),
            _ => "",
        }
    }

    /// What a key does; `false` lets it through.
    pub(super) fn prompt_key(&mut self, action: Option<Action>, written: Option<char>) -> bool {
        let Some(prompt) = &mut self.prompt else { return false };
        if let Kind::Sure(deed, _) = &prompt.kind {
            let deed = deed.clone();
            return self.sure_key(deed, action, written);
        }
        match action {
            None => {
                if let Some(c) = written {
                    self.ask_for(c.encode_utf8(&mut [0; 4]));
                }
            }
            Some(Action::Escape | Action::Interrupt) => self.give_up(),
            Some(Action::Send) => self.accept(),
            Some(Action::Up | Action::Older | Action::CompleteBack | Action::RoomUp) => self.step(true),
            Some(Action::Down | Action::Newer | Action::Complete | Action::RoomDown) => self.step(false),
            Some(Action::Paste) => {
                let cut = self.cut.clone();
                self.ask_for(&cut);
            }
            // Pressed again it goes on.
            Some(Action::Find) if matches!(prompt.kind, Kind::Find(_)) => self.step(true),
            Some(Action::Mentions) if matches!(prompt.kind, Kind::Mentions(..)) => self.step(false),
            Some(Action::Recall) if matches!(prompt.kind, Kind::Recall) => self.step(false),
            Some(Action::Switch) if matches!(prompt.kind, Kind::Switch(_)) => self.step(false),
            Some(Action::Quit | Action::Redraw | Action::Suspend | Action::Help) => return false,
            Some(Action::PageUp | Action::PageDown) if matches!(prompt.kind, Kind::Find(_)) => return false,
            Some(action @ (Action::Find | Action::Recall | Action::Switch)) => {
                self.give_up();
                self.open_prompt(action);
            }
            Some(action) => {
                if edit_line(&mut prompt.query, action, &mut self.cut) {
                    self.asked_anew();
                }
            }
        }
        true
    }

    /// Only `y` does it: Enter may still be the one that sent the command.
    fn sure_key(&mut self, deed: Deed, action: Option<Action>, written: Option<char>) -> bool {
        match (action, written) {
            (_, Some('y' | 'Y')) => {
                self.prompt = None;
                self.perform(deed);
            }
            (Some(Action::Escape | Action::Interrupt), _) | (_, Some('n' | 'N')) => {
                self.prompt = None;
                self.say("nothing was done");
            }
            (Some(Action::Quit | Action::Redraw | Action::Suspend | Action::Help), _) => return false,
            _ => self.say("y does it, n leaves it"),
        }
        true
    }

    /// Types into the question.
    pub(super) fn ask_for(&mut self, text: &str) {
        let Some(prompt) = &mut self.prompt else { return };
        if matches!(prompt.kind, Kind::Sure(..)) {
            // A paste is no answer.
            return;
        }
        let line = text.replace(['\n', '\r', '\t'], " ");
        if prompt.query.insert(&line).is_err() {
            return self.complain("that is too long to look for");
        }
        self.asked_anew();
    }

    fn asked_anew(&mut self) {
        let Some(prompt) = &mut self.prompt else { return };
        prompt.offer(&self.rooms, &self.history);
        self.look();
        self.show_match();
    }

    /// Looks for the words anew.
    fn look(&mut self) {
        if let (Some(prompt), Some(room)) = (&mut self.prompt, self.rooms.current()) {
            prompt.look(room);
        }
    }

    fn step(&mut self, back: bool) {
        let Some(prompt) = &mut self.prompt else { return };
        match &mut prompt.kind {
            Kind::Find(found) => {
                if !found.step(back) && back && found.at.is_some() {
                    self.say("no older one is at hand; PgUp fetches more");
                }
                self.show_match();
            }
            // The list of lines and rooms stands above, its best at the top.
            Kind::Switch(_) | Kind::Recall | Kind::Mentions(..) => prompt.step(back),
            Kind::Sure(..) => {}
        }
    }

    /// So that the match is seen, and marked.
    fn show_match(&mut self) {
        let Some(Prompt { kind: Kind::Find(found), .. }) = &self.prompt else { return };
        let (shown, was) = (found.shown(), found.was);
        let Some(room) = self.rooms.current_mut() else { return };
        room.selected = shown;
        let height = self.height();
        match shown {
            Some(seq) => self.scroll_by(|layout, at| revealed(layout, at, height, seq)),
            None => self.scroll_by(|_, _| was),
        }
    }

    /// What follows from what has changed meanwhile: another room is shown, messages have come.
    pub(super) fn keep_prompt(&mut self) {
        let Some(Prompt { kind: Kind::Find(found), .. }) = &self.prompt else { return };
        match self.rooms.current().filter(|room| room.summary.id == found.room) {
            Some(room) if found.looked == (room.timeline.first(), room.timeline.last()) => {}
            Some(_) => self.look(),
            None => self.prompt = None,
        }
    }

    fn give_up(&mut self) {
        if let Some(Prompt { kind: Kind::Find(found), .. }) = self.prompt.take()
            && let Some(room) = self.rooms.current_mut()
        {
            room.selected = None;
            match found.was {
                Scroll::Bottom => room.to_bottom(),
                was => room.scroll = was,
            }
        }
    }

    fn accept(&mut self) {
        let Some(prompt) = self.prompt.take() else { return };
        match prompt.kind {
            Kind::Switch(rooms) => {
                if let Some(id) = rooms.get(prompt.selected) {
                    self.show(*id);
                }
            }
            Kind::Mentions(all, offered) => {
                if let Some(mention) = offered.get(prompt.selected).and_then(|at| all.get(*at)) {
                    self.jump(mention.room, mention.seq);
                }
            }
            Kind::Recall => {
                if let Some(line) = prompt.items.get(prompt.selected) {
                    self.composer.set(&line.insert);
                }
            }
            // Where it is, for commands about it.
            Kind::Find(_) | Kind::Sure(..) => {}
        }
    }
}

/// So that the row of `seq` that holds the words is seen.
fn revealed(layout: &Layout<'_>, at: Scroll, height: usize, seq: Seq) -> Scroll {
    let to = scroll::reveal(layout, at, height, seq);
    let rows = layout.rows(seq.0);
    let holds = |row: &Row| row.spans.iter().any(|span| span.ink == Ink::Found);
    let line = rows.iter().position(holds).unwrap_or(0);
    let seen = scroll::window(layout, to, height).iter().any(|row| (row.key, row.line) == (seq.0, line));
    if seen { to } else { Scroll::At { key: seq.0, line } }
}
