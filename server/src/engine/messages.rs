//! Messages: posting, amending, marking read.

use quip_protocol::limits::{MAX_EMOJI, MAX_REACTIONS, MAX_REACTORS, MAX_TEXT, MAX_UNREAD_MENTIONS};
use quip_protocol::message::mentions;
use quip_protocol::{
    AccountId, ErrorCode, Event, EventBody, Message, MessageId, MessageKind, NoticeBody, Receipt, Role,
    RoomId, RoomKind, SafeLine, SafeText, Seq, Target,
};
use quip_storage::record::Change;

use super::{Applied, By, NotApplied, Outcome, Past, Step, refuse};

impl Step<'_> {
    #[expect(clippy::too_many_arguments, reason = "the fields of one command")]
    pub(super) fn post(
        &mut self,
        past: &impl Past,
        by: &By,
        target: &Target,
        id: MessageId,
        kind: MessageKind,
        text: &SafeText,
        reply_to: Option<Seq>,
    ) -> Applied {
        if let Some(receipt) = self.repeated(past, by, id)? {
            return Ok(Outcome::Receipt(receipt));
        }
        check_text(text)?;
        let room = self.room_to_post(past, by, target, reply_to)?;
        let message = Message::new(id, kind, text.clone(), reply_to);
        let receipt = self.record(room, by, EventBody::Message(message));
        self.advance_marker(room, by.id, receipt.seq, self.state.rooms[&room].head.ordinal);
        self.mention(by, room, receipt.seq, text);
        Ok(Outcome::Receipt(receipt))
    }

    pub(super) fn edit(
        &mut self,
        past: &impl Past,
        by: &By,
        room: RoomId,
        target: Seq,
        id: MessageId,
        text: &SafeText,
    ) -> Applied {
        if let Some(receipt) = self.repeated(past, by, id)? {
            return Ok(Outcome::Receipt(receipt));
        }
        check_text(text)?;
        self.check_power(by, room, Role::Member)?;
        let event = self.message_at(past, room, target)?;
        if event.author != by.account.name {
            return refuse(
                ErrorCode::Forbidden,
                format!("message {target} is {}'s; you edit only your own", event.author),
            );
        }
        let drops = event.message().and_then(Message::oldest_edit);
        let text = text.clone();
        Ok(Outcome::Receipt(self.record(room, by, EventBody::Edited { target, id, text, drops })))
    }

    pub(super) fn delete(
        &mut self,
        past: &impl Past,
        by: &By,
        room: RoomId,
        target: Seq,
        id: MessageId,
    ) -> Applied {
        if let Some(receipt) = self.repeated(past, by, id)? {
            return Ok(Outcome::Receipt(receipt));
        }
        self.check_power(by, room, Role::Member)?;
        let event = self.message_at(past, room, target)?;
        if event.author != by.account.name && self.power(by, room) < Some(Role::Moderator) {
            return refuse(
                ErrorCode::Forbidden,
                format!("message {target} is {}'s; only a moderator deletes it", event.author),
            );
        }
        let edits = event.message().map(|message| message.edits.clone()).unwrap_or_default();
        Ok(Outcome::Receipt(self.record(room, by, EventBody::Deleted { target, id, edits })))
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one command")]
    pub(super) fn react(
        &mut self,
        past: &impl Past,
        by: &By,
        room: RoomId,
        target: Seq,
        id: MessageId,
        emoji: &SafeLine,
        on: bool,
    ) -> Applied {
        if let Some(receipt) = self.repeated(past, by, id)? {
            return Ok(Outcome::Receipt(receipt));
        }
        if emoji.as_str().trim().is_empty() || emoji.len() > MAX_EMOJI {
            return refuse(ErrorCode::TooLong, format!("a reaction has 1 to {MAX_EMOJI} bytes"));
        }
        self.check_power(by, room, Role::Reader)?;
        let event = self.message_at(past, room, target)?;
        if on
            && event
                .message()
                .is_some_and(|m| !m.has_reaction(&by.account.name, emoji) && !m.takes_reaction(emoji))
        {
            let text = format!("a message takes at most {MAX_REACTIONS} emoji and {MAX_REACTORS} reactions");
            return refuse(ErrorCode::TooMany, text);
        }
        Ok(Outcome::Receipt(self.record(
            room,
            by,
            EventBody::Reacted { target, id, emoji: emoji.clone(), on },
        )))
    }

    pub(super) fn mark(&mut self, past: &impl Past, by: &By, room: RoomId, seq: Seq) -> Applied {
        self.state.check_member(by.id, room)?;
        let state = &self.state.rooms[&room];
        if state.member(by.id).is_none_or(|member| member.read >= seq) {
            return Ok(Outcome::Done);
        }
        let head = state.head;
        let ordinal = if seq == head.cursor.seq {
            head.ordinal
        } else {
            match past.event(room, seq)? {
                Some(event) => event.ordinal,
                None => {
                    return refuse(
                        ErrorCode::NoSuchMessage,
                        format!("there is no event {seq} to mark as read"),
                    );
                }
            }
        };
        if self.advance_marker(room, by.id, seq, ordinal) {
            self.notify(by.id, NoticeBody::Read { room, seq });
        }
        Ok(Outcome::Done)
    }

    /// The marker goes back before the message. Of mentions between it and the old marker none becomes unread: which
    /// they were is not kept.
    pub(super) fn mark_unread(&mut self, past: &impl Past, by: &By, room: RoomId, seq: Seq) -> Applied {
        self.state.check_member(by.id, room)?;
        let member = self.state.rooms[&room].member(by.id);
        let Some(mut member) = member.filter(|member| member.read >= seq) else {
            return Ok(Outcome::Done);
        };
        let event = self.message_at(past, room, seq)?;
        member.read = Seq(seq.0 - 1);
        member.read_ordinal = event.ordinal - 1;
        if event.message().is_some_and(|message| mentions(message.text()).contains(&by.account.name)) {
            member.mentions.insert(0, seq);
            member.mentions.truncate(MAX_UNREAD_MENTIONS as usize);
        }
        self.put(Change::Member(member));
        self.notify(by.id, NoticeBody::Unread { room, seq });
        Ok(Outcome::Done)
    }

    /// The room of a new message, where it may be posted. A direct room is made only when nothing can be refused
    /// any more.
    fn room_to_post(
        &mut self,
        past: &impl Past,
        by: &By,
        target: &Target,
        reply_to: Option<Seq>,
    ) -> Result<RoomId, NotApplied> {
        let known = match target {
            Target::Room(name) => Some(self.room_to_write(by, name, Role::Member)?),
            Target::Direct(name) => self.direct_with(by, name)?,
        };
        match (known, reply_to, target) {
            (Some(room), Some(seq), _) => self.message_at(past, room, seq).map(|_| room),
            (Some(room), None, _) => Ok(room),
            (None, Some(seq), _) => refuse_no_message(seq),
            (None, None, Target::Direct(name)) => self.open_direct(by, name),
            (None, None, Target::Room(_)) => unreachable!("a room that is not there was refused"),
        }
    }

    /// The receipt of an id that was applied before.
    fn repeated(&self, past: &impl Past, by: &By, id: MessageId) -> Result<Option<Receipt>, NotApplied> {
        match past.receipt(id)? {
            Some((owner, receipt)) if owner == by.id => Ok(Some(receipt)),
            Some(_) => {
                refuse(ErrorCode::IdReused, "that message id was used by another account; make a new one")
            }
            None => Ok(None),
        }
    }

    fn message_at(&self, past: &impl Past, room: RoomId, seq: Seq) -> Result<Event, NotApplied> {
        match past.event(room, seq)? {
            Some(event) if event.message().is_some_and(|message| !message.deleted) => Ok(event),
            _ => refuse_no_message(seq),
        }
    }

    /// Wakes the members that the message names; in a direct room every message is for the other.
    fn mention(&mut self, by: &By, room: RoomId, seq: Seq, text: &SafeText) {
        if !text.as_str().contains('@') {
            return;
        }
        let state = &self.state.rooms[&room];
        if state.room.kind == RoomKind::Direct {
            return;
        }
        let named = mentions(text.as_str());
        let ids = named.iter().filter_map(|name| self.state.account_names.get(name).copied());
        let members: Vec<AccountId> = ids.filter(|id| *id != by.id && state.role(*id).is_some()).collect();
        for id in members {
            let Some(mut member) = self.state.rooms[&room].member(id) else { continue };
            if member.mentions.len() < MAX_UNREAD_MENTIONS as usize {
                member.mentions.push(seq);
                self.put(Change::Member(member));
            }
            self.notify(id, NoticeBody::Mentioned { room, seq, by: by.account.name.clone() });
        }
    }
}

fn refuse_no_message<T>(seq: Seq) -> Result<T, NotApplied> {
    refuse(ErrorCode::NoSuchMessage, format!("there is no message {seq} there, or it was deleted"))
}

fn check_text(text: &SafeText) -> Result<(), NotApplied> {
    if text.as_str().trim().is_empty() {
        return refuse(ErrorCode::BadRequest, "a message cannot be empty");
    }
    if text.len() > MAX_TEXT {
        return refuse(
            ErrorCode::TooLong,
            format!("the message has {} bytes, the limit is {MAX_TEXT}; send it in parts", text.len()),
        );
    }
    Ok(())
}
