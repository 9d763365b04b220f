//! What keys and pastes do. The table of keys is `keymap`.

use quip_protocol::frame::PageFrom;
use quip_protocol::{RoomId, Seq};

use super::complete::Completion;
use super::composer::{Composer, TooMuch};
use super::desk::Beside;
use super::keymap::{self, Action};
use super::room::Goal;
use super::scroll::{self, Scroll};
use super::{About, App, Code, Effect, Key, PAGE, Sheet, panes};

impl App {
    pub(super) fn key(&mut self, key: Key) {
        if self.hides_escape(key) {
            self.key(Key::plain(Code::Esc));
            return self.key(Key { alt: false, ..key });
        }
        self.said = None;
        let prefixed = std::mem::take(&mut self.prefixed);
        let action = if prefixed { keymap::prefixed(key) } else { self.preferences.keys.action(key) };
        if prefixed && action.is_none() {
            return;
        }
        self.quit_asked &= matches!(action, Some(Action::Quit | Action::Interrupt));
        if self.sheet.is_some() && self.sheet_key(key, action) {
            return;
        }
        let written = match key.code {
            Code::Char(c) if action.is_none() && !key.ctrl && !key.alt => Some(c),
            _ => None,
        };
        if self.prompt.is_some() && self.prompt_key(action, written) {
            return;
        }
        match (action, written) {
            (Some(action), _) => self.act(action),
            (None, Some(c)) if self.picked_key(c) || self.selected_key(c) => {}
            (None, Some(c)) => self.write(c.encode_utf8(&mut [0; 4])),
            (None, None) => {}
        }
    }

    /// Terminals write Alt as an Esc before the key, so that Esc and then Ctrl+L, pressed quickly, come as Alt+Ctrl+L.
    /// Where that means nothing and Ctrl+L does, it was those two. Of Esc and a letter nobody can tell.
    fn hides_escape(&self, key: Key) -> bool {
        let keys = &self.preferences.keys;
        key.ctrl && key.alt && keys.action(key).is_none() && keys.action(Key { alt: false, ..key }).is_some()
    }

