//! Going to rooms by letters, lines written before, messages selected: keys in, screens and effects out.

use quip::app::{Effect, Input};
use quip_protocol::limits::MAX_EDITS_KEPT;
use quip_protocol::*;

use crate::gallery::asked::answers;
use crate::gallery::rooms::{busy, pasted};
use crate::harness::*;

const SIZES: [(u16, u16); 3] = [(80, 24), (40, 10), (120, 40)];

fn opened() -> World {
    let mut world = busy(World::new());
    world.connect();
    world
}

fn room(world: &World) -> String {
    world.app.rooms().current().unwrap().summary.target.to_string()
}

fn said(world: &World) -> &str {
    world.app.said().map_or("", |said| said.text.as_str())
}

#[test]
fn going_to_a_room() {
    let table = [
        ("<C-k>ops<Enter>", "#ops"),
        ("<C-k>@c<Enter>", "@carl"),
        ("<C-k>long<Enter>", "#a-room-with-a-very-long-name"),
        ("<C-k>nothing-fits<Enter>", "#ops"),
        ("<C-k>gen<Esc>", "#ops"),
        ("<C-k>gen<BS><BS><BS>bob<Enter>", "@bob"),
        ("<C-k><F1><Esc><Esc>", "#ops"),
    ];
    for (keys, expected) in table {
        let mut world = opened();
        let id = world.app.rooms().find(&target("#ops"));
        world.keys("<C-k>#ops<Enter>");
        assert_eq!(world.app.rooms().current_id(), id);
        world.keys(keys);
        assert_eq!(room(&world), expected, "{keys}");
        assert!(world.app.composer().is_empty(), "{keys}");
    }
}

#[test]
fn who_waits_is_offered_first_and_the_room_one_is_in_last() {
    let mut world = opened();
    world.keys("<C-k>#gen<Enter><C-k><Enter>");
    assert_eq!(room(&world), "#ops");
    world.keys("<C-k><Up><Enter>");
    assert_eq!(room(&world), "#ops", "the last of the list is where one is");
}

#[test]
fn a_draft_survives_a_question() {
    let mut world = opened();
    world.keys("half a thought<C-k>x<C-f>y<C-r><Esc>");
    assert_eq!(world.app.composer().text(), "half a thought");
}

#[test]
fn looking_for_a_line_written_before() {
    let mut world = opened();
    world.keys("<C-k>#gen<Enter>first thing<Enter>/me waves<Enter>another thing<Enter>draft");
    world.keys("<C-r>thing<C-r><Enter>");
    assert_eq!(world.app.composer().text(), "first thing");
}

#[test]
fn selected_messages_are_copied_and_opened() {
    let table = [
        ("plain words", "y", Effect::Copy("plain words".into())),
        ("see\n```sh\nmake\n```", "y", Effect::Copy("make".into())),
        ("see\n```sh\nmake\n```", "Y", Effect::Copy("see\n```sh\nmake\n```".into())),
        ("plain words", "o", Effect::Show("plain words".into())),
    ];
    for (text, keys, expected) in table {
        let mut world = opened();
        world.keys("<C-k>#gen<Enter>");
        world.says(1, "bob", text);
        world.keys(keys);
        assert_eq!(world.app.composer().text(), keys, "without a selection it is a letter");
        world.keys("<C-u><A-k>");
        world.keys(keys);
        assert_eq!(world.wanted.last(), Some(&expected), "{text}");
        assert!(world.app.composer().is_empty());
    }
}

#[test]
fn what_is_no_command_leaves_the_selection_and_is_written() {
    let table = [
        ("thanks", "thanks", false),
        ("sure", "sure", false),
        (" ", " ", false),
        ("漢", "漢", false),
        ("/react", "/react", true),
        ("s/plain", "s/plain", true),
        ("/reply<Enter>yes", "yes", true),
        ("Y<BS>", "", true),
    ];
    for (keys, written, selected) in table {
        let mut world = opened();
        world.keys("<C-k>#gen<Enter>");
        world.says(1, "bob", "plain words");
        world.keys("<A-k>");
        let hinted = world.screen(80, 24).contains("Selected: Enter y");
        world.keys(keys);
        assert!(hinted, "the composer says it");
        assert_eq!(world.app.composer().text(), written, "{keys}");
        let is_selected = world.app.rooms().current().unwrap().selected.is_some();
        assert_eq!(is_selected, selected, "{keys}");
    }
    let mut world = opened();
    world.keys("<C-k>#gen<Enter><A-k>");
    world.input(Input::Paste("pasted".into()));
    assert_eq!(world.app.rooms().current().unwrap().selected, None);
}

#[test]
fn a_quick_escape_is_no_alt() {
    let mut world = opened();
    world.keys("<C-k>#gen<Enter>");
    world.says(1, "bob", "plain words");
    world.keys("<A-k><C-A-l>");
    assert_eq!(world.app.rooms().current().unwrap().selected, None);
    assert_eq!(world.wanted.last(), Some(&Effect::Redraw));
    let wanted = world.wanted.len();
    world.keys("<A-k><C-A-o>");
    assert!(world.app.rooms().current().unwrap().selected.is_some(), "a key without a meaning stays one");
    assert_eq!(world.wanted.len(), wanted);
}

