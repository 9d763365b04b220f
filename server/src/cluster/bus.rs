//! What a node says to all others where it may be lost: how its accounts are, and who types. Imports the sessions and the
//! channels of Redis. Without Redis the own accounts are as they are, and the others' expire.
//!
//! What changes goes into the node's list first, then into the channel: who reads the list after having begun to listen
//! misses nothing. Messages are bounded by the number of accounts in them, and so is their rate.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quip_protocol::{AccountId, NodeName, RoomId, Timestamp, codec};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use crate::log::redis::beside::Change;
use crate::log::redis::{Address, Connection, Listener};
use crate::log::shared::contract::Lost;
use crate::node::Node;
use crate::session::presence::Presence;
use crate::session::typing;

use super::pause::pause;
use super::presence::{EXPIRES_MS, List, News};
use super::whispers::MOST as MOST_TYPING;
use super::{BootId, Cluster};

const PRESENCE: &str = "{quip}:presence";
const TYPING: &str = "{quip}:typing";
/// How often what changed is said.
const TICK: Duration = Duration::from_millis(250);
/// Accounts of a message, and messages at a time: 8,000 accounts a second, of some 10 bytes each.
const MOST_ACCOUNTS: usize = 500;
const MOST_MESSAGES: usize = 4;
/// So often a node says something, if only that it is there.
const RENEW: Duration = Duration::from_secs(3);
/// Who hears nothing for so long, not even the own words, is not connected.
const DEAF: Duration = Duration::from_secs(10);
/// A longer message is none of ours.
const MAX_MESSAGE: usize = 256 * 1024;
/// Fields of a list that are no account.
const BOOT: &str = "boot";
const WHOLE: &str = "whole";

/// Who types on a node.
#[derive(Debug, Serialize, Deserialize)]
struct Typing {
    node: NodeName,
    who: Vec<(RoomId, AccountId)>,
}