    pub(super) fn paste(&mut self, text: &str) {
        self.said = None;
        // Terminals send a pasted line end as the Enter key would: as a carriage return.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        if self.prompt.is_some() {
            return self.ask_for(&text);
        }
        self.write(&text);
    }

    pub(super) fn write(&mut self, text: &str) {
        match self.composer.insert(text) {
            Ok(()) => {
                self.leave_selected();
                self.completion = Completion::unasked(&self.composer);
                self.types();
            }
            Err(TooMuch) => self.complain(format!(
                "that is {} bytes; the composer takes {} KiB: save it to a file and share it another way",
                text.len(),
                super::composer::COMPOSER_LIMIT / 1024
            )),
        }
    }

    /// What a key does while a sheet is open; `false` lets it through.
    fn sheet_key(&mut self, key: Key, action: Option<Action>) -> bool {
        let (columns, rows) = self.size;
        let Some(sheet) = &mut self.sheet else { return false };
        let framed = !sheet.is_verbatim();
        let width = panes::sheet_width(columns, framed);
        let height = panes::sheet(columns, rows, sheet.rows(width).len(), framed).height;
        let height = usize::from(height.saturating_sub(2));
        let page = isize::try_from(height).unwrap_or(isize::MAX);
        match action {
            Some(Action::Up | Action::RoomUp) => sheet.scroll(-1, width, height),
            Some(Action::Down | Action::RoomDown) => sheet.scroll(1, width, height),
            Some(Action::PageUp) => sheet.scroll(-page, width, height),
            Some(Action::PageDown) => sheet.scroll(page, width, height),
            Some(Action::Escape | Action::Send | Action::Help) => self.sheet = None,
            Some(Action::Quit | Action::Interrupt | Action::Redraw | Action::Suspend) => return false,
            None if key == Key::plain(Code::Char('q')) => self.sheet = None,
            None if key == Key::plain(Code::Char(' ')) => sheet.scroll(page, width, height),
            // Who writes has read it: nothing that is typed is lost.
            None if matches!(key.code, Code::Char(_)) && !key.ctrl && !key.alt => {
                self.sheet = None;
                return false;
            }
            _ => {}
        }
        true
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Complete => self.complete(false),
            Action::CompleteBack => self.complete(true),
            Action::Escape => self.escape(),
            Action::Send => self.enter(),
            Action::Help => self.sheet = Some(Sheet::help(&self.preferences.keys)),
            Action::Mouse => self.switch_mouse(),
            Action::Prefix => self.prefixed = true,
            Action::Editor => self.edit_outside(),
            Action::Switch | Action::Find | Action::Recall => self.open_prompt(action),
            Action::Mentions => self.open_mentions(),
            Action::Redraw => self.effects.push(Effect::Redraw),
            Action::Suspend => self.effects.push(Effect::Suspend),
            Action::Quit => self.quit(),
            Action::Interrupt => self.interrupt(),
            _ => {
                if !(self.move_in_rooms(action) || self.move_in_timeline(action)) {
                    self.edit(action);
                }
            }
        }
    }

    fn interrupt(&mut self) {
        if !self.composer.is_empty() {
            self.composer.set("");
            self.completion = None;
        } else if self.quit_asked {
            self.quit();
        } else {
            self.quit_asked = true;
            self.complain("Ctrl+C once more quits".to_owned());
        }
    }

    /// Ends the program; asks once more if something would be lost.
    pub(super) fn quit(&mut self) {
        let waiting = self.outbox.waiting();
        if waiting == 0 || self.quit_asked || self.local {
            self.effects.push(Effect::Quit);
            return;
        }
        self.quit_asked = true;
        let what = if waiting == 1 { "1 message is" } else { &format!("{waiting} messages are") };
        self.complain(format!("{what} not delivered yet; quit again to leave all the same"));
    }

    fn complete(&mut self, back: bool) {
        let asked = self.completion.take().filter(|offered| offered.selected.is_some());
        let found = asked.or_else(|| Completion::at(&self.composer, &self.rooms, self.me.as_ref()));
        let Some(mut offered) = found else { return };
        let only = offered.items.len() == 1;
        let mut word = offered.step(back).insert.clone();
        if only {
            word.push(' ');
        }
        self.composer.replace(offered.start..self.composer.cursor(), &word);
        self.completion = if only { Completion::unasked(&self.composer) } else { Some(offered) };
    }

    /// One step out of what is going on, in the end to the newest message.
    fn escape(&mut self) {
        if self.completion.take().is_some() {
            return;
        }
        if self.composer.about != About::New {
            let text = self.composer.take();
            self.history.push(&text);
            return;
        }
        if self.picked.take().is_some() || self.jump_back() {
            return;
        }
        if let Some(room) = self.rooms.current_mut()
            && room.selected.take().is_none()
        {
            self.peeking = false;
            room.to_bottom();
        }
    }

    pub(super) fn move_in_rooms(&mut self, action: Action) -> bool {
        let peeks = matches!(action, Action::Peek(_) | Action::PeekUp | Action::PeekDown);
        let goes = matches!(action, Action::Room(_) | Action::RoomUp | Action::RoomDown | Action::RoomNeedy);
        if !(peeks || goes) {
            return false;
        }
        if self.beside {
            self.effects.push(Effect::Beside(Beside::Move(action)));
            return true;
        }
        let to = match action {
            Action::RoomNeedy => self.rooms.next_needy(),
            _ => led(action, self.rooms.listed().len(), self.rooms.place()).and_then(|at| self.rooms.at(at)),
        };
        match to {
            Some(id) if peeks => self.peek(id),
            Some(id) => self.show(id),
            None if action == Action::RoomNeedy => self.say("nothing is waiting for you"),
            None => {}
        }
        true
    }

    /// Shows a room; it stays unread until it is shown otherwise, written to, or left by Esc.
    pub(super) fn peek(&mut self, id: RoomId) {
        if self.rooms.current_id() != Some(id) {
            self.show(id);
            self.peeking = true;
        }
    }

    pub(super) fn move_in_timeline(&mut self, action: Action) -> bool {
        let height = self.height();
        let page = height.saturating_sub(2).max(1);
        match action {
            Action::PageUp => self.scroll_by(|layout, at| scroll::up(layout, at, height, page)),
            Action::PageDown => self.scroll_by(|layout, at| scroll::down(layout, at, page)),
            Action::Newest => self.scroll_by(|_, _| Scroll::Bottom),
            Action::Oldest => {
                if let Some(first) = self.rooms.current().and_then(|room| room.timeline.first()) {
                    self.scroll_to(first);
                    self.scroll_by(|layout, at| scroll::up(layout, at, height, 3));
                }
            }
            Action::FirstUnread => self.first_unread(),
            Action::SelectUp => self.select(true),
            Action::SelectDown => self.select(false),
            _ => return false,
        }
        true
    }

    pub(super) fn scroll_by(&mut self, to: impl FnOnce(&super::Layout<'_>, Scroll) -> Scroll) {
        let Some(scroll) = self.layout().map(|layout| to(&layout, layout.room.scroll)) else { return };
        if let Some(room) = self.rooms.current_mut() {
            if scroll == Scroll::Bottom {
                room.to_bottom();
            } else {
                room.scroll = scroll;
                room.goal = None;
            }
        }
    }

    fn first_unread(&mut self) {
        let Some(room) = self.rooms.current_mut() else { return };
        let Some(line) = room.unread_line else {
            return self.say("nothing was unread when you came here");
        };
        let first = line.next();
        let here = room.timeline.at(first).is_some();
        room.goal = Some(Goal { seq: first, at_top: true, moves: !here });
        if here {
            return self.reach();
        }
        room.scroll = Scroll::At { key: first.0, line: 0 };
        self.fetch_page(PageFrom::After(line), PAGE);
    }

    /// Marks the message, or the hole, above or below as the one that commands are about.
    fn select(&mut self, up: bool) {
        if self.pick(up) {
            return;
        }
        let height = self.height();
        let Some(layout) = self.layout() else { return };
        let next = |key: &u64| if up { layout.before(*key) } else { layout.after(*key) };
        let hole = layout.room.selected_hole().map(|hole| hole.first);
        let selected = hole.or(layout.room.selected).map(|seq| seq.0);
        let mut found = match (selected, scroll::seen(&layout, height)) {
            // Whoever has scrolled away begins with what is seen.
            (at, Some(seen)) if at.is_none_or(|at| !seen.contains(&at)) => {
                Some(if up { *seen.end() } else { *seen.start() })
            }
            (Some(at), _) => next(&at),
            (None, _) => up.then(|| layout.base() + 1).and_then(|start| next(&start)),
        };
        while let Some(key) = found.filter(|key| !layout.is_selectable(*key)) {
            found = next(&key);
        }
        let found = found.map(Seq);
        let Some(room) = self.rooms.current_mut() else { return };
        if !up || found.is_some() {
            room.selected = found;
        } else if room.selected.is_none() {
            self.has_nothing_to_select();
        }
        if let Some(seq) = found {
            self.scroll_by(|layout, at| scroll::reveal(layout, at, height, seq));
        }
    }

    /// What is on its way has no place in the room yet, and nothing can be done with it.
    fn has_nothing_to_select(&mut self) {
        let target = self.rooms.current().map(|room| &room.summary.target);
        self.say(match target.is_some_and(|target| self.outbox.has_pending(target)) {
            true => "it is not delivered yet; then it can be selected",
            false => "there is no message here to select",
        });
    }

    fn edit(&mut self, action: Action) {
        let cells = panes::composer_width(self.size.0);
        self.completion = None;
        match action {
            Action::NewLine => self.write("\n"),
            Action::Paste => {
                let cut = self.cut.clone();
                self.write(&cut);
            }
            Action::Up if self.selects() => self.select(true),
            Action::Down if self.selects() => self.select(false),
            Action::Up => self.up(cells),
            Action::Down => drop(self.composer.down(cells)),
            Action::Older => self.older(),
            Action::Newer => self.newer(),
            _ if edit_line(&mut self.composer, action, &mut self.cut) => {
                self.completion = Completion::unasked(&self.composer);
            }
            _ => {}
        }
    }

    /// On an empty line: takes back what was refused, or edits the last own message. Else one row up.
    fn up(&mut self, cells: usize) {
        if !self.composer.is_empty() || self.composer.about != About::New {
            self.composer.up(cells);
            return;
        }
        if self.take_back().is_ok() {
            return;
        }
        if let Err(why) = self.begin_edit() {
            self.say(why);
        }
    }

    fn older(&mut self) {
        if let Some(line) = self.history.older(self.composer.text()) {
            self.composer.set(line);
        }
    }

    fn newer(&mut self) {
        if let Some(line) = self.history.newer() {
            self.composer.set(&line);
        }
    }
}

