//! `quip.toml`: how the terminal client looks and behaves; and which rooms call the user. Imports the app's keymap.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use quip_protocol::{ServerLink, Target};
use serde::Deserialize;
use toml::Spanned;

use super::{ConfigError, Paths};
use crate::app::Key;
use crate::app::Level;
use crate::app::keymap::{self, Action, Keymap};
use crate::app::older::Keep;

/// The file with all defaults, as `quip default-config` prints it.
pub const DEFAULT: &str = include_str!("default_quip.toml");

/// Minutes without a key after which the user counts as away.
const AWAY_AFTER: u32 = 15;

/// Which background the colours are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As `COLORFGBG` says, else as the terminal answers, else dark.
    #[default]
    Auto,
    /// A dark one.
    Dark,
    /// A light one.
    Light,
}

impl Theme {
    /// Whether it is a light one; `colours` is what `COLORFGBG` says.
    pub fn is_light(self, colours: Option<&str>) -> bool {
        match self {
            Theme::Dark => false,
            Theme::Light => true,
            // "0;15": the background is the last, and of the sixteen colours only these two are light.
            Theme::Auto => {
                matches!(colours.and_then(|colours| colours.rsplit(';').next()), Some("7" | "15"))
            }
        }
    }
}

/// How the user is called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alerts {
    /// By bell and desktop, in the way that the terminal takes.
    #[default]
    Auto,
    /// By bell and OSC 9.
    Osc9,
    /// By bell and OSC 777.
    Osc777,
    /// By bell alone.
    Bell,
    /// Not at all.
    Off,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Servers that are not opened with the others.
    pub leave_out: Vec<ServerLink>,
    /// Colours.
    pub theme: Theme,
    /// What calls the user in rooms without a level of their own.
    pub notify: Level,
    /// How.
    pub alerts: Alerts,
    /// Whether the mouse is ours.
    pub mouse: bool,
    /// Whether the others are told that the user types.
    pub typing: bool,
    /// After how many minutes without a key the user counts as away; never with 0.
    pub away_after: u32,
    /// How much of each room is kept on this disk.
    pub keep: Keep,
    /// Keys.
    pub keys: Keymap,
}

