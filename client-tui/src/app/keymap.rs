//! Keys: one table, from which what they do and the help come. Imports `input` alone.

use super::input::{Code, Key};

/// What a key does. Characters that are in no entry are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table below says what each does")]
pub enum Action {
    Send,
    NewLine,
    Complete,
    CompleteBack,
    Escape,
    Up,
    Down,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Backspace,
    Delete,
    CutToStart,
    CutToEnd,
    CutWord,
    CutWordRight,
    Paste,
    Older,
    Newer,
    PageUp,
    PageDown,
    Oldest,
    Newest,
    FirstUnread,
    SelectUp,
    SelectDown,
    Room(u8),
    Peek(u8),
    PeekUp,
    PeekDown,
    Mentions,
    RoomUp,
    RoomDown,
    RoomNeedy,
    Switch,
    Find,
    Mouse,
    Recall,
    Prefix,
    Editor,
    Help,
    Redraw,
    Suspend,
    Quit,
    /// Ctrl+C: throws away what is written; on an empty line, asks and then quits.
    Interrupt,
}

impl Action {
    /// The names under which a key is bound in the settings.
    pub const NAMES: &[(&'static str, Action)] = &[
        ("send", Action::Send),
        ("new-line", Action::NewLine),
        ("complete", Action::Complete),
        ("complete-back", Action::CompleteBack),
        ("escape", Action::Escape),
        ("up", Action::Up),
        ("down", Action::Down),
        ("left", Action::Left),
        ("right", Action::Right),
        ("word-left", Action::WordLeft),
        ("word-right", Action::WordRight),
        ("line-start", Action::Home),
        ("line-end", Action::End),
        ("delete-left", Action::Backspace),
        ("delete-right", Action::Delete),
        ("cut-to-start", Action::CutToStart),
        ("cut-to-end", Action::CutToEnd),
        ("cut-word-left", Action::CutWord),
        ("cut-word-right", Action::CutWordRight),
        ("put-back", Action::Paste),
        ("older-line", Action::Older),
        ("newer-line", Action::Newer),
        ("recall", Action::Recall),
        ("prefix", Action::Prefix),
        ("editor", Action::Editor),
        ("page-up", Action::PageUp),
        ("page-down", Action::PageDown),
        ("oldest", Action::Oldest),
        ("newest", Action::Newest),
        ("first-unread", Action::FirstUnread),
        ("select-up", Action::SelectUp),
        ("select-down", Action::SelectDown),
        ("room-up", Action::RoomUp),
        ("room-down", Action::RoomDown),
        ("room-needy", Action::RoomNeedy),
        ("room-1", Action::Room(0)),
        ("room-2", Action::Room(1)),
        ("room-3", Action::Room(2)),
        ("room-4", Action::Room(3)),
        ("room-5", Action::Room(4)),
        ("room-6", Action::Room(5)),
        ("room-7", Action::Room(6)),
        ("room-8", Action::Room(7)),
        ("room-9", Action::Room(8)),
        ("room-10", Action::Room(9)),
        ("peek-up", Action::PeekUp),
        ("peek-down", Action::PeekDown),
        ("peek-1", Action::Peek(0)),
        ("peek-2", Action::Peek(1)),
        ("peek-3", Action::Peek(2)),
        ("peek-4", Action::Peek(3)),
        ("peek-5", Action::Peek(4)),
        ("peek-6", Action::Peek(5)),
        ("peek-7", Action::Peek(6)),
        ("peek-8", Action::Peek(7)),
        ("peek-9", Action::Peek(8)),
        ("peek-10", Action::Peek(9)),
        ("mentions", Action::Mentions),
        ("switch", Action::Switch),
        ("find", Action::Find),
        ("mouse", Action::Mouse),
        ("help", Action::Help),
        ("redraw", Action::Redraw),
        ("suspend", Action::Suspend),
        ("quit", Action::Quit),
        ("interrupt", Action::Interrupt),
    ];

    /// The action of this name.
    pub fn named(name: &str) -> Option<Action> {
        Action::NAMES.iter().find(|(known, _)| *known == name).map(|(_, action)| *action)
    }
}

/// Keys of one line of the help.
pub struct Binding {
    /// The keys and what each does.
    pub keys: &'static [(Key, Action)],
    /// The keys, for people.
    pub shown: &'static str,
    /// What they do, for people; empty leaves them out of the help.
    pub help: &'static str,
}

const fn binding(keys: &'static [(Key, Action)], shown: &'static str, help: &'static str) -> Binding {
    Binding { keys, shown, help }
}

const fn plain(code: Code) -> Key {
    Key::plain(code)
}
const fn ctrl(c: char) -> Key {
    Key::ctrl(Code::Char(c))
}
const fn alt(c: char) -> Key {
    Key::alt(Code::Char(c))
}

/// All keys, in the order of the help.
pub const TABLE: &[Binding] = &[
    binding(&[(plain(Code::Enter), Action::Send)], "Enter", "send"),
    binding(
        &[(Key::alt(Code::Enter), Action::NewLine), (ctrl('j'), Action::NewLine)],
        "Alt+Enter",
        "new line in the message",
    ),
    binding(
        &[(plain(Code::Tab), Action::Complete), (plain(Code::BackTab), Action::CompleteBack)],
        "Tab",
        "complete @nick, #room, /command, :emoji:",
    ),
    binding(
        &[
            (alt('1'), Action::Room(0)),
            (alt('2'), Action::Room(1)),
            (alt('3'), Action::Room(2)),
            (alt('4'), Action::Room(3)),
            (alt('5'), Action::Room(4)),
            (alt('6'), Action::Room(5)),
            (alt('7'), Action::Room(6)),
            (alt('8'), Action::Room(7)),
            (alt('9'), Action::Room(8)),
            (alt('0'), Action::Room(9)),
        ],
        "Alt+1 … Alt+0",
        "go to a room",
    ),
    binding(
        &[(Key::alt(Code::Up), Action::RoomUp), (Key::alt(Code::Down), Action::RoomDown)],
        "Alt+↑ Alt+↓",
        "room above, room below",
    ),
    binding(
        &[
            (Key::alt(Code::ShiftUp), Action::PeekUp),
            (Key::alt(Code::ShiftDown), Action::PeekDown),
            // What Shift makes of the digits is the keyboard's: these are those of the US layout.
            (alt('!'), Action::Peek(0)),
            (alt('@'), Action::Peek(1)),
            (alt('#'), Action::Peek(2)),
            (alt('$'), Action::Peek(3)),
            (alt('%'), Action::Peek(4)),
            (alt('^'), Action::Peek(5)),
            (alt('&'), Action::Peek(6)),
            (alt('*'), Action::Peek(7)),
            (alt('('), Action::Peek(8)),
            (alt(')'), Action::Peek(9)),
        ],
        "Alt+Shift+↑ ↓ 1 … 0",
        "look at a room, which stays unread",
    ),
    binding(&[(alt('n'), Action::Mentions)], "Alt+N", "messages that name you, in all rooms"),
    binding(&[(alt('a'), Action::RoomNeedy)], "Alt+A", "next room that needs you"),
    binding(&[(ctrl('k'), Action::Switch)], "Ctrl+K", "go to a room by some letters of its name"),
    binding(&[(ctrl('f'), Action::Find)], "Ctrl+F", "search this room; once more: all rooms"),
    binding(
        &[(plain(Code::PageUp), Action::PageUp), (plain(Code::PageDown), Action::PageDown)],
        "PgUp PgDn",
        "read back, and forward",
    ),
    binding(
        &[
            (Key::alt(Code::Home), Action::Oldest),
            (Key::alt(Code::End), Action::Newest),
            (Key::ctrl(Code::Home), Action::Oldest),
            (Key::ctrl(Code::End), Action::Newest),
        ],
        "Alt+Home Alt+End",
        "to the oldest at hand, to the newest",
    ),
    binding(&[(alt('u'), Action::FirstUnread)], "Alt+U", "to the first unread"),
    binding(&[(plain(Code::Esc), Action::Escape)], "Esc", "close, give up, back to the newest"),
    binding(
        &[
            (Key::ctrl(Code::Up), Action::SelectUp),
            (Key::ctrl(Code::Down), Action::SelectDown),
            (alt('k'), Action::SelectUp),
            (alt('j'), Action::SelectDown),
        ],
        "Alt+K Alt+J",
        "select a message for /reply, /react, /edit …",
    ),
    binding(&[], "  then ↑ ↓", "the ones above and below"),
    binding(&[], "  or Enter z y o v", "its thread; all of it; copy; $PAGER; versions"),
    binding(&[], "  on a refused one r e d", "send it again, edit it, drop it"),
    binding(
        &[(plain(Code::Up), Action::Up), (plain(Code::Down), Action::Down)],
        "↑",
        "on an empty line: edit your last message",
    ),
    binding(
        &[(ctrl('p'), Action::Older), (ctrl('n'), Action::Newer)],
        "Ctrl+P Ctrl+N",
        "what you wrote before",
    ),
    binding(&[(ctrl('r'), Action::Recall)], "Ctrl+R", "look for it by some words"),
    binding(&[(ctrl('x'), Action::Prefix)], "Ctrl+X Ctrl+E", "write in $EDITOR"),
    binding(
        &[
            (ctrl('a'), Action::Home),
            (plain(Code::Home), Action::Home),
            (ctrl('e'), Action::End),
            (plain(Code::End), Action::End),
        ],
        "Ctrl+A Ctrl+E",
        "to the line's start, end",
    ),
    binding(
        &[
            (alt('b'), Action::WordLeft),
            (alt('f'), Action::WordRight),
            (Key::ctrl(Code::Left), Action::WordLeft),
            (Key::ctrl(Code::Right), Action::WordRight),
            (Key::alt(Code::Left), Action::WordLeft),
            (Key::alt(Code::Right), Action::WordRight),
        ],
        "Alt+B Alt+F",
        "a word left, right",
    ),
    binding(
        &[
            (ctrl('w'), Action::CutWord),
            (Key::alt(Code::Backspace), Action::CutWord),
            (alt('d'), Action::CutWordRight),
            (ctrl('u'), Action::CutToStart),
            (Key::ctrl(Code::Delete), Action::CutToEnd),
        ],
        "Ctrl+W Ctrl+U Ctrl+Del",
        "cut a word, to the start, to the end",
    ),
    binding(&[(ctrl('y'), Action::Paste)], "Ctrl+Y", "put back what was cut"),
    binding(
        &[
            (plain(Code::Left), Action::Left),
            (ctrl('b'), Action::Left),
            (plain(Code::Right), Action::Right),
            (plain(Code::Backspace), Action::Backspace),
            (ctrl('h'), Action::Backspace),
            (plain(Code::Delete), Action::Delete),
            (ctrl('d'), Action::Delete),
        ],
        "",
        "",
    ),
    binding(&[(alt('m'), Action::Mouse)], "Alt+M", "the mouse scrolls and goes to rooms, or not"),
    binding(&[(plain(Code::F(1)), Action::Help)], "F1", "this help"),
    binding(&[(ctrl('l'), Action::Redraw)], "Ctrl+L", "paint anew"),
    binding(&[(ctrl('z'), Action::Suspend)], "Ctrl+Z", "suspend; fg comes back"),
    binding(
        &[(ctrl('c'), Action::Interrupt)],
        "Ctrl+C",
        "clear what is written; twice on an empty line: quit",
    ),
    binding(&[(ctrl('q'), Action::Quit)], "Ctrl+Q", "quit"),
];

/// What `key` does behind [`Action::Prefix`].
pub fn prefixed(key: Key) -> Option<Action> {
    (key == ctrl('e')).then_some(Action::Editor)
}

/// Terminals tell Shift apart only for some keys: letters with Ctrl or Alt mean the same in both cases.
pub fn caseless(key: Key) -> Key {
    let code = match key.code {
        Code::Char(c) if key.ctrl || key.alt => Code::Char(c.to_ascii_lowercase()),
        code => code,
    };
    Key { code, ..key }
}

/// What keys do: the table, and what the user changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keymap {
    changed: Vec<(Key, Option<Action>)>,
}

