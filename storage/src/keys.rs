//! Keys of the store: one prefix byte and ids, big endian so that they sort as numbers do. Imports only ids.

use quip_protocol::{AccountId, ConsumerName, DeviceKey, MessageId, RoomId, SafeLine, Seq};
use sled::IVec;

/// Which layout the store has.
pub(crate) const SCHEMA: [u8; 1] = [0];
/// Up to where the store has applied the journal.
pub(crate) const POSITION: [u8; 1] = [1];

/// Whose replica it is.
pub(crate) const OWNER: [u8; 1] = [2];
/// Which index looks at a replica.
pub(crate) const INDEX_ID: [u8; 1] = [3];
/// The newest notice that a replica's owner has taken.
pub(crate) const INBOX: [u8; 1] = [4];

pub(crate) const ACCOUNT: u8 = b'a';
pub(crate) const CURSOR: u8 = b'k';
pub(crate) const DEVICE: u8 = b'd';
pub(crate) const AMENDMENT: u8 = b'e';
pub(crate) const HEAD: u8 = b'h';
pub(crate) const INDEX: u8 = b'i';
pub(crate) const LOST: u8 = b'l';
pub(crate) const MEMBER: u8 = b'm';
pub(crate) const NOTICE: u8 = b'n';
pub(crate) const MERGE: u8 = b'g';
/// What an index has yet to look at.
pub(crate) const OUTDATED: u8 = b'o';
/// The progress of a program that reads.
pub(crate) const CONSUMER: u8 = b'p';
pub(crate) const ROOM: u8 = b'r';
pub(crate) const BLOCK: u8 = b't';
pub(crate) const INVITE: u8 = b'v';
/// From where on a room of a replica has no hole.
pub(crate) const WHOLE: u8 = b'w';

fn one(prefix: u8, id: u64) -> [u8; 9] {
    let mut key = [prefix; 9];
    key[1..].copy_from_slice(&id.to_be_bytes());
    key
}

fn two(prefix: u8, first: u64, second: u64) -> [u8; 17] {
    let mut key = [prefix; 17];
    key[1..9].copy_from_slice(&first.to_be_bytes());
    key[9..].copy_from_slice(&second.to_be_bytes());
    key
}

fn hash(prefix: u8, hash: &[u8; 32]) -> [u8; 33] {
    let mut key = [prefix; 33];
    key[1..].copy_from_slice(hash);
    key
}

pub(crate) fn account(id: AccountId) -> IVec {
    IVec::from(one(ACCOUNT, id.0).as_slice())
}

pub(crate) fn device(key: &DeviceKey) -> IVec {
    IVec::from(hash(DEVICE, &key.0).as_slice())
}

pub(crate) fn invite(code: &[u8; 32]) -> IVec {
    IVec::from(hash(INVITE, code).as_slice())
}

pub(crate) fn room(id: RoomId) -> IVec {
    IVec::from(one(ROOM, id.0).as_slice())
}

pub(crate) fn head(id: RoomId) -> IVec {
    IVec::from(one(HEAD, id.0).as_slice())
}

pub(crate) fn member(room: RoomId, account: AccountId) -> IVec {
    IVec::from(two(MEMBER, room.0, account.0).as_slice())
}

pub(crate) fn consumer(account: AccountId, room: RoomId, name: &ConsumerName) -> IVec {
    let mut key = two(CONSUMER, account.0, room.0).to_vec();
    key.extend_from_slice(name.as_str().as_bytes());
    IVec::from(key)
}

/// The block of a room that starts with `first`.
pub(crate) fn block(room: RoomId, first: Seq) -> IVec {
    IVec::from(two(BLOCK, room.0, first.0).as_slice())
}

/// What an index over a replica has yet to look at, from `first` on.
pub(crate) fn outdated(room: RoomId, first: Seq) -> IVec {
    IVec::from(two(OUTDATED, room.0, first.0).as_slice())
}

/// The cursor of a replica's room.
pub(crate) fn cursor(room: RoomId) -> IVec {
    IVec::from(one(CURSOR, room.0).as_slice())
}

/// From where on a replica's room has no hole, up to its cursor.
pub(crate) fn whole(room: RoomId) -> IVec {
    IVec::from(one(WHOLE, room.0).as_slice())
}

/// Up to where a replica's room is to be fetched before it is known what the server lost.
pub(crate) fn merge(room: RoomId) -> IVec {
    IVec::from(one(MERGE, room.0).as_slice())
}

/// A message that a replica had and the server did not send again.
pub(crate) fn lost(room: RoomId, id: MessageId) -> IVec {
    let mut key = one(LOST, room.0).to_vec();
    key.extend_from_slice(&id.to_bytes());
    IVec::from(key)
}

/// The first and the last key of lost messages of a room.
pub(crate) fn every_lost(room: RoomId) -> (IVec, IVec) {
    (lost(room, MessageId::from_bytes([0; 16])), lost(room, MessageId::from_bytes([255; 16])))
}