impl Default for Settings {
    fn default() -> Settings {
        let theme = Theme::default();
        Settings {
            leave_out: Vec::new(),
            theme,
            notify: Level::Mentions,
            alerts: Alerts::Auto,
            mouse: false,
            typing: true,
            away_after: AWAY_AFTER,
            keep: Keep::default(),
            keys: Keymap::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    leave_out: Vec<String>,
    #[serde(default)]
    theme: Theme,
    #[serde(default)]
    notify: Level,
    #[serde(default)]
    alerts: Alerts,
    #[serde(default)]
    mouse: bool,
    #[serde(default, deserialize_with = "keep")]
    keep: Keep,
    #[serde(default)]
    typing: Option<bool>,
    #[serde(default)]
    away_after: Option<u32>,
    #[serde(default)]
    keys: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// `"all"`, or a number.
fn keep<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Keep, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Word(String),
    }
    match Written::deserialize(input) {
        Ok(Written::Number(count)) => Ok(Keep::Newest(count)),
        Ok(Written::Word(word)) if word == "all" => Ok(Keep::All),
        _ => Err(serde::de::Error::custom("keep is \"all\" or a number of messages")),
    }
}

impl Settings {
    /// The user's settings; the defaults where there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, or says something that is not understood.
    pub fn load(paths: &Paths) -> Result<Settings, ConfigError> {
        let path = paths.settings();
        match fs::read_to_string(&path) {
            Ok(text) => Settings::parse(&text).map_err(|reason| ConfigError::Settings { path, reason }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Settings::default()),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// One line: where, and what is not understood.
    pub fn parse(text: &str) -> Result<Settings, String> {
        let file: File = toml::from_str(text).map_err(|error| toml_error(text, &error))?;
        let leave_out = addresses(&file.leave_out)?;
        let keys = keymap(text, &file.keys)?;
        let File { theme, notify, alerts, mouse, keep, .. } = file;
        let (typing, away_after) = (file.typing.unwrap_or(true), file.away_after.unwrap_or(AWAY_AFTER));
        Ok(Settings { leave_out, theme, notify, alerts, mouse, typing, away_after, keep, keys })
    }
}

fn keymap(text: &str, said: &BTreeMap<Spanned<String>, Spanned<String>>) -> Result<Keymap, String> {
    let mut said: Vec<_> = said.iter().collect();
    said.sort_by_key(|(key, _)| key.span().start);
    let mut keys = Keymap::default();
    let mut bound: Vec<(Key, usize)> = Vec::new();
    for (key, action) in said {
        let line = line_of(text, key.span().start);
        let fault = |why: String| format!("line {line}: [keys] {:?}: {why}", key.get_ref());
        let read = key.get_ref().parse().map(keymap::caseless).map_err(fault)?;
        if let Some((_, before)) = bound.iter().find(|(other, _)| *other == read) {
            return Err(fault(format!("line {before} says already what this key does; keep one of them")));
        }
        bound.push((read, line));
        let action = match action.get_ref().as_str() {
            "none" => None,
            name => {
                let unknown = || fault(format!("{name:?} is no action; `quip default-config` lists them"));
                Some(Action::named(name).ok_or_else(unknown)?)
            }
        };
        keys.bind(read, action);
    }
    Ok(keys)
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).map_or(0, |before| before.matches('\n').count()) + 1
}

/// The first line of what TOML complains of, and the line of the file.
fn toml_error(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = line_of(text, at);
    format!("line {line}: {}", error.message().lines().collect::<Vec<_>>().join(" "))
}

impl Settings {
    /// Whether the server at this address is opened only where it is named.
    pub fn leaves_out(&self, address: &str) -> bool {
        self.leave_out.iter().any(|server| server.address() == address)
    }
}

/// What stands in `leave_out`.
fn addresses(servers: &[String]) -> Result<Vec<ServerLink>, String> {
    let no_address = |server: &str, why: quip_protocol::link::LinkError| {
        format!("leave_out: {server:?} is no address of a server: {why}")
    };
    servers.iter().map(|server| server.parse().map_err(|why| no_address(server, why))).collect()
}

/// Which rooms of one server call the user, kept in a file of all servers.
#[derive(Debug, Clone)]
pub struct Levels {
    path: PathBuf,
    server: String,
}

/// What the file holds: servers, their rooms.
type Servers = BTreeMap<String, BTreeMap<String, Level>>;

impl Levels {
    /// Those of `server`.
    pub fn of(paths: &Paths, server: &str) -> Levels {
        Levels { path: paths.config.join("notify.toml"), server: server.to_owned() }
    }

    /// What was kept. A damaged file is as none: it holds nothing that cannot be said again.
    pub fn load(&self) -> BTreeMap<Target, Level> {
        let rooms = self.servers().remove(&self.server).unwrap_or_default();
        rooms.into_iter().filter_map(|(room, level)| Some((room.parse().ok()?, level))).collect()
    }

    /// Keeps `levels` instead.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, levels: &BTreeMap<Target, Level>) -> Result<(), ConfigError> {
        let mut servers = self.servers();
        let rooms = levels.iter().map(|(room, level)| (room.to_string(), *level)).collect();
        servers.insert(self.server.clone(), rooms);
        // Names and words alone: there is nothing in it that TOML does not have.
        let text = toml::to_string(&servers).unwrap_or_default();
        super::write_atomically(&self.path, text.as_bytes())
    }

