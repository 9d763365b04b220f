//! What the store must be equal to: plain maps, and the journal entries that lead to them.

use std::collections::BTreeMap;

use quip_protocol::codec::{encode_event, encode_notice};
use quip_protocol::{
    AccountId, AccountName, ConsumerName, Cursor, DeviceKey, Epoch, Event, EventBody, Message, MessageId,
    MessageKind, Notice, NoticeBody, Position, Receipt, Role, RoomId, RoomKind, SafeLine, SafeText, Seq,
    Timestamp,
};
use quip_storage::Store;
use quip_storage::record::{
    Account, Applied, Change, Consumer, Device, Grant, Head, Invite, Member, RecordedEvent, RecordedNotice,
    Room, Snapshot, Standing,
};

pub fn name(number: u64) -> AccountName {
    format!("user{number}").parse().unwrap()
}

pub fn at(offset: u64) -> Position {
    Position { epoch: Epoch::FIRST, offset }
}

/// Everything, as plain as can be.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub timelines: BTreeMap<RoomId, Vec<Event>>,
    pub inboxes: BTreeMap<AccountId, Vec<Notice>>,
    pub receipts: BTreeMap<MessageId, (AccountId, Receipt)>,
    accounts: BTreeMap<AccountId, Account>,
    devices: BTreeMap<DeviceKey, Device>,
    invites: BTreeMap<[u8; 32], Invite>,
    rooms: BTreeMap<RoomId, Room>,
    members: BTreeMap<(RoomId, AccountId), Member>,
    consumers: BTreeMap<(AccountId, RoomId, ConsumerName), Consumer>,
}

impl Model {
    pub fn of(entries: &[Applied]) -> Model {
        let mut model = Model::default();
        entries.iter().for_each(|entry| model.apply(entry));
        model
    }

    pub fn apply(&mut self, entry: &Applied) {
        for change in entry.changes.clone() {
            match change {
                Change::Account(it) => drop(self.accounts.insert(it.id, it)),
                Change::Device(it) => drop(self.devices.insert(it.key, it)),
                Change::Invite(it) => drop(self.invites.insert(it.hash, it)),
                Change::Room(it) => drop(self.rooms.insert(it.id, it)),
                Change::Member(it) => drop(self.members.insert((it.room, it.account), it)),
                Change::MemberGone(room, account) => drop(self.members.remove(&(room, account))),
                Change::Notice(it) => self.inboxes.entry(it.account).or_default().push(it.notice),
                Change::Consumer(it) => {
                    drop(self.consumers.insert((it.account, it.room, it.name.clone()), it))
                }
                Change::ConsumerGone(account, room, name) => {
                    drop(self.consumers.remove(&(account, room, name)));
                }
                Change::Event(it) => self.event(it),
            }
        }
    }

    fn event(&mut self, RecordedEvent { event, by, .. }: RecordedEvent) {
        if let Some(id) = event.body.id() {
            let receipt = Receipt { room: event.room, epoch: event.epoch, seq: event.seq, id };
            self.receipts.entry(id).or_insert((by, receipt));
        }
        let timeline = self.timelines.entry(event.room).or_default();
        timeline.push(event.clone());
        for target in event.body.rewrites() {
            timeline[target.0 as usize - 1].amend(&event);
        }
    }

    pub fn head(&self, room: RoomId) -> Option<Head> {
        let last = self.timelines.get(&room)?.last()?;
        let cursor = Cursor { epoch: last.epoch, seq: last.seq };
        Some(Head { cursor, ordinal: last.ordinal, at: last.at })
    }

    fn snapshot(&self) -> Snapshot {
        let rooms = self.rooms.values().map(|room| (room.clone(), self.head(room.id).unwrap_or_default()));
        Snapshot {
            accounts: self.accounts.values().cloned().collect(),
            devices: self.devices.values().cloned().collect(),
            invites: self.invites.values().cloned().collect(),
            rooms: rooms.collect(),
            members: self.members.values().cloned().collect(),
            consumers: self.consumers.values().cloned().collect(),
        }
    }

