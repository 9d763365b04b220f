//! What is done with the message that is selected, beside commands: it is unfolded, copied, opened, and its thread
//! or what it said before is shown.

use quip_protocol::{Event, EventBody, Message, Seq};

use super::composer::COMPOSER_LIMIT;
use super::room::Room;
use super::sheet::Line;
use super::{About, App, Effect, Input, Sheet, blocks, dates};

/// More is not copied, in bytes: terminals drop what is longer.
const COPY_LIMIT: usize = 64 * 1024;
/// A chain of answers is followed up to here.
const DEEPEST: usize = 1_000;

impl App {
    /// Letters that do something with the selected message where nothing is being written; `false` for others.
    pub(super) fn selected_key(&mut self, c: char) -> bool {
        if !self.letters_act() {
            return false;
        }
        match c {
            'y' => self.copy(true),
            'Y' => self.copy(false),
            'o' => self.open(),
            'v' => self.edits().unwrap_or_else(|why| self.say(why)),
            'z' => drop(self.fold()),
            _ => return false,
        }
        true
    }

    /// Whether a message is selected and nothing is being written: then some letters do something with it.
    pub(crate) fn letters_act(&self) -> bool {
        let is_message = |room: &Room| room.selected.is_some() && room.selected_hole().is_none();
        self.rooms.current().is_some_and(is_message)
            && self.composer.is_empty()
            && self.composer.about == About::New
    }

    /// Whether plain arrows go on selecting.
    pub(super) fn selects(&self) -> bool {
        let picked = self.is_refused_selected() && self.composer.is_empty();
        self.letters_act() || picked && self.composer.about == About::New
    }

    /// Whoever writes something new has done with the selected message; commands and `s/old/new/` are about it.
    pub(super) fn leave_selected(&mut self) {
        let text = self.composer.text();
        let about_it = text.starts_with('/') || text == "s" || text.starts_with("s/");
        if self.composer.about == About::New
            && !about_it
            && let Some(room) = self.rooms.current_mut()
        {
            room.selected = None;
        }
    }

    /// Enter on a selected message: shows it whole, or folded again, or its thread. A hole is fetched.
    pub(super) fn enter_selected(&mut self) {
        if let Some(hole) = self.rooms.current().and_then(Room::selected_hole) {
            return self.enter_hole(hole);
        }
        if !self.fold()
            && let Err(why) = self.thread()
        {
            self.say(why);
        }
    }

    fn selected(&self) -> Option<(&Room, Seq, &Message)> {
        let room = self.rooms.current()?;
        let seq = room.selected?;
        let (_, message) = room.timeline.message(seq)?;
        Some((room, seq, message))
    }

    /// Unfolds a long message, or folds it again; `false` if it is not long.
    fn fold(&mut self) -> bool {
        let Some((room, seq, message)) = self.selected() else { return false };
        let long = self.layout().is_some_and(|layout| layout.is_long(message.text()));
        let key = (room.summary.id, seq);
        if long && !self.unfolded.remove(&key) {
            self.unfolded.insert(key);
            self.scroll_to(seq);
        }
        long
    }

    fn copy(&mut self, code_alone: bool) {
        let Some((_, _, message)) = self.selected() else { return };
        let code = blocks::code(message.text()).filter(|_| code_alone);
        let what = if code.is_some() { "code" } else { "message" };
        let text = code.unwrap_or_else(|| message.text().to_owned());
        if text.len() > COPY_LIMIT {
            return self.complain("that is too long for the clipboard; o opens it in your pager");
        }
        let also = if what == "code" { "; Y copies the whole message" } else { "" };
        self.say(format!("copied the {what}, {}{also}", lines(&text)));
        self.effects.push(Effect::Copy(text));
    }

    fn open(&mut self) {
        let Some((_, _, message)) = self.selected() else { return };
        let text = message.text().to_owned();
        self.effects.push(Effect::Show(text));
    }

    /// Shows the selected or the last message that has a thread, and what was answered.
    pub(super) fn thread(&mut self) -> Result<(), String> {
        let room = self.rooms.current().ok_or("you are in no room")?;
        let selected = room.selected;
        let answer = |seq: Seq| reply_to(room, seq).is_some();
        let newest = || room.timeline.events().rev().map(|event| event.seq).find(|seq| answer(*seq));
        let seq = selected.or_else(newest).ok_or("nothing was answered here; /reply answers a message")?;
        let root = root(room, seq);
        let answers: Vec<Seq> =
            room.timeline.events().map(|event| event.seq).filter(|seq| root_is(room, *seq, root)).collect();
        if answers.is_empty() {
            return Err("nobody answered it; /reply answers it".to_owned());
        }
        let mut said = Vec::new();
        for seq in std::iter::once(root).chain(answers.iter().copied()) {
            said.extend(self.told(room, seq));
        }
        said.pop();
        let count = if answers.len() == 1 { "1 answer" } else { &format!("{} answers", answers.len()) };
        self.sheet = Some(Sheet::new(format!("Thread in {}: {count}", room.summary.target), said));
        Ok(())
    }

