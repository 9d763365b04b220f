//! A client, a clock that is set by hand, and a server of a few lines that performs the client's effects.

use std::collections::{BTreeMap, VecDeque};

use jiff::tz::TimeZone;
use quip::app::{App, Code, Effect, Input, Key, Setup};
use quip::view::{self, Look};
use quip_protocol::frame::{PageFrom, Reply, Request, VERSION, WatchState, Welcome};
use quip_protocol::limits::Limits;
use quip_protocol::room::{AccountSummary, AwaySummary, MemberSummary, RoomSummary};
use quip_protocol::*;
use quip_storage::search::{Found, Query};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

/// 2026-11-21T00:00:00Z.
pub const MIDNIGHT: u64 = 1_795_219_200_000;
pub const MINUTE: u64 = 60_000;
pub const HOUR: u64 = 60 * MINUTE;

pub fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

pub fn target(text: &str) -> Target {
    text.parse().unwrap()
}

/// An id that no client of these tests makes.
pub fn id(number: u64) -> MessageId {
    let mut bytes = [0xEE; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    MessageId::from_bytes(bytes)
}

/// A room of the server: events as they are now.
pub struct Hosted {
    pub summary: RoomSummary,
    pub events: Vec<Event>,
    pub members: Vec<MemberSummary>,
}

/// Client, clock and server.
pub struct World {
    pub app: App,
    pub now: Timestamp,
    pub rooms: BTreeMap<RoomId, Hosted>,
    pub online: bool,
    /// Who is away, in any room.
    pub away: Vec<AwaySummary>,
    /// What the client's copy has, and is asked for without a connection.
    pub copy: BTreeMap<RoomId, Vec<Event>>,
    /// Refuse deliveries with this.
    pub refuse: Option<Refusal>,
    /// Searches wait for [`World::found`].
    pub slow: bool,
    /// How many events the index has yet to look at.
    pub remaining: u64,
    /// The newest notice.
    pub inbox: Seq,
    /// Everything the app wanted, in order.
    pub wanted: Vec<Effect>,
    /// Everything that the server did, in order.
    pub heard: Vec<Input>,
    /// The nodes of the cluster, the one that answers first.
    pub nodes: Vec<NodeSummary>,
    /// What the server calls itself.
    name: &'static str,
    /// Stands in every text that comes from outside, see [`World::stained`].
    pub stain: String,
    /// Deliveries that wait for the connection.
    outbox: VecDeque<Request>,
}

impl World {
    /// A client of `ann` at 14:30, not connected.
    pub fn new() -> World {
        World::named("chat.example", "home")
    }

    /// The same on another server.
    pub fn named(address: &str, name: &'static str) -> World {
        let mut next = 0u64;
        let new_id = move || {
            next += 1;
            let mut bytes = [0; 16];
            bytes[8..].copy_from_slice(&next.to_be_bytes());
            MessageId::from_bytes(bytes)
        };
        let setup =
            Setup { server: format!("quip://{address}"), zone: TimeZone::UTC, new_id: Box::new(new_id) };
        let now = Timestamp(MIDNIGHT + 14 * HOUR + 30 * MINUTE);
        World {
            app: App::new(setup, now),
            now,
            rooms: BTreeMap::new(),
            online: false,
            away: Vec::new(),
            copy: BTreeMap::new(),
            refuse: None,
            slow: false,
            remaining: 0,
            inbox: Seq::ZERO,
            wanted: Vec::new(),
            heard: Vec::new(),
            nodes: Vec::new(),
            name,
            stain: String::new(),
            outbox: VecDeque::new(),
        }
    }

    /// A room on the server, of which `ann` is a member.
    pub fn host(&mut self, room: u64, what: &str, topic: &str) {
        let target = target(what);
        let kind = if what.starts_with('@') { RoomKind::Direct } else { RoomKind::Public };
        let summary = RoomSummary {
            id: RoomId(room),
            target,
            kind,
            topic: self.outside_line(topic),
            archived: false,
            role: Some(Role::Member),
            members: 3,
            head: Cursor::default(),
            active_at: self.now,
            read: Seq::ZERO,
            unread: 0,
            mentions: 0,
        };
        let member = |text: &str, role, online| MemberSummary { name: name(text), role, online, bot: false };
        let members = vec![
            member("ann", Role::Owner, true),
            member("bob", Role::Member, true),
            member("carl", Role::Moderator, false),
        ];
        self.rooms.insert(RoomId(room), Hosted { summary, events: Vec::new(), members });
    }

    /// Something happened in the room at `at`, before anyone looked. Returns its seq.
    pub fn past(&mut self, room: u64, at: u64, author: &str, body: EventBody) -> Seq {
        self.record(room, Timestamp(at), author, body).seq
    }

    /// Someone said something before anyone looked.
    pub fn said(&mut self, room: u64, at: u64, author: &str, text: &str) -> Seq {
        let number = self.rooms[&RoomId(room)].events.len() as u64;
        let message = Message::new(id(room * 1_000_000 + number), MessageKind::Plain, text.into(), None);
        self.past(room, at, author, EventBody::Message(message))
    }

    fn record(&mut self, room: u64, at: Timestamp, author: &str, body: EventBody) -> Event {
        let body = self.stain_body(body);
        let hosted = self.rooms.get_mut(&RoomId(room)).unwrap();
        let seq = hosted.summary.head.seq.next();
        let event = Event {
            room: RoomId(room),
            epoch: Epoch::FIRST,
            seq,
            at,
            ordinal: seq.0,
            author: name(author),
            body,
        };
        for earlier in &mut hosted.events {
            earlier.amend(&event);
        }
        hosted.events.push(event.clone());
        hosted.summary.head = Cursor { epoch: Epoch::FIRST, seq };
        hosted.summary.active_at = at;
        event
    }

    /// Something happens in the room now; the client learns of it if it is connected. Returns its seq.
    pub fn live(&mut self, room: u64, author: &str, body: EventBody) -> Seq {
        let event = self.record(room, self.now, author, body);
        let seq = event.seq;
        if self.online {
            self.input(Input::Event(event));
        }
        seq
    }

    /// Someone says something now.
    pub fn says(&mut self, room: u64, author: &str, text: &str) -> Seq {
        let number = self.rooms[&RoomId(room)].events.len() as u64;
        let message = Message::new(id(room * 1_000_000 + number), MessageKind::Plain, text.into(), None);
        self.live(room, author, EventBody::Message(message))
    }

    /// What the server calls unread.
    pub fn unread(&mut self, room: u64, read: u64, unread: u64, mentions: u32) {
        let summary = &mut self.rooms.get_mut(&RoomId(room)).unwrap().summary;
        (summary.read, summary.unread, summary.mentions) = (Seq(read), unread, mentions);
    }

    /// The connection comes up, again or for the first time.
    pub fn connect(&mut self) {
        self.online = true;
        let limits = Limits {
            text_bytes: 200,
            burst_messages: 10,
            messages_per_second: 5,
            requests_in_flight: 32,
            idle_timeout_ms: 30_000,
        };
        let welcome = Welcome {
            version: VERSION,
            server: self.outside_line(self.name),
            account: Some(name("ann")),
            open_registration: false,
            limits,
            now: self.now,
            nodes: self.nodes.clone(),
        };
        self.input(Input::Up(welcome));
        while let Some(request) = self.outbox.pop_front() {
            self.deliver(request);
        }
    }

    /// The connection is lost for `retry_in_ms`.
    pub fn lose(&mut self, retry_in_ms: u64) {
        self.online = false;
        self.input(Input::Down { why: self.outside_line("timed out"), retry_in_ms: Some(retry_in_ms) });
    }

    /// Something happens to the client; the server does what it wants, and so on until there is nothing more to do.
    pub fn input(&mut self, input: Input) {
        self.heard.push(input.clone());
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.app.handle(input, self.now) {
                self.wanted.push(effect.clone());
                inputs.extend(self.perform(effect));
            }
        }
    }

    /// Does what the client wants; what that brings at once.
    pub fn perform(&mut self, effect: Effect) -> Vec<Input> {
        match effect {
            Effect::Deliver(request) if self.online => {
                self.deliver(request);
                Vec::new()
            }
            Effect::Deliver(request) => {
                self.outbox.push_back(request);
                Vec::new()
            }
            Effect::Ask(request) if self.online => self
                .answer(&request)
                .map(|answer| Input::Answer { request, answer: Ok(answer) })
                .into_iter()
                .collect(),
            Effect::FetchPage { room, from, limit, .. } if self.online => {
                let hosted = &self.rooms[&room];
                let events = page(&hosted.events, from, limit as usize);
                vec![Input::Page { room, from, events, head: hosted.summary.head }]
            }
            Effect::FetchPage { room, from, limit, .. } => {
                self.copied(room, from, limit as usize).into_iter().collect()
            }
            Effect::Search { query, most } if !self.slow => vec![self.found(query, most as usize)],
            _ => Vec::new(),
        }
    }

    /// What the copy answers: the nearest that it has, without a hole.
    fn copied(&self, room: RoomId, from: PageFrom, limit: usize) -> Option<Input> {
        let copy = self.copy.get(&room)?;
        let head = copy.last().map(|event| Cursor { epoch: event.epoch, seq: event.seq })?;
        let found = page(copy, from, limit);
        let runs: Vec<&[Event]> = found.chunk_by(|a, b| b.seq == a.seq.next()).collect();
        let nearest = if matches!(from, PageFrom::After(_)) { runs.first() } else { runs.last() };
        let events = nearest.map(|run| run.to_vec()).unwrap_or_default();
        Some(Input::Page { room, from, events, head })
    }

    /// What a scan of everything finds.
    pub fn found(&self, query: Query, most: usize) -> Input {
        let in_room =
            |room: &&Hosted| query.room.as_ref().is_none_or(|target| *target == room.summary.target);
        let mut found: Vec<Found> = Vec::new();
        for room in self.rooms.values().filter(in_room) {
            let fit = room.events.iter().filter(|event| query.fits(event)).cloned();
            found.extend(fit.map(|event| Found { room: room.summary.target.clone(), event }));
        }
        found.sort_by_key(|found| std::cmp::Reverse(found.event.at));
        found.truncate(most);
        Input::Found { query, found: Ok(found), remaining: self.remaining }
    }

    fn answer(&mut self, request: &Request) -> Option<Reply> {
        let find = |wanted: &Target| self.rooms.values().find(|room| room.summary.target == *wanted);
        Some(match request {
            Request::PublicRooms { .. } => {
                let rooms = self.rooms.values().map(|room| room.summary.clone());
                let rooms = rooms.filter(|room| room.kind == RoomKind::Public).collect();
                Reply::Rooms { rooms, more: false }
            }
            Request::Rooms { .. } => {
                let rooms = self.rooms.values().map(|room| room.summary.clone()).collect();
                Reply::Rooms { rooms, more: false }
            }
            Request::Watch { rooms } | Request::Digest { rooms } => Reply::Watching {
                rooms: rooms
                    .iter()
                    .map(|(room, from)| WatchState::Live {
                        room: *room,
                        from: from.unwrap_or_default(),
                        head: self.rooms[room].summary.head,
                    })
                    .collect(),
            },
            Request::WatchInbox { .. } => {
                Reply::Inbox { head: Cursor { epoch: Epoch::FIRST, seq: self.inbox } }
            }
            Request::Open { target } => Reply::Room(find(target)?.summary.clone()),
            Request::Join { room } => Reply::Room(find(&room.clone().into())?.summary.clone()),
            Request::Members { target, .. } => {
                let members = find(target)?.members.clone();
                let total = members.len() as u32;
                let online = members.iter().filter(|member| member.online).count() as u32;
                Reply::Members { members, total, online, more: false }
            }
            Request::WhoIsAway { .. } => Reply::Away { members: self.away.clone(), more: false },
            Request::WhoIs { name } => Reply::Account(AccountSummary {
                name: name.clone(),
                bot: false,
                owner: None,
                admin: false,
                suspended: false,
                online: name.as_str() != "carl",
                created_at: Timestamp(MIDNIGHT),
            }),
            Request::NewInvite { .. } => Reply::Code {
                code: "AAECAwQFBgcICQoLDA0ODw".parse().unwrap(),
                expires: self.now.plus_ms(24 * HOUR),
            },
            _ => Reply::Done,
        })
    }

    /// The edits of a message whose texts are there.
    fn edits(&self, room: RoomId, target: Seq) -> Vec<Seq> {
        let event = self.rooms[&room].events.iter().find(|event| event.seq == target);
        event.and_then(Event::message).map(|message| message.edits.clone()).unwrap_or_default()
    }

    fn deliver(&mut self, request: Request) {
        let (room, body) = match &request {
            Request::Post { target, id, kind, text, reply_to } => {
                let room =
                    self.rooms.values().find(|room| room.summary.target == *target).map(|r| r.summary.id);
                let message = Message::new(*id, *kind, text.clone(), *reply_to);
                // Where there is none, the test says why it is refused.
                (room.unwrap_or(RoomId(0)), EventBody::Message(message))
            }
            Request::Edit { room, target, id, text } => {
                (*room, EventBody::Edited { target: *target, id: *id, text: text.clone(), drops: None })
            }
            Request::Delete { room, target, id } => {
                let edits = self.edits(*room, *target);
                (*room, EventBody::Deleted { target: *target, id: *id, edits })
            }
            Request::React { room, target, id, emoji, on } => {
                (*room, EventBody::Reacted { target: *target, id: *id, emoji: emoji.clone(), on: *on })
            }
            other => panic!("{other:?} is no delivery"),
        };
        let id = body.id().unwrap();
        if let Some(refusal) = self.refuse.clone() {
            return self.input(Input::Refused { id, refusal });
        }
        let seq = self.live(room.0, "ann", body);
        self.input(Input::Receipt(Receipt { room, epoch: Epoch::FIRST, seq, id }));
    }

    /// Keys, as `<Name>`, `<C-x>`, `<A-x>`, or characters as typed.
    pub fn keys(&mut self, keys: &str) {
        for key in parse_keys(keys) {
            self.input(Input::Key(key));
        }
    }

    /// Time passes.
    pub fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.input(Input::Tick);
    }

    /// The screen as text.
    pub fn screen(&mut self, columns: u16, rows: u16) -> String {
        self.input(Input::Resize { columns, rows });
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| view::draw(frame, &self.app, Look { color: true, light: false })).unwrap();
        text_of(&terminal)
    }
}

