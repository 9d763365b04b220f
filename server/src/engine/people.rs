//! Everyone who has to do with a room, in little memory: a community has twenty such entries for each account. PURE.

use std::collections::BTreeMap;

use quip_protocol::{AccountId, Role, RoomId, Seq};
use quip_storage::record::{Member, Standing};

/// So many members stand in a list, more in a tree: most rooms are small, and a list of a million is slow to change.
const FEW: usize = 64;

/// Members of a room, and those who were removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    inside: Inside,
    /// What few have; none where nobody has anything of it.
    rare: Option<Box<Rare>>,
}

/// What there is of every member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    role: Role,
    read: Seq,
    read_ordinal: u64,
}

/// By account. Which of the two follows from how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Inside {
    Few(Vec<(AccountId, Place)>),
    Many(BTreeMap<AccountId, Place>),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rare {
    mentions: BTreeMap<AccountId, Vec<Seq>>,
    removed: BTreeMap<AccountId, Member>,
}

impl People {
    /// How many are in.
    pub fn len(&self) -> usize {
        match &self.inside {
            Inside::Few(list) => list.len(),
            Inside::Many(tree) => tree.len(),
        }
    }

    /// Whether nobody is in.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everyone who is in, by id, and their roles.
    pub fn roles(&self) -> impl Iterator<Item = (AccountId, Role)> + '_ {
        let (few, many) = match &self.inside {
            Inside::Few(list) => (Some(list), None),
            Inside::Many(tree) => (None, Some(tree)),
        };
        let few = few.into_iter().flatten().map(|(account, place)| (*account, place.role));
        few.chain(many.into_iter().flatten().map(|(account, place)| (*account, place.role)))
    }

    /// The role of a member.
    pub fn role(&self, account: AccountId) -> Option<Role> {
        self.inside.place(account).map(|place| place.role)
    }

    /// The whole record of an account in the room that this is of.
    pub fn member(&self, room: RoomId, account: AccountId) -> Option<Member> {
        let Some(Place { role, read, read_ordinal }) = self.inside.place(account) else {
            return self.rare.as_ref()?.removed.get(&account).cloned();
        };
        let mentions = self.rare.as_ref().and_then(|rare| rare.mentions.get(&account).cloned());
        let (standing, mentions) = (Standing::In(role), mentions.unwrap_or_default());
        Some(Member { room, account, standing, read, read_ordinal, mentions })
    }

    /// Instead of what was of that account.
    pub(super) fn put(&mut self, member: Member) {
        self.remove(member.account);
        let Member { account, standing: Standing::In(role), read, read_ordinal, mentions, .. } = member
        else {
            self.rare.get_or_insert_default().removed.insert(member.account, member);
            return;
        };
        self.inside.insert(account, Place { role, read, read_ordinal });
        if !mentions.is_empty() {
            self.rare.get_or_insert_default().mentions.insert(account, mentions);
        }
    }

    /// The account has nothing to do with the room any more.
    pub(super) fn remove(&mut self, account: AccountId) {
        self.inside.remove(account);
        let Some(rare) = &mut self.rare else { return };
        rare.mentions.remove(&account);
        rare.removed.remove(&account);
        if rare.mentions.is_empty() && rare.removed.is_empty() {
            self.rare = None;
        }
    }
}

impl Default for Inside {
    fn default() -> Inside {
        Inside::Few(Vec::new())
    }
}

impl Inside {
    fn place(&self, account: AccountId) -> Option<Place> {
        match self {
            Inside::Few(list) => find(list, account).ok().map(|at| list[at].1),
            Inside::Many(tree) => tree.get(&account).copied(),
        }
    }

    fn insert(&mut self, account: AccountId, place: Place) {
        match self {
            Inside::Few(list) if list.len() == FEW && find(list, account).is_err() => {
                let all = std::mem::take(list).into_iter().chain([(account, place)]);
                *self = Inside::Many(all.collect());
            }
            Inside::Few(list) => match find(list, account) {
                Ok(at) => list[at].1 = place,
                Err(at) => {
                    list.reserve_exact(1);
                    list.insert(at, (account, place));
                }
            },
            Inside::Many(tree) => {
                tree.insert(account, place);
            }
        }
    }

    fn remove(&mut self, account: AccountId) {
        match self {
            Inside::Few(list) => {
                if let Ok(at) = find(list, account) {
                    list.remove(at);
                }
            }
            Inside::Many(tree) => {
                tree.remove(&account);
                if tree.len() <= FEW {
                    *self = Inside::Few(std::mem::take(tree).into_iter().collect());
                }
            }
        }
    }
}

fn find(list: &[(AccountId, Place)], account: AccountId) -> Result<usize, usize> {
    list.binary_search_by_key(&account, |(account, _)| *account)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOM: RoomId = RoomId(7);

    fn standing() -> impl Strategy<Value = Standing> {
        let roles = prop_oneof![Just(Role::Reader), Just(Role::Member), Just(Role::Owner)];
        let removed = Just(Standing::Removed("ann".parse().unwrap()));
        prop_oneof![4 => roles.prop_map(Standing::In), 1 => removed]
    }

    fn member() -> impl Strategy<Value = Member> {
        let mentions = proptest::collection::vec((1..9u64).prop_map(Seq), 0..2);
        (0..150u64, standing(), 0..9u64, mentions).prop_map(|(account, standing, read, mentions)| Member {
            room: ROOM,
            account: AccountId(account),
            standing,
            read: Seq(read),
            read_ordinal: read / 2,
            mentions,
        })
    }

    proptest! {
        /// Against a map of whole records: both sides of the border between few and many are crossed.
        #[test]
        fn it_holds_what_a_map_of_records_holds(
            steps in proptest::collection::vec((any::<bool>(), member()), 0..400),
        ) {
            let (mut people, mut map) = (People::default(), BTreeMap::new());
            for (goes, member) in steps {
                if goes && map.len() > 40 {
                    people.remove(member.account);
                    map.remove(&member.account);
                } else {
                    people.put(member.clone());
                    map.insert(member.account, member);
                }
                let inside: Vec<_> = map
                    .values()
                    .filter_map(|m| if let Standing::In(role) = m.standing { Some((m.account, role)) } else { None })
                    .collect();
                prop_assert_eq!(people.roles().collect::<Vec<_>>(), inside);
            }
            for account in (0..150).map(AccountId) {
                prop_assert_eq!(people.member(ROOM, account), map.get(&account).cloned());
                let role = map.get(&account).and_then(|m| if let Standing::In(role) = m.standing { Some(role) } else { None });
                prop_assert_eq!(people.role(account), role);
            }
            // However it came about: what is stored and read again is the same.
            let mut again = People::default();
            map.into_values().for_each(|member| again.put(member));
            prop_assert_eq!(people, again);
        }
    }
}
