//! Emoji, wide and combining characters, and every size: what is painted fills each row exactly; what is usual is short enough.

use proptest::prelude::*;
use quip::app::{Input, text};
use quip::view::{self, Look};
use quip_protocol::SafeLine;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::harness::*;

/// Text with what terminals count differently: CJK, halfwidth marks, emoji with joiners, selectors, flags, tones.
fn texts() -> impl Strategy<Value = String> {
    let pieces = vec![
        "a",
        "word ",
        "\t",
        "\n",
        "漢字",
        "ｶﾞ",
        "é",
        "e\u{301}",
        "👩\u{200d}💻",
        "❤\u{fe0f}",
        "🇨🇭",
        "👍🏽",
        "한",
        "ไทย",
        "\u{1f3f4}\u{200d}\u{2620}\u{fe0f}",
        "`x`",
        "\n```rust\nlet 漢 = \"👩\u{200d}💻\"; // \u{301}é\n```\n",
        "\n```sh\necho '字'\u{301} \"\u{200d}\" #",
        "@ann ",
        "https://a.example/漢 ",
        "\u{202e}",
        "\u{1b}[31m",
    ];
    proptest::collection::vec(proptest::sample::select(pieces), 0..24).prop_map(|pieces| pieces.concat())
}

/// Each row's characters take exactly its cells, and none is cut by the edge.
fn check(world: &World, columns: u16, rows: u16) {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| view::draw(frame, &world.app, Look { color: true, light: false })).unwrap();
    let buffer = terminal.backend().buffer();
    for y in 0..rows {
        let mut x = 0;
        while x < columns {
            let symbol = view::visible(buffer[(x, y)].symbol());
            let wide = text::width(symbol);
            assert!((1..=2).contains(&wide), "{symbol:?} at {x},{y} of {columns}×{rows} takes {wide} cells");
            for behind in x + 1..x + wide as u16 {
                assert!(behind < columns, "{symbol:?} is cut by the edge of {columns}×{rows}");
                let symbol = buffer[(behind, y)].symbol();
                assert_eq!(symbol, " ", "something stands in the right half at {behind},{y}");
            }
            x += wide as u16;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_row_is_filled_exactly(
        said in proptest::collection::vec(texts(), 1..6),
        written in texts(),
        sizes in proptest::collection::vec((1..130u16, 1..45u16), 1..6),
    ) {
        let mut world = World::new();
        world.host(1, "#general", &said[0]);
        for (minute, text) in said.iter().enumerate() {
            world.said(1, MIDNIGHT + 9 * HOUR + minute as u64 * MINUTE, "bob", text);
        }
        world.connect();
        world.input(Input::Paste(written));
        for (columns, rows) in sizes.into_iter().chain([(10, 3)]) {
            world.input(Input::Resize { columns, rows });
            check(&world, columns, rows);
            crate::colours::read(&mut world);
            check(&world, columns, rows);
            world.keys("<A-k>");
            check(&world, columns, rows);
        }
    }
}

/// The last rows: the status alone.
fn status_rows(world: &mut World) -> Vec<String> {
    let screen = world.screen(80, 24);
    let below = screen.lines().skip_while(|line| !line.starts_with('›')).skip(1);
    below.take_while(|line| !line.starts_with("cursor")).map(str::to_owned).collect()
}

#[test]
fn what_is_usual_is_said_in_one_row_of_80_cells() {
    let nobody = "nobody listens there";
    let running = &format!("{nobody} (is the server running?)");
    let others = &format!("{nobody} (no answer from 2 other nodes)");
    let (away, behind) = ("the servers' log is away", "this server is catching up with the others");
    // Whether it is connected, why it is not well, and what is said without and with a message that waits.
    let table: [(bool, &str, &str, &str); 5] = [
        (true, away, "read-only since 14:30: the servers' log is away; what you send waits", away),
        (true, behind, "read-only since 14:30: this server is catching up with the others", behind),
        (false, nobody, "offline from home: nobody listens there — retrying in 9 s", nobody),
        (false, running, "offline from home: nobody listens there — retrying in 9 s", nobody),
        (false, others, "offline from home: nobody listens there — retrying in 9 s", nobody),
    ];
    for (up, why, without, with) in table {
        let mut world = World::new();
        world.host(1, "#general", "");
        world.connect();
        let reason = SafeLine::new(why);
        world.online = false;
        world.input(match up {
            true => Input::ReadOnly(reason),
            false => Input::Down { why: reason, retry_in_ms: Some(9_000) },
        });
        let rows = status_rows(&mut world);
        assert!(rows.len() == 1 && rows[0].contains(without), "{why}: {rows:?}");
        world.keys("hello<Enter>");
        let rows = status_rows(&mut world);
        assert!(rows.len() == 1 && rows[0].contains(with), "{why}: {rows:?}");
        assert!(rows[0].contains("· 1 to deliver"), "{why}: {rows:?}");
    }
}
