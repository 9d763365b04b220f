//! Colours: the terminal's own palette, or none. Imports ratatui's styles and the app's inks.

use ratatui::style::{Color, Modifier, Style};

use crate::app::highlights::Syntax;
use crate::app::rows::Ink;
use crate::app::status::Mood;

/// How things look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours are used; bold, dim, underlined and reversed are either way.
    pub color: bool,
    /// Whether the background is light: then none of the colours that are light themselves is used.
    pub light: bool,
}

/// Nicks: not blue, which cannot be read on black; neither red, which says that something is wrong, nor yellow, which says that something is for the reader.
const NICKS: [Color; 7] = [
    Color::Cyan,
    Color::Green,
    Color::Magenta,
    Color::LightBlue,
    Color::LightCyan,
    Color::LightGreen,
    Color::LightMagenta,
];

/// Nicks on a light background.
const DARK_NICKS: [Color; 7] = [
    Color::Cyan,
    Color::Green,
    Color::Magenta,
    Color::Blue,
    Color::LightBlue,
    Color::LightMagenta,
    Color::DarkGray,
];

impl Look {
    fn ink(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    /// The colour of what is for the reader. Yellow on white cannot be read.
    fn signal(self) -> Color {
        if self.light { Color::Red } else { Color::Yellow }
    }

    fn nick(self, index: u8) -> Color {
        let nicks = if self.light { DARK_NICKS } else { NICKS };
        nicks[usize::from(index) % nicks.len()]
    }

    /// Neither colour nor weight.
    pub fn plain(self) -> Style {
        Style::new()
    }

    /// What can be overlooked.
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What stands out.
    pub fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is for the reader.
    pub fn call(self) -> Style {
        self.ink(self.signal()).add_modifier(Modifier::BOLD)
    }

    /// Where the user is.
    pub fn accent(self) -> Style {
        self.ink(if self.light { Color::Blue } else { Color::Cyan }).add_modifier(Modifier::BOLD)
    }

    /// What is well.
    pub fn good(self) -> Style {
        self.ink(Color::Green)
    }

    /// What waits.
    pub fn waiting(self) -> Style {
        self.ink(self.signal())
    }

    /// What is wrong.
    pub fn bad(self) -> Style {
        self.ink(Color::Red)
    }

    /// How something is meant.
    pub fn mood(self, mood: Mood) -> Style {
        match mood {
            Mood::Plain => self.plain(),
            Mood::Good => self.good(),
            Mood::Waiting => self.waiting(),
            Mood::Bad => self.bad(),
        }
    }

    /// What is chosen.
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// A word of code. Of the colours that are light themselves, only those are used on a light background that can be
    /// read there.
    fn syntax(self, syntax: Syntax) -> Style {
        match syntax {
            Syntax::Comment => self.dim(),
            Syntax::Keyword => self.ink(Color::Magenta),
            Syntax::String => self.ink(Color::Green),
            Syntax::Number => self.ink(Color::LightMagenta),
            Syntax::Type => self.ink(Color::Cyan),
            Syntax::Function => self.ink(if self.light { Color::Blue } else { Color::LightBlue }),
            Syntax::Removed => self.bad(),
        }
    }

    /// The style of an ink.
    pub fn of(self, ink: Ink) -> Style {
        match ink {
            Ink::Text => self.plain(),
            Ink::Action => self.plain().add_modifier(Modifier::ITALIC),
            Ink::Dim | Ink::Pending | Ink::Day => self.dim(),
            Ink::Nick(index) => self.ink(self.nick(index)),
            Ink::Mention => self.call(),
            Ink::Link => self.plain().add_modifier(Modifier::UNDERLINED),
            Ink::Code => self.ink(if self.light { Color::Blue } else { Color::LightBlue }),
            Ink::Syntax(syntax) => self.syntax(syntax),
            Ink::Found => self.chosen(),
            Ink::Error => self.bad(),
            Ink::Unread => self.waiting(),
            Ink::Reaction => self.plain(),
            Ink::OwnReaction | Ink::Term => self.ink(if self.light { Color::Blue } else { Color::Cyan }),
            Ink::Head => self.bold(),
        }
    }
}