/// The texts of a page.
fn page(events: &[Event], from: PageFrom, limit: usize) -> Vec<Event> {
    match from {
        PageFrom::Latest => events[events.len().saturating_sub(limit)..].to_vec(),
        PageFrom::Before(seq) => {
            let end = events.iter().filter(|event| event.seq < seq).count();
            events[end.saturating_sub(limit)..end].to_vec()
        }
        PageFrom::After(seq) => events.iter().filter(|event| event.seq > seq).take(limit).cloned().collect(),
    }
}

/// What is on the terminal, with the cursor's place under it.
pub fn text_of(terminal: &Terminal<TestBackend>) -> String {
    let backend = terminal.backend();
    let buffer = backend.buffer();
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut skip = 0;
        for x in 0..buffer.area.width {
            let symbol = view::visible(buffer[(x, y)].symbol());
            if skip == 0 {
                line.push_str(symbol);
                skip = quip::app::text::width(symbol).saturating_sub(1);
            } else {
                skip -= 1;
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if backend.cursor_visible() {
        let cursor = backend.cursor_position();
        text.push_str(&format!("cursor {},{}\n", cursor.x, cursor.y));
    }
    text
}

/// Reads keys, see [`World::keys`].
pub fn parse_keys(keys: &str) -> Vec<Key> {
    let mut found = Vec::new();
    let mut rest = keys;
    while let Some(c) = rest.chars().next() {
        let named = rest
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .and_then(|(name, behind)| Some((parse_key(name)?, behind)));
        match named {
            Some((key, behind)) => {
                found.push(key);
                rest = behind;
            }
            None => {
                found.push(Key::plain(Code::Char(c)));
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    found
}

fn parse_key(name: &str) -> Option<Key> {
    let (name, ctrl) = name.strip_prefix("C-").map_or((name, false), |name| (name, true));
    let (name, alt) = name.strip_prefix("A-").map_or((name, false), |name| (name, true));
    let code = match name {
        "Enter" => Code::Enter,
        "Esc" => Code::Esc,
        "Tab" => Code::Tab,
        "BackTab" => Code::BackTab,
        "BS" => Code::Backspace,
        "Del" => Code::Delete,
        "Left" => Code::Left,
        "Right" => Code::Right,
        "Up" => Code::Up,
        "Down" => Code::Down,
        "Home" => Code::Home,
        "End" => Code::End,
        "PgUp" => Code::PageUp,
        "PgDn" => Code::PageDown,
        "F1" => Code::F(1),
        name if name.chars().count() == 1 => Code::Char(name.chars().next()?),
        _ => return None,
    };
    Some(Key { code, ctrl, alt })
}
