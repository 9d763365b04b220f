//! Whether what is shown can be read: the contrast of each pair of colours that is used anywhere, in the palettes and on
//! the backgrounds that terminals come with, as the guidelines for the web (WCAG 2) count it.

use std::collections::BTreeSet;

use quip::app::highlights::Syntax;
use quip::app::rows::Ink;
use quip::view::{self, Look};
use ratatui::style::{Color, Modifier, Style};

use super::{DARK, LIGHT, SIZES, Shown, TABLE, print};
use crate::harness::World;

/// What a terminal shows where it was not told otherwise: the text, the background, and the sixteen colours.
struct Terminal {
    name: &'static str,
    text: u32,
    background: u32,
    palette: [u32; 16],
}

const VGA: [u32; 16] = [
    0x000000, 0xaa0000, 0x00aa00, 0xaa5500, 0x0000aa, 0xaa00aa, 0x00aaaa, 0xaaaaaa, 0x555555, 0xff5555,
    0x55ff55, 0xffff55, 0x5555ff, 0xff55ff, 0x55ffff, 0xffffff,
];
const XTERM: [u32; 16] = [
    0x000000, 0xcd0000, 0x00cd00, 0xcdcd00, 0x0000ee, 0xcd00cd, 0x00cdcd, 0xe5e5e5, 0x7f7f7f, 0xff0000,
    0x00ff00, 0xffff00, 0x5c5cff, 0xff00ff, 0x00ffff, 0xffffff,
];
const GNOME: [u32; 16] = [
    0x171421, 0xc01c28, 0x26a269, 0xa2734c, 0x12488b, 0xa347ba, 0x2aa1b3, 0xd0cfcc, 0x5e5c64, 0xf66151,
    0x33da7a, 0xe9ad0c, 0x2a7bde, 0xc061cb, 0x33c7de, 0xffffff,
];
const TANGO: [u32; 16] = [
    0x2e3436, 0xcc0000, 0x4e9a06, 0xc4a000, 0x3465a4, 0x75507b, 0x06989a, 0xd3d7cf, 0x555753, 0xef2929,
    0x8ae234, 0xfce94f, 0x729fcf, 0xad7fa8, 0x34e2e2, 0xeeeeec,
];
const MAC: [u32; 16] = [
    0x000000, 0x990000, 0x00a600, 0x999900, 0x0000b2, 0xb200b2, 0x00a6b2, 0xbfbfbf, 0x666666, 0xe50000,
    0x00d900, 0xe5e500, 0x0000ff, 0xe500e5, 0x00e5e5, 0xe5e5e5,
];
const CAMPBELL: [u32; 16] = [
    0x0c0c0c, 0xc50f1f, 0x13a10e, 0xc19c00, 0x0037da, 0x881798, 0x3a96dd, 0xcccccc, 0x767676, 0xe74856,
    0x16c60c, 0xf9f1a5, 0x3b78ff, 0xb4009e, 0x61d6d6, 0xf2f2f2,
];
const CODE_DARK: [u32; 16] = [
    0x000000, 0xcd3131, 0x0dbc79, 0xe5e510, 0x2472c8, 0xbc3fbc, 0x11a8cd, 0xe5e5e5, 0x666666, 0xf14c4c,
    0x23d18b, 0xf5f543, 0x3b8eea, 0xd670d6, 0x29b8db, 0xe5e5e5,
];
const CODE_LIGHT: [u32; 16] = [
    0x000000, 0xcd3131, 0x107c10, 0x949800, 0x0451a5, 0xbc05bc, 0x0598bc, 0x555555, 0x666666, 0xcd3131,
    0x14ce14, 0xb5ba00, 0x0451a5, 0xbc05bc, 0x0598bc, 0xa5a5a5,
];
const ITERM: [u32; 16] = [
    0x000000, 0xc91b00, 0x00c200, 0xc7c400, 0x0225c7, 0xca30c7, 0x00c5c7, 0xc7c7c7, 0x686868, 0xff6e67,
    0x5ffa68, 0xfffc67, 0x6871ff, 0xff77ff, 0x60fdff, 0xffffff,
];

const fn terminal(name: &'static str, text: u32, background: u32, palette: [u32; 16]) -> Terminal {
    Terminal { name, text, background, palette }
}

/// With a dark background.
const DARK_ONES: [Terminal; 9] = [
    terminal("Linux console", 0xaaaaaa, 0x000000, VGA),
    terminal("xterm", 0xe5e5e5, 0x000000, XTERM),
    terminal("GNOME", 0xffffff, 0x1e1e1e, GNOME),
    terminal("Tango", 0xd3d7cf, 0x000000, TANGO),
    terminal("Ubuntu", 0xeeeeec, 0x300a24, TANGO),
    terminal("macOS", 0xbfbfbf, 0x000000, MAC),
    terminal("Windows", 0xcccccc, 0x0c0c0c, CAMPBELL),
    terminal("VS Code", 0xcccccc, 0x1e1e1e, CODE_DARK),
    terminal("iTerm", 0xc7c7c7, 0x000000, ITERM),
];
/// With a light background.
const LIGHT_ONES: [Terminal; 8] = [
    terminal("VGA", 0x000000, 0xffffff, VGA),
    terminal("xterm", 0x000000, 0xffffff, XTERM),
    terminal("GNOME", 0x1e1e1e, 0xffffff, GNOME),
    terminal("Tango", 0x2e3436, 0xffffff, TANGO),
    terminal("macOS", 0x000000, 0xffffff, MAC),
    terminal("Windows", 0x383a42, 0xfafafa, CAMPBELL),
    terminal("VS Code", 0x333333, 0xffffff, CODE_LIGHT),
    terminal("iTerm", 0x000000, 0xfdf6e3, ITERM),
];