#[test]
fn a_text_is_written_on_in_the_editor() {
    let mut world = opened();
    world.keys("draft<C-x><C-e>");
    assert_eq!(world.wanted.last(), Some(&Effect::Compose("draft".into())));
    world.input(Input::Composed(Ok("a better draft\nof two lines\n".into())));
    assert_eq!(world.app.composer().text(), "a better draft\nof two lines");
    world.input(Input::Composed(Ok("x".repeat(1_000_000))));
    assert_eq!(world.app.composer().text(), "a better draft\nof two lines", "{}", said(&world));
    world.input(Input::Composed(Err(SafeLine::new("vi ended with exit status: 1"))));
    assert_eq!(said(&world), "vi ended with exit status: 1");
    world.keys("<C-x>q!");
    assert_eq!(world.app.composer().text(), "a better draft\nof two lines!", "only Ctrl+E follows Ctrl+X");
}

#[test]
fn long_messages_are_folded_until_something_in_them_is_found() {
    for (columns, rows) in SIZES {
        let mut world = pasted(World::new());
        world.keys("<A-k><A-k>");
        world.keys("<Enter>");
        world.keys("z<Esc>");
        let again = world.screen(columns, rows);
        assert!(!again.contains("line 40 of"), "{again}");
        world.keys("<C-f>\"LINE 40\"<Enter>");
        let found = world.screen(columns, rows);
        assert!(found.contains("line 40 of the log"), "{found}");
    }
}

#[test]
fn threads() {
    let mut world = opened();
    world.keys("<C-k>#gen<Enter>");
    answers(&mut world, "no, I do");
    for (columns, rows) in SIZES {
        world.keys("/thread<Enter>");
        world.keys("<Esc><A-k><Enter>");
        let by_key = world.screen(columns, rows);
        assert!(by_key.contains("Thread in #general: 2 answers"), "{by_key}");
        world.keys("<Esc><Esc>");
    }
    world.keys("<A-k><A-k><Enter>");
    assert!(said(&world).contains("nobody answered it"), "{}", said(&world));
}

#[test]
fn what_an_edited_message_said_before() {
    let mut world = opened();
    world.keys("<C-k>#gen<Enter>");
    let edit = |target: Seq, number: u64, text: &str| EventBody::Edited {
        target,
        id: id(number),
        text: text.into(),
        drops: None,
    };
    let target = world.says(1, "bob", "the deploy is tomorow at nine");
    world.says(1, "carl", "nine it is");
    world.pass(60_000);
    let first = world.live(1, "bob", edit(target, 911, "the deploy is tomorrow at nine"));
    world.pass(60_000);
    let second = world.live(1, "bob", edit(target, 912, "the deploy is tomorrow at ten,\nnot at nine"));
    for (columns, rows) in SIZES {
        world.keys("/edits<Enter>");
        world.keys("<Esc><A-k><A-k>v");
        let by_key = world.screen(columns, rows);
        assert!(by_key.contains("A message of bob: 2 edits"), "{by_key}");
        world.keys("<Esc><Esc>");
    }
    world.keys("<A-k>v");
    assert!(said(&world).contains("it was not edited"), "{}", said(&world));
    world.keys("<Esc>");
    let edits = vec![first, second];
    world.live(1, "bob", EventBody::Deleted { target, id: id(913), edits });
    let timeline = &world.app.rooms().current().unwrap().timeline;
    let left = format!("{:?}", timeline.events().collect::<Vec<_>>());
    assert!(!left.contains("the deploy is"), "the texts of a deleted message are left: {left}");
}

#[test]
fn of_many_edits_the_sheet_says_that_some_are_not_kept() {
    let mut world = opened();
    world.keys("<C-k>#gen<Enter>");
    let target = world.says(1, "bob", "first");
    let mut edits: Vec<Seq> = Vec::new();
    for number in 0..MAX_EDITS_KEPT + 1 {
        let drops = (number == MAX_EDITS_KEPT).then(|| edits[0]);
        let body = EventBody::Edited {
            target,
            id: id(920 + number as u64),
            text: format!("version {number}.").as_str().into(),
            drops,
        };
        edits.push(world.live(1, "bob", body));
    }
    world.keys("/edits<Enter>");
    let screen = world.screen(80, 24);
    assert!(screen.contains("Edits in between are not kept.") && screen.contains("32 edits"), "{screen}");
    assert!(screen.contains("version 1.") && !screen.contains("version 0."), "{screen}");
}

