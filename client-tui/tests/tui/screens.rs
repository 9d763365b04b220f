//! What is seen, as text.

use quip_protocol::*;

use crate::harness::*;

/// A morning in a team's rooms.
pub fn busy() -> World {
    let mut world = World::new();
    let (yesterday, today) = (MIDNIGHT - 24 * HOUR, MIDNIGHT);
    world.host(1, "#general", "Where we talk about everything, and about the build");
    world.host(2, "#ops", "");
    world.host(3, "#a-room-with-a-very-long-name", "");
    world.host(4, "@bob", "");
    world.host(5, "@carl", "");
    world.past(1, yesterday + 16 * HOUR, "ann", EventBody::Created { members: 1 });
    world.past(1, yesterday + 16 * HOUR + MINUTE, "bob", EventBody::Joined);
    world.said(1, yesterday + 17 * HOUR, "bob", "see you tomorrow");
    let first = world.said(
        1,
        today + 9 * HOUR + 2 * MINUTE,
        "bob",
        "morning! the nightly build is green again, and it took eleven minutes less than before",
    );
    world.said(1, today + 9 * HOUR + 2 * MINUTE + 20_000, "bob", "https://ci.example/builds/4711");
    world.said(1, today + 9 * HOUR + 5 * MINUTE, "ann", "nice 🎉 which change was it?");
    let reply = Message::new(id(90), MessageKind::Plain, "which one exactly".into(), Some(first));
    let edited = world.past(1, today + 9 * HOUR + 6 * MINUTE, "carl", EventBody::Message(reply));
    let edit =
        EventBody::Edited { target: edited, id: id(91), text: "the cache, I think".into(), drops: None };
    world.past(1, today + 9 * HOUR + 7 * MINUTE, "carl", edit);
    let code = "it was this:\nfn main() {\n\tprintln!(\"漢字 and tabs\");\n}";
    let code = world.said(1, today + 9 * HOUR + 8 * MINUTE, "carl", code);
    for (who, emoji) in [("bob", "👍"), ("ann", "👍"), ("bob", "🎉")] {
        let reaction = EventBody::Reacted { target: code, id: id(92), emoji: SafeLine::new(emoji), on: true };
        world.past(1, today + 9 * HOUR + 9 * MINUTE, who, reaction);
    }
    let wrong = world.said(1, today + 11 * HOUR, "bob", "wrong window");
    world.past(1, today + 11 * HOUR, "bob", EventBody::Deleted { target: wrong, id: id(93), edits: vec![] });
    world.said(1, today + 14 * HOUR, "carl", "@ann can you look at the 発表 slides before three?");
    let wave = Message::new(id(94), MessageKind::Action, "waves".into(), None);
    world.past(1, today + 14 * HOUR + MINUTE, "bob", EventBody::Message(wave));
    world.unread(1, 14, 2, 1);
    world.said(2, today + 10 * HOUR, "carl", "@ann deploy?");
    world.unread(2, 0, 12, 2);
    world.unread(3, 0, 4, 0);
    world.said(5, today + 10 * HOUR, "carl", "psst");
    world.unread(5, 0, 1, 0);
    world
}

fn opened() -> World {
    let mut world = busy();
    world.connect();
    world
}

#[test]
fn a_busy_room() {
    for (columns, rows) in [(80, 24), (40, 10), (120, 40)] {
        let mut world = opened();
        insta::assert_snapshot!(format!("busy_{columns}x{rows}"), world.screen(columns, rows));
    }
}

#[test]
fn an_empty_room() {
    for (columns, rows) in [(80, 24), (40, 10), (120, 40)] {
        let mut world = World::new();
        world.host(1, "#general", "");
        world.connect();
        insta::assert_snapshot!(format!("empty_{columns}x{rows}"), world.screen(columns, rows));
    }
}

#[test]
fn before_anything_is_known() {
    let mut world = World::new();
    insta::assert_snapshot!("connecting", world.screen(80, 24));
    world.connect();
    insta::assert_snapshot!("no_rooms", world.screen(80, 24));
}

#[test]
fn help() {
    for (columns, rows) in [(80, 24), (40, 10), (120, 40)] {
        let mut world = opened();
        world.keys("<F1>");
        insta::assert_snapshot!(format!("help_{columns}x{rows}"), world.screen(columns, rows));
        world.keys(&"<PgDn>".repeat(40));
        insta::assert_snapshot!(format!("help_end_{columns}x{rows}"), world.screen(columns, rows));
    }
}

#[test]
fn completion() {
    let mut world = opened();
    world.keys("/");
    insta::assert_snapshot!("completion_commands", world.screen(80, 24));
    world.keys("kick ");
    insta::assert_snapshot!("completion_usage", world.screen(80, 24));
    world.keys("<C-u>what does @<Tab>");
    insta::assert_snapshot!("completion_nicks", world.screen(80, 24));
    insta::assert_snapshot!("completion_nicks_small", world.screen(40, 10));
}

