//! Who is connected.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use quip_protocol::error::close;
use quip_protocol::{AccountId, DeviceKey, SafeLine, Seq, Timestamp};
use tokio::sync::Notify;

use super::budget::{Tally, source};
use super::charges::Spent;
use super::news::News;
use super::presence::{Presence, Said};
use super::watching::Watching;
use crate::cluster::presence::Others;
use crate::cluster::whispers::Whispers;
use crate::feed::{Doorbell, FeedKey, Watch};

/// Of more accounts that are different elsewhere at once, those who watch are not told: they ask.
const MOST_NEWS: usize = 1_000;

/// All sessions of this node.
#[derive(Debug, Default)]
pub struct Sessions {
    live: Mutex<Live>,
    /// Told when somebody comes, goes or is away.
    changed: Notify,
    /// What they spent of their budgets.
    pub spent: Spent,
    /// Connections that were refused at a limit.
    pub refused: Mutex<Tally>,
    /// Who types here, for other nodes.
    pub whispers: Whispers,
}

#[derive(Debug, Default)]
struct Live {
    by_account: HashMap<AccountId, Vec<Connected>>,
    /// Those of them that are away, and what they said: few, so that asking for them costs little.
    away: HashMap<AccountId, SafeLine>,
    by_source: HashMap<IpAddr, u32>,
    total: u32,
    /// What others have yet to be told.
    news: News,
    /// How accounts are on other nodes.
    others: Others,
    /// Own accounts that other nodes have yet to be told of; `None` where there are none.
    unpublished: Option<HashSet<AccountId>>,
}

#[derive(Debug)]
struct Connected {
    device: DeviceKey,
    connection: quinn::Connection,
    watching: Arc<Watching>,
    said: Said,
}

impl Live {
    /// Something of the account's connections has changed.
    fn look_again(&mut self, account: AccountId) {
        if let Some(unpublished) = &mut self.unpublished {
            unpublished.insert(account);
        }
        self.news.changed(account, Timestamp::now());
        self.note_away(account);
    }

    fn note_away(&mut self, account: AccountId) {
        match presence(&self.by_account, &self.others, account) {
            Presence::Away { text, .. } => drop(self.away.insert(account, text)),
            Presence::Online | Presence::Offline => drop(self.away.remove(&account)),
        }
    }
}

/// By the connections of this node.
fn own_presence(by_account: &HashMap<AccountId, Vec<Connected>>, account: AccountId) -> Presence {
    let connected = by_account.get(&account).into_iter().flatten();
    Presence::of(connected.map(|c| (c.device, &c.said)))
}

/// By those of all nodes.
fn presence(
    by_account: &HashMap<AccountId, Vec<Connected>>,
    others: &Others,
    account: AccountId,
) -> Presence {
    own_presence(by_account, account).max(others.of(account))
}

/// Counted among the connections until it is dropped.
#[derive(Debug)]
pub struct Place<'a> {
    sessions: &'a Sessions,
    source: Option<IpAddr>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut live = self.sessions.live.lock();
        live.total -= 1;
        if let Some(source) = self.source
            && let Some(count) = live.by_source.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                live.by_source.remove(&source);
            }
        }
    }
}