/// Says that the event `by` rewrites the one at `target`.
pub(crate) fn amendment(room: RoomId, target: Seq, by: Seq) -> IVec {
    let mut key = [AMENDMENT; 25];
    key[..17].copy_from_slice(&two(AMENDMENT, room.0, target.0));
    key[17..].copy_from_slice(&by.0.to_be_bytes());
    IVec::from(key.as_slice())
}

/// The keys of all amendments of events from `first` to `last`, both included.
pub(crate) fn amendments(room: RoomId, first: Seq, last: Seq) -> (IVec, IVec) {
    (amendment(room, first, Seq::ZERO), amendment(room, last, Seq(u64::MAX)))
}

/// What is rewritten and by what, from an amendment's key.
pub(crate) fn amendment_of(key: &[u8]) -> Option<(Seq, Seq)> {
    if key.len() == 25 { Some((Seq(number(key, 9)?), Seq(number(key, 17)?))) } else { None }
}

pub(crate) fn notice(account: AccountId, seq: Seq) -> IVec {
    IVec::from(two(NOTICE, account.0, seq.0).as_slice())
}

/// The block of the index that starts with `first`.
pub(crate) fn index(first: MessageId) -> IVec {
    let mut key = [INDEX; 17];
    key[1..].copy_from_slice(&first.to_bytes());
    IVec::from(key.as_slice())
}

fn number(key: &[u8], at: usize) -> Option<u64> {
    key.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes)
}

/// The two numbers of a key made of a prefix and two.
pub(crate) fn numbers(key: &[u8]) -> Option<(u64, u64)> {
    if key.len() != 17 {
        return None;
    }
    Some((number(key, 1)?, number(key, 9)?))
}

/// The one number of a key made of a prefix and one.
pub(crate) fn only_number(key: &[u8]) -> Option<u64> {
    if key.len() == 9 { number(key, 1) } else { None }
}

/// The id that an index key starts with.
pub(crate) fn index_start(key: &[u8]) -> Option<MessageId> {
    key.get(1..)?.try_into().ok().map(MessageId::from_bytes)
}

/// What a key names, for errors.
pub(crate) fn describe(key: &[u8]) -> String {
    let pair = numbers(key).unwrap_or_default();
    let id = number(key, 1).unwrap_or_default();
    match key.first().copied() {
        Some(0) => "the schema".to_owned(),
        Some(1) => "the position".to_owned(),
        Some(4) => "the inbox".to_owned(),
        Some(ACCOUNT) => format!("account {id}"),
        Some(ROOM) => format!("room {id}"),
        Some(HEAD) => format!("the head of room {id}"),
        Some(MEMBER) => format!("account {} in room {}", pair.1, pair.0),
        Some(CURSOR) => format!("the cursor of room {id}"),
        Some(WHOLE) => format!("the beginning of what is whole of room {id}"),
        Some(MERGE) => format!("the merge of room {id}"),
        Some(LOST) => format!("a lost message of room {id}"),
        Some(AMENDMENT) => format!("an amendment in room {id}"),
        Some(OUTDATED) => format!("the note on room {} from event {} on", pair.0, pair.1),
        Some(BLOCK) => format!("the block of room {} from event {} on", pair.0, pair.1),
        Some(NOTICE) => format!("notice {} of account {}", pair.1, pair.0),
        Some(CONSUMER) => {
            let name = String::from_utf8_lossy(key.get(17..).unwrap_or_default());
            let room = number(key, 9).unwrap_or_default();
            format!("consumer {} of account {id} in room {room}", SafeLine::new(&name))
        }
        Some(DEVICE) => format!("device {}", hex(&key[1..])),
        Some(INVITE) => format!("invite {}", hex(&key[1..])),
        Some(INDEX) => format!("the message index from {} on", hex(&key[1..])),
        _ => format!("key {}", hex(key)),
    }
}

fn hex(bytes: &[u8]) -> String {
    // Enough to tell one from another.
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_what_they_name() {
        let keys = [
            block(RoomId(1), Seq(1)),
            block(RoomId(1), Seq(255)),
            block(RoomId(1), Seq(256)),
            block(RoomId(2), Seq(0)),
            block(RoomId(u64::MAX), Seq(u64::MAX)),
        ];
        assert!(keys.is_sorted());
        assert_eq!(numbers(&keys[2]), Some((1, 256)));
        assert_eq!(only_number(&room(RoomId(7))), Some(7));
        assert_eq!(index_start(&index(MessageId::from_bytes([9; 16]))), Some(MessageId::from_bytes([9; 16])));
    }

    #[test]
    fn any_key_can_be_described() {
        for prefix in 0..=255u8 {
            for length in 0..40 {
                let mut key = vec![prefix; length];
                key.extend([0xFF; 3]);
                assert!(!describe(&key).is_empty());
            }
        }
        assert_eq!(describe(&block(RoomId(3), Seq(33))), "the block of room 3 from event 33 on");
        let consumer = consumer(AccountId(7), RoomId(3), &"deploy".parse().unwrap());
        assert_eq!(describe(&consumer), "consumer deploy of account 7 in room 3");
    }
}
