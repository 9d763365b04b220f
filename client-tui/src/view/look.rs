//! Colours: those of the terminal, or none. Imports ratatui's styles and the app's inks.

use ratatui::style::{Color, Modifier, Style};

use crate::app::highlights::Syntax;
use crate::app::rows::Ink;
use crate::app::status::Mood;

/// How things look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours are used; bold, dim, underlined and reversed are either way.
    pub color: bool,
    /// Whether the background is light.
    pub light: bool,
}

// The terminal's own sixteen colours, so that the user's choice of them is followed, as far as they can be read in what
// terminals come with (`client-tui/tests/tui/gallery/contrast.rs` counts it); where they cannot, one of the cube of 256
// that is the same everywhere. Each pair is for a dark background and for a light one.
const AZURE: (Color, Color) = (Color::Indexed(111), Color::Blue);
const GREEN: (Color, Color) = (Color::Green, Color::Indexed(28));
const LEAF: (Color, Color) = (Color::Green, Color::Indexed(22));
const ORANGE: (Color, Color) = (Color::Yellow, Color::Indexed(130));
const PINK: (Color, Color) = (Color::Indexed(176), Color::Indexed(161));
const RED: (Color, Color) = (Color::Indexed(203), Color::Red);
const SKY: (Color, Color) = (Color::Cyan, Color::Blue);
const VIOLET: (Color, Color) = (Color::Indexed(141), Color::Indexed(127));
/// No second blue beside that of functions on a light background.
const TYPE: (Color, Color) = (Color::Cyan, Color::Indexed(94));

/// Nicks: neither red, which says that something is wrong, nor yellow or orange, which say that something is for the
/// reader.
const NICKS: [(Color, Color); 7] = [
    (Color::Cyan, Color::Indexed(30)),
    GREEN,
    VIOLET,
    AZURE,
    (Color::LightCyan, Color::Indexed(24)),
    (Color::LightGreen, Color::Indexed(64)),
    PINK,
];

impl Look {
    fn ink(self, (dark, light): (Color, Color)) -> Style {
        match (self.color, self.light) {
            (false, _) => Style::new(),
            (true, false) => Style::new().fg(dark),
            (true, true) => Style::new().fg(light),
        }
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
        self.ink(ORANGE).add_modifier(Modifier::BOLD)
    }

    /// Where the user is.
    pub fn accent(self) -> Style {
        self.ink(SKY).add_modifier(Modifier::BOLD)
    }

    /// What is well.
    pub fn good(self) -> Style {
        self.ink(GREEN)
    }

    /// What waits.
    pub fn waiting(self) -> Style {
        self.ink(ORANGE)
    }

    /// What is wrong.
    pub fn bad(self) -> Style {
        self.ink(RED)
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

    /// A word of code.
    fn syntax(self, syntax: Syntax) -> Style {
        match syntax {
            Syntax::Comment => self.dim(),
            Syntax::Keyword => self.ink(VIOLET),
            Syntax::String => self.ink(LEAF),
            Syntax::Number => self.ink(PINK),
            Syntax::Type => self.ink(TYPE),
            Syntax::Function => self.ink(AZURE),
            Syntax::Removed => self.bad(),
        }
    }

    /// The style of an ink.
    pub fn of(self, ink: Ink) -> Style {
        match ink {
            Ink::Text => self.plain(),
            Ink::Action => self.plain().add_modifier(Modifier::ITALIC),
            Ink::Dim | Ink::Pending | Ink::Day => self.dim(),
            Ink::Nick(index) => self.ink(NICKS[usize::from(index) % NICKS.len()]),
            Ink::Mention => self.call(),
            Ink::Link => self.plain().add_modifier(Modifier::UNDERLINED),
            Ink::Code => self.ink(AZURE),
            Ink::Syntax(syntax) => self.syntax(syntax),
            Ink::Found => self.chosen(),
            Ink::Error => self.bad(),
            Ink::Unread => self.waiting(),
            Ink::Reaction => self.plain(),
            Ink::OwnReaction | Ink::Term => self.ink(SKY),
            Ink::Head => self.bold(),
        }
    }
}
