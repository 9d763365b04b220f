//! Text from outside: nothing of it reaches the terminal as anything but what is seen.

use quip::app::{Code, Input, Key};
use quip::view;
use quip_protocol::safe_text::is_safe;
use quip_protocol::*;
use ratatui::backend::{CrosstermBackend, TestBackend};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use crate::gallery::{DARK, SIZES, Scene, Shown};
use crate::harness::*;

/// Every character that steers: controls, formats, separators, and what turns the direction of reading.
fn steering() -> Vec<char> {
    let steers = |c: &char| c.is_control() || !is_safe(*c) || TURNS.contains(c);
    (0..=0x10FFFFu32).filter_map(char::from_u32).filter(steers).collect()
}

/// Isolates are safe as long as they are balanced, which a text that is cut is not: the terminal gets none.
const TURNS: std::ops::RangeInclusive<char> = '\u{2066}'..='\u{2069}';

/// Pieces of hostile text that hold all of [`steering`]; what is seen of them is so short that it is seen in each pane.
fn stains() -> Vec<String> {
    let steering = steering();
    assert!(steering.len() > 4_000);
    // What shows nothing at all may come many at a time.
    let (seen, hidden): (Vec<char>, Vec<char>) = steering.iter().partition(|c| **c < '\u{E0000}');
    let chunks = seen.chunks(12).chain(hidden.chunks(2_048));
    let mut stains: Vec<String> =
        chunks.map(|chunk| chunk.iter().flat_map(|c| ['a', *c, 'b']).collect()).collect();
    let sequences = [
        "\u{1b}]52;c;aGk=\u{7}",
        "\u{1b}]0;title\u{1b}\\",
        "\u{9d}8;;file:///etc\u{9c}",
        "\u{1b}P0;1|x\u{1b}\\",
        "\u{9b}2J",
    ];
    stains.push(sequences.concat());
    stains
}

/// How many bytes of `text` are a sequence that the client itself writes: colours, places, the cursor, and a link.
fn own(text: &str) -> Option<usize> {
    if let Some(rest) = text.strip_prefix("\u{1b}[") {
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | ';' | '?'))?;
        let known = match &rest[end..=end] {
            "m" | "H" => !rest[..end].contains('?'),
            "h" | "l" => &rest[..end] == "?25",
            _ => false,
        };
        return known.then_some(2 + end + 1);
    }
    let rest = text.strip_prefix("\u{1b}]8;")?;
    let (link, _) = rest.split_once("\u{1b}\\")?;
    let (id, address) = link.split_once(';')?;
    let is_id = |id: &str| id.strip_prefix("id=").is_some_and(|id| id.chars().all(|c| c.is_ascii_hexdigit()));
    let leads = ["https://", "http://", "quip://"].iter().any(|scheme| address.starts_with(scheme));
    let plain = address.chars().all(|c| c.is_ascii_graphic());
    let known = link == ";" || (is_id(id) && leads && plain);
    known.then_some("\u{1b}]8;".len() + link.len() + 2)
}

/// Asserts that a terminal that gets these bytes is steered by the client alone.
fn assert_unsteered(bytes: &[u8], what: &str) {
    let mut rest = std::str::from_utf8(bytes).unwrap();
    while let Some(c) = rest.chars().next() {
        let safe = is_safe(c) && c != '\n' && c != '\t' && !TURNS.contains(&c);
        let taken = own(rest).unwrap_or(c.len_utf8());
        let near: String = rest.chars().take(24).collect();
        assert!(safe || own(rest).is_some(), "{what}: {near:?} reached the terminal");
        rest = &rest[taken..];
    }
}

