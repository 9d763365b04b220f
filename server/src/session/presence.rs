//! Presence: whether somebody is there. [`Presence`] is PURE. It is kept in memory alone, by connection, and ends with
//! it; nobody is told of it who does not ask.

use std::collections::HashMap;

use quip_protocol::frame::Reply;
use quip_protocol::limits::{MAX_AWAY, MAX_LISTED};
use quip_protocol::room::AwaySummary;
use quip_protocol::{AccountId, AccountName, DeviceKey, ErrorCode, Refusal, SafeLine, Target, Timestamp};

use crate::engine::Engine;

use super::Session;

/// What a connection said of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Nothing, as scripts do.
    Nothing,
    /// Somebody is there.
    Here,
    /// Nobody is there.
    Away {
        /// Since when, by this node's clock.
        since: Timestamp,
        /// Why.
        text: SafeLine,
    },
}

/// How an account is. The greatest is what holds of several devices, and would of several nodes: it does not matter
/// in which order they are looked at, nor how often.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// No device is connected.
    Offline,
    /// Every connected device is away.
    Away {
        /// Since when: what was said last counts.
        since: Timestamp,
        /// Why.
        text: SafeLine,
    },
    /// A device is active.
    Online,
}

impl Presence {
    /// That of an account with these connections.
    pub fn of<'a>(connections: impl Iterator<Item = (DeviceKey, &'a Said)>) -> Presence {
        let mut devices: HashMap<DeviceKey, Presence> = HashMap::new();
        for (device, said) in connections {
            let known = devices.entry(device).or_insert(Presence::Offline);
            match said {
                // Another connection of the device may know.
                Said::Nothing => {}
                Said::Here => *known = Presence::Online,
                Said::Away { since, text } => {
                    let away = Presence::Away { since: *since, text: text.clone() };
                    *known = away.max(std::mem::replace(known, Presence::Offline));
                }
            }
        }
        // A connected device of which nothing was said is active.
        let said = |known| if known == Presence::Offline { Presence::Online } else { known };
        devices.into_values().map(said).max().unwrap_or(Presence::Offline)
    }
}

impl Session {
    /// Notes what this connection says of its device.
    pub(super) fn set_away(&self, account: AccountId, text: Option<SafeLine>) -> Result<Reply, Refusal> {
        let said = match text {
            Some(text) if text.len() > MAX_AWAY => {
                let text = format!("why you are away has at most {MAX_AWAY} bytes; shorten it");
                return Err(Refusal::new(ErrorCode::TooLong, text));
            }
            Some(text) => Said::Away { since: Timestamp::now(), text },
            None => Said::Here,
        };
        self.shared.node.sessions.say(account, &self.connection, said);
        Ok(Reply::Done)
    }

    /// A page of who is away in a room that the account may read; or whether one account is, as `WhoIs` tells too.
    pub(super) fn who_is_away(
        &self,
        engine: &Engine,
        account: AccountId,
        target: &Target,
        after: Option<&AccountName>,
    ) -> Result<Reply, Refusal> {
        let sessions = &self.shared.node.sessions;
        let found = match target {
            Target::Direct(name) => {
                let id = engine.account_named(name)?;
                sessions.away(|other| other == id)
            }
            Target::Room(_) => {
                let room = engine.resolve(account, target)?;
                engine.readable(account, room)?;
                let state = engine.room(room);
                sessions.away(|id| state.is_some_and(|state| state.role(id).is_some()))
            }
        };
        let named = found.into_iter().filter_map(|(id, text)| Some((engine.account(id)?.name.clone(), text)));
        let mut members: Vec<AwaySummary> = named
            .filter(|(name, _)| after.is_none_or(|after| name > after))
            .map(|(name, text)| AwaySummary { name, text })
            .collect();
        members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let more = members.len() > MAX_LISTED as usize;
        members.truncate(MAX_LISTED as usize);
        Ok(Reply::Away { members, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_as_its_most_active_device() {
        let away = |at, text: &str| Said::Away { since: Timestamp(at), text: SafeLine::new(text) };
        let is_away = |at, text: &str| Presence::Away { since: Timestamp(at), text: SafeLine::new(text) };
        let table = [
            (vec![], Presence::Offline),
            (vec![(1, Said::Nothing)], Presence::Online),
            (vec![(1, Said::Here)], Presence::Online),
            (vec![(1, away(5, "lunch"))], is_away(5, "lunch")),
            // Another device is active, or says nothing.
            (vec![(1, away(5, "lunch")), (2, Said::Here)], Presence::Online),
            (vec![(1, away(5, "lunch")), (2, Said::Nothing)], Presence::Online),
            (vec![(1, away(5, "lunch")), (2, away(4, "z"))], is_away(5, "lunch")),
            // A script on the device of a client that is away, or is not.
            (vec![(1, Said::Nothing), (1, away(5, "lunch"))], is_away(5, "lunch")),
            (vec![(1, away(5, "lunch")), (1, Said::Nothing)], is_away(5, "lunch")),
            (vec![(1, away(5, "lunch")), (1, Said::Here)], Presence::Online),
            (vec![(1, Said::Here), (1, away(5, "lunch"))], Presence::Online),
            (vec![(1, away(5, "a")), (1, away(6, ""))], is_away(6, "")),
        ];
        for (said, expected) in table {
            let connections = said.iter().map(|(device, said)| (DeviceKey([*device; 32]), said));
            assert_eq!(Presence::of(connections), expected, "{said:?}");
            let backwards = said.iter().rev().map(|(device, said)| (DeviceKey([*device; 32]), said));
            assert_eq!(Presence::of(backwards), expected, "{said:?} the other way round");
        }
    }
}
