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
    RoomUp,
    RoomDown,
    RoomNeedy,
    Help,
    Redraw,
    Suspend,
    Quit,
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
    binding(&[(alt('a'), Action::RoomNeedy)], "Alt+A", "next room that needs you"),
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
        "select a message to reply, react, edit, delete",
    ),
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
            (ctrl('k'), Action::CutToEnd),
        ],
        "Ctrl+W Ctrl+U Ctrl+K",
        "cut a word, to the start, to the end",
    ),
    binding(&[(ctrl('y'), Action::Paste)], "Ctrl+Y", "put back what was cut"),
    binding(
        &[
            (plain(Code::Left), Action::Left),
            (ctrl('b'), Action::Left),
            (plain(Code::Right), Action::Right),
            (ctrl('f'), Action::Right),
            (plain(Code::Backspace), Action::Backspace),
            (ctrl('h'), Action::Backspace),
            (plain(Code::Delete), Action::Delete),
            (ctrl('d'), Action::Delete),
        ],
        "",
        "",
    ),
    binding(&[(plain(Code::F(1)), Action::Help)], "F1", "this help"),
    binding(&[(ctrl('l'), Action::Redraw)], "Ctrl+L", "paint anew"),
    binding(&[(ctrl('z'), Action::Suspend)], "Ctrl+Z", "suspend; fg comes back"),
    binding(&[(ctrl('q'), Action::Quit), (ctrl('c'), Action::Quit)], "Ctrl+Q", "quit"),
];

/// What `key` does.
pub fn action(key: Key) -> Option<Action> {
    // Terminals tell Shift apart only for some keys: letters with Ctrl or Alt mean the same in both cases.
    let code = match key.code {
        Code::Char(c) if key.ctrl || key.alt => Code::Char(c.to_ascii_lowercase()),
        code => code,
    };
    let key = Key { code, ..key };
    TABLE.iter().flat_map(|binding| binding.keys).find(|(known, _)| *known == key).map(|(_, action)| *action)
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
        assert_eq!(action(Key::alt(Code::Char('A'))), Some(Action::RoomNeedy));
        assert_eq!(action(Key::plain(Code::Char('a'))), None);
    }
}
