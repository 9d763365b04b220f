//! Text from outside: nothing of it reaches the terminal as anything but what is seen.

use quip::app::Input;
use quip::view::{self, Look};
use quip_protocol::room::MemberSummary;
use quip_protocol::safe_text::is_safe;
use quip_protocol::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::harness::*;

/// Every character that steers: controls, formats, separators, and what is on the edge of them.
fn steering() -> Vec<char> {
    (0..=0x10FFFFu32)
        .filter_map(char::from_u32)
        .filter(|c| {
            c.is_control() || !is_safe(*c) || matches!(*c, '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
        })
        .collect()
}

/// What is seen of a cell; what is around it may be our own link and nothing else, to the letter.
fn seen(symbol: &str) -> &str {
    let Some(rest) = symbol.strip_prefix("\u{1b}]8;id=") else { return symbol };
    let (id, rest) = rest.split_once(';').expect("an id");
    let (address, rest) = rest.split_once("\u{1b}\\").expect("the address ends");
    assert!(id.chars().all(|c| c.is_ascii_hexdigit()), "{symbol:?}");
    assert!(address.starts_with("https://") && address.chars().all(|c| c.is_ascii_graphic()), "{symbol:?}");
    rest.strip_suffix("\u{1b}]8;;\u{1b}\\").expect("the link ends")
}

/// Paints, and asserts that each cell holds safe text alone.
fn paint(world: &World) {
    let (columns, rows) = (110, 30);
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| view::draw(frame, &world.app, Look { color: true, light: false })).unwrap();
    for cell in terminal.backend().buffer().content() {
        let safe = |c: char| is_safe(c) && c != '\n' && c != '\t';
        assert!(seen(cell.symbol()).chars().all(safe), "{:?} reached the terminal", cell.symbol());
    }
}

#[test]
fn no_steering_character_reaches_the_terminal() {
    let steering = steering();
    assert!(steering.len() > 200);
    for chunk in steering.chunks(64) {
        let nasty: String = chunk
            .iter()
            .flat_map(|c| ['a', *c, 'b'])
            .chain("\u{1b}]52;c;aGk=\u{7}\u{9b}2J".chars())
            .collect();
        let mut world = World::new();
        world.host(1, "#general", &nasty);
        world.said(1, MIDNIGHT, "bob", &nasty);
        world.said(1, MIDNIGHT, "bob", &format!("https://evil.example/{nasty} `{nasty}`"));
        world.said(1, MIDNIGHT, "bob", &format!("```{nasty}\n{nasty}\n```\n@ann"));
        world.said(1, MIDNIGHT, "bob", &format!("```rust\nlet a = \"{nasty}\"; // {nasty}\n{nasty}\n```"));
        let hosted = world.rooms.get_mut(&RoomId(1)).unwrap();
        hosted.members.push(MemberSummary { name: name("eve"), role: Role::Member, online: true, bot: true });
        world.past(1, MIDNIGHT, "bob", EventBody::Topic { topic: SafeLine::new(&nasty) });
        let kicked = EventBody::Kicked { who: name("eve"), reason: SafeLine::new(&nasty) };
        world.past(1, MIDNIGHT, "bob", kicked);
        let reacted =
            EventBody::Reacted { target: Seq(1), id: id(5), emoji: SafeLine::new(&nasty), on: true };
        world.past(1, MIDNIGHT, "bob", reacted);
        world.input(Input::Resize { columns: 110, rows: 30 });
        world.connect();
        paint(&world);
        assert!(crate::colours::read(&mut world) > 0);
        paint(&world);
        world.input(Input::Paste(nasty.clone()));
        for c in chunk {
            world.input(Input::Key(quip::app::Key::plain(quip::app::Code::Char(*c))));
        }
        paint(&world);
        for keys in ["<C-k>", "<C-f>", "<C-r>"] {
            world.keys(keys);
            world.input(Input::Paste(nasty.clone()));
            paint(&world);
            world.keys("<Esc>");
        }
        world.refuse = Some(Refusal::new(ErrorCode::Forbidden, &nasty));
        world.keys("<Enter>");
        paint(&world);
        world.input(Input::Down { why: SafeLine::new(&nasty), retry_in_ms: None });
        paint(&world);
        world.input(Input::Show { title: SafeLine::new(&nasty), lines: vec![SafeLine::new(&nasty)] });
        paint(&world);
    }
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
    terminal.draw(|frame| view::draw(frame, &world.app, Look { color: true, light: false })).unwrap();
    let buffer = terminal.backend().buffer();
    let linked: Vec<&str> =
        buffer.content().iter().map(|cell| cell.symbol()).filter(|s| s.starts_with('\u{1b}')).collect();
    let opened = linked[0].split_once("\u{1b}\\").unwrap().0;
    assert!(opened.contains("%E6%BC%A2"), "{opened:?}");
    let text: String = linked.iter().map(|symbol| seen(symbol)).collect();
    assert!(linked.iter().all(|symbol| symbol.starts_with(opened)) && text == address, "{text}");
}

#[test]
fn the_first_screen_shows_pastes_safely() {
    use quip::app::first_run::FirstRunScreen;
    let mut screen = FirstRunScreen::new(Some(&name("ann")));
    parse_keys("j").into_iter().for_each(|key| drop(screen.key(key)));
    screen.paste("quip://\u{1b}[2J\u{202e}evil");
    parse_keys("<Enter>").into_iter().for_each(|key| drop(screen.key(key)));
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal
        .draw(|frame| view::first_run::draw(frame, &screen, Look { color: false, light: false }))
        .unwrap();
    let text = text_of(&terminal);
    assert!(text.chars().all(is_safe) && text.contains("␛[2J"), "{text}");
}

#[test]
fn without_colour_no_cell_has_one() {
    let mut world = crate::screens::busy();
    world.connect();
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| view::draw(frame, &world.app, Look { color: false, light: false })).unwrap();
    for cell in terminal.backend().buffer().content() {
        assert_eq!((cell.fg, cell.bg), (ratatui::style::Color::Reset, ratatui::style::Color::Reset));
    }
}