    /// Whether the store holds exactly this.
    pub fn assert_equals(&self, store: &Store) {
        assert_eq!(store.load().unwrap(), self.snapshot());
        for (room, timeline) in &self.timelines {
            let frames: Vec<_> = timeline.iter().map(|event| encode_event(event).to_vec()).collect();
            assert_eq!(store.head(*room).unwrap(), self.head(*room));
            assert_pages(&frames, |after, upto, max| store.events(*room, after, upto, max).unwrap());
            for (seq, frame) in (1..).zip(&frames) {
                assert_eq!(store.event(*room, Seq(seq)).unwrap().unwrap(), frame[4..]);
            }
            assert_eq!(store.event(*room, Seq(frames.len() as u64 + 1)).unwrap(), None);
        }
        for (account, inbox) in &self.inboxes {
            let frames: Vec<_> = inbox.iter().map(|notice| encode_notice(notice).to_vec()).collect();
            assert_pages(&frames, |after, upto, max| store.notices(*account, after, upto, max).unwrap());
        }
        for (id, receipt) in &self.receipts {
            assert_eq!(store.receipt(*id).unwrap().as_ref(), Some(receipt));
        }
        assert_eq!(store.check().unwrap(), []);
    }
}

/// Whether a log can be read in pages of any size, from any place to any place.
fn assert_pages(frames: &[Vec<u8>], read: impl Fn(Seq, Seq, usize) -> quip_storage::Frames) {
    let length = frames.len() as u64;
    for (from, upto, max) in [
        (0, u64::MAX, usize::MAX),
        (0, length, 1),
        (length / 3, length, 10_000),
        (length / 2, length / 2 + 40, usize::MAX),
        (length.saturating_sub(1), length + 5, 0),
        (length, u64::MAX, 1000),
        (length + 3, length + 1, 1000),
    ] {
        let mut after = from;
        loop {
            let page = read(Seq(after), Seq(upto), max);
            if after >= upto.min(length) {
                assert_eq!(page, quip_storage::Frames::default());
                break;
            }
            let last = after + page.count as u64;
            assert!(page.count == 1 || (page.count > 0 && page.bytes.len() <= max));
            assert_eq!((page.first, page.last), (Seq(after + 1), Seq(last)));
            assert_eq!(page.bytes, frames[after as usize..last as usize].concat());
            after = last;
        }
    }
}

/// What someone does. Numbers pick from what there is.
#[derive(Debug, Clone)]
pub enum Act {
    Send { room: u64, text: usize, id: u128 },
    Edit { room: u64, pick: usize, text: usize, id: u128 },
    Delete { room: u64, pick: usize, id: u128 },
    React { room: u64, pick: usize, who: u64, emoji: usize, on: bool, id: u128 },
    Join { room: u64 },
    Notice { account: u64 },
    Account { account: u64, suspended: bool },
    Device { key: u8, revoked: bool },
    Invite { hash: u8, uses_left: u32 },
    Room { room: u64, topic: usize },
    Member { room: u64, account: u64, mentions: u64 },
    Gone { room: u64, account: u64 },
    Consumer { account: u64, room: u64, name: u8, pick: usize },
    ConsumerGone { account: u64, room: u64, name: u8 },
}

/// The first journal entry: what the others refer to.
pub fn founding(rooms: u64, accounts: u64) -> Applied {
    let rooms = (0..rooms).map(|id| Change::Room(room(id, 0)));
    let accounts = (0..accounts).map(|id| Change::Account(account(id, false, Seq::ZERO)));
    Applied { position: at(1), changes: rooms.chain(accounts).collect() }
}

fn room(id: u64, topic: usize) -> Room {
    let topic = SafeLine::new(&"t".repeat(topic));
    Room {
        id: RoomId(id),
        name: format!("room{id}").parse().ok(),
        direct: None,
        kind: RoomKind::Public,
        topic,
        archived: false,
    }
}

fn account(id: u64, suspended: bool, inbox: Seq) -> Account {
    Account {
        id: AccountId(id),
        name: name(id),
        bot_of: None,
        admin: false,
        suspended,
        created_at: Timestamp(id),
        inbox: Cursor { epoch: Epoch::FIRST, seq: inbox },
    }
}

impl Act {
    /// The changes that an engine makes of it; none if it makes no sense.
    pub fn changes(&self, model: &Model) -> Vec<Change> {
        match *self {
            Act::Send { room, text, id } => {
                let text = SafeText::new(&"m".repeat(text));
                let message = Message::new(message_id(id), MessageKind::Plain, text, None);
                event(model, room, room, EventBody::Message(message))
            }
            Act::Edit { room, pick, text, id } => amend(model, room, 1, pick, |target, message| {
                let text = SafeText::new(&"e".repeat(1 + text));
                EventBody::Edited { target, id: message_id(id), text, drops: message.oldest_edit() }
            }),
            Act::Delete { room, pick, id } => amend(model, room, 1, pick, |target, message| {
                EventBody::Deleted { target, id: message_id(id), edits: message.edits.clone() }
            }),
            Act::React { room, pick, who, emoji, on, id } => amend(model, room, who, pick, |target, _| {
                let emoji = SafeLine::new(&"r".repeat(1 + emoji));
                EventBody::Reacted { target, id: message_id(id), emoji, on }
            }),
            Act::Join { room } => event(model, room, 1, EventBody::Joined),
            Act::Notice { account } => notice(model, account),
            ref record => vec![record.record(model)],
        }
    }

