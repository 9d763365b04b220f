//! What keys do while something is asked in the composer's place.

use super::desk::Beside;
use super::keymap::Action;
use super::keys::edit_line;
use super::mentions::Mention;
use super::prompt::{Choice, Deed, Kind, Prompt};
use super::{App, Effect};

impl App {
    /// Asks for a room, for messages, or for a line written before.
    pub(super) fn open_prompt(&mut self, action: Action) {
        self.completion = None;
        self.prompt = match (action, self.rooms.current()) {
            (Action::Switch, _) => Some(Prompt::switch(&self.rooms)),
            (Action::Find, room) => Some(Prompt::search(room.map(|room| room.summary.target.clone()))),
            (Action::Recall, _) => Some(Prompt::recall(&self.history)),
            _ => None,
        };
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
            Some(Action::Escape | Action::Interrupt) => self.prompt = None,
            Some(Action::Send) => self.accept(),
            Some(Action::Up | Action::Older | Action::CompleteBack | Action::RoomUp) => self.step(true),
            Some(Action::Down | Action::Newer | Action::Complete | Action::RoomDown) => self.step(false),
            Some(Action::Paste) => {
                let cut = self.cut.clone();
                self.ask_for(&cut);
            }
            // Pressed again it goes on.
            Some(Action::Find) if matches!(prompt.kind, Kind::Search(_)) => self.widen_search(),
            Some(action @ (Action::PageUp | Action::PageDown)) => self.step_page(action == Action::PageUp),
            Some(Action::Mentions) if matches!(prompt.kind, Kind::Mentions(..)) => self.step(false),
            Some(Action::Recall) if matches!(prompt.kind, Kind::Recall) => self.step(false),
            Some(Action::Switch) if matches!(prompt.kind, Kind::Switch(..)) => self.step(false),
            Some(Action::Quit | Action::Redraw | Action::Suspend | Action::Help) => return false,
            Some(action @ (Action::Find | Action::Recall | Action::Switch)) => {
                self.prompt = None;
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
        prompt.offer(&self.history);
        self.search_anew();
    }

    fn step(&mut self, back: bool) {
        if let Some(prompt) = &mut self.prompt {
            prompt.step(back);
        }
    }

    /// As many as are seen, but not over the ends.
    fn step_page(&mut self, back: bool) {
        let page = self.height().saturating_sub(1).max(1);
        let Some(Prompt { kind: Kind::Search(search), selected, .. }) = &mut self.prompt else { return };
        let last = search.found.len().saturating_sub(1);
        *selected = if back { selected.saturating_sub(page) } else { (*selected + page).min(last) };
    }

    fn accept(&mut self) {
        let Some(prompt) = self.prompt.take() else { return };
        match prompt.kind {
            Kind::Switch(all, offered) => match offered.get(prompt.selected).and_then(|at| all.get(*at)) {
                Some(Choice { elsewhere: Some(to), room, .. }) => {
                    let visit = Beside::Visit { server: to.server, room: *room, seq: None, query: None };
                    self.effects.push(Effect::Beside(visit));
                }
                Some(choice) => self.show(choice.room),
                None => {}
            },
            Kind::Mentions(all, offered) => match offered.get(prompt.selected).and_then(|at| all.get(*at)) {
                Some(Mention { elsewhere: Some(to), room, seq, .. }) => {
                    let (server, room, seq) = (to.server, *room, Some(*seq));
                    self.effects.push(Effect::Beside(Beside::Visit { server, room, seq, query: None }));
                }
                Some(mention) => self.visit(mention.room, mention.seq),
                None => {}
            },
            Kind::Recall => {
                if let Some(line) = prompt.items.get(prompt.selected) {
                    self.composer.set(&line.insert);
                }
            }
            Kind::Search(search) => self.jump(search, prompt.selected),
            Kind::Sure(..) => {}
        }
    }
}