impl Sessions {
    /// A place for one more connection, if the limits allow it. Loopback is not counted as a source.
    pub fn place(&self, address: IpAddr, total: u32, per_source: u32) -> Option<Place<'_>> {
        let source = Some(source(address)).filter(|source| !source.is_loopback());
        let mut live = self.live.lock();
        if live.total >= total {
            return None;
        }
        if let Some(source) = source {
            let count = live.by_source.entry(source).or_default();
            if *count >= per_source {
                return None;
            }
            *count += 1;
        }
        live.total += 1;
        Some(Place { sessions: self, source })
    }

    /// Connections, those in their handshake included.
    pub fn total(&self) -> u32 {
        self.live.lock().total
    }

    /// A device of an account is connected, and watches this.
    pub(super) fn enter(
        &self,
        account: AccountId,
        device: DeviceKey,
        connection: quinn::Connection,
        watching: Arc<Watching>,
    ) {
        let mut live = self.live.lock();
        let connected = Connected { device, connection, watching, said: Said::Nothing };
        // Most have one connection; a vector that grows begins with room for four.
        live.by_account.entry(account).or_insert_with(|| Vec::with_capacity(1)).push(connected);
        live.look_again(account);
        self.changed.notify_one();
    }

    /// A connection says whether somebody is there.
    pub fn say(&self, account: AccountId, connection: &quinn::Connection, said: Said) {
        let mut live = self.live.lock();
        let connected = live.by_account.get_mut(&account).into_iter().flatten();
        for other in connected.filter(|other| other.is(connection)) {
            other.said = said.clone();
        }
        live.look_again(account);
        self.changed.notify_one();
    }

    /// Those of some accounts that are away, and what they said.
    pub fn away(&self, among: impl Fn(AccountId) -> bool) -> Vec<(AccountId, SafeLine)> {
        let live = self.live.lock();
        let away = live.away.iter().filter(|(account, _)| among(**account));
        away.map(|(account, text)| (*account, text.clone())).collect()
    }

    /// The connections that watch.
    pub fn connections_of(&self, watches: &[Arc<Watch>]) -> Vec<quinn::Connection> {
        let live = self.live.lock();
        let connection = |watch: &Arc<Watch>| {
            let connected = live.by_account.get(&watch.account())?;
            connected.iter().find(|c| watch.rings(c.watching.doorbell())).map(|c| c.connection.clone())
        };
        watches.iter().filter_map(connection).collect()
    }

    /// What wakes each of them.
    pub fn doorbells(&self) -> Vec<Arc<Doorbell>> {
        let live = self.live.lock();
        live.by_account
            .values()
            .flatten()
            .map(|connected| Arc::clone(connected.watching.doorbell()))
            .collect()
    }

    /// It is no longer.
    pub fn leave(&self, account: AccountId, connection: &quinn::Connection) {
        let mut live = self.live.lock();
        if let Some(connected) = live.by_account.get_mut(&account) {
            connected.retain(|other| !other.is(connection));
            if connected.is_empty() {
                live.by_account.remove(&account);
            }
        }
        live.look_again(account);
        self.changed.notify_one();
    }

    /// `account` may see nothing of a log behind `last`: its watches end there. Called in the order of the log, before
    /// anything behind `last` is published.
    pub fn end_watches(&self, account: AccountId, key: FeedKey, last: Seq) {
        let live = self.live.lock();
        for connected in live.by_account.get(&account).into_iter().flatten() {
            connected.watching.end_at(key, last);
        }
    }

    /// Waits until somebody came, went or is away.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What others are to be told now, of so many accounts at most, and whether that is all there is.
    pub(super) fn news(&self, now: Timestamp, most: usize) -> (Vec<(AccountId, Presence)>, bool) {
        let Live { news, by_account, others, .. } = &mut *self.live.lock();
        let told = news.take(now, most, |account| presence(by_account, others, account));
        (told, news.is_empty())
    }

    /// Whether a device of the account is connected, here or elsewhere.
    pub fn is_online(&self, account: AccountId) -> bool {
        let live = self.live.lock();
        live.by_account.contains_key(&account) || live.others.is_online(account)
    }

    /// From now on other nodes are told of all accounts that are connected.
    pub fn publish_all(&self) {
        let mut live = self.live.lock();
        let connected: Vec<AccountId> = live.by_account.keys().copied().collect();
        live.unpublished.get_or_insert_default().extend(connected);
    }

    /// What other nodes are to be told now, of so many accounts at most.
    pub fn unpublished(&self, most: usize) -> Vec<(AccountId, Presence)> {
        let Live { unpublished, by_account, .. } = &mut *self.live.lock();
        let Some(unpublished) = unpublished else { return Vec::new() };
        let some: Vec<AccountId> = unpublished.iter().take(most).copied().collect();
        for account in &some {
            unpublished.remove(account);
        }
        some.into_iter().map(|account| (account, own_presence(by_account, account))).collect()
    }

    /// They were perhaps not told.
    pub fn not_published(&self, accounts: impl Iterator<Item = AccountId>) {
        self.live.lock().unpublished.get_or_insert_default().extend(accounts);
    }

    /// Takes what was heard of other nodes, and lets be known what is different by that.
    pub fn elsewhere<T>(&self, take: impl FnOnce(&mut Others) -> (T, Vec<AccountId>)) -> T {
        let now = Timestamp::now();
        let mut live = self.live.lock();
        let (taken, different) = take(&mut live.others);
        let is_news = different.len() <= MOST_NEWS;
        for account in &different {
            live.note_away(*account);
            if is_news {
                live.news.changed(*account, now);
            } else {
                let Live { news, by_account, others, .. } = &mut *live;
                news.know(*account, presence(by_account, others, *account), now);
            }
        }
        if is_news && !different.is_empty() {
            self.changed.notify_one();
        }
        taken
    }

    /// Accounts that are connected to this node.
    pub fn online(&self) -> usize {
        self.live.lock().by_account.len()
    }

    /// Whether this device is connected to this node. Nodes tell each other of accounts, not of devices.
    pub fn is_device_here(&self, account: AccountId, key: &DeviceKey) -> bool {
        let live = self.live.lock();
        live.by_account.get(&account).is_some_and(|connected| connected.iter().any(|c| c.device == *key))
    }

    /// Ends the connections of a device.
    pub fn revoke_device(&self, key: &DeviceKey) {
        self.end(|connected| connected.device == *key);
    }

    /// Ends the connections of an account.
    pub fn revoke_account(&self, account: AccountId) {
        let live = self.live.lock();
        for connected in live.by_account.get(&account).into_iter().flatten() {
            connected.revoke();
        }
    }

    fn end(&self, which: impl Fn(&Connected) -> bool) {
        for connected in self.live.lock().by_account.values().flatten().filter(|c| which(c)) {
            connected.revoke();
        }
    }
}

impl Connected {
    fn is(&self, connection: &quinn::Connection) -> bool {
        self.connection.stable_id() == connection.stable_id()
    }

    fn revoke(&self) {
        self.connection.close(close::REVOKED.into(), b"this device was revoked or its account suspended");
    }
}