    fn servers(&self) -> Servers {
        fs::read_to_string(&self.path).ok().and_then(|text| toml::from_str(&text).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Code;

    #[test]
    fn the_default_file_says_the_defaults() {
        assert_eq!(Settings::parse(DEFAULT), Ok(Settings::default()));
        assert_eq!(Settings::parse(""), Ok(Settings::default()));
        assert_eq!(Settings::parse("keep = \"all\"").map(|settings| settings.keep), Ok(Keep::All));
        assert_eq!(Settings::parse("keep = 0").map(|settings| settings.keep), Ok(Keep::Newest(0)));
        for (name, _) in Action::NAMES {
            // Of the ten rooms the first and the last.
            let explained = match name.rsplit_once('-') {
                Some((name, digit)) if digit.parse::<u8>().is_ok() => {
                    format!("\"{name}-1\" to \"{name}-10\"")
                }
                _ => format!("\"{name}\""),
            };
            assert!(DEFAULT.contains(&explained), "{name} is not explained");
        }
    }

    #[test]
    fn keys_are_bound_and_mistakes_are_told() {
        let text = "theme = \"light\"\nmouse = true\n[keys]\n\"ctrl+g\" = \"switch\"\n\"alt+A\" = \"none\"";
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.keys.action(Key::ctrl(Code::Char('g'))), Some(Action::Switch));
        assert_eq!(settings.keys.action(Key::ctrl(Code::Char('k'))), Some(Action::Switch));
        assert_eq!(settings.keys.action(Key::alt(Code::Char('a'))), None);
        let left_out = Settings::parse("leave_out = [\"chat.example\", \"quip://b.example:9\"]").unwrap();
        assert!(left_out.leaves_out("quip://chat.example:7847") && left_out.leaves_out("quip://b.example:9"));
        assert!(!left_out.leaves_out("quip://b.example:7847"));
        let table = [
            ("colour = true", "line 1: unknown field `colour`"),
            ("\ntheme = \"pink\"", "line 2: unknown variant `pink`"),
            ("mouse = 3", "line 1: invalid type"),
            ("leave_out = [\"a b\"]", "leave_out: \"a b\" is no address of a server"),
            ("away_after = -1", "line 1: invalid value"),
            ("keep = \"some\"", "line 1: keep is \"all\" or a number of messages"),
            ("\nkeep = -1", "line 2: keep is \"all\" or a number of messages"),
            ("[keys]\n\"ctrl+gg\" = \"switch\"", "line 2: [keys] \"ctrl+gg\": gg is no key"),
            ("[keys]\n\"ctrl+g\" = \"jump\"", "line 2: [keys] \"ctrl+g\": \"jump\" is no action"),
            ("[keys]\n\"g\" = \"switch\"", "line 2: [keys] \"g\": a letter alone is for writing"),
            (
                "[keys]\n\"alt+x\" = \"find\"\n\n\"Alt+X\" = \"help\"",
                "line 4: [keys] \"Alt+X\": line 2 says already what this key does",
            ),
            ("[keys]\n\"f2\" = \"find\"\n\"f2\" = \"help\"", "line 3: duplicate key"),
            ("[keys]\n\"f2\" = 3", "line 2: invalid type"),
        ];
        for (text, why) in table {
            let said = Settings::parse(text).unwrap_err();
            assert!(said.starts_with(why) && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn typing_and_idleness_can_be_kept_to_oneself() {
        let settings = Settings::parse("typing = false\naway_after = 0").unwrap();
        assert_eq!((settings.typing, settings.away_after), (false, 0));
    }

    #[test]
    fn the_background_is_known() {
        let table = [
            (Theme::Auto, Some("0;15"), true),
            (Theme::Auto, Some("15;0"), false),
            (Theme::Auto, Some("0;default;7"), true),
            (Theme::Auto, None, false),
            (Theme::Light, Some("15;0"), true),
            (Theme::Dark, Some("0;15"), false),
        ];
        for (theme, colours, light) in table {
            assert_eq!(theme.is_light(colours), light, "{theme:?} {colours:?}");
        }
    }

    #[test]
    fn levels_are_kept_by_server() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::find(Some(home.path())).unwrap();
        let (one, other) = (Levels::of(&paths, "a.example:7847"), Levels::of(&paths, "b.example:7847"));
        assert!(one.load().is_empty());
        let ops = BTreeMap::from([("#ops".parse().unwrap(), Level::None)]);
        let bob = BTreeMap::from([("@bob".parse().unwrap(), Level::All)]);
        one.save(&ops).unwrap();
        other.save(&bob).unwrap();
        assert_eq!((one.load(), other.load()), (ops, bob));
        fs::write(paths.config.join("notify.toml"), "x = [").unwrap();
        assert!(one.load().is_empty());
    }
}
