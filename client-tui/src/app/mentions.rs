//! Messages that name the user, over all rooms: collected from what is in memory and in the local copy, and gone to.

use quip_protocol::{AccountName, Event, RoomId, Seq, Target, Timestamp};

use super::prompt::{Kind, Prompt};
use super::rows::names;
use super::sheet::Line;
use super::{App, Effect, Sheet, words};

/// Most that are collected.
pub const MOST: usize = 200;
/// Words of a message that are shown.
const WORDS: usize = 24;

/// A message that names the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
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
        Some(Mention { room, target: target.clone(), seq, at, author, text })
    }

    /// Where and by whom.
    pub fn place(&self) -> String {
        format!("{} {}", self.target, self.author)
    }

    /// All of it.
    pub fn line(&self) -> String {
        format!("{} {}", self.place(), self.text)
    }
}

/// The newest first, each once.
fn sorted(mut all: Vec<Mention>) -> Vec<Mention> {
    all.sort_by_key(|it| (std::cmp::Reverse(it.at), it.room, std::cmp::Reverse(it.seq)));
    all.dedup_by_key(|it| (it.room, it.seq));
    all.truncate(MOST);
    all
}

impl App {
    /// Offers the messages that name the user.
    pub(super) fn open_mentions(&mut self) {
        let Some(me) = self.me.clone() else { return self.say("nobody can name you before you have a name") };
        let mut all = Vec::new();
        for (_, room) in self.rooms.listed() {
            all.extend(room.timeline.events().filter_map(|it| Mention::of(it, &room.summary.target, &me)));
        }
        self.completion = None;
        self.prompt = Some(Prompt::mentions(sorted(all)));
        if self.local {
            self.effects.push(Effect::FindMentions(me));
        }
    }

    /// The local copy was looked through.
    pub(super) fn mentions_came(&mut self, found: Vec<Mention>) {
        let known = |mention: &Mention| self.rooms.get(mention.room).is_some();
        let found: Vec<Mention> = found.into_iter().filter(known).collect();
        let Some(prompt) = &mut self.prompt else { return };
        let Kind::Mentions(all, _) = &mut prompt.kind else { return };
        // What is in memory is newer than its copy.
        let mut both = std::mem::take(all);
        let had: Vec<(RoomId, Seq)> = both.iter().map(|it| (it.room, it.seq)).collect();
        both.extend(found.into_iter().filter(|it| !had.contains(&(it.room, it.seq))));
        *all = sorted(both);
        prompt.offer(&self.rooms, &self.history);
    }

    /// Goes to a message, which is fetched if it is not at hand.
    pub(super) fn jump(&mut self, id: RoomId, seq: Seq) {
        self.show(id);
        let Some(room) = self.rooms.current_mut().filter(|room| room.summary.id == id) else { return };
        room.selected = Some(seq);
        if room.timeline.first().is_none_or(|first| first > seq) {
            // `keep_up` fetches up to there, and the page's arrival scrolls.
            room.wanted = Some(seq);
            return;
        }
        self.scroll_to(seq);
    }

    /// Shows the rooms the user is in.
    pub(super) fn list_rooms(&mut self) {
        let line = |room: &super::room::Room| {
            let summary = &room.summary;
            let unread = match (summary.unread, summary.mentions) {
                (0, _) => "nothing new".to_owned(),
                (unread, 0) => format!("{unread} unread"),
                (unread, mentions) => format!("{unread} unread, {mentions} for you"),
            };
            Line::Pair(summary.target.to_string(), unread)
        };
        let mut lines: Vec<Line> = self.rooms.listed().map(|(_, room)| line(room)).collect();
        lines.push(Line::Text(
            "/join #room or /msg @user goes there, /next to the one that needs you".to_owned(),
        ));
        self.sheet = Some(Sheet::new("Your rooms", lines));
    }
}
