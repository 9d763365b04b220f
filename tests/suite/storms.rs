//! The terminal client under what terminals and people do to it: sizes that change and change, pastes without end, messages
//! that come faster than anyone reads.

use std::io::Write as _;
use std::ops::Range;
use std::time::Instant;

use quip_protocol::Target;
use quip_protocol::client::Client;
use quip_tests::pty::Screen;
use quip_tests::{Quip, Random, Server, Terminal, eventually, join, post_all, within};

#[test]
fn a_storm_of_sizes() {
    const SEED: u64 = 3;
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.connected();
    terminal.say("before the storm \u{1F327} 雨");
    terminal.shows("before the storm");
    let mut random = Random::new(SEED);
    for _ in 0..200 {
        let (columns, rows) = (1 + random.below(200), 1 + random.below(70));
        terminal.resize(columns, rows);
    }
    terminal.resize(10, 3);
    terminal.until("something at 10×3", |screen| !screen.trim().is_empty());
    terminal.resize(80, 24);
    terminal.until("all of it again", |screen| {
        screen.contains("before the storm") && screen.contains("connected to") && screen.contains("#general")
    });
    terminal.say("after the storm");
    terminal.until("it is said", |screen| screen.contains("  after the storm"));
}

#[test]
fn a_paste_of_a_megabyte_sends_nothing_by_itself() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let terminal = Terminal::client(&ann, 120, 40);
    terminal.connected();
    let file = ann.home().join("pasted");
    let mut pasted = std::fs::File::create(&file).unwrap();
    for line in 0..25_000 {
        writeln!(pasted, "line {line:>7} of a log that goes on and on and on").unwrap();
    }
    assert!(pasted.metadata().unwrap().len() > 1_000_000);
    terminal.paste(&file);
    // It is more than the composer takes; the line says so, and what is typed is answered.
    terminal.shows("the composer takes 256 KiB");
    terminal.say("still here");
    terminal.until("it is said", |screen| screen.contains("  still here"));
    let history = ann.run(&["history", "#general"]).ok();
    assert!(!history.contains("of a log"), "{history}");
}

#[test]
fn keys_that_come_all_at_once_are_all_read() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let mut screen = Screen::start(&ann).unwrap();
    screen.shows("Message #general").unwrap();
    // While it is stopped they pile up, as they do on a machine that is busy.
    screen.signal("STOP");
    screen.press(format!("{}end\r", "keys ".repeat(700)).as_bytes()).unwrap();
    screen.signal("CONT");
    let said = || ann.run(&["history", "#general"]).ok().contains("keys keys end").then_some(());
    eventually("the last of them sends the line", said);
}

/// A room of two: one who looks, and one who sends as fast as can be.
async fn two() -> (Server, Quip, Client, Target) {
    let server = Server::with_config("[limits]\nmessages_per_second = 100000\nburst_messages = 100000");
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = join(&server.invite(&[]), "bob").await;
    bob.join("#general").await.unwrap();
    (server, ann, bob, "#general".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_faster_than_anyone_reads() {
    const MESSAGES: usize = 20_000;
    let (_server, ann, bob, general) = two().await;
    let terminal = Terminal::client(&ann, 120, 40);
    terminal.shows("bob joined");
    let storm = |numbers: Range<usize>| numbers.map(|n| format!("storm {n}."));
    post_all(&bob, &general, storm(0..MESSAGES / 2)).await;
    terminal.say("in the middle of it");
    post_all(&bob, &general, storm(MESSAGES / 2..MESSAGES)).await;
    within("the last", bob.send(&general, "and that was all")).await.unwrap();
    terminal.shows("and that was all");
    terminal.connected();
    let everything = ann.run(&["export", "#general"]).ok();
    assert_eq!(everything.matches("in the middle of it").count(), 1, "what was typed meanwhile is sent once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_painted_sixty_times_a_second_at_most() {
    const MESSAGES: usize = 20_000;
    let (_server, ann, bob, general) = two().await;
    let mut screen = Screen::start(&ann).unwrap();
    screen.shows("bob joined").unwrap();
    // What was painted before this may be read after it; what is painted until the last is seen is read by then.
    let began = Instant::now();
    let watched = tokio::task::spawn_blocking(move || {
        let before = screen.paintings();
        screen.shows("and that was all").unwrap();
        (screen.paintings() - before, began.elapsed())
    });
    post_all(&bob, &general, (0..MESSAGES).map(|n| format!("flood {n}."))).await;
    within("the last", bob.send(&general, "and that was all")).await.unwrap();
    let (paintings, took) = watched.await.unwrap();
    let most = took.as_secs_f64() * 60.0 + 3.0;
    assert!(paintings > 1, "the flood was seen");
    assert!((paintings as f64) <= most, "{paintings} paintings in {took:?}");
}
