//! A world in which every text from outside holds the same piece: what is hostile is seen wherever such text is.

use quip_protocol::*;

use crate::harness::World;

impl World {
    /// The same where everything that others write, and what is pasted, holds `stain` behind its first word.
    pub fn stained(stain: &str) -> World {
        let mut world = World::new();
        world.stain = stain.to_owned();
        world
    }

    /// Another server, with the same stain.
    pub fn beside(&self, address: &str, name: &'static str) -> World {
        let mut world = World::named(address, name);
        world.stain.clone_from(&self.stain);
        world
    }

    /// A text as it comes from outside.
    pub fn outside(&self, text: &str) -> String {
        let (fenced, stain) = (text.starts_with("```"), &self.stain);
        match text.split_once(if fenced { '\n' } else { ' ' }) {
            _ if stain.is_empty() => text.to_owned(),
            Some((fence, code)) if fenced => format!("{fence}\n{stain} {code}"),
            Some((first, rest)) => format!("{first} {stain} {rest}"),
            None => format!("{text} {stain}"),
        }
    }

    /// The same as one safe line.
    pub fn outside_line(&self, text: &str) -> SafeLine {
        SafeLine::new(&self.outside(text))
    }

    /// What happened in a room, with the stain in what it says.
    pub fn stain_body(&self, body: EventBody) -> EventBody {
        match body {
            EventBody::Message(message) => {
                let text = self.outside(message.text());
                let (id, kind, to) = (message.id, message.kind, message.reply_to);
                EventBody::Message(Message::new(id, kind, text.as_str().into(), to))
            }
            EventBody::Edited { target, id, text, drops } => {
                EventBody::Edited { target, id, text: self.outside(text.as_str()).as_str().into(), drops }
            }
            EventBody::Topic { topic } => EventBody::Topic { topic: self.outside_line(topic.as_str()) },
            EventBody::Kicked { who, reason } => {
                EventBody::Kicked { who, reason: self.outside_line(reason.as_str()) }
            }
            EventBody::Reacted { target, id, emoji, on } => {
                EventBody::Reacted { target, id, emoji: self.outside_line(emoji.as_str()), on }
            }
            other => other,
        }
    }
}
