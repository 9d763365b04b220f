//! Plain mode: the same client in lines.

use quip::app::plain::Narrator;
use quip::app::{Effect, Input};
use quip_protocol::frame::Request;
use quip_protocol::*;

use crate::harness::*;

/// A client that is told in lines.
struct Told {
    world: World,
    narrator: Narrator,
}

impl Told {
    fn new(world: World) -> Told {
        Told { world, narrator: Narrator::default() }
    }

    /// Types a line; what is said then.
    fn line(&mut self, line: &str) -> Vec<String> {
        self.world.input(Input::Line(line.to_owned()));
        self.news()
    }

    fn news(&mut self) -> Vec<String> {
        self.narrator.news(&self.world.app)
    }
}

fn talking() -> Told {
    let mut world = World::new();
    world.host(1, "#general", "what we do");
    world.host(2, "#ops", "");
    for n in 0..12 {
        world.said(1, MIDNIGHT + HOUR + n * MINUTE, "bob", &format!("number {n}"));
    }
    world.connect();
    Told::new(world)
}

#[test]
fn the_room_is_told_and_then_what_is_new() {
    let mut told = talking();
    let begin = told.news();
    assert_eq!(begin[..3], ["-- connected to home", "-- #general: what we do", "-- Saturday 21 November"]);
    assert_eq!(begin[3..], (2..12).map(|n| format!("01:{n:02} bob: number {n}")).collect::<Vec<_>>());
    assert_eq!(told.news(), [""; 0]);
    let asked = told.world.says(1, "bob", "two\nlines");
    assert_eq!(told.news(), ["14:30 bob: two", "      lines"]);
    assert_eq!(told.line("hello"), ["14:30 ann: hello"]);
    told.world.live(1, "carl", EventBody::Joined);
    let id = id(1);
    told.world.live(1, "carl", EventBody::Reacted { target: asked, id, emoji: "👍".into(), on: true });
    assert_eq!(told.news(), ["14:30 * carl joined", "14:30 * carl reacted with 👍 to “two lines”"]);
    assert_eq!(told.line(""), [""; 0]);
}

#[test]
fn commands_work_and_questions_are_answered() {
    let mut told = talking();
    told.news();
    let help = told.line("/help").join("\n");
    assert!(
        help.starts_with("-- Commands") && help.contains("/peek #room") && !help.contains("Alt+"),
        "{help}"
    );
    let list = told.line("/list").join("\n");
    assert!(list.contains("#ops") && list.contains("nothing new"), "{list}");
    assert_eq!(told.line("/join #ops"), ["-- #ops"]);
    assert_eq!(told.line("mine"), ["-- Saturday 21 November", "14:30 ann: mine"]);
    assert_eq!(
        told.line("/nope")[0],
        "error: /nope is no command; /help lists them, // begins a message with a slash"
    );
    assert_eq!(told.line("/delete"), ["delete “mine”? (y/n)"]);
    assert_eq!(told.line("no"), ["-- nothing was done"]);
    told.line("/delete");
    assert_eq!(told.line("yes"), ["14:30 * ann deleted a message"]);
    let usage = told.line("/help topic");
    assert_eq!(usage, ["-- /topic [text]: show or set the topic"]);
    assert_eq!(told.line("/help /nope"), ["error: /nope is no command: /help [command]"]);
    // What stayed in the composer is not sent with the next line.
    assert_eq!(told.line("next"), ["14:30 ann: next"]);
    told.world.lose(3_000);
    assert_eq!(
        told.news(),
        ["-- offline from home: timed out; what you write waits, and is lost if this client ends"]
    );
    assert_eq!(told.line("kept"), [""; 0]);
    told.world.connect();
    assert_eq!(told.news(), ["-- connected to home", "14:30 ann: kept"]);
}

#[test]
fn mentions_are_chosen_by_number() {
    let mut told = talking();
    told.world.says(2, "bob", "@ann look");
    told.world.keys("<A-2>");
    told.world.keys("<A-1>");
    told.news();
    assert_eq!(told.line("/mentions"), ["1  #ops bob  @ann look", "-- a number goes there, Enter leaves it"]);
    assert_eq!(told.line("1")[0], "-- #ops");
}

#[test]
fn no_control_character_comes_out() {
    let hostile: String =
        (0..0x20u8).map(char::from).chain(['\u{7f}', '\u{9b}', '\u{9d}', '\u{202e}']).collect();
    let text = format!("a\u{1b}[2J\u{1b}]52;c;aGk=\u{7}{hostile}z\r\nb");
    let mut told = talking();
    let said = Message::new(id(77), MessageKind::Plain, SafeText::new(&text), None);
    told.world.live(1, "bob", EventBody::Message(said));
    told.world.live(1, "bob", EventBody::Topic { topic: SafeLine::new(&text) });
    told.world.input(Input::Down { why: SafeLine::new(&text), retry_in_ms: None });
    let mut lines = told.news();
    lines.extend(told.line(&text));
    lines.extend(told.line(&format!("/{text}")));
    assert!(lines.len() > 15, "{lines:?}");
    for line in lines {
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
    }
}

#[test]
fn a_line_that_is_far_too_long_is_refused() {
    let mut told = talking();
    told.news();
    let lines = told.line(&"x".repeat(300_000));
    assert_eq!(lines, ["error: that line is far too long for a message; nothing was sent"]);
    let lines = told.line(&"x".repeat(300));
    assert!(lines[0].starts_with("error: too long: 300 bytes, a message has at most 200"), "{lines:?}");
    let sent = told.world.wanted.iter().any(|it| matches!(it, Effect::Deliver(Request::Post { .. })));
    assert!(!sent);
}

#[test]
fn what_is_long_is_told_in_part() {
    let mut told = talking();
    told.news();
    let long: Vec<String> = (1..=50).map(|n| format!("line {n}")).collect();
    let seq = told.world.says(1, "bob", &long.join("\n"));
    let news = told.news();
    assert_eq!((news.len(), news[19].as_str()), (21, "      line 20"));
    assert_eq!(news[20], "      … 30 more lines; `quip history` prints them");
    let edit =
        EventBody::Edited { target: seq, id: id(9), text: long.join("\n").as_str().into(), drops: None };
    told.world.live(1, "bob", edit);
    assert_eq!(
        told.news()[1..],
        ["      line 2", "      line 3", "      … 47 more lines; `quip history` prints them"]
    );
}
