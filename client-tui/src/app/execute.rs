//! What is sent: messages, and what commands do.

use quip_protocol::frame::Request;
use quip_protocol::limits::MAX_EMOJI;
use quip_protocol::{MessageId, MessageKind, RoomName, SafeLine, SafeText, Seq, Target};

use super::commands::{self, Command};
use super::desk::Beside;
use super::keymap::Action;
use super::outbox::Delivery;
use super::prompt::{Deed, Prompt};
use super::room::Room;
use super::{About, App, Effect, Sheet};

/// How long an invite link is good, in seconds.
const INVITE_TTL_S: u32 = 24 * 3600;

/// Why a command that only the server can carry out is not.
const OFFLINE: &str = "not connected; try again when the connection is back";

/// Why something cannot be done, in one line for the user.
type Why = String;

impl App {
    /// Enter: sends or carries out what is written. What cannot be sent stays in the composer.
    pub(super) fn enter(&mut self) {
        self.completion = None;
        let written = self.composer.clone();
        let text = written.text().trim_end().trim_start_matches('\n');
        if text.is_empty() && written.about == About::New {
            return self.enter_selected();
        }
        self.composer.take();
        let done = match written.about {
            About::Edit(seq) => self.edit_message(seq, &SafeText::new(text)),
            About::Reply(seq) => self.post(MessageKind::Plain, text, Some(seq)),
            About::New if commands::is_command(text) => {
                commands::parse(text).and_then(|command| self.execute(command, text))
            }
            About::New => match commands::substitution(text) {
                Some((old, new)) => self.substitute(old, new),
                None => {
                    let text = if text.starts_with("//") { &text[1..] } else { text };
                    self.post(MessageKind::Plain, text, None)
                }
            },
        };
        match done {
            Ok(()) => self.history.push(text),
            Err(why) => {
                self.composer = written;
                self.complain(why);
            }
        }
    }

    fn current(&self) -> Result<&Room, Why> {
        self.rooms.current().ok_or_else(|| match self.is_settled() {
            false => "your rooms are on their way; Enter once more when they are there".to_owned(),
            true => "you are in no room; /join #room, or /rooms lists them".to_owned(),
        })
    }

    fn named_room(&self) -> Result<RoomName, Why> {
        match &self.current()?.summary.target {
            Target::Room(name) => Ok(name.clone()),
            Target::Direct(_) => Err("this is a direct room; that is for #rooms".to_owned()),
        }
    }

    fn fits(&self, text: &SafeText) -> Result<(), Why> {
        let limit = self.text_limit();
        match text.len() {
            0 => Err("there is nothing to send".to_owned()),
            len if len > limit => Err(format!(
                "too long: {len} bytes, a message has at most {limit}; shorten or split it, it is kept here"
            )),
            _ => Ok(()),
        }
    }

    /// The most bytes that a message has.
    pub(super) fn text_limit(&self) -> usize {
        self.limits.as_ref().map_or(quip_protocol::limits::MAX_TEXT, |limits| limits.text_bytes as usize)
    }

    pub(super) fn new_id(&mut self) -> MessageId {
        (self.new_id)()
    }

    fn post(&mut self, kind: MessageKind, text: &str, reply_to: Option<Seq>) -> Result<(), Why> {
        let target = self.current()?.summary.target.clone();
        self.post_to(target, kind, SafeText::new(text), reply_to)
    }

    fn post_to(
        &mut self,
        target: Target,
        kind: MessageKind,
        text: SafeText,
        reply_to: Option<Seq>,
    ) -> Result<(), Why> {
        self.fits(&text)?;
        let id = self.new_id();
        self.deliver(target.clone(), Request::Post { target, id, kind, text, reply_to });
        Ok(())
    }

    pub(super) fn deliver(&mut self, target: Target, request: Request) {
        if let Some(delivery) = Delivery::new(target.clone(), &request, self.now) {
            self.outbox.push(delivery);
        }
        if let Some(room) = self.rooms.current_mut().filter(|room| room.summary.target == target) {
            room.selected = None;
            if matches!(request, Request::Post { .. }) {
                self.peeking = false;
                room.to_bottom();
            }
        }
        self.effects.push(Effect::Deliver(request));
    }

    /// The selected message if it is the user's own, or their last one.
    fn own_message(&self) -> Result<(Seq, SafeText), Why> {
        let room = self.current()?;
        let me = self.me.as_ref();
        let found = match room.selected {
            Some(seq) => room.timeline.message(seq),
            // An older one is not what is meant.
            None if self.outbox.has_pending(&room.summary.target) => {
                return Err("your last message is not delivered yet; it can be changed when it is".to_owned());
            }
            None => room.timeline.newest(|event, _| Some(&event.author) == me),
        };
        let (event, message) = found.ok_or("there is no message of yours here")?;
        if Some(&event.author) != me {
            return Err("that message is not yours".to_owned());
        }
        Ok((event.seq, message.text.clone()))
    }

