//! The account's own log: rooms entered and left, markers moved by its other devices, now or while this client was
//! away.

use quip_protocol::frame::Request;
use quip_protocol::{AccountName, Notice, NoticeBody, Target};

use super::App;

impl App {
    pub(super) fn notice(&mut self, notice: Notice) {
        if !self.inbox_watched || notice.seq <= self.inbox_told {
            return self.missed(notice.body);
        }
        let me = self.me.clone();
        let own = |by: &AccountName| me.as_ref() == Some(by);
        match notice.body {
            NoticeBody::Entered { target, by, .. } => {
                if !own(&by) {
                    self.say(entered(&target, &by));
                    self.ring();
                }
                self.ask(Request::Open { target });
            }
            NoticeBody::Gone { room, target, by } => {
                if self.rooms.get(room).is_some() && !own(&by) {
                    self.say(format!("{by} removed you from {target}"));
                }
                self.forget(room);
            }
            NoticeBody::Read { room, seq } => self.read_elsewhere(room, seq),
            NoticeBody::Unread { room, seq } => self.unread_again(room, seq),
            NoticeBody::Mentioned { room, seq, by } => self.mentioned(room, seq, by),
            NoticeBody::Devices => {}
        }
    }

    /// What happened while nobody was here. Which rooms there are now, and what is unread in them, is in the list of
    /// rooms that is asked for next; here is what that does not say.
    fn missed(&mut self, body: NoticeBody) {
        let me = self.me.clone();
        let own = |by: &AccountName| me.as_ref() == Some(by);
        match body {
            NoticeBody::Entered { room, target, by } if self.rooms.get(room).is_none() && !own(&by) => {
                self.say(entered(&target, &by));
                self.ring();
            }
            NoticeBody::Gone { room, target, by } if self.rooms.get(room).is_some() && !own(&by) => {
                self.say(format!("{by} removed you from {target}"));
            }
            NoticeBody::Read { room, seq } => {
                if let Some(room) = self.rooms.get_mut(room) {
                    room.marked = room.marked.max(seq);
                    room.read_to(seq);
                }
            }
            NoticeBody::Unread { room, seq } => {
                if let Some(room) = self.rooms.get_mut(room) {
                    room.unread_from(seq);
                }
            }
            _ => {}
        }
    }
}

fn entered(target: &Target, by: &AccountName) -> String {
    match target {
        Target::Room(_) => format!("{by} brought you into {target}"),
        Target::Direct(_) => format!("{by} writes to you"),
    }
}