    /// Shows what the selected or the last edited message said first, and after each edit that is kept.
    pub(super) fn edits(&mut self) -> Result<(), String> {
        let room = self.rooms.current().ok_or("you are in no room")?;
        let found = match room.selected {
            Some(seq) => room.timeline.message(seq).ok_or("it was deleted, and so were its edits")?,
            None => {
                let newest = room.timeline.newest(|_, message| message.original.is_some());
                newest.ok_or("nothing was edited here lately; Alt+K selects a message")?
            }
        };
        let (event, message) = found;
        let original = message.original.as_ref().ok_or("it was not edited")?;
        let head = |what: &str, at| Line::Head(format!("{what} · {}", dates::date_and_time(at, &self.zone)));
        let mut said = vec![head("first", event.at), Line::Text(original.as_str().to_owned()), empty()];
        if has_dropped(room, event.seq) {
            said.extend([Line::Text("Edits in between are not kept.".to_owned()), empty()]);
        }
        for seq in &message.edits {
            match room.timeline.at(*seq).and_then(edit) {
                Some((edit, text)) => said.extend([head("edited", edit.at), Line::Text(text.to_owned())]),
                None => said.push(Line::Text("An edit that is not at hand.".to_owned())),
            }
            said.push(empty());
        }
        said.pop();
        let count =
            if message.edits.len() == 1 { "1 edit" } else { &format!("{} edits", message.edits.len()) };
        self.sheet = Some(Sheet::new(format!("A message of {}: {count}", event.author), said));
        Ok(())
    }

    /// A message of a thread.
    fn told(&self, room: &Room, seq: Seq) -> Vec<Line> {
        let Some(event) = room.timeline.at(seq) else {
            return vec![Line::Text("An earlier message, which is not at hand.".to_owned()), empty()];
        };
        let text = match event.message() {
            Some(message) if !message.deleted => message.text(),
            _ => "(deleted)",
        };
        let head = format!("{} · {}", event.author, dates::date_and_time(event.at, &self.zone));
        vec![Line::Head(head), Line::Text(text.to_owned()), empty()]
    }

    /// Hands what is being written to the user's editor.
    pub(super) fn edit_outside(&mut self) {
        let text = self.composer.text().to_owned();
        self.effects.push(Effect::Compose(text));
    }

    /// What came of a program that had the terminal.
    pub(super) fn outside(&mut self, input: Input) {
        match input {
            Input::Composed(Ok(text)) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                if text.len() > COMPOSER_LIMIT {
                    return self
                        .complain("what the editor left is too long for a message; nothing was changed");
                }
                self.composer.set(text);
                self.completion = None;
            }
            Input::Composed(Err(why)) => self.complain(why.as_str()),
            _ => {}
        }
    }
}

fn empty() -> Line {
    Line::Text(String::new())
}

fn lines(text: &str) -> String {
    match text.lines().count() {
        0 | 1 => "1 line".to_owned(),
        count => format!("{count} lines"),
    }
}

/// An edit and what it said, as long as that is kept.
fn edit(event: &Event) -> Option<(&Event, &str)> {
    match &event.body {
        EventBody::Edited { text, .. } if !text.is_empty() => Some((event, text.as_str())),
        _ => None,
    }
}

/// Whether the message has edits whose texts are not kept any more.
fn has_dropped(room: &Room, message: Seq) -> bool {
    let is_dropped = |event: &Event| matches!(&event.body, EventBody::Edited { target, text, .. } if *target == message && text.is_empty());
    room.timeline.events().any(is_dropped)
}

fn reply_to(room: &Room, seq: Seq) -> Option<Seq> {
    // Only backward: whatever a server says, a chain of answers has an end.
    room.timeline.at(seq)?.message()?.reply_to.filter(|to| *to < seq)
}

/// The message with which the thread of `seq` began, as far as it is at hand.
fn root(room: &Room, seq: Seq) -> Seq {
    std::iter::successors(Some(seq), |seq| reply_to(room, *seq)).take(DEEPEST).last().unwrap_or(seq)
}

fn root_is(room: &Room, seq: Seq, wanted: Seq) -> bool {
    seq > wanted && reply_to(room, seq).is_some() && root(room, seq) == wanted
}