/// Says and hears until the server stops.
pub async fn run(node: Arc<Node>, cluster: Arc<Cluster>, address: Address, mut stop: watch::Receiver<bool>) {
    let bus = Bus { node, cluster, address, hears: AtomicBool::new(false) };
    tokio::select! {
        () = bus.speak() => {}
        () = bus.whisper() => {}
        () = bus.listen() => {}
        () = bus.watch_nodes() => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    // Whoever looks before the others notice that the node is gone finds nobody online here.
    let mut last = Connection::new(bus.address.clone());
    let _ = last.forget(&list_of(&bus.cluster.name)).await;
}

fn list_of(name: &NodeName) -> String {
    format!("{PRESENCE}:{name}")
}

struct Bus {
    node: Arc<Node>,
    cluster: Arc<Cluster>,
    address: Address,
    /// Whether anything was heard since the connection was made, the own words if nothing else.
    hears: AtomicBool,
}

impl Bus {
    /// Says how the own accounts are.
    async fn speak(&self) {
        let mut speaker = Speaker::new(self);
        let mut failures = 0;
        loop {
            match speaker.speak().await {
                Ok(()) => failures = 0,
                Err(Lost(why)) => {
                    debug!(why, "presence is not told to other nodes");
                    speaker.begin_again();
                    tokio::time::sleep(pause(failures)).await;
                    failures = failures.saturating_add(1);
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Says who types; what cannot be said at once is lost.
    async fn whisper(&self) {
        let mut connection = Connection::new(self.address.clone());
        loop {
            let who = self.node.sessions.whispers.next().await;
            let typing = Typing { node: self.cluster.name.clone(), who };
            if let Err(Lost(why)) = connection.say(TYPING, &codec::encode(&typing)).await {
                debug!(why, "who types is not told to other nodes");
            }
        }
    }

    /// Only who lives is listened to; who is not heard expires.
    async fn watch_nodes(&self) {
        let mut roster = self.cluster.roster.subscribe();
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let names: BTreeSet<NodeName> = roster.borrow_and_update().keys().cloned().collect();
            let others = names.into_iter().filter(|name| *name != self.cluster.name).collect();
            self.node.sessions.elsewhere(|all| {
                let now = Timestamp::now().0;
                let mut different = all.live(&others, now);
                different.extend(all.expire(now));
                ((), different)
            });
            tokio::select! {
                _ = tick.tick() => {}
                Ok(()) = roster.changed() => {}
            }
        }
    }

    /// Hears the others, and reads what it missed.
    async fn listen(&self) {
        let mut failures = 0;
        loop {
            match Listener::new(&self.address, &[PRESENCE, TYPING]).await {
                Ok(listener) => {
                    failures = 0;
                    self.node.sessions.elsewhere(|others| (others.interrupted(), Vec::new()));
                    let Lost(why) = self.hear(listener).await;
                    // A Redis that answers and takes nothing is connected to again and again, and that is no news.
                    if self.hears.swap(false, Ordering::Relaxed) {
                        warn!(
                            why,
                            "the other nodes' presence is not heard: their users are shown as offline soon"
                        );
                    }
                }
                Err(Lost(why)) => debug!(why, "the other nodes' presence is not heard"),
            }
            tokio::time::sleep(pause(failures)).await;
            failures = failures.saturating_add(1);
        }
    }

    async fn hear(&self, mut listener: Listener) -> Lost {
        // Reading goes on beside: what is said meanwhile is newer than what is read.
        let reading = self.read_lists();
        let hearing = async {
            loop {
                match tokio::time::timeout(DEAF, listener.next()).await {
                    Ok(Some((channel, message))) => {
                        if !self.hears.swap(true, Ordering::Relaxed) {
                            info!("hearing the other nodes' presence");
                        }
                        self.heard(&channel, &message).await;
                    }
                    Ok(None) => return Lost("the connection broke".into()),
                    Err(_) => return Lost(format!("nothing was said for {} s", DEAF.as_secs())),
                }
            }
        };
        tokio::select! {
            lost = reading => lost,
            lost = hearing => lost,
        }
    }

    /// What is none of ours is dropped.
    async fn heard(&self, channel: &str, message: &[u8]) {
        if message.len() > MAX_MESSAGE {
            return;
        }
        match channel {
            PRESENCE => {
                let Ok(news) = codec::decode::<News>(message, "presence") else { return };
                let now = Timestamp::now().0;
                self.node.sessions.elsewhere(|others| ((), others.heard(news, now)));
            }
            TYPING => {
                let Ok(Typing { node, who }) = codec::decode(message, "typing") else { return };
                if node == self.cluster.name || !self.cluster.roster.borrow().contains_key(&node) {
                    return;
                }
                for (room, account) in who.into_iter().take(MOST_TYPING) {
                    // Not to be told to anybody here.
                    let _ = typing::heard(&self.node, room, account).await;
                }
            }
            _ => {}
        }
    }

    /// Reads the lists of those of whom something may have been missed.
    async fn read_lists(&self) -> Lost {
        let mut connection = Connection::new(self.address.clone());
        let sessions = &self.node.sessions;
        loop {
            // Each once: one that is still being written does not keep the next from being read.
            let mut last = None;
            while let Some(name) =
                sessions.elsewhere(|others| (others.next_to_read(last.as_ref()), Vec::new()))
            {
                let fields = match connection.list(&list_of(&name)).await {
                    Ok(fields) => fields,
                    Err(lost) => {
                        sessions.elsewhere(|others| (others.unread(&name), Vec::new()));
                        return lost;
                    }
                };
                let (list, now) = (list(fields), Timestamp::now().0);
                sessions.elsewhere(|others| ((), others.read(&name, list, now)));
                last = Some(name);
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

/// A list as it was read; what is malformed is left out.
fn list(fields: Vec<(String, Vec<u8>)>) -> List {
    let mut list = List { accounts: HashMap::with_capacity(fields.len().min(1_000_000)), ..List::default() };
    for (field, value) in fields {
        match field.as_str() {
            BOOT => list.boot = value.try_into().ok().map(BootId),
            WHOLE => list.is_whole = true,
            field => {
                let presence = codec::decode::<Presence>(&value, "presence");
                if let (Ok(id), Ok(presence)) = (field.parse(), presence) {
                    list.accounts.insert(AccountId(id), presence);
                }
            }
        }
    }
    list
}

/// Says how the own accounts are: changes, or everything where something may have been lost.
struct Speaker<'a> {
    bus: &'a Bus,
    connection: Connection,
    list: String,
    number: u64,
    /// Whether what was there under the list's name is gone: another life's list, or what is no list.
    is_ours: bool,
    /// Whether something was put into the list since.
    is_begun: bool,
    /// Whether everything was said since something may have been lost.
    is_whole: bool,
    said: Option<Instant>,
}

impl<'a> Speaker<'a> {
    fn new(bus: &'a Bus) -> Speaker<'a> {
        bus.node.sessions.publish_all();
        Speaker {
            bus,
            connection: Connection::new(bus.address.clone()),
            list: list_of(&bus.cluster.name),
            number: 0,
            is_ours: false,
            is_begun: false,
            is_whole: false,
            said: None,
        }
    }

    /// Something may have been lost: everything is said again. Who went offline meanwhile is among what is not said yet.
    fn begin_again(&mut self) {
        (self.is_ours, self.is_whole) = (false, false);
        self.bus.node.sessions.publish_all();
    }

    async fn speak(&mut self) -> Result<(), Lost> {
        if !self.is_ours {
            self.connection.forget(&self.list).await?;
            (self.is_ours, self.is_begun) = (true, false);
        }
        for _ in 0..MOST_MESSAGES {
            let changes = self.bus.node.sessions.unpublished(MOST_ACCOUNTS);
            let is_all = changes.len() < MOST_ACCOUNTS;
            let is_due = self.said.is_none_or(|said| said.elapsed() >= RENEW) || (is_all && !self.is_whole);
            if changes.is_empty() && !is_due {
                break;
            }
            let accounts: Vec<AccountId> = changes.iter().map(|(account, _)| *account).collect();
            if let Err(lost) = self.say(changes, is_all).await {
                self.bus.node.sessions.not_published(accounts.into_iter());
                return Err(lost);
            }
            if is_all {
                break;
            }
        }
        Ok(())
    }

    async fn say(&mut self, changes: Vec<(AccountId, Presence)>, is_all: bool) -> Result<(), Lost> {
        let Cluster { name, boot, .. } = &*self.bus.cluster;
        let field = |(account, presence): &(AccountId, Presence)| -> Change {
            let value = (*presence != Presence::Offline).then(|| codec::encode(presence));
            (account.0.to_string(), value)
        };
        let mut fields: Vec<Change> = changes.iter().map(field).collect();
        let is_whole = self.is_whole || is_all;
        fields.push((BOOT.to_owned(), Some(boot.0.to_vec())));
        fields.push((WHOLE.to_owned(), is_whole.then(Vec::new)));
        let was_there = self.connection.keep(&self.list, &fields, Duration::from_millis(EXPIRES_MS)).await?;
        self.number += 1;
        let news = News { node: name.clone(), boot: boot.0, number: self.number, changes };
        self.connection.say(PRESENCE, &codec::encode(&news)).await?;
        self.said = Some(Instant::now());
        if std::mem::replace(&mut self.is_begun, true) && !was_there {
            // Redis lost it.
            return Err(Lost("the list of the own accounts was gone".into()));
        }
        self.is_whole = is_whole;
        Ok(())
    }
}
