//! What a store holds, as text, a line for each record, event and notice. Spelt out by hand, so that it stays the same
//! when a type learns to hold more.

use std::fmt::Write as _;

use bytes::Bytes;
use quip_protocol::codec::{LENGTH_BYTES, decode_stored_event, decode_stored_notice};
use quip_protocol::{AccountId, Event, EventBody, Message, RoomId, Seq};
use quip_storage::record::Snapshot;
use quip_storage::store::{Frames, Store};

/// All of it.
pub fn digest(store: &Store) -> String {
    let mut out = String::new();
    let snapshot = store.load().expect("the store can be read");
    records(&mut out, &snapshot);
    for (room, head) in &snapshot.rooms {
        for event in events(store, room.id, head.cursor.seq) {
            line(&mut out, &event);
        }
    }
    for account in &snapshot.accounts {
        notices(&mut out, store, account.id, account.inbox.seq);
    }
    out
}

macro_rules! put {
    ($out:expr, $($arg:tt)*) => { writeln!($out, $($arg)*).expect("writing to memory does not fail") };
}

fn records(out: &mut String, snapshot: &Snapshot) {
    for a in &snapshot.accounts {
        let (bot, inbox) = (a.bot_of.map(|id| id.0), (a.inbox.epoch.0, a.inbox.seq.0));
        let at = a.created_at.0;
        put!(
            out,
            "account {} {} {bot:?} admin={} suspended={} {at} {inbox:?}",
            a.id.0,
            a.name,
            a.admin,
            a.suspended
        );
    }
    for d in &snapshot.devices {
        put!(
            out,
            "device {:?} {} {:?} {} revoked={}",
            d.key.0,
            d.account.0,
            d.label,
            d.added_at.0,
            d.revoked
        );
    }
    for i in &snapshot.invites {
        let by = i.by.map(|id| id.0);
        put!(out, "invite {:?} {:?} {by:?} {} {}", i.hash, i.grant, i.uses_left, i.expires.0);
    }
    for (r, head) in &snapshot.rooms {
        let name = r.name.as_ref().map(ToString::to_string);
        let at = (head.cursor.epoch.0, head.cursor.seq.0, head.ordinal, head.at.0);
        put!(out, "room {} {name:?} {:?} {:?} {:?} {} {at:?}", r.id.0, r.direct, r.kind, r.topic, r.archived);
    }
    for m in &snapshot.members {
        let mentions: Vec<u64> = m.mentions.iter().map(|seq| seq.0).collect();
        let read = (m.read.0, m.read_ordinal);
        put!(out, "member {} {} {:?} {read:?} {mentions:?}", m.room.0, m.account.0, m.standing);
    }
    for c in &snapshot.consumers {
        let at = (c.cursor.epoch.0, c.cursor.seq.0);
        put!(out, "consumer {} {} {} {at:?}", c.account.0, c.name, c.room.0);
    }
}

fn events(store: &Store, room: RoomId, head: Seq) -> Vec<Event> {
    let frames = store.events(room, Seq::ZERO, head, usize::MAX).expect("the timeline can be read");
    split(frames).iter().map(|stored| decode_stored_event(stored).expect("an event")).collect()
}

fn split(frames: Frames) -> Vec<Bytes> {
    let mut rest = frames.bytes;
    let mut all = Vec::new();
    while let Some(length) = rest.first_chunk::<LENGTH_BYTES>().map(|bytes| u32::from_le_bytes(*bytes)) {
        all.push(rest.split_to(LENGTH_BYTES + length as usize).slice(LENGTH_BYTES..));
    }
    all
}

fn line(out: &mut String, event: &Event) {
    let place = (event.room.0, event.epoch.0, event.seq.0, event.ordinal, event.at.0);
    match &event.body {
        EventBody::Message(message) => put!(out, "event {place:?} {} {}", event.author, said(message)),
        other => put!(out, "event {place:?} {} {other:?}", event.author),
    }
}

fn said(m: &Message) -> String {
    let reactions: Vec<String> = m
        .reactions
        .iter()
        .map(|r| {
            let by: Vec<String> = r.by.iter().map(ToString::to_string).collect();
            format!("{}:{}", r.emoji, by.join(","))
        })
        .collect();
    let (reply, edited) = (m.reply_to.map(|seq| seq.0), m.edited.map(|at| at.0));
    format!("{} {:?} {:?} {reply:?} {edited:?} deleted={} {reactions:?}", m.id, m.kind, m.text(), m.deleted)
}

fn notices(out: &mut String, store: &Store, account: AccountId, head: Seq) {
    let frames = store.notices(account, Seq::ZERO, head, usize::MAX).expect("the inbox can be read");
    for stored in split(frames) {
        let notice = decode_stored_notice(&stored).expect("a notice");
        let place = (account.0, notice.epoch.0, notice.seq.0, notice.at.0);
        put!(out, "notice {place:?} {:?}", notice.body);
    }
}
