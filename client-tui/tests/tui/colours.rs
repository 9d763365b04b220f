//! Colours: of code, and of nicks.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use quip::app::highlights::Syntax;
use quip::app::rows::Ink;
use quip::app::{Input, words};
use quip::syntax::Reader;
use quip::view::{self, Look};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;
use ratatui::style::{Color, Modifier};

use crate::harness::*;

/// Loading takes longer than reading.
static READER: LazyLock<Reader> = LazyLock::new(Reader::load);

const DARK: Look = Look { color: true, light: false };
const LIGHT: Look = Look { color: true, light: true };

/// Reads what was laid out and not read, as the shell does after each painting. Returns how many blocks that were.
pub fn read(world: &mut World) -> usize {
    let blocks = world.app.unread_code();
    let count = blocks.len();
    for block in blocks {
        let words = READER.read(&block, Instant::now() + Duration::from_secs(600));
        world.input(Input::Highlighted { block, words });
    }
    count
}

fn painted(world: &mut World, columns: u16, rows: u16, look: Look) -> Terminal<TestBackend> {
    world.input(Input::Resize { columns, rows });
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| view::draw(frame, &world.app, look)).unwrap();
    terminal
}

fn style(cell: &Cell) -> String {
    let mut style = match cell.fg {
        Color::Reset => String::new(),
        color => color.to_string().to_lowercase(),
    };
    let marks = [(Modifier::BOLD, "+bold"), (Modifier::DIM, "+dim"), (Modifier::REVERSED, "+reversed")];
    for (modifier, name) in marks {
        if cell.modifier.contains(modifier) {
            style += name;
        }
    }
    style
}

/// The screen, with what each piece looks like before it.
fn styled(terminal: &Terminal<TestBackend>) -> String {
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let (mut line, mut last, mut skip) = (String::new(), String::new(), 0);
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let symbol = view::visible(cell.symbol());
            skip = quip::app::text::width(symbol).saturating_sub(1);
            let style = style(cell);
            if style != last && (symbol != " " || cell.modifier.contains(Modifier::REVERSED)) {
                line += &format!("⟨{style}⟩");
                last = style;
            }
            line += symbol;
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A review of some code in several languages.
fn review() -> World {
    let mut world = World::new();
    world.host(1, "#review", "Code");
    let at = |minute: u64| MIDNIGHT + 14 * HOUR + minute * MINUTE;
    world.said(1, at(1), "bob", "this loops:\n```rust\n// Sums up.\nfn sum(of: &[u32]) -> u64 {\n\tlet mut all = 0;\n\tprintln!(\"漢字 {}\", all);\n}\n```\nright?");
    world.said(1, at(2), "carl", "```diff\n@@ -1 +1 @@\n-old\n+new\n```");
    world.said(1, at(3), "bob", "```nosuch\nfn plain() {}\n```\n```\nfn nameless() {}\n```");
    world.said(1, at(4), "carl", "```sh\nfor f in *.log; do grep -c \"$f\" # why\ndone");
    world.connect();
    world
}

#[test]
fn code_on_both_backgrounds() {
    for (columns, rows) in [(80, 24), (120, 40)] {
        let mut world = review();
        painted(&mut world, columns, rows, DARK);
        assert!(read(&mut world) >= 3);
        for (name, look) in [("dark", DARK), ("light", LIGHT)] {
            let screen = styled(&painted(&mut world, columns, rows, look));
            insta::assert_snapshot!(format!("code_{name}_{columns}x{rows}"), screen);
        }
        assert_eq!(read(&mut world), 0, "what was read is not read again");
    }
}

#[test]
fn colours_change_no_text() {
    let mut world = review();
    let before = text_of(&painted(&mut world, 120, 40, DARK));
    assert!(styled(&painted(&mut world, 120, 40, DARK)).contains("⟨lightblue⟩fn sum"));
    assert!(read(&mut world) > 0);
    let after = painted(&mut world, 120, 40, DARK);
    assert!(styled(&after).contains("⟨magenta⟩fn ⟨lightblue⟩sum⟨⟩("), "{}", styled(&after));
    assert_eq!(text_of(&after), before);
    let plain = painted(&mut world, 120, 40, Look { color: false, light: false });
    assert_eq!(text_of(&plain), before);
    for cell in plain.backend().buffer().content() {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "NO_COLOR");
    }
}

