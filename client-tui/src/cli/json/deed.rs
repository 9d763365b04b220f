//! What a command did, where the server answers nothing but that it is done. Imports the protocol's requests.

use quip_protocol::frame::Request;
use quip_protocol::{AccountName, ConsumerName, Role, RoomName, SafeLine, Target};
use serde::Serialize;

use super::shown;

/// One thing that was done. Where there is an event of the same kind, `type` and fields are called alike; what only
/// the room's log knows (`seq`, `author`, `at`) is not there.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Deed<'a> {
    /// The topic is now this.
    Topic {
        /// Where.
        #[serde(serialize_with = "shown")]
        room: Target,
        /// May be empty.
        topic: &'a SafeLine,
    },
    /// These are members now.
    Invite {
        /// Where.
        #[serde(serialize_with = "shown")]
        room: Target,
        /// Who.
        who: &'a [AccountName],
    },
    /// A member was removed.
    Kick {
        /// Where.
        #[serde(serialize_with = "shown")]
        room: Target,
        /// Who.
        who: &'a AccountName,
        /// Why; may be empty.
        reason: &'a SafeLine,
    },
    /// A member has another role.
    Role {
        /// Where.
        #[serde(serialize_with = "shown")]
        room: Target,
        /// Who.
        who: &'a AccountName,
        /// Which.
        #[serde(serialize_with = "shown")]
        role: Role,
    },
    /// The room is read, not written, from now on.
    Archive {
        /// Where.
        #[serde(serialize_with = "shown")]
        room: Target,
    },
    /// The account is no member any more.
    Leave {
        /// Where.
        #[serde(serialize_with = "shown")]
        room: Target,
    },
    /// A device, or all keys of a bot, are not this account's any more.
    Revoke {
        /// The bot.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a AccountName>,
        /// The device.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A durable cursor is forgotten.
    Remove {
        /// Its name.
        #[serde(serialize_with = "shown")]
        name: &'a ConsumerName,
        /// Where; everywhere if it is null.
        room: Option<String>,
    },
}

impl<'a> Deed<'a> {
    /// What `request` did; `None` where the server's answer says it.
    pub fn of(request: &'a Request) -> Option<Deed<'a>> {
        let at = |room: &RoomName| Target::Room(room.clone());
        Some(match request {
            Request::SetTopic { room, topic } => Deed::Topic { room: at(room), topic },
            Request::Invite { room, who } => Deed::Invite { room: at(room), who },
            Request::Kick { room, who, reason } => Deed::Kick { room: at(room), who, reason },
            Request::SetRole { room, who, role } => Deed::Role { room: at(room), who, role: *role },
            Request::Archive { room } => Deed::Archive { room: at(room) },
            Request::Leave { room } => Deed::Leave { room: at(room) },
            Request::RevokeDevice { key } => Deed::Revoke { name: None, key: Some(key.to_string()) },
            Request::RevokeToken { name } => Deed::Revoke { name: Some(name), key: None },
            Request::DropConsumer { name, target } => {
                Deed::Remove { name, room: target.as_ref().map(ToString::to_string) }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quip_protocol::DeviceKey;

    fn said(request: &Request) -> String {
        serde_json::to_string(&Deed::of(request).unwrap()).unwrap()
    }

    #[test]
    fn what_was_done_is_said() {
        let (room, who): (RoomName, AccountName) = ("ops".parse().unwrap(), "bob".parse().unwrap());
        let key = DeviceKey([0; 32]);
        let topic = SafeLine::new("runs");
        let consumer: ConsumerName = "nightly".parse().unwrap();
        let target = Some(Target::Room(room.clone()));
        let table = [
            (
                Request::SetTopic { room: room.clone(), topic },
                r##"{"type":"topic","room":"#ops","topic":"runs"}"##.to_owned(),
            ),
            (
                Request::Invite { room: room.clone(), who: vec![who.clone()] },
                r##"{"type":"invite","room":"#ops","who":["bob"]}"##.to_owned(),
            ),
            (
                Request::Kick { room: room.clone(), who: who.clone(), reason: SafeLine::default() },
                r##"{"type":"kick","room":"#ops","who":"bob","reason":""}"##.to_owned(),
            ),
            (
                Request::SetRole { room: room.clone(), who: who.clone(), role: Role::Owner },
                r##"{"type":"role","room":"#ops","who":"bob","role":"owner"}"##.to_owned(),
            ),
            (Request::Archive { room: room.clone() }, r##"{"type":"archive","room":"#ops"}"##.to_owned()),
            (Request::Leave { room }, r##"{"type":"leave","room":"#ops"}"##.to_owned()),
            (Request::RevokeDevice { key }, format!(r#"{{"type":"revoke","key":"{}"}}"#, "A".repeat(43))),
            (Request::RevokeToken { name: who }, r#"{"type":"revoke","name":"bob"}"#.to_owned()),
            (
                Request::DropConsumer { name: consumer.clone(), target },
                r##"{"type":"remove","name":"nightly","room":"#ops"}"##.to_owned(),
            ),
            (
                Request::DropConsumer { name: consumer, target: None },
                r#"{"type":"remove","name":"nightly","room":null}"#.to_owned(),
            ),
        ];
        for (request, line) in table {
            assert_eq!(said(&request), line);
        }
        assert!(Deed::of(&Request::WhoAmI).is_none());
    }
}