    fn record(&self, model: &Model) -> Change {
        match *self {
            Act::Account { account: id, suspended } => {
                let inbox = model.inboxes.get(&AccountId(id)).map_or(0, Vec::len);
                Change::Account(account(id, suspended, Seq(inbox as u64)))
            }
            Act::Device { key, revoked } => Change::Device(Device {
                key: DeviceKey([key; 32]),
                account: AccountId(0),
                label: "laptop".into(),
                added_at: Timestamp(1),
                revoked,
            }),
            Act::Invite { hash, uses_left } => Change::Invite(Invite {
                hash: [hash; 32],
                grant: Grant::Account { room: None, admin: false },
                by: None,
                uses_left,
                expires: Timestamp(9),
            }),
            Act::Room { room: id, topic } => Change::Room(room(id, topic)),
            Act::Member { room, account, mentions } => Change::Member(Member {
                room: RoomId(room),
                account: AccountId(account),
                standing: Standing::In(Role::Member),
                read: Seq(mentions),
                read_ordinal: mentions,
                mentions: (0..mentions).map(Seq).collect(),
            }),
            Act::Gone { room, account } => Change::MemberGone(RoomId(room), AccountId(account)),
            Act::ConsumerGone { account, room, name } => {
                Change::ConsumerGone(AccountId(account), RoomId(room), consumer(name))
            }
            Act::Consumer { account, room, name, pick } => {
                let head = model.head(RoomId(room)).unwrap_or_default().cursor;
                let seq = Seq(pick as u64 % (head.seq.0 + 1));
                Change::Consumer(Consumer {
                    account: AccountId(account),
                    name: consumer(name),
                    room: RoomId(room),
                    cursor: Cursor { epoch: Epoch::FIRST, seq },
                })
            }
            _ => unreachable!("it makes events"),
        }
    }
}

fn consumer(length: u8) -> ConsumerName {
    "x".repeat(1 + usize::from(length)).parse().unwrap()
}

fn message_id(id: u128) -> MessageId {
    MessageId::from_bytes(id.to_be_bytes())
}

fn event(model: &Model, room: u64, who: u64, body: EventBody) -> Vec<Change> {
    if body.id().is_some_and(|id| model.receipts.contains_key(&id)) {
        return Vec::new();
    }
    let head = model.head(RoomId(room)).unwrap_or_default();
    let seq = head.cursor.seq.next();
    let event = Event {
        room: RoomId(room),
        epoch: Epoch::FIRST,
        seq,
        at: Timestamp(1_000 + seq.0),
        ordinal: head.ordinal + u64::from(matches!(body, EventBody::Message(_))),
        author: name(who),
        body,
    };
    vec![Change::Event(RecordedEvent::new(event, AccountId(who)))]
}

fn amend(
    model: &Model,
    room: u64,
    who: u64,
    pick: usize,
    body: impl Fn(Seq, &Message) -> EventBody,
) -> Vec<Change> {
    let timeline = model.timelines.get(&RoomId(room)).map(Vec::as_slice).unwrap_or_default();
    let there = |event: &&Event| event.message().is_some_and(|message| !message.deleted);
    let messages: Vec<&Event> = timeline.iter().filter(there).collect();
    let Some(picked) = messages.get(pick % messages.len().max(1)) else { return Vec::new() };
    let message = picked.message().unwrap();
    event(model, room, who, body(picked.seq, message))
}

fn notice(model: &Model, id: u64) -> Vec<Change> {
    let seq = Seq(model.inboxes.get(&AccountId(id)).map_or(0, Vec::len) as u64).next();
    let body = NoticeBody::Read { room: RoomId(1), seq };
    let notice = Notice { seq, epoch: Epoch::FIRST, at: Timestamp(seq.0), body };
    let recorded = RecordedNotice::new(AccountId(id), notice);
    vec![Change::Notice(recorded), Change::Account(account(id, false, seq))]
}