/// Where a key leads among `count` rooms, from the one at `place`.
pub(super) fn led(action: Action, count: usize, place: Option<usize>) -> Option<usize> {
    let to = match action {
        Action::Room(place) | Action::Peek(place) => usize::from(place),
        Action::RoomUp | Action::PeekUp => place.unwrap_or(0).checked_sub(1).or(count.checked_sub(1))?,
        Action::RoomDown | Action::PeekDown => place.map(|at| at + 1).filter(|at| *at < count).unwrap_or(0),
        _ => return None,
    };
    (to < count).then_some(to)
}

/// Moves in `line`, or deletes of it; what is cut goes to `cut`. Whether the text may have changed.
pub(super) fn edit_line(line: &mut Composer, action: Action, cut: &mut String) -> bool {
    let taken = match action {
        Action::Backspace => {
            line.backspace();
            return true;
        }
        Action::Delete => {
            line.delete();
            return true;
        }
        Action::CutToStart => line.cut_to_start(),
        Action::CutToEnd => line.cut_to_end(),
        Action::CutWord => line.cut_word(),
        Action::CutWordRight => line.cut_word_right(),
        _ => return move_in_line(line, action),
    };
    if !taken.is_empty() {
        *cut = taken;
    }
    true
}

/// Always `false`: nothing of the text changes.
fn move_in_line(line: &mut Composer, action: Action) -> bool {
    match action {
        Action::Left => line.left(),
        Action::Right => line.right(),
        Action::WordLeft => line.word_left(),
        Action::WordRight => line.word_right(),
        Action::Home => line.home(),
        Action::End => line.end(),
        _ => {}
    }
    false
}
