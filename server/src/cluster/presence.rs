//! How accounts are on the other nodes. PURE: what they say and the time are arguments. Each node says what changes of its own
//! accounts, numbered, and keeps a list of all of them that is read where something may have been missed. May be lost or late
//! without harm: what is told here is joined (`session/presence.rs`), and expires.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quip_protocol::limits::MAX_AWAY;
use quip_protocol::{AccountId, NodeName};
use serde::{Deserialize, Serialize};

use crate::session::presence::Presence;

use super::BootId;

/// Who is not heard for so long has nobody online, in milliseconds. So long its list lives, too.
pub const EXPIRES_MS: u64 = 15_000;
/// Accounts of one node; what is beyond is not known here.
const MOST_ACCOUNTS: usize = 1_000_000;

/// What a node says of its own accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// Which.
    pub node: NodeName,
    /// Which life of it.
    pub boot: [u8; 16],
    /// One more than the time before.
    pub number: u64,
    /// What is different.
    pub changes: Vec<(AccountId, Presence)>,
}

/// A list as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// Whose life it is from; none if there is no list.
    pub boot: Option<BootId>,
    /// Whether nothing of it is still being written.
    pub is_whole: bool,
    /// Who is not in it is offline.
    pub accounts: HashMap<AccountId, Presence>,
}

/// All other nodes.
#[derive(Debug, Default)]
pub struct Others {
    nodes: BTreeMap<NodeName, Other>,
}

#[derive(Debug, Default)]
struct Other {
    boot: Option<BootId>,
    number: u64,
    /// When it was heard last.
    heard: u64,
    accounts: HashMap<AccountId, Presence>,
    reading: Reading,
}

/// How a list stands.
#[derive(Debug, Default)]
enum Reading {
    /// Something may have been missed.
    #[default]
    Wanted,
    /// It is being read; what was said meanwhile is newer.
    Begun(HashMap<AccountId, Presence>),
    /// What is said is all that changes.
    Done,
}

impl Other {
    fn set(&mut self, account: AccountId, presence: Presence) -> bool {
        match presence {
            Presence::Offline => self.accounts.remove(&account).is_some(),
            _ if self.accounts.len() >= MOST_ACCOUNTS && !self.accounts.contains_key(&account) => false,
            presence => self.accounts.insert(account, presence.clone()) != Some(presence),
        }
    }

    /// Everybody is gone.
    fn clear(&mut self) -> Vec<AccountId> {
        self.boot = None;
        self.reading = Reading::Wanted;
        std::mem::take(&mut self.accounts).into_keys().collect()
    }
}

fn is_known(presence: &Presence) -> bool {
    !matches!(presence, Presence::Away { text, .. } if text.len() > MAX_AWAY)
}

impl Others {
    /// How an account is elsewhere.
    pub fn of(&self, account: AccountId) -> Presence {
        let known = self.nodes.values().filter_map(|node| node.accounts.get(&account));
        known.max().cloned().unwrap_or(Presence::Offline)
    }

    /// Whether an account is connected elsewhere.
    pub fn is_online(&self, account: AccountId) -> bool {
        self.nodes.values().any(|node| node.accounts.contains_key(&account))
    }

    /// These nodes live, beside the own one. Whose accounts are different now is returned, here as below.
    pub fn live(&mut self, names: &BTreeSet<NodeName>, now: u64) -> Vec<AccountId> {
        let mut gone = Vec::new();
        self.nodes.retain(|name, node| {
            let lives = names.contains(name);
            if !lives {
                gone.extend(node.clear());
            }
            lives
        });
        for name in names {
            self.nodes.entry(name.clone()).or_insert_with(|| Other { heard: now, ..Other::default() });
        }
        gone
    }

    /// A node says something. Who does not live is not listened to.
    pub fn heard(&mut self, news: News, now: u64) -> Vec<AccountId> {
        let Some(node) = self.nodes.get_mut(&news.node) else { return Vec::new() };
        let boot = Some(BootId(news.boot));
        let mut different = if node.boot == boot { Vec::new() } else { node.clear() };
        if node.boot == boot && news.number != node.number.wrapping_add(1) {
            // Something was missed.
            node.reading = Reading::Wanted;
        }
        (node.boot, node.number, node.heard) = (boot, news.number, now);
        for (account, presence) in news.changes {
            if !is_known(&presence) {
                continue;
            }
            if let Reading::Begun(newer) = &mut node.reading {
                newer.insert(account, presence.clone());
            }
            if node.set(account, presence) {
                different.push(account);
            }
        }
        different
    }

