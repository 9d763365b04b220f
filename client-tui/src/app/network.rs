//! What comes from the server.

use quip_protocol::frame::{PageFrom, Reply, Request, Welcome};
use quip_protocol::room::RoomSummary;
use quip_protocol::{
    Cursor, ErrorCode, Event, EventBody, Receipt, Refusal, RoomId, Seq, ServerLink, Target, Timestamp,
};

use super::outbox::{Delivery, What};
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
                self.held = None;
                let retry_at = retry_in_ms.map(|ms| self.now.plus_ms(ms));
                self.connection = Connection::Down { why, retry_at };
                self.typing.clear();
                self.rooms.forget_presence();
            }
            Input::Event(event) => self.event(event),
            Input::Notice(notice) => self.notice(notice),
            Input::Digest(digest) => self.digest(digest),
            Input::Typing { room, who } => self.typing.seen(room, who, self.now),
            Input::Presence { who, now } => self.is_now(&who, &now),
            Input::Reset { room, keep, .. } => self.reset(room, keep),
            Input::Lost { room, events } => self.lost(room, events),
            Input::Unwatched { room, refusal } => self.unwatched(room, &refusal),
            Input::Page { room, from, events, head } => self.page(room, from, events, head),
            Input::PageFailed { room, why } => self.page_failed(room, &why),
            Input::Brought { room, whole } => self.brought(room, whole),
            Input::NotBrought { room, why } => self.not_brought(room, &why),
            Input::Older { room, events, .. } => self.learn(room, &events),
            Input::Receipt(receipt) => self.receipt(receipt),
            Input::HeldUp(refusal) => self.held_up(refusal),
            Input::ReadOnly(why) => self.is_read_only(why),
            Input::Writable => self.held = None,
            Input::Nodes(nodes) => self.nodes_are(&nodes),
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
        self.held = None;
        self.nodes_are(&welcome.nodes);
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
                room.absent.clear();
                // Who came and went meanwhile was told to nobody here.
                room.members.asked_at = Timestamp::default();
            }
        }
        self.begin_watching();
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
        let calls = room.take(event, me.as_ref());
        if bodily {
            // Soon, not at once: many come together.
            let soon = self.now.0.saturating_sub(room.members_every_ms() - 2_000);
            room.members.asked_at = Timestamp(room.members.asked_at.0.min(soon));
        }
        self.drop_far(id);
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
        self.let_go_behind(id, keep.seq);
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.timeline.truncate(keep.seq, room.upto());
        room.filling = room.filling.filter(|hole| hole.last <= keep.seq);
        room.absent.clear();
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

    fn learn(&mut self, id: RoomId, events: &[Event]) {
        if let Some(room) = self.rooms.get_mut(id) {
            room.timeline.learn(events);
        }
    }

    pub(super) fn forget(&mut self, id: RoomId) {
        let place = self.rooms.place();
        let was_current = self.rooms.current_id() == Some(id);
        // What was being written there is not for another room: Ctrl+P has it.
        if let Some(room) = self.rooms.remove(id) {
            self.history.push(room.draft.text());
        }
        self.bring_no_more(id);
        if was_current {
            let text = self.composer.take();
            self.history.push(&text);
            // It was for what was written.
            self.completion = None;
            let place = place.unwrap_or(0).min(self.rooms.listed().len().saturating_sub(1));
            if let Some(next) = self.rooms.at(place) {
                self.show(next);
            }
        }
        self.give_back_strays();
    }

    fn page(&mut self, id: RoomId, from: PageFrom, events: Vec<Event>, head: Cursor) {
        let me = self.me.clone();
        let up = self.is_up();
        let seen = self.rooms.current_id() == Some(id);
        let below = self.rows_below_anchor().filter(|_| seen);
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.fetching = false;
        for event in events.iter().filter(|event| me.as_ref() == Some(&event.author)) {
            self.outbox.settle(event);
        }
        if head.seq > room.summary.head.seq {
            room.summary.head = head;
        }
        let page = events.first().zip(events.last()).map(|(first, last)| (first.seq, last.seq));
        let mut news = room.timeline.insert(events, head);
        news |= !up && room.note_absent(from, page);
        room.fill(from, page);
        if !news && (room.missing().is_some() || from != PageFrom::Latest) {
            room.retry_at = self.now.plus_ms(AGAIN_MS);
        }
        let is_amendment =
            |seq: &Seq| room.timeline.at(*seq).is_some() && room.timeline.message(*seq).is_none();
        // What was the first of a hole need not be a message.
        room.selected = room.selected.filter(|seq| !is_amendment(seq));
        if seen {
            self.keep_anchor(below);
            self.reach();
        }
        self.drop_far(id);
        self.keep_mentions();
    }

    fn page_failed(&mut self, id: RoomId, why: &Failure) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.fetching = false;
        room.retry_at = match why {
            Failure::Unanswered(_) => self.now.plus_ms(AGAIN_MS),
            Failure::Refused(_) => Timestamp(u64::MAX),
        };
        let asked =
            room.filling.is_some() || room.goal.is_some_and(|goal| room.timeline.at(goal.seq).is_none());
        if room.goal.is_some() && !room.timeline.is_loaded() {
            room.selected = None;
            room.to_bottom();
        }
        match why {
            Failure::Refused(refusal) => {
                (room.goal, room.filling) = (None, None);
                self.complain(refusal.text.as_str());
            }
            Failure::Unanswered(why) if asked => self.complain(why.as_str()),
            Failure::Unanswered(_) => {}
        }
    }

    fn receipt(&mut self, receipt: Receipt) {
        self.took_one();
        let rooms = &self.rooms;
        self.outbox.receipt(receipt, |room, seq| {
            rooms.get(room).is_none_or(|room| !room.timeline.is_loaded() || room.timeline.last() >= seq)
        });
    }

    fn refused(&mut self, id: quip_protocol::MessageId, refusal: &Refusal) {
        let Some(delivery) = self.outbox.refuse(id, refusal) else {
            self.complain(format!("not sent: {refusal}"));
            return self.give_back_strays();
        };
        self.effects.push(Effect::Forget(id));
        // The text of a refused edit can be had back with Ctrl+P.
        self.history.push(&rewritten(&delivery));
        let what = match delivery.what {
            What::Edit(_) => "not changed",
            What::Delete(_) => "not deleted",
            What::React(_) => "no reaction",
            What::Post { .. } => "not sent",
        };
        self.complain(format!("{what}: {refusal}"));
    }

    fn failed(&mut self, request: &Request, why: &Failure) {
        let watches =
            matches!(request, Request::WatchInbox { .. } | Request::Watch { .. } | Request::Rooms { .. });
        if let (true, Failure::Unanswered(_)) = (watches, why) {
            self.watch_again_in(AGAIN_MS);
        }
        match request {
            Request::WatchInbox { from: Some(_) } if is_bad_cursor(why) => {
                // It begins anew; the list of rooms tells what came of what is not known now.
                self.inbox = None;
                self.ask(Request::WatchInbox { from: None });
            }
            Request::WatchInbox { .. } => self.ask(Request::Rooms { after: None }),
            Request::Watch { rooms } | Request::Digest { rooms } => {
                for (id, _) in rooms {
                    if let Some(room) = self.rooms.get_mut(*id) {
                        room.watched = false;
                    }
                }
            }
            Request::Open { target } => self.not_opened(target, why),
            Request::WhoIsAway { target: Target::Direct(name), .. }
                if self.asked_account.take_if(|account| account.name == *name).is_some() =>
            {
                self.complain(why.text());
            }
            // Asked by itself, and again when the time comes.
            Request::Members { .. } | Request::WhoIsAway { .. } if self.asked_members.is_none() => {}
            _ => self.complain(why.text()),
        }
        self.asked_members = None;
        self.give_back_command(request);
    }

    fn answer(&mut self, request: Request, reply: Reply) {
        self.commanded.take_if(|it| it.is(&request));
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

/// What the user would write to have it sent from any room.
fn rewritten(delivery: &Delivery) -> String {
    match (&delivery.what, &delivery.target) {
        (What::Post { .. }, Target::Direct(who)) => format!("/msg @{who} {}", delivery.text),
        _ => delivery.text.clone(),
    }
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
