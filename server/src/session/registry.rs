//! Who is connected.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;
use quip_protocol::error::close;
use quip_protocol::{AccountId, DeviceKey};

use super::budget::{Tally, source};
use super::charges::Spent;

/// All sessions of this node.
#[derive(Debug, Default)]
pub struct Sessions {
    live: Mutex<Live>,
    /// What they spent of their budgets.
    pub spent: Spent,
    /// Connections that were refused at a limit.
    pub refused: Mutex<Tally>,
}

#[derive(Debug, Default)]
struct Live {
    by_account: HashMap<AccountId, Vec<Connected>>,
    by_source: HashMap<IpAddr, u32>,
    total: u32,
}

#[derive(Debug)]
struct Connected {
    device: DeviceKey,
    connection: quinn::Connection,
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

    /// A device of an account is connected.
    pub fn enter(&self, account: AccountId, device: DeviceKey, connection: quinn::Connection) {
        self.live.lock().by_account.entry(account).or_default().push(Connected { device, connection });
    }

    /// It is no longer.
    pub fn leave(&self, account: AccountId, connection: &quinn::Connection) {
        let mut live = self.live.lock();
        if let Some(connected) = live.by_account.get_mut(&account) {
            connected.retain(|other| other.connection.stable_id() != connection.stable_id());
            if connected.is_empty() {
                live.by_account.remove(&account);
            }
        }
    }

    /// Whether a device of the account is connected.
    pub fn is_online(&self, account: AccountId) -> bool {
        self.live.lock().by_account.contains_key(&account)
    }

    /// Accounts that are connected.
    pub fn online(&self) -> usize {
        self.live.lock().by_account.len()
    }

    /// Whether this device is connected.
    pub fn is_device_online(&self, account: AccountId, key: &DeviceKey) -> bool {
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
    fn revoke(&self) {
        self.connection.close(close::REVOKED.into(), b"this device was revoked or its account suspended");
    }
}
