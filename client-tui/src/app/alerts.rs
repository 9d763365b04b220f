//! What calls the user who does not look. Imports the room's state.

use std::collections::BTreeMap;
use std::str::FromStr;

use quip_protocol::{AccountName, Event, SafeLine, Target};
use serde::{Deserialize, Serialize};

use super::room::Room;
use super::{App, BELL_EVERY_MS, Effect, text};

/// Cells of a message that are shown on the desktop.
const SHOWN: usize = 120;

/// Which messages call the user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// All of them.
    All,
    /// Those that name the user, and direct messages.
    #[default]
    Mentions,
    /// None.
    None,
}

impl Level {
    /// All levels.
    pub const ALL: [Level; 3] = [Level::All, Level::Mentions, Level::None];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::All => "all",
            Level::Mentions => "mentions",
            Level::None => "none",
        }
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Level::All => "every message calls you",
            Level::Mentions => "messages that name you, and direct ones, call you",
            Level::None => "nothing calls you",
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Level, String> {
        let found = Level::ALL.into_iter().find(|level| level.as_str() == text);
        found.ok_or_else(|| format!("{text} is none of all, mentions, none"))
    }
}

/// What the desktop would show of an event.
pub(super) struct Alert {
    title: SafeLine,
    text: SafeLine,
    /// It is a message of someone else.
    is_said: bool,
}

impl Alert {
    /// Of a message that names the user and has not come.
    pub fn named(room: &Room, by: &AccountName) -> Alert {
        let title = SafeLine::new(&room.summary.target.to_string());
        Alert { title, text: SafeLine::new(&format!("{by} mentions you")), is_said: true }
    }

    /// Of an event of `room`.
    pub fn of(room: &Room, event: &Event, me: Option<&AccountName>) -> Alert {
        let title = SafeLine::new(&room.summary.target.to_string());
        let said = event.message().map_or("", |message| message.text());
        let start: String = said.chars().take(4 * SHOWN).collect();
        let line = format!("{}: {}", event.author, start.split_whitespace().collect::<Vec<_>>().join(" "));
        let is_said = event.message().is_some() && me != Some(&event.author);
        Alert { title, text: SafeLine::new(&text::ellipsis(&line, SHOWN)), is_said }
    }
}

impl App {
    /// Calls the user about an event of `target` that they do not see, if they want that, unless it was done just
    /// now. `calls`: it names them, or is direct.
    pub(super) fn alert(&mut self, target: &Target, calls: bool, alert: Alert) {
        let wanted = match self.level(target) {
            Level::All => alert.is_said,
            Level::Mentions => calls,
            Level::None => false,
        };
        if wanted && self.now >= self.rang_at.plus_ms(BELL_EVERY_MS) {
            self.rang_at = self.now;
            self.effects.push(Effect::Alert { title: alert.title, text: alert.text });
        }
    }

    fn level(&self, target: &Target) -> Level {
        self.preferences.levels.get(target).copied().unwrap_or(self.preferences.notify)
    }

    /// Says what of the current room calls the user, after changing it if that is wanted.
    pub(super) fn notify(&mut self, level: Option<Level>) -> Result<(), String> {
        let room = self.rooms.current().ok_or("you are in no room")?;
        let target = room.summary.target.clone();
        if let Some(level) = level {
            self.preferences.levels.insert(target.clone(), level);
            let levels: BTreeMap<Target, Level> = self.preferences.levels.clone();
            self.effects.push(Effect::KeepLevels(levels));
        }
        let level = self.level(&target);
        self.say(format!("{target}: {} ({})", level.meaning(), level.as_str()));
        Ok(())
    }
}