#[test]
fn who_does_not_look_is_called_and_has_not_read() {
    let alerts = |world: &World| {
        let alert = |effect: &Effect| match effect {
            Effect::Alert { title, text } => Some(format!("{title} {text}")),
            _ => None,
        };
        world.wanted.iter().filter_map(alert).collect::<Vec<_>>()
    };
    let marks = |world: &World| world.wanted.iter().filter(|e| matches!(e, Effect::Mark { .. })).count();
    let mut world = opened();
    world.keys("<C-k>#gen<Enter>");
    world.pass(5_000);
    world.says(1, "bob", "@ann look!");
    assert_eq!(alerts(&world), [""; 0], "the room is in view");
    world.pass(5_000);
    world.input(Input::Focus(false));
    let before = marks(&world);
    world.says(1, "bob", "@ann\nlook   again");
    world.says(1, "bob", "@ann once more");
    world.pass(5_000);
    world.says(2, "bob", "nobody is named");
    world.says(4, "bob", "psst");
    assert_eq!(alerts(&world), ["#general bob: @ann look again", "@bob bob: psst"]);
    assert_eq!(marks(&world), before, "nobody looked");
    world.input(Input::Focus(true));
    world.pass(5_000);
    assert!(marks(&world) > before);
}

#[test]
fn a_room_calls_as_the_user_wants_it() {
    let table = [("all", "nothing special", 1), ("mentions", "nothing special", 0), ("none", "@ann!", 0)];
    for (level, text, expected) in table {
        let mut world = opened();
        world.keys("<C-k>#gen<Enter>/notify ");
        world.keys(level);
        world.keys("<Enter>");
        assert!(said(&world).contains(&format!("({level})")), "{}", said(&world));
        let kept = world.wanted.iter().filter(|effect| matches!(effect, Effect::KeepLevels(_))).count();
        assert_eq!(kept, 1);
        world.keys("<C-k>#ops<Enter>");
        world.pass(5_000);
        world.says(1, "bob", text);
        let calls = world.wanted.iter().filter(|effect| matches!(effect, Effect::Alert { .. })).count();
        assert_eq!(calls, expected, "{level}");
    }
    let mut world = opened();
    world.keys("/notify loud<Enter>");
    assert!(said(&world).contains("loud is none of all, mentions, none"), "{}", said(&world));
}

#[test]
fn keys_are_those_of_the_settings() {
    let settings =
        quip::config::settings::Settings::parse("[keys]\n\"ctrl+g\" = \"switch\"\n\"alt+a\" = \"none\"");
    let keys = settings.unwrap().keys;
    let mut world = opened();
    world.app.prefer(quip::app::Preferences { keys, ..Default::default() });
    world.keys("<C-g>@bob<Enter>");
    assert_eq!(room(&world), "@bob");
    world.keys("<A-a>");
    assert_eq!(room(&world), "@bob", "the key has no meaning any more");
    world.keys("<F1>");
    let help = world.screen(120, 90);
    assert!(help.contains("Ctrl+G") && help.contains("switch (quip.toml)"), "{help}");
}

#[test]
fn what_is_typed_over_a_sheet_is_written() {
    let mut world = opened();
    world.keys("<F1>");
    let first = world.screen(80, 24);
    assert!(first.contains("Esc closes"), "{first}");
    world.keys(" ");
    let second = world.screen(80, 24);
    assert!(second.contains("Esc closes") && second != first, "a space turns the page: {second}");
    world.keys("hi there");
    let written = world.screen(80, 24);
    assert!(written.contains("› hi there") && !written.contains("Esc closes"), "{written}");
    world.keys("<F1>q");
    let closed = world.screen(80, 24);
    assert!(closed.contains("› hi there") && !closed.contains("Esc closes"), "q closes: {closed}");
}

#[test]
fn the_mouse_scrolls_and_goes_to_rooms() {
    use quip::app::input::Mouse;
    let mut world = opened();
    world.keys("<C-k>#gen<Enter>");
    world.screen(80, 24);
    let at = |world: &mut World, what, x, y| world.input(Input::Mouse { what, x, y });
    world.keys("<A-m>");
    assert_eq!(world.wanted.last(), Some(&Effect::Mouse(true)));
    at(&mut world, Mouse::WheelUp, 40, 10);
    assert!(world.screen(80, 24).contains("↓ newest"));
    at(&mut world, Mouse::WheelDown, 40, 10);
    assert!(!world.screen(80, 24).contains("↓ newest"));
    let rows: Vec<String> = world.screen(80, 24).lines().map(str::to_owned).collect();
    for name in ["#ops", "@carl", "@bob"] {
        let y = rows.iter().position(|row| row.chars().take(20).collect::<String>().contains(name)).unwrap();
        at(&mut world, Mouse::Click, 5, u16::try_from(y).unwrap());
        assert_eq!(room(&world), name);
    }
    for (x, y) in [(5, 2), (5, 7), (5, 20), (40, 10), (79, 23)] {
        at(&mut world, Mouse::Click, x, y);
        assert_eq!(room(&world), "@bob", "{x},{y} is no room");
    }
    world.keys("<F1>");
    let top = world.screen(80, 24);
    at(&mut world, Mouse::WheelDown, 40, 10);
    assert_ne!(world.screen(80, 24), top);
    at(&mut world, Mouse::Click, 40, 10);
    assert!(!world.screen(80, 24).contains("Help"));
    world.keys("<A-m>");
    assert_eq!(world.wanted.last(), Some(&Effect::Mouse(false)));
}
