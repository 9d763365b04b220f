//! Presence: whether somebody is there. [`Presence`] is PURE. It is kept in memory alone, by connection, and ends with
//! it; other nodes of a cluster are told of it (`cluster/bus.rs`). Who watches a small room is told of its members, in a datagram that may be lost; everybody else asks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quip_protocol::codec::encode_datagram;
use quip_protocol::datagram::{self, Datagram};
use quip_protocol::frame::Reply;
use quip_protocol::limits::{MAX_AWAY, MAX_LISTED, MAX_TOLD_MEMBERS};
use quip_protocol::room::AwaySummary;
use quip_protocol::{AccountId, AccountName, DeviceKey, ErrorCode, Refusal, SafeLine, Target, Timestamp};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::feed::{FeedKey, Watch};
use crate::node::Node;

use super::Session;

/// How often what has changed is told.
const TICK: Duration = Duration::from_secs(1);
/// Of so many accounts at most at a time: after a restart all come at once.
const MOST_ACCOUNTS: usize = 100;
/// So many connections are told of one account; more than that would cost more than it is worth.
const MOST_TOLD: usize = 100;

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

impl From<Presence> for datagram::Presence {
    fn from(presence: Presence) -> datagram::Presence {
        match presence {
            Presence::Offline => datagram::Presence::Offline,
            Presence::Away { text, .. } => datagram::Presence::Away { text },
            Presence::Online => datagram::Presence::Online,
        }
    }
}

/// Tells those who watch small rooms how their members are, until the server stops.
pub async fn tell(node: Arc<Node>, mut stop: tokio::sync::watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = node.sessions.changed() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        while !tell_once(&node).await {
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}

/// Tells what is due; whether nothing is left.
async fn tell_once(node: &Node) -> bool {
    let (news, is_all) = node.sessions.news(Timestamp::now(), MOST_ACCOUNTS);
    for (account, presence) in news {
        let asked = node.ask(|engine| audience(node, engine, account, presence));
        // What cannot be settled now is asked for.
        let Ok(Some((watches, datagram))) = node.settled(asked).await else { continue };
        let mut told = HashSet::new();
        for connection in node.sessions.connections_of(&watches) {
            if told.insert(connection.stable_id()) {
                // Lost if it cannot be sent now.
                let _ = connection.send_datagram(datagram.clone());
            }
        }
    }
    is_all
}

/// Who is told how `account` is, and in which words: other members who watch a small room that it is in.
fn audience(
    node: &Node,
    engine: &Engine,
    account: AccountId,
    presence: Presence,
) -> Option<(Vec<Arc<Watch>>, Bytes)> {
    let mut watches: Vec<Arc<Watch>> = Vec::new();
    for state in engine.rooms_of(account).filter(|state| state.members() <= MAX_TOLD_MEMBERS) {
        let left = MOST_TOLD.saturating_sub(watches.len());
        let watching = node.feeds.watching(FeedKey::Room(state.room.id), left);
        watches.extend(
            watching
                .into_iter()
                .filter(|watch| watch.account() != account && state.role(watch.account()).is_some()),
        );
        if watches.len() >= MOST_TOLD {
            break;
        }
    }
    let who = engine.account(account)?.name.clone();
    Some((watches, encode_datagram(&Datagram::Presence { who, now: presence.into() })))
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