const THEMES: [(&str, Look, &[Terminal]); 2] = [("dark", DARK, &DARK_ONES), ("light", LIGHT, &LIGHT_ONES)];

/// What can be overlooked: how faint that is, the terminal decides.
const FAINT: f64 = 2.5;
/// Whatever else is read; and what people say to one another.
const TEXT: f64 = 3.0;
const BODY: f64 = 4.5;

impl Terminal {
    fn rgb(&self, color: Color, reset: u32) -> [f64; 3] {
        let sixteen = [
            Color::Black,
            Color::Red,
            Color::Green,
            Color::Yellow,
            Color::Blue,
            Color::Magenta,
            Color::Cyan,
            Color::Gray,
            Color::DarkGray,
            Color::LightRed,
            Color::LightGreen,
            Color::LightYellow,
            Color::LightBlue,
            Color::LightMagenta,
            Color::LightCyan,
            Color::White,
        ];
        match (color, sixteen.iter().position(|known| *known == color)) {
            (Color::Reset, _) => parts(reset),
            (_, Some(at)) => parts(self.palette[at]),
            // The cube of six steps that all terminals with 256 colours have.
            (Color::Indexed(index @ 16..=231), _) => {
                let step =
                    |by: u8| [0.0, 95.0, 135.0, 175.0, 215.0, 255.0][usize::from((index - 16) / by % 6)];
                [step(36), step(6), step(1)]
            }
            (other, _) => panic!("{other} is no colour that every terminal has"),
        }
    }

    fn contrast(&self, style: Style) -> f64 {
        let marks = style.add_modifier;
        let background = self.rgb(style.bg.unwrap_or(Color::Reset), self.background);
        let mut text = self.rgb(style.fg.unwrap_or(Color::Reset), self.text);
        if marks.contains(Modifier::DIM) {
            // Most terminals go half the way to the background.
            text = [0, 1, 2].map(|part| (text[part] + background[part]) / 2.0);
        }
        // What is reversed has the same contrast.
        let (one, other) = (luminance(text), luminance(background));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }
}

fn parts(rgb: u32) -> [f64; 3] {
    [16, 8, 0].map(|by| f64::from(rgb >> by & 0xff))
}

fn luminance(rgb: [f64; 3]) -> f64 {
    let [red, green, blue] = rgb.map(|part| match part / 255.0 {
        part if part <= 0.03928 => part / 12.92,
        part => ((part + 0.055) / 1.055).powf(2.4),
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn check(theme: &str, terminals: &[Terminal], styles: &[Style], least: f64) {
    let mut poor = Vec::new();
    for (style, terminal) in styles.iter().flat_map(|style| terminals.iter().map(move |it| (style, it))) {
        let contrast = terminal.contrast(*style);
        if contrast < least {
            poor.push(format!("{contrast:.1} {:?} {:?} {}", style.fg, style.add_modifier, terminal.name));
        }
    }
    assert!(poor.is_empty(), "{theme}, less than {least}:\n{}", poor.join("\n"));
}

#[test]
fn the_contrast_is_counted_as_it_is_defined() {
    let counted = |text| format!("{:.2}", terminal("", text, 0xffffff, VGA).contrast(Style::new()));
    let table = [(0x000000, "21.00"), (0xffffff, "1.00"), (0x767676, "4.54"), (0xff0000, "4.00")];
    for (text, contrast) in table {
        assert_eq!(counted(text), contrast, "{text:06x} on white");
    }
}

/// Every style of text that is anywhere on the screens of the gallery.
fn used(look: Look) -> Vec<Style> {
    let mut used = BTreeSet::new();
    let mut styles = Vec::new();
    for (_, scene) in TABLE {
        let size = SIZES[3];
        let terminal = print::painted(&Shown::at(size, World::new(), *scene), size, look);
        for cell in
            terminal.backend().buffer().content().iter().filter(|cell| view::visible(cell.symbol()) != " ")
        {
            if used.insert(print::style(cell)) {
                styles.push(cell.style());
            }
        }
    }
    styles
}

#[test]
fn everything_that_is_shown_can_be_read() {
    for (theme, look, terminals) in THEMES {
        let styles = used(look);
        assert!(styles.len() >= 15, "{theme}: {}", styles.len());
        let (faint, text): (Vec<Style>, Vec<Style>) =
            styles.into_iter().partition(|style| style.add_modifier.contains(Modifier::DIM));
        assert!(faint.iter().all(|style| style.fg == Some(Color::Reset)), "faint colours: {faint:?}");
        check(theme, terminals, &faint, FAINT);
        check(theme, terminals, &text, TEXT);
    }
}

#[test]
fn every_ink_can_be_read_and_what_people_say_easily() {
    use Syntax::*;
    let body = [Ink::Text, Ink::Action, Ink::Link, Ink::Code, Ink::Found];
    // What a comment says can be overlooked.
    let code = [Keyword, String, Number, Type, Function, Removed];
    for (theme, look, terminals) in THEMES {
        let nicks: Vec<Style> =
            (0..quip::app::words::NICK_COLOURS).map(|nick| look.of(Ink::Nick(nick))).collect();
        check(theme, terminals, &nicks, TEXT);
        let body: Vec<Style> =
            body.into_iter().chain(code.map(Ink::Syntax)).map(|ink| look.of(ink)).collect();
        check(theme, terminals, &body, BODY);
    }
}