    /// A node whose list is to be read now, the first behind that one: [`Others::read`] or [`Others::unread`] is to follow.
    pub fn next_to_read(&mut self, behind: Option<&NodeName>) -> Option<NodeName> {
        let wanted = |name: &NodeName, node: &Other| {
            behind.is_none_or(|behind| name > behind) && matches!(node.reading, Reading::Wanted)
        };
        let (name, node) = self.nodes.iter_mut().find(|(name, node)| wanted(name, node))?;
        node.reading = Reading::Begun(HashMap::new());
        Some(name.clone())
    }

    /// A list was read. One that is still being written tells who is there, not who is gone, and is read again.
    pub fn read(&mut self, name: &NodeName, list: List, now: u64) -> Vec<AccountId> {
        let Some(node) = self.nodes.get_mut(name) else { return Vec::new() };
        let Reading::Begun(newer) = std::mem::take(&mut node.reading) else { return Vec::new() };
        if list.boot.is_some() && node.boot.is_some() && list.boot != node.boot {
            // It was heard since in another life: that one's list comes later.
            return Vec::new();
        }
        if list.boot.is_some() {
            (node.boot, node.heard) = (list.boot, now);
        }
        let mut told = list.accounts;
        told.retain(|_, presence| is_known(presence));
        if list.is_whole {
            let gone = node.accounts.keys().filter(|account| !told.contains_key(account)).copied();
            let gone: Vec<AccountId> = gone.collect();
            told.extend(gone.into_iter().map(|account| (account, Presence::Offline)));
            node.reading = Reading::Done;
        }
        told.extend(newer);
        told.into_iter().filter_map(|(id, presence)| node.set(id, presence).then_some(id)).collect()
    }