#[test]
fn offline_with_pending_messages() {
    let mut world = opened();
    world.lose(3_000);
    world.keys(
        "are you there?<Enter>and this, which is a little longer than a line of the timeline is<Enter>",
    );
    insta::assert_snapshot!("offline", world.screen(80, 24));
    insta::assert_snapshot!("offline_small", world.screen(40, 10));
}

#[test]
fn a_refused_message() {
    let mut world = opened();
    world.refuse =
        Some(Refusal::new(ErrorCode::Archived, "#general is archived; it can be read, not written"));
    world.keys("one more thing<Enter>");
    insta::assert_snapshot!("refused", world.screen(80, 24));
}

#[test]
fn scrolled_up_while_messages_come() {
    let mut world = World::new();
    world.host(1, "#general", "long");
    for number in 1..=120u64 {
        let who = if number % 3 == 0 { "bob" } else { "carl" };
        world.said(1, MIDNIGHT + 9 * HOUR + number * MINUTE, who, &format!("message number {number}"));
    }
    world.connect();
    world.keys("<PgUp><PgUp>");
    for number in 121..=132 {
        world.says(1, "bob", &format!("message number {number}"));
    }
    insta::assert_snapshot!("scrolled", world.screen(80, 24));
    insta::assert_snapshot!("scrolled_small", world.screen(40, 10));
}

#[test]
fn writing_several_lines() {
    let mut world = opened();
    world.keys("first line<A-Enter>second line, which is long enough that it has to be broken somewhere in the middle of it<A-Enter>漢字");
    insta::assert_snapshot!("composer", world.screen(80, 24));
    insta::assert_snapshot!("composer_small", world.screen(40, 10));
}

#[test]
fn selecting_and_replying() {
    let mut world = opened();
    world.keys("<A-k><A-k>");
    insta::assert_snapshot!("selected", world.screen(80, 24));
    world.keys("/reply<Enter>");
    insta::assert_snapshot!("replying", world.screen(80, 24));
}

#[test]
fn sheets() {
    let mut world = opened();
    world.keys("/members<Enter>");
    insta::assert_snapshot!("members", world.screen(80, 24));
    world.keys("<Esc>/invite<Enter>");
    insta::assert_snapshot!("invite", world.screen(80, 24));
}

#[test]
fn a_link_shown_at_the_start() {
    let mut world = opened();
    let lines = [
        "A colleague joins with: quip join 'quip://192.0.2.7:7847/?fp=SHA256:TU4ouADlp2sccMiUlKEIvJhzhd9AgAbjBlg8QLI-S7g#AAECAwQFBgcICQoLDA0ODw' --name NAME",
        "The server runs in this client.",
    ];
    let lines = lines.map(SafeLine::new).to_vec();
    world.input(quip::app::Input::Show { title: SafeLine::new("Welcome"), lines });
    insta::assert_snapshot!("welcome", world.screen(80, 24));
}

#[test]
fn tiny_terminals() {
    let mut world = opened();
    insta::assert_snapshot!("tiny_10x3", world.screen(10, 3));
    for columns in 0..30 {
        for rows in 0..12 {
            world.screen(columns, rows);
            world.keys("/<F1><Esc><Esc><C-u>");
        }
    }
}

#[test]
fn first_run() {
    use quip::app::first_run::{FirstRun, FirstRunScreen};
    use quip::view::{Look, first_run};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    let show = |screen: &FirstRunScreen, columns, rows| {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| first_run::draw(frame, screen, Look { color: true, light: false })).unwrap();
        text_of(&terminal)
    };
    let mut screen = FirstRunScreen::new(Some(&name("ann")));
    for (columns, rows) in [(80, 24), (40, 10), (120, 40), (10, 3)] {
        insta::assert_snapshot!(format!("first_run_{columns}x{rows}"), show(&screen, columns, rows));
    }
    let type_in = |screen: &mut FirstRunScreen, keys: &str| {
        parse_keys(keys).into_iter().find_map(|key| screen.key(key))
    };
    assert_eq!(type_in(&mut screen, "<Down><Enter>"), None);
    screen.paste("quip://127.0.0.1:7847/?fp=SHA256:short\n");
    assert_eq!(type_in(&mut screen, "<Enter>"), None);
    insta::assert_snapshot!("first_run_link", show(&screen, 80, 24));
    type_in(&mut screen, "<C-u>");
    screen.paste("'quip://chat.example:7847/#AAECAwQFBgcICQoLDA0ODw'\n");
    assert_eq!(type_in(&mut screen, "<Enter>"), None);
    insta::assert_snapshot!("first_run_name", show(&screen, 80, 24));
    match type_in(&mut screen, "<C-u>Ann-2<Enter>") {
        Some(FirstRun::Join { link, name }) => {
            assert_eq!((link.port, name), (7847, Some("ann-2".parse().unwrap())));
        }
        other => panic!("{other:?}"),
    }
    let mut screen = FirstRunScreen::new(Some(&name("ann")));
    assert_eq!(type_in(&mut screen, "h<Enter>"), Some(FirstRun::Host { name: name("ann") }));
    let mut screen = FirstRunScreen::new(Some(&name("ann")));
    assert_eq!(type_in(&mut screen, "j<Esc>q"), Some(FirstRun::Quit));
}