    /// The selected message, or the last one of someone else.
    fn others_message(&self) -> Result<Seq, Why> {
        let room = self.current()?;
        let me = self.me.as_ref();
        let newest =
            || room.timeline.newest(|event, _| Some(&event.author) != me).map(|(event, _)| event.seq);
        let found = chosen(room)?.or_else(newest);
        found.ok_or_else(|| "there is no message of anybody else here".to_owned())
    }

    /// Takes the selected or last own message into the composer.
    pub(super) fn begin_edit(&mut self) -> Result<(), Why> {
        let (seq, text) = self.own_message()?;
        self.composer.set(text.as_str());
        self.composer.about = About::Edit(seq);
        Ok(())
    }

    fn edit_message(&mut self, seq: Seq, text: &SafeText) -> Result<(), Why> {
        if text.is_empty() {
            return Err("a message cannot become empty; Esc, then /delete deletes it".to_owned());
        }
        self.fits(text)?;
        let room = self.current()?;
        if room.timeline.message(seq).is_some_and(|(_, message)| message.text == *text) {
            return Ok(());
        }
        let (room, target) = (room.summary.id, room.summary.target.clone());
        let id = self.new_id();
        self.deliver(target, Request::Edit { room, target: seq, id, text: text.clone() });
        Ok(())
    }

    fn substitute(&mut self, old: &str, new: &str) -> Result<(), Why> {
        let (seq, text) = self.own_message()?;
        if !text.as_str().contains(old) {
            return Err(format!("your last message does not have “{old}”"));
        }
        self.edit_message(seq, &SafeText::new(&text.as_str().replacen(old, new, 1)))
    }

    /// Asks whether the selected or the last own message is to be deleted.
    fn ask_to_delete(&mut self) -> Result<(), Why> {
        let room = self.current()?;
        // A moderator may delete what others wrote: the server knows.
        let seq = match room.selected {
            Some(seq) => seq,
            None => self.own_message()?.0,
        };
        let (_, message) = room.timeline.message(seq).ok_or("there is no message to delete")?;
        let deed = Deed::Delete { room: room.summary.id, target: room.summary.target.clone(), seq };
        self.prompt = Some(Prompt::sure(deed, message.text()));
        Ok(())
    }

    /// Asks whether the room is to be archived.
    fn ask_to_archive(&mut self) -> Result<(), Why> {
        let room = self.named_room()?;
        if !self.is_up() {
            return Err(OFFLINE.to_owned());
        }
        self.prompt = Some(Prompt::sure(Deed::Archive(room), ""));
        Ok(())
    }

    /// Does what the user was asked about, and said yes to.
    pub(super) fn perform(&mut self, deed: Deed) {
        match deed {
            Deed::Delete { room, target, seq } => {
                let id = self.new_id();
                self.deliver(target, Request::Delete { room, target: seq, id });
            }
            Deed::Archive(room) if self.is_up() => self.ask(Request::Archive { room }),
            Deed::Archive(_) => self.complain(OFFLINE),
        }
    }

    fn react(&mut self, emoji: SafeLine) -> Result<(), Why> {
        if emoji.len() > MAX_EMOJI {
            return Err(format!("a reaction has at most {MAX_EMOJI} bytes"));
        }
        let room = self.current()?;
        if room.selected.is_none() && self.outbox.has_pending(&room.summary.target) {
            return Err("the newest message is not delivered yet; Alt+K selects another".to_owned());
        }
        let newest = || room.timeline.newest(|_, _| true).map(|(event, _)| event.seq);
        let seq = chosen(room)?.or_else(newest).ok_or("there is no message to react to here")?;
        let had = self.me.as_ref().is_some_and(|me| {
            room.timeline.message(seq).is_some_and(|(_, message)| message.has_reaction(me, &emoji))
        });
        let (room, target) = (room.summary.id, room.summary.target.clone());
        let id = self.new_id();
        self.deliver(target, Request::React { room, target: seq, id, emoji, on: !had });
        Ok(())
    }

    fn reply(&mut self, text: &SafeText) -> Result<(), Why> {
        let seq = self.others_message()?;
        if text.is_empty() {
            self.composer.about = About::Reply(seq);
            return Ok(());
        }
        self.post(MessageKind::Plain, text.as_str(), Some(seq))
    }

    fn message_directly(
        &mut self,
        who: quip_protocol::AccountName,
        text: SafeText,
        line: &str,
    ) -> Result<(), Why> {
        let target = Target::Direct(who);
        match self.rooms.find(&target) {
            Some(id) => self.show(id),
            None if !self.is_up() => {
                let id = self.rooms.hold(target.clone(), self.now);
                self.show(id);
            }
            None => {
                self.going = Some(target.clone());
                let open = Request::Open { target: target.clone() };
                // A text is in the outbox, whatever becomes of this.
                if text.is_empty() { self.ask_by(line, open) } else { self.ask(open) }
            }
        }
        if text.is_empty() { Ok(()) } else { self.post_to(target, MessageKind::Plain, text, None) }
    }