    /// A list could not be read: it is to be tried again.
    pub fn unread(&mut self, name: &NodeName) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.reading = Reading::Wanted;
        }
    }

    /// Nothing was heard for a while: everything is to be read again.
    pub fn interrupted(&mut self) {
        for node in self.nodes.values_mut() {
            node.reading = Reading::Wanted;
        }
    }

    /// Who was not heard for long has nobody online.
    pub fn expire(&mut self, now: u64) -> Vec<AccountId> {
        let silent = |node: &&mut Other| now.saturating_sub(node.heard) > EXPIRES_MS;
        self.nodes.values_mut().filter(silent).flat_map(Other::clear).collect()
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::{SafeLine, Timestamp};

    use super::*;
    use Presence::{Offline, Online};

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    fn away(text: &str) -> Presence {
        Presence::Away { since: Timestamp(1), text: SafeLine::new(text) }
    }

    fn news(node: &str, boot: u8, number: u64, changes: &[(u64, Presence)]) -> News {
        let changes = changes.iter().map(|(id, presence)| (AccountId(*id), presence.clone())).collect();
        News { node: name(node), boot: [boot; 16], number, changes }
    }

    fn list(boot: u8, is_whole: bool, accounts: &[(u64, Presence)]) -> List {
        let accounts = accounts.iter().map(|(id, presence)| (AccountId(*id), presence.clone())).collect();
        List { boot: Some(BootId([boot; 16])), is_whole, accounts }
    }

    /// With these nodes alive, whose lists were read and are empty.
    fn others(names: &[&str]) -> Others {
        let mut others = Others::default();
        others.live(&names.iter().map(|text| name(text)).collect(), 0);
        for _ in names {
            let next = others.next_to_read(None).unwrap();
            assert_eq!(others.read(&next, list(1, true, &[]), 0), []);
        }
        assert_eq!(others.next_to_read(None), None);
        others
    }

    fn of(others: &Others, ids: std::ops::RangeInclusive<u64>) -> Vec<Presence> {
        ids.map(|id| others.of(AccountId(id))).collect()
    }

    #[test]
    fn what_nodes_say_is_joined() {
        let mut others = others(&["b", "c"]);
        let said = others.heard(news("b", 1, 1, &[(1, Online), (2, away("lunch")), (3, Online)]), 0);
        assert_eq!(said.len(), 3);
        assert_eq!(others.heard(news("c", 1, 1, &[(2, Online), (3, away("x"))]), 0).len(), 2);
        assert_eq!(of(&others, 1..=4), [Online, Online, Online, Offline]);
        assert_eq!(
            others.heard(news("b", 1, 2, &[(1, Offline), (3, Offline), (2, away("lunch"))]), 0).len(),
            2
        );
        assert_eq!(of(&others, 1..=4), [Offline, Online, away("x"), Offline]);
        assert_eq!(
            others.heard(news("x", 1, 1, &[(9, Online)]), 0),
            [],
            "who does not live is not listened to"
        );
        let long = away(&"x".repeat(MAX_AWAY + 1));
        assert_eq!(others.heard(news("b", 1, 3, &[(9, long)]), 0), [], "no longer than it may be");
        assert_eq!(of(&others, 9..=9), [Offline]);
        assert!(others.next_to_read(None).is_none(), "nothing was missed");
    }

    #[test]
    fn a_node_that_is_gone_silent_or_another_life_has_nobody_online() {
        let both = || {
            let mut others = others(&["b", "c"]);
            others.heard(news("b", 1, 1, &[(1, Online), (2, Online)]), 1_000);
            others.heard(news("c", 1, 1, &[(2, away("x"))]), 2_000);
            others
        };
        let mut one = both();
        assert_eq!(one.live(&BTreeSet::from([name("c")]), 0).len(), 2);
        assert_eq!(of(&one, 1..=2), [Offline, away("x")]);
        let mut one = both();
        assert_eq!(one.expire(1_000 + EXPIRES_MS), []);
        assert_eq!(one.expire(1_001 + EXPIRES_MS).len(), 2);
        assert_eq!(of(&one, 1..=2), [Offline, away("x")]);
        assert_eq!(one.expire(2_001 + EXPIRES_MS), [AccountId(2)]);
        let mut one = both();
        assert_eq!(one.heard(news("b", 2, 1, &[(3, Online)]), 0).len(), 3);
        assert_eq!(of(&one, 1..=3), [Offline, away("x"), Online]);
        assert_eq!(one.next_to_read(None), Some(name("b")), "what it said before is in its list");
    }

    #[test]
    fn what_was_missed_is_read() {
        let mut others = others(&["b"]);
        others.heard(news("b", 1, 1, &[(1, Online), (2, Online)]), 0);
        others.heard(news("b", 1, 3, &[(3, Online)]), 0);
        assert_eq!(others.next_to_read(None), Some(name("b")));
        // Said while it is read: newer than the list.
        others.heard(news("b", 1, 4, &[(4, Offline), (5, away("x"))]), 0);
        let read = list(1, true, &[(1, away("y")), (3, Online), (4, Online), (5, Online)]);
        let mut different = others.read(&name("b"), read, 0);
        different.sort_unstable();
        assert_eq!(different, [AccountId(1), AccountId(2)]);
        assert_eq!(of(&others, 1..=5), [away("y"), Offline, Online, Offline, away("x")]);
        assert_eq!(others.next_to_read(None), None);
        others.interrupted();
        assert_eq!(others.next_to_read(None), Some(name("b")));
        others.unread(&name("b"));
        assert_eq!(others.next_to_read(None), Some(name("b")), "tried again");
    }

    #[test]
    fn a_list_that_is_being_written_takes_nobody_away() {
        let mut others = others(&["b"]);
        others.heard(news("b", 1, 1, &[(1, Online), (2, Online)]), 0);
        others.interrupted();
        others.next_to_read(None).unwrap();
        assert_eq!(others.read(&name("b"), list(1, false, &[(3, Online)]), 0), [AccountId(3)]);
        assert_eq!(of(&others, 1..=3), [Online, Online, Online]);
        assert_eq!(others.next_to_read(None), Some(name("b")), "it is read again");
        others.read(&name("b"), List::default(), 0);
        assert_eq!(of(&others, 1..=3), [Online, Online, Online], "there is none yet");
    }

    #[test]
    fn a_list_of_another_life_is_not_taken() {
        let mut others = others(&["b"]);
        others.interrupted();
        others.next_to_read(None).unwrap();
        others.heard(news("b", 2, 7, &[(1, Online)]), 0);
        assert_eq!(others.read(&name("b"), list(1, true, &[(2, Online)]), 0), []);
        assert_eq!(of(&others, 1..=2), [Online, Offline]);
        assert_eq!(others.next_to_read(None), Some(name("b")));
    }
}