impl Keymap {
    /// `key` does this from now on, or nothing.
    pub fn bind(&mut self, key: Key, action: Option<Action>) {
        let key = caseless(key);
        self.changed.retain(|(other, _)| *other != key);
        self.changed.push((key, action));
    }

    /// What `key` does.
    pub fn action(&self, key: Key) -> Option<Action> {
        let key = caseless(key);
        match self.changed.iter().find(|(known, _)| *known == key) {
            Some((_, action)) => *action,
            None => {
                let known = TABLE.iter().flat_map(|binding| binding.keys).find(|(known, _)| *known == key);
                known.map(|(_, action)| *action)
            }
        }
    }

    /// What the user changed, for people: a key, and the name of what it does.
    pub fn changed(&self) -> impl Iterator<Item = (String, &'static str)> {
        self.changed.iter().map(|(key, action)| {
            let name = Action::NAMES.iter().find(|(_, known)| Some(*known) == *action);
            (key.to_string(), name.map_or("nothing", |(name, _)| *name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_does_one_thing() {
        let keys: Vec<Key> = TABLE.iter().flat_map(|b| b.keys).map(|(key, _)| *key).collect();
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{key:?} is there twice");
        }
        let keymap = Keymap::default();
        assert_eq!(keymap.action(Key::alt(Code::Char('A'))), Some(Action::RoomNeedy));
        assert_eq!(keymap.action(Key::plain(Code::Char('a'))), None);
    }

    #[test]
    fn names_are_each_there_once() {
        let mut names: Vec<&str> = Action::NAMES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Action::NAMES.len());
        for (key, action) in TABLE.iter().flat_map(|binding| binding.keys) {
            assert!(
                Action::NAMES.iter().any(|(_, named)| named == action),
                "{key} cannot be bound otherwise"
            );
        }
    }
}
