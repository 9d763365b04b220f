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

use crate::gallery::rooms::code;
use crate::gallery::{DARK, LIGHT, PLAIN};
use crate::harness::*;

/// Loading takes longer than reading.
static READER: LazyLock<Reader> = LazyLock::new(Reader::load);

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

/// The cell where `words` begin for the first time.
fn cell_of<'a>(terminal: &'a Terminal<TestBackend>, words: &str) -> &'a Cell {
    let buffer = terminal.backend().buffer();
    let cells = buffer.content();
    let starts = |at: &usize| {
        words.chars().zip(&cells[*at..]).all(|(c, cell)| view::visible(cell.symbol()).starts_with(c))
    };
    &cells[(0..cells.len() - words.len()).find(starts).expect("they are on the screen")]
}

#[test]
fn what_was_read_is_not_read_again() {
    let mut world = code(World::new());
    painted(&mut world, 80, 24, DARK);
    assert!(read(&mut world) >= 3);
    painted(&mut world, 80, 24, LIGHT);
    assert_eq!(read(&mut world), 0);
}

#[test]
fn colours_change_no_text() {
    let mut world = code(World::new());
    let before = painted(&mut world, 120, 40, DARK);
    assert!(read(&mut world) > 0);
    let after = painted(&mut world, 120, 40, DARK);
    for (words, looks_as) in
        [("let mut", Syntax::Keyword), ("\"$f\"", Syntax::String), ("-old", Syntax::Removed)]
    {
        let (one, other) = (cell_of(&before, words).fg, cell_of(&after, words).fg);
        assert_eq!(Some(other), DARK.of(Ink::Syntax(looks_as)).fg, "{words}");
        assert_ne!(one, other, "{words}");
    }
    let before = text_of(&before);
    assert_eq!(text_of(&after), before);
    let plain = painted(&mut world, 120, 40, PLAIN);
    assert_eq!(text_of(&plain), before);
    for cell in plain.backend().buffer().content() {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "NO_COLOR");
    }
}

#[test]
fn what_is_looked_for_is_seen_in_code() {
    let mut world = code(World::new());
    world.keys("<C-f>println<Enter>");
    painted(&mut world, 80, 24, DARK);
    read(&mut world);
    let screen = painted(&mut world, 80, 24, DARK);
    assert_eq!(cell_of(&screen, "println").modifier, Modifier::REVERSED);
}

#[test]
fn no_two_words_of_code_look_alike_nor_two_nicks() {
    use Syntax::*;
    for look in [DARK, LIGHT] {
        let code = [Keyword, String, Comment, Number, Type, Function, Removed];
        let mut inks: Vec<Ink> = code.map(Ink::Syntax).into();
        inks.push(Ink::Text);
        let nicks: Vec<Ink> = (0..words::NICK_COLOURS).map(Ink::Nick).collect();
        for inks in [inks, nicks] {
            let styles: Vec<_> = inks.iter().map(|ink| look.of(*ink)).collect();
            let unlike = |at: &usize| !styles[..*at].contains(&styles[*at]);
            assert_eq!((0..styles.len()).filter(unlike).count(), inks.len(), "{styles:?}");
        }
    }
    assert!((0..words::NICK_COLOURS).all(|index| PLAIN.of(Ink::Nick(index)) == PLAIN.of(Ink::Text)));
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
