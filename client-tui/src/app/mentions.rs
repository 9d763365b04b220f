//! Messages that name the user, over all rooms: collected from what is in memory and in the local copy, and gone to.

use quip_protocol::frame::PageFrom;
use quip_protocol::{AccountName, Event, RoomId, Seq, Target, Timestamp};

use super::desk::{Elsewhere, Server};
use super::prompt::{Kind, Prompt};
use super::rows::names;
use super::sheet::Line;
use super::{App, Effect, LARGE_PAGE, Sheet, words};

/// Most that are collected.
pub const MOST: usize = 200;
/// Words of a message that are shown.
const WORDS: usize = 24;

/// A message that names the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// On which server, if it is another one than the user is at.
    pub elsewhere: Option<Elsewhere>,
    /// Where.
    pub room: RoomId,
    /// What that is called.
    pub target: Target,
    /// Its place there.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// Who wrote it.
    pub author: AccountName,
    /// How it begins.
    pub text: String,
}

impl Mention {
    /// Of an event of the room called `target`, if it is one.
    pub fn of(event: &Event, target: &Target, me: &AccountName) -> Option<Mention> {
        let text = event
            .message()
            .filter(|_| names(event, me))
            .map(|message| words::start(message.text(), WORDS))?;
        let (room, seq, at, author) = (event.room, event.seq, event.at, event.author.clone());
        Some(Mention { elsewhere: None, room, target: target.clone(), seq, at, author, text })
    }

    /// Where and by whom.
    pub fn place(&self) -> String {
        match &self.elsewhere {
            Some(server) => format!("{} {}", server.label(&self.target), self.author),
            None => format!("{} {}", self.target, self.author),
        }
    }

    /// Which it is, whatever is known of it.
    fn key(&self) -> (Option<Server>, RoomId, Seq) {
        (self.elsewhere.as_ref().map(|elsewhere| elsewhere.server), self.room, self.seq)
    }

    /// All of it.
    pub fn line(&self) -> String {
        format!("{} {}", self.place(), self.text)
    }
}

/// The newest first, each once.
fn sorted(mut all: Vec<Mention>) -> Vec<Mention> {
    all.sort_by_key(|it| {
        let (server, room, seq) = it.key();
        (std::cmp::Reverse(it.at), server, room, std::cmp::Reverse(seq))
    });
    all.dedup_by_key(|it| it.key());
    all.truncate(MOST);
    all
}

impl App {
    /// Offers the messages that name the user.
    pub(super) fn open_mentions(&mut self) {
        let Some(me) = self.me.clone() else { return self.say("nobody can name you before you have a name") };
        self.completion = None;
        self.prompt = Some(Prompt::mentions(sorted(self.mentions_at_hand(&me))));
        self.find_mentions();
    }

    /// Has those looked for that are not in memory.
    pub(super) fn find_mentions(&mut self) {
        let Some(me) = self.me.clone() else { return };
        self.fetch_mentioning();
        if self.local {
            self.effects.push(Effect::FindMentions(me));
        }
    }

    /// Those in memory.
    pub(super) fn mentioning(&self) -> Vec<Mention> {
        self.me.as_ref().map(|me| self.mentions_at_hand(me)).unwrap_or_default()
    }

    fn mentions_at_hand(&self, me: &AccountName) -> Vec<Mention> {
        let of = |(_, room)| {
            let room: &super::room::Room = room;
            room.timeline.events().filter_map(|event| Mention::of(event, &room.summary.target, me))
        };
        self.rooms.listed().flat_map(of).collect()
    }

    /// Fetches the newest of rooms where the server counts mentions that are not at hand.
    fn fetch_mentioning(&mut self) {
        let ids: Vec<RoomId> = self.rooms.listed().map(|(id, _)| id).collect();
        for id in ids {
            let Some(room) = self.rooms.get_mut(id) else { continue };
            if room.summary.mentions > 0 && !room.timeline.is_loaded() && !room.fetching {
                room.fetching = true;
                let (target, from) = (room.summary.target.clone(), PageFrom::Latest);
                self.effects.push(Effect::FetchPage { room: id, target, from, limit: LARGE_PAGE });
            }
        }
    }

    /// A page came: it may have what is being offered.
    pub(super) fn keep_mentions(&mut self) {
        if let (Some(Prompt { kind: Kind::Mentions(..), .. }), Some(me)) = (&self.prompt, self.me.clone()) {
            let found = self.mentions_at_hand(&me);
            self.mentions_came(found);
        }
    }

    /// More was found.
    pub(super) fn mentions_came(&mut self, found: Vec<Mention>) {
        let known = |it: &Mention| it.elsewhere.is_some() || self.rooms.get(it.room).is_some();
        let found: Vec<Mention> = found.into_iter().filter(known).collect();
        let Some(prompt) = &mut self.prompt else { return };
        let Kind::Mentions(all, _) = &mut prompt.kind else { return };
        // What is in memory is newer than its copy.
        let mut both = std::mem::take(all);
        let had: Vec<_> = both.iter().map(Mention::key).collect();
        both.extend(found.into_iter().filter(|it| !had.contains(&it.key())));
        *all = sorted(both);
        prompt.offer(&self.history);
    }

    /// Shows the rooms the user is in.
    pub(super) fn list_rooms(&mut self) {
        let mut lines = self.room_lines();
        lines.push(Line::Text(String::new()));
        lines.push(Line::Text(
            "/join #room or /msg @user goes there, /next to the one that needs you".to_owned(),
        ));
        self.sheet = Some(Sheet::new("Your rooms", lines));
    }

    /// The rooms, and what is new there.
    pub(super) fn room_lines(&self) -> Vec<Line> {
        let line = |room: &super::room::Room| {
            let summary = &room.summary;
            let unread = match (summary.unread, summary.mentions) {
                (0, _) => "nothing new".to_owned(),
                (unread, 0) => format!("{unread} unread"),
                (unread, mentions) => format!("{unread} unread, {mentions} for you"),
            };
            Line::Pair(summary.target.to_string(), unread)
        };
        self.rooms.listed().map(|(_, room)| line(room)).collect()
    }
}
