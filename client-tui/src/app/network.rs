//! What comes from the server.

use quip_protocol::frame::{PageFrom, Reply, Request, Watch, WatchState, Welcome};
use quip_protocol::room::RoomSummary;
use quip_protocol::{
    Cursor, ErrorCode, Event, EventBody, Receipt, Refusal, RoomId, ServerLink, Target, Timestamp,
};

use super::outbox::What;
use super::presence;
use super::room::Members;
use super::scroll::Scroll;
use super::sheet::Line;
use super::{AGAIN_MS, App, BELL_EVERY_MS, Connection, Effect, Failure, Input, Sheet, alerts, dates};

impl App {
    pub(super) fn network(&mut self, input: Input) {
        match input {
            Input::Up(welcome) => self.up_again(welcome),
            Input::Down { why, retry_in_ms } => {
                if !matches!(self.connection, Connection::Down { .. }) {
                    self.link_since = self.now;
                }
                self.held_up = None;
                let retry_at = retry_in_ms.map(|ms| self.now.plus_ms(ms));
                self.connection = Connection::Down { why, retry_at };
                self.typing.clear();
            }
            Input::Event(event) => self.event(event),
            Input::Notice(notice) => self.notice(notice),
            Input::Digest(digest) => self.digest(digest),
            Input::Typing { room, who } => self.typing.seen(room, who, self.now),
            Input::Reset { room, keep, .. } => self.reset(room, keep),
            Input::Lost { room, events } => self.lost(room, events),
            Input::Unwatched { room, refusal } => self.unwatched(room, &refusal),
            Input::Page { room, from, events, head } => self.page(room, from, events, head),
            Input::PageFailed { room, why } => self.page_failed(room, &why),
            Input::Brought { room, whole } => self.brought(room, whole),
            Input::NotBrought { room, why } => self.not_brought(room, &why),
            Input::Older { .. } => {}
            Input::Receipt(receipt) => self.receipt(receipt),
            Input::HeldUp(refusal) => self.held_up(refusal),
            Input::Refused { id, refusal } => self.refused(id, &refusal),
            Input::MarkFailed { room, seq } => self.mark_failed(room, seq),
            Input::Local(loaded) => self.local(loaded),
            Input::Mentions(found) => self.mentions_came(found),
            Input::Marked { .. } => {}
            Input::Indexed => self.indexed(),
            Input::Found { query, found, remaining } => self.hits(None, &query, found, remaining),
            Input::Answer { request, answer: Ok(reply) } => self.answer(request, reply),
            Input::Answer { request, answer: Err(why) } => self.failed(&request, &why),
            Input::Show { title, lines } => {
                let lines = lines.iter().map(|line| shown_line(line.as_str())).collect();
                self.sheet = Some(Sheet::new(title.as_str(), lines));
            }
            Input::Key(_) | Input::Paste(_) | Input::Line(_) | Input::Resize { .. } | Input::Tick => {}
            Input::Focus(_) | Input::Mouse { .. } | Input::Composed(_) | Input::Highlighted { .. } => {}
        }
    }

    fn up_again(&mut self, welcome: Welcome) {
        // What did not work without a connection is no news any more.
        if self.connection != Connection::Up && self.said.as_ref().is_some_and(|said| said.is_error) {
            self.said = None;
        }
        self.connection = Connection::Up;
        self.link_since = self.now;
        self.held_up = None;
        self.server = welcome.server;
        self.limits = Some(welcome.limits);
        self.me = welcome.account;
        if self.me.is_none() {
            self.complain(
                "the server does not know this device; leave, and join it with `quip join LINK --name NAME`",
            );
        }
        self.tell_presence_again();
        self.listing.clear();
        let ids: Vec<RoomId> = self.rooms.listed().map(|(id, _)| id).collect();
        for id in ids {
            if let Some(room) = self.rooms.get_mut(id) {
                room.fetching = false;
                room.retry_at = Timestamp::default();
            }
        }
        // Notices first, so that no room that is entered while the rooms are listed is missed.
        if self.inbox_watched {
            self.ask(Request::Rooms { after: None });
        } else {
            self.ask(Request::WatchInbox { from: self.inbox });
        }
    }

    fn event(&mut self, event: Event) {
        if self.me.as_ref() == Some(&event.author) {
            self.outbox.settle(&event);
        }
        let (id, bodily) = (event.room, membership(&event.body));
        self.typing.stopped(id, &event.author);
        let me = self.me.clone();
        let Some(room) = self.rooms.get_mut(id) else { return };
        let alert = alerts::Alert::of(room, &event, me.as_ref());
        let target = room.summary.target.clone();
        let (_, calls) = room.take(event, me.as_ref());
        if bodily {
            // Soon, not at once: many come together.
            let soon = self.now.0.saturating_sub(super::MEMBERS_EVERY_MS - 2_000);
            room.members.asked_at = Timestamp(room.members.asked_at.0.min(soon));
        }
        let seen = self.rooms.current_id() == Some(id)
            && self.rooms.current().is_some_and(|room| room.scroll == Scroll::Bottom);
        if !(seen && self.focused) {
            self.alert(&target, calls, alert);
        }
    }