#[test]
fn what_is_looked_for_is_seen_in_code() {
    let mut world = review();
    world.keys("<C-f>println<Enter>");
    painted(&mut world, 80, 24, DARK);
    read(&mut world);
    let screen = styled(&painted(&mut world, 80, 24, DARK));
    assert!(screen.contains("⟨+reversed⟩println⟨"), "{screen}");
}

/// What most terminals show for the sixteen colours, at their worst: the VGA palette.
fn vga(color: Color) -> [f64; 3] {
    let (low, high) = (170.0, 255.0);
    match color {
        Color::Cyan => [0.0, low, low],
        Color::Green => [0.0, low, 0.0],
        Color::Magenta => [low, 0.0, low],
        Color::Blue => [0.0, 0.0, low],
        Color::LightBlue => [85.0, 85.0, high],
        Color::LightCyan => [85.0, high, high],
        Color::LightGreen => [85.0, high, 85.0],
        Color::LightMagenta => [high, 85.0, high],
        Color::DarkGray => [85.0; 3],
        Color::Red => [low, 0.0, 0.0],
        other => panic!("{other} is not for names or code"),
    }
}

/// The contrast of two colours, as the guidelines for the web count it.
fn contrast(color: Color, background: f64) -> f64 {
    let part = |value: f64| match value / 255.0 {
        value if value <= 0.03928 => value / 12.92,
        value => ((value + 0.055) / 1.055).powf(2.4),
    };
    let light =
        |[red, green, blue]: [f64; 3]| 0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue) + 0.05;
    let (one, other) = (light(vga(color)), light([background; 3]));
    one.max(other) / one.min(other)
}

#[test]
fn code_has_colours_that_can_be_read() {
    use Syntax::*;
    for (look, background) in [(DARK, 0.0), (LIGHT, 255.0)] {
        let mut seen = vec![look.of(Ink::Text)];
        for syntax in [Keyword, String, Comment, Number, Type, Function, Removed] {
            let style = look.of(Ink::Syntax(syntax));
            assert!(!seen.contains(&style), "{syntax:?} looks like another");
            seen.push(style);
            let contrast = style.fg.map_or(f64::MAX, |color| contrast(color, background));
            assert!(contrast > 2.5, "{syntax:?} on {background}: {contrast:.1}");
        }
    }
}

#[test]
fn nicks_have_colours_that_can_be_read() {
    for (look, background) in [(DARK, 0.0), (LIGHT, 255.0)] {
        let colors: Vec<Color> =
            (0..words::NICK_COLOURS).filter_map(|index| look.of(Ink::Nick(index)).fg).collect();
        assert_eq!(colors.len(), usize::from(words::NICK_COLOURS));
        for (index, color) in colors.iter().enumerate() {
            assert!(!colors[..index].contains(color), "{color} is there twice");
            let contrast = contrast(*color, background);
            assert!(contrast > 2.5, "{color} on {background}: {contrast:.1}");
        }
    }
    let plain = Look { color: false, light: false };
    assert!((0..words::NICK_COLOURS).all(|index| plain.of(Ink::Nick(index)) == plain.of(Ink::Text)));
}

#[test]
fn a_nick_has_the_same_colour_always() {
    // On every screen and in every version: people find one another by it.
    let table = [("ann", 4), ("bob", 2), ("carl", 6), ("dora", 5)];
    let colours = table.map(|(who, _)| (who, words::nick_colour(&name(who))));
    assert_eq!(colours, table);
    let mut used = [0; words::NICK_COLOURS as usize];
    for number in 0..700 {
        used[usize::from(words::nick_colour(&name(&format!("user{number}"))))] += 1;
    }
    assert!(used.iter().all(|count| (60..=140).contains(count)), "{used:?}");
}