    fn execute(&mut self, command: Command, line: &str) -> Result<(), Why> {
        match command {
            Command::Help(Some(entry)) => self.say(entry.usage()),
            Command::Help(None) if self.lines => self.sheet = Some(Sheet::commands()),
            Command::Help(None) => self.sheet = Some(Sheet::help(&self.preferences.keys)),
            Command::Quit => self.quit(),
            Command::Msg(who, text) => self.message_directly(who, text, line)?,
            Command::Me(text) => self.post(MessageKind::Action, text.as_str(), None)?,
            Command::Edit(text) if text.is_empty() => self.begin_edit()?,
            Command::Edit(text) => {
                let (seq, _) = self.own_message()?;
                self.edit_message(seq, &text)?;
            }
            Command::Delete => self.ask_to_delete()?,
            Command::Resend => self.resend()?,
            Command::Drop => self.drop_refused()?,
            Command::Archive => self.ask_to_archive()?,
            Command::React(emoji) => self.react(emoji)?,
            Command::Reply(text) => self.reply(&text)?,
            Command::Notify(level) => self.notify(level)?,
            Command::Away(text) => self.set_away(text)?,
            Command::Thread => self.thread()?,
            Command::Edits => self.edits()?,
            Command::Mentions => self.open_mentions(),
            Command::Next => drop(self.move_in_rooms(Action::RoomNeedy)),
            Command::List if self.beside => self.leave_to_desk(Beside::List),
            Command::List => self.list_rooms(),
            Command::Peek(target) => match self.rooms.find(&target) {
                Some(id) => self.peek(id),
                None if self.beside => self.leave_to_desk(Beside::Peek(target)),
                None => return Err(format!("you are not in {target}")),
            },
            Command::Server(word) => self.leave_to_desk(Beside::Server(word)),
            Command::Servers => self.leave_to_desk(Beside::Servers),
            Command::Search(words) => self.search_for(&words),
            Command::Topic(None) => {
                let topic = self.current()?.summary.topic.as_str().to_owned();
                self.say(if topic.is_empty() { "there is no topic".to_owned() } else { topic });
            }
            Command::Join(room) if self.rooms.find(&Target::Room(room.clone())).is_some() => {
                if let Some(id) = self.rooms.find(&Target::Room(room)) {
                    self.show(id);
                }
            }
            other => {
                let request = self.request(other)?;
                if !self.is_up() {
                    return Err(OFFLINE.to_owned());
                }
                self.ask_by(line, request);
            }
        }
        Ok(())
    }

    fn leave_to_desk(&mut self, what: Beside) {
        self.effects.push(Effect::Beside(what));
    }

    /// The request that a command is.
    fn request(&mut self, command: Command) -> Result<Request, Why> {
        Ok(match command {
            Command::Join(room) => Request::Join { room },
            Command::Part => Request::Leave { room: self.named_room()? },
            Command::Topic(topic) => {
                Request::SetTopic { room: self.named_room()?, topic: topic.unwrap_or_default() }
            }
            Command::Invite(who) if who.is_empty() => {
                let room = self.named_room().ok();
                Request::NewInvite { room, uses: 1, ttl_s: INVITE_TTL_S }
            }
            Command::Invite(who) => Request::Invite { room: self.named_room()?, who },
            Command::Kick(who, reason) => Request::Kick { room: self.named_room()?, who, reason },
            Command::Role(who, role) => Request::SetRole { room: self.named_room()?, who, role },
            Command::Create(name, private, topic) => {
                Request::CreateRoom { name, private, topic, members: Vec::new() }
            }
            Command::Members => {
                let room = &self.current()?.summary;
                let (id, target) = (room.id, room.target.clone());
                // Without a connection nothing comes, and what comes by itself later is not to be shown so.
                self.asked_members = self.is_up().then_some(id);
                Request::WhoIsAway { target, after: None }
            }
            Command::Unread => {
                let seq = self.others_message()?;
                Request::MarkUnread { room: self.current()?.summary.id, seq }
            }
            Command::WhoIs(name) => Request::WhoIs { name },
            Command::Rooms => Request::PublicRooms { after: None },
            _ => return Err("that is no request".to_owned()),
        })
    }
}

/// What is selected, if it is no hole.
fn chosen(room: &Room) -> Result<Option<Seq>, Why> {
    match room.selected_hole() {
        Some(_) => Err("no message is selected, but a hole: Enter fetches it".to_owned()),
        None => Ok(room.selected),
    }
}