    pub(super) fn ring(&mut self) {
        if self.now >= self.rang_at.plus_ms(BELL_EVERY_MS) {
            self.rang_at = self.now;
            self.effects.push(Effect::Bell);
        }
    }

    fn reset(&mut self, id: RoomId, keep: Cursor) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.timeline.truncate(keep.seq);
        room.lost.clear();
        room.caught = room.caught.map(|caught| caught.min(keep));
        room.whole = None;
        room.summary.head = keep;
        room.marked = room.marked.min(keep.seq);
        room.summary.read = room.summary.read.min(keep.seq);
        if !room.timeline.is_loaded() {
            room.to_bottom();
        }
    }

    fn unwatched(&mut self, id: RoomId, refusal: &Refusal) {
        if let Some(room) = self.rooms.get(id) {
            let name = room.summary.target.clone();
            self.say(format!("{name}: {refusal}"));
        }
        self.forget(id);
    }

    pub(super) fn forget(&mut self, id: RoomId) {
        let place = self.rooms.place();
        let was_current = self.rooms.current_id() == Some(id);
        // What was being written there is not for another room: Ctrl+P has it.
        if let Some(room) = self.rooms.remove(id) {
            self.history.push(room.draft.text());
        }
        if was_current {
            let text = self.composer.take();
            self.history.push(&text);
            let place = place.unwrap_or(0).min(self.rooms.listed().len().saturating_sub(1));
            if let Some(next) = self.rooms.at(place) {
                self.show(next);
            }
        }
    }

    fn page(&mut self, id: RoomId, from: PageFrom, events: Vec<Event>, head: Cursor) {
        let me = self.me.clone();
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.fetching = false;
        for event in events.iter().filter(|event| me.as_ref() == Some(&event.author)) {
            self.outbox.settle(event);
        }
        let before = (room.timeline.is_loaded(), room.timeline.first(), room.timeline.last());
        if head.seq > room.summary.head.seq {
            room.summary.head = head;
        }
        room.timeline.insert(events, head);
        let after = (room.timeline.is_loaded(), room.timeline.first(), room.timeline.last());
        if before == after && (room.missing().is_some() || from != PageFrom::Latest) {
            room.retry_at = self.now.plus_ms(AGAIN_MS);
        }
        let sought = room.detached;
        if room.timeline.last() >= room.summary.head.seq {
            room.detached = None;
        }
        if let (Some(seq), true) = (sought, self.rooms.current_id() == Some(id)) {
            self.sought(seq);
        }
        let Some(room) = self.rooms.get_mut(id) else { return };
        let wanted = room.wanted.filter(|seq| room.timeline.first().is_some_and(|first| first <= *seq));
        if let Some(seq) = wanted {
            room.wanted = None;
            if self.rooms.current_id() == Some(id) {
                self.scroll_to(seq);
            }
        }
        self.keep_mentions();
    }

    fn page_failed(&mut self, id: RoomId, why: &Failure) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.fetching = false;
        room.retry_at = match why {
            Failure::Unanswered(_) => self.now.plus_ms(AGAIN_MS),
            Failure::Refused(_) => Timestamp(u64::MAX),
        };
        if room.detached.is_some() && !room.timeline.is_loaded() {
            room.selected = None;
            room.to_bottom();
        }
        if let Failure::Refused(refusal) = why {
            self.complain(refusal.text.as_str());
        }
    }

    /// What is held up for a moment, because it is a lot, is no news.
    fn held_up(&mut self, refusal: Refusal) {
        if matches!(refusal.code, ErrorCode::Degraded | ErrorCode::Unavailable) {
            let since = self.held_up.take().map_or(self.now, |(_, since)| since);
            self.held_up = Some((refusal, since));
        }
    }

    fn receipt(&mut self, receipt: Receipt) {
        self.held_up = None;
        let rooms = &self.rooms;
        self.outbox.receipt(receipt, |room, seq| {
            rooms.get(room).is_none_or(|room| !room.timeline.is_loaded() || room.timeline.last() >= seq)
        });
    }

    fn refused(&mut self, id: quip_protocol::MessageId, refusal: &Refusal) {
        let Some(delivery) = self.outbox.refuse(id, refusal) else {
            return self.complain(format!("not sent: {refusal}"));
        };
        self.effects.push(Effect::Forget(id));
        // The text of a refused edit can be had back with Ctrl+P.
        self.history.push(&delivery.text);
        let what = match delivery.what {
            What::Edit(_) => "not changed",
            What::Delete(_) => "not deleted",
            What::React(_) => "no reaction",
            What::Post { .. } => "not sent",
        };
        self.complain(format!("{what}: {refusal}"));
    }

    fn failed(&mut self, request: &Request, why: &Failure) {
        match request {
            Request::WatchInbox { from: Some(_) } if is_bad_cursor(why) => {
                // It begins anew; the list of rooms tells what came of what is not known now.
                self.inbox = None;
                self.ask(Request::WatchInbox { from: None });
            }
            Request::WatchInbox { .. } => self.ask(Request::Rooms { after: None }),
            Request::Watch { rooms } | Request::Digest { rooms } => {
                // Tried again with the next connection.
                for (id, _) in rooms {
                    if let Some(room) = self.rooms.get_mut(*id) {
                        room.watched = false;
                    }
                }
            }
            Request::Open { target } => {
                self.complain(why.text());
                self.let_go(target, why);
            }
            // Asked by itself, and again when the time comes.
            Request::Members { .. } | Request::WhoIsAway { .. } if self.asked_members.is_none() => {}
            _ => self.complain(why.text()),
        }
        self.asked_members = None;
    }

    /// A room that the server does not make is forgotten, unless there is something to be taken back from it.
    fn let_go(&mut self, target: &Target, why: &Failure) {
        let held = self.rooms.find(target).filter(|id| self.rooms.get(*id).is_some_and(|room| room.held));
        let written = self.outbox.posts(target).next().is_some();
        if let (Some(id), Failure::Refused(_), false) = (held, why, written) {
            self.forget(id);
        }
    }

    fn answer(&mut self, request: Request, reply: Reply) {
        match (request, reply) {
            (Request::WatchInbox { .. }, Reply::Inbox { head }) => {
                self.inbox_watched = true;
                self.inbox_told = head.seq;
                self.ask(Request::Rooms { after: None });
            }
            (Request::Watch { .. } | Request::Digest { .. }, Reply::Watching { rooms }) => {
                self.watching(rooms)
            }
            (Request::Rooms { after }, Reply::Rooms { rooms, more }) => self.listed(after, rooms, more),
            (Request::Open { target }, Reply::Room(room)) => {
                let id = room.id;
                self.enter_room(room);
                if self.going.as_ref() == Some(&target) {
                    self.going = None;
                    self.show(id);
                }
            }
            (Request::Join { .. } | Request::CreateRoom { .. }, Reply::Room(room)) => {
                let id = room.id;
                self.enter_room(room);
                self.show(id);
            }
            (Request::Leave { room }, _) => {
                if let Some(id) = self.rooms.find(&Target::Room(room)) {
                    self.forget(id);
                }
            }
            (Request::Members { target, .. }, Reply::Members { members, total, online, .. }) => {
                let found = Members { list: members, total, online, asked_at: self.now };
                self.members(&target, found);
            }
            (Request::PublicRooms { .. }, Reply::Rooms { rooms, more }) => self.public_rooms(&rooms, more),
            (Request::WhoIs { .. }, Reply::Account(account)) => {
                let target = Target::Direct(account.name.clone());
                self.asked_account = Some(account);
                self.ask(Request::WhoIsAway { target, after: None });
            }
            (Request::WhoIsAway { target, .. }, Reply::Away { members, .. }) => {
                self.away_came(target, members);
            }
            (Request::NewInvite { .. }, Reply::Code { code, expires }) => self.invite_link(code, expires),
            (Request::Invite { who, .. }, _) => {
                let names: Vec<String> = who.iter().map(ToString::to_string).collect();
                self.say(format!("invited {}", names.join(", ")));
            }
            _ => {}
        }
    }

    fn listed(&mut self, after: Option<RoomId>, rooms: Vec<RoomSummary>, more: bool) {
        if after.is_none() {
            self.listing.clear();
        }
        let last = rooms.last().map(|room| room.id);
        self.listing.extend(rooms);
        if let (true, Some(last)) = (more, last) {
            return self.ask(Request::Rooms { after: Some(last) });
        }
        let listing = std::mem::take(&mut self.listing);
        let first = !std::mem::replace(&mut self.listed_once, true);
        let gone: Vec<RoomId> = self
            .rooms
            .listed()
            .map(|(id, _)| id)
            .filter(|id| listing.iter().all(|room| room.id != *id))
            .filter(|id| self.rooms.get(*id).is_none_or(|room| !room.held))
            .collect();
        gone.into_iter().for_each(|id| self.forget(id));
        for room in listing {
            self.rooms.put(room);
        }
        // A room that is shown since before the server answered.
        if let (true, Some(room)) = (first, self.rooms.current_mut())
            && room.summary.unread > 0
        {
            room.unread_line = Some(room.summary.read);
        }
        if self.rooms.current_id().is_none()
            && let Some(first) = self.rooms.next_needy().or_else(|| self.rooms.at(0))
        {
            self.show(first);
        }
        self.watch();
        let held: Vec<Target> = self.rooms.held().cloned().collect();
        held.into_iter().for_each(|target| self.ask(Request::Open { target }));
    }

    fn enter_room(&mut self, summary: RoomSummary) {
        self.rooms.put(summary);
        self.watch();
    }

    /// Watches every room that is not watched yet, from what is known of it: the one that is seen first, and every event
    /// of that one.
    fn watch(&mut self) {
        let current = self.rooms.current_id();
        let ids: Vec<RoomId> = self.rooms.listed().map(|(id, _)| id).collect();
        let (seen, others): (Vec<RoomId>, Vec<RoomId>) = ids.into_iter().partition(|id| Some(*id) == current);
        for (ids, watch) in [(seen, Watch::Live), (others, Watch::Digest)] {
            let mut new = Vec::new();
            for id in ids {
                if let Some(room) = self.rooms.get_mut(id).filter(|room| !room.watched && !room.held) {
                    room.watched = true;
                    room.caught.get_or_insert(room.summary.head);
                    new.push((id, room.caught));
                }
            }
            new.iter().for_each(|(id, _)| self.watched_as(*id, watch));
            if !new.is_empty() {
                self.ask(watch.request(new));
            }
        }
    }

    fn watching(&mut self, states: Vec<WatchState>) {
        for state in states {
            match state {
                WatchState::Refused { room, refusal } => self.unwatched(room, &refusal),
                WatchState::Digest(digest) => self.digest(digest),
                WatchState::Live { .. } | WatchState::Reset { .. } => {}
            }
        }
    }

    fn members(&mut self, target: &Target, found: Members) {
        let Some(id) = self.rooms.find(target) else { return };
        if self.asked_members == Some(id) {
            self.asked_members = None;
            let Some(room) = self.rooms.get(id) else { return };
            let line = |member| presence::member_line(member, room.presence(member));
            let mut lines: Vec<Line> = found.list.iter().map(line).collect();
            let rest = usize::try_from(found.total).unwrap_or(0).saturating_sub(found.list.len());
            if rest > 0 {
                lines.push(Line::Text(format!("… and {rest} more")));
            }
            let members = super::words::counted(found.total.into(), "member");
            let title = format!("{target}: {members}, {} online", found.online);
            self.sheet = Some(Sheet::new(title, lines));
        }
        if let Some(room) = self.rooms.get_mut(id) {
            room.summary.members = found.total;
            room.members = found;
        }
    }

    fn public_rooms(&mut self, rooms: &[RoomSummary], more: bool) {
        let mut lines: Vec<Line> = rooms
            .iter()
            .map(|room| {
                let people = super::words::counted(room.members.into(), "member");
                let about = if room.topic.is_empty() { "" } else { " · " };
                Line::Pair(room.target.to_string(), format!("{people}{about}{}", room.topic))
            })
            .collect();
        lines.push(Line::Text(String::new()));
        if more {
            lines.push(Line::Text("… and more".to_owned()));
        }
        lines.push(Line::Text("/join #room enters one".to_owned()));
        self.sheet = Some(Sheet::new("Public rooms", lines));
    }

    fn invite_link(&mut self, code: quip_protocol::InviteCode, expires: Timestamp) {
        let link = match &self.link {
            Some(link) => ServerLink { code: Some(code), ..link.clone() }.reveal(),
            None => format!("#{}", code.reveal()),
        };
        let lines = vec![
            Line::Text("One person can join with this link:".to_owned()),
            Line::Text(String::new()),
            Line::Verbatim(link),
            Line::Text(String::new()),
            Line::Text("They run: quip join 'LINK' --name NAME".to_owned()),
            Line::Text(format!("It is good until {}.", dates::date_and_time(expires, &self.zone))),
        ];
        self.sheet = Some(Sheet::new("Invite", lines));
    }
}

fn is_bad_cursor(why: &Failure) -> bool {
    matches!(why, Failure::Refused(refusal) if refusal.code == ErrorCode::BadCursor)
}

/// A line to show; what holds a link is to be copied.
fn shown_line(line: &str) -> Line {
    let line = line.to_owned();
    if line.contains("quip://") { Line::Verbatim(line) } else { Line::Text(line) }
}

/// Whether it changes who is in the room.
fn membership(body: &EventBody) -> bool {
    matches!(
        body,
        EventBody::Joined
            | EventBody::Left
            | EventBody::Invited { .. }
            | EventBody::Kicked { .. }
            | EventBody::RoleSet { .. }
    )
}