/// What the terminal gets when this is painted on an empty screen.
fn written((columns, rows): (u16, u16), paint: impl FnOnce(&mut ratatui::Frame<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let viewport = Viewport::Fixed(Rect::new(0, 0, columns, rows));
    let mut terminal =
        Terminal::with_options(CrosstermBackend::new(&mut bytes), TerminalOptions { viewport }).unwrap();
    terminal.draw(paint).unwrap();
    drop(terminal);
    assert!(bytes.len() > 20, "something was painted");
    bytes
}

/// Whatever others write: on no screen and in no line of a scene it is more than what is read.
pub fn check(name: &str, scene: Scene) {
    let mut marked = false;
    for stain in stains() {
        let mut shown = Shown::at(SIZES[3], World::stained(&stain), scene);
        for size in [SIZES[3], SIZES[1]] {
            shown.resize(size);
            let bytes = written(size, |frame| shown.draw(frame, DARK));
            assert_unsteered(&bytes, &format!("{name} at {size:?}"));
            marked |= String::from_utf8_lossy(&bytes).contains('␛');
        }
        for line in shown.told() {
            assert_unsteered(line.as_bytes(), name);
        }
    }
    let of_ours_alone = ["first_run", "first_run_name", "connecting", "connecting_long"];
    assert!(marked || of_ours_alone.contains(&name), "{name} shows nothing from outside");
}

/// Text from outside in places where there is little of it.
pub fn odd(mut world: World) -> World {
    let nasty = world.stain.clone();
    world.host(1, "#general", &nasty);
    let texts = [
        nasty.clone(),
        format!("https://evil.example/{nasty} `{nasty}`"),
        format!("```{nasty}\n{nasty}\n```\n@ann"),
        format!("```rust\nlet a = \"{nasty}\"; // {nasty}\n{nasty}\n```"),
    ];
    for text in &texts {
        world.said(1, MIDNIGHT, "bob", text);
    }
    world.connect();
    world
}

#[test]
fn what_is_typed_and_pasted_steers_nothing() {
    let painted = |world: &World| {
        let bytes = written((110, 30), |frame| view::draw(frame, &world.app, DARK));
        assert_unsteered(&bytes, "what is typed");
    };
    for stain in stains() {
        let mut world = odd(World::stained(&stain));
        for keys in ["", "<C-k>", "<C-f>", "<C-r>", "<A-n>"] {
            world.keys(keys);
            // Of the thousands that show nothing and are all told by one range, some are typed; all are pasted.
            let step = if stain.len() > 1_000 { 331 } else { 1 };
            for c in stain.chars().step_by(step) {
                world.input(Input::Key(Key::plain(Code::Char(c))));
            }
            world.input(Input::Paste(stain.clone()));
            painted(&world);
            world.keys("<Esc>");
        }
        world.keys("<Enter>");
        painted(&world);
        world.input(Input::Composed(Ok(stain.clone())));
        painted(&world);
    }
}

#[test]
fn no_name_holds_what_steers() {
    for c in steering() {
        let text = format!("a{c}b");
        assert!(text.parse::<AccountName>().is_err() && text.parse::<RoomName>().is_err(), "{text:?}");
        assert!(format!("#{text}").parse::<Target>().is_err(), "{text:?}");
    }
}

#[test]
fn a_steered_terminal_is_noticed() {
    let steered = [
        "a\u{1b}b",
        "\u{9b}2J",
        "\u{1b}]52;c;aGk=\u{7}",
        "\u{1b}[2J",
        "\u{1b}]8;;file:///etc\u{1b}\\",
        "\u{202e}",
        "\n",
    ];
    for text in steered {
        assert!(std::panic::catch_unwind(|| assert_unsteered(text.as_bytes(), "")).is_err(), "{text:?}");
    }
    assert_unsteered(
        "\u{1b}[1;31m漢\u{1b}[2;3H\u{1b}[?25l\u{1b}]8;id=a0;https://a.example\u{1b}\\x\u{1b}]8;;\u{1b}\\"
            .as_bytes(),
        "",
    );
}

#[test]
fn a_wrapped_link_is_one_link() {
    let mut world = World::new();
    world.host(1, "#general", "");
    let address = format!("https://ci.example/{}", "builds/漢".repeat(12));
    world.said(1, MIDNIGHT, "bob", &format!("see ({address}), please"));
    world.connect();
    world.screen(60, 20);
    let mut terminal = Terminal::new(TestBackend::new(60, 20)).unwrap();
    terminal.draw(|frame| view::draw(frame, &world.app, DARK)).unwrap();
    let buffer = terminal.backend().buffer();
    let linked: Vec<&str> =
        buffer.content().iter().map(|cell| cell.symbol()).filter(|s| s.starts_with('\u{1b}')).collect();
    let opened = linked[0].split_once("\u{1b}\\").unwrap().0;
    assert!(opened.contains("%E6%BC%A2"), "{opened:?}");
    let text: String = linked.iter().map(|symbol| view::visible(symbol)).collect();
    assert!(linked.iter().all(|symbol| symbol.starts_with(opened)) && text == address, "{text}");
}
