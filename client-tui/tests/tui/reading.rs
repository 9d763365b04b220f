//! Reading back: pages, scrolling, gaps, what is amended.

use quip::app::scroll::{Scroll, window};
use quip::app::{Effect, Failure, Input};
use quip_protocol::frame::PageFrom;
use quip_protocol::*;

use crate::harness::*;

fn long(count: u64) -> World {
    let mut world = World::new();
    world.host(1, "#general", "");
    for number in 1..=count {
        world.said(1, MIDNIGHT + number * 20_000, "bob", &format!("message {number}"));
    }
    world.unread(1, count, 0, 0);
    world.connect();
    world.input(Input::Resize { columns: 80, rows: 24 });
    world
}

/// The keys of what is seen, from the top.
pub fn seen(world: &World) -> Vec<u64> {
    let layout = world.app.layout().unwrap();
    let height = usize::from(world.app.panes().timeline.height);
    let mut keys: Vec<u64> = window(&layout, layout.room.scroll, height).iter().map(|row| row.key).collect();
    keys.dedup();
    keys
}

fn pages(world: &World) -> Vec<PageFrom> {
    world
        .wanted
        .iter()
        .filter_map(|effect| match effect {
            Effect::FetchPage { from, .. } => Some(*from),
            _ => None,
        })
        .collect()
}

#[test]
fn scrolling_up_fetches_page_after_page_to_the_beginning() {
    let mut world = long(1_000);
    assert_eq!(pages(&world), [PageFrom::Latest]);
    assert_eq!(seen(&world).last(), Some(&1_000));
    for _ in 0..80 {
        world.keys("<PgUp>");
    }
    let room = world.app.rooms().current().unwrap();
    assert!(room.timeline.has_beginning());
    assert_eq!(room.timeline.events().count(), 1_000);
    assert_eq!(pages(&world).len(), 20, "pages of 50, each once");
    assert_eq!(seen(&world)[..2], [0, 1], "the beginning is at the top");
    let top = seen(&world);
    world.keys("<PgUp>");
    assert_eq!(seen(&world), top, "there is nothing above");
    world.keys("<Esc>");
    assert_eq!(seen(&world).last(), Some(&1_000));
}

#[test]
fn paging_down_comes_back_to_where_it_was() {
    let mut world = long(300);
    world.keys("<PgUp><PgUp><PgUp>");
    let there = seen(&world);
    world.keys("<PgUp><PgDn>");
    assert_eq!(seen(&world), there);
    world.keys("<PgDn><PgDn><PgDn>");
    assert_eq!(world.app.rooms().current().unwrap().scroll, Scroll::Bottom);
}

#[test]
fn what_comes_does_not_move_what_is_read() {
    let mut world = long(200);
    world.keys("<PgUp><PgUp>");
    let before = seen(&world);
    for _ in 0..30 {
        world.says(1, "carl", "new");
    }
    assert_eq!(seen(&world), before);
    assert_eq!(world.app.rooms().current().unwrap().below, 30);
    world.keys("<A-End>");
    assert_eq!((seen(&world).last(), world.app.rooms().current().unwrap().below), (Some(&230), 0));
    world.input(Input::Resize { columns: 60, rows: 24 });
    world.keys("<PgUp>");
    let anchor = *seen(&world).last().unwrap();
    world.input(Input::Resize { columns: 40, rows: 10 });
    assert_eq!(seen(&world).last(), Some(&anchor), "a resize keeps the place");
}

#[test]
fn nothing_is_fetched_while_offline_and_everything_after() {
    let mut world = long(200);
    world.wanted.clear();
    world.lose(1_000);
    world.keys("<PgUp><PgUp><PgUp><PgUp><PgUp>");
    assert_eq!(pages(&world), []);
    world.connect();
    world.pass(100);
    assert!(!pages(&world).is_empty());
}

#[test]
fn a_page_that_fails_is_not_asked_for_in_a_loop() {
    let mut world = long(200);
    world.wanted.clear();
    world.online = false;
    world.keys("<PgUp><PgUp>");
    assert_eq!(pages(&world).len(), 1);
    let why = Failure::Unanswered(SafeLine::new("timed out"));
    world.input(Input::PageFailed { room: RoomId(1), why });
    world.keys("<PgUp><PgUp>");
    assert_eq!(pages(&world).len(), 1);
    world.pass(3_000);
    assert_eq!(pages(&world).len(), 2);
    // A server that sends nothing where there should be something is not asked at once again either.
    let from = *pages(&world).last().unwrap();
    let head = Cursor { epoch: Epoch::FIRST, seq: Seq(200) };
    world.input(Input::Page { room: RoomId(1), from, events: vec![], head });
    world.keys("<PgUp>");
    assert_eq!(pages(&world).len(), 2);
}

#[test]
fn a_gap_is_fetched_before_anything_behind_it_is_shown() {
    let mut world = long(10);
    world.online = false;
    let missed: Vec<Seq> = (0..3).map(|_| world.says(1, "bob", "missed")).collect();
    world.online = true;
    world.says(1, "bob", "behind the gap");
    let room = world.app.rooms().current().unwrap();
    let seqs: Vec<Seq> = room.timeline.events().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=14).map(Seq).collect::<Vec<_>>());
    assert!(missed.iter().all(|seq| room.timeline.at(*seq).is_some()));
    assert_eq!(pages(&world), [PageFrom::Latest, PageFrom::After(Seq(10))]);
}

#[test]
fn long_absence_at_the_bottom_starts_anew_from_the_latest() {
    let mut world = long(10);
    world.online = false;
    for _ in 0..1_500 {
        world.says(1, "bob", "missed");
    }
    world.online = true;
    world.says(1, "bob", "now");
    assert_eq!(pages(&world), [PageFrom::Latest, PageFrom::Latest]);
    assert_eq!(seen(&world).last(), Some(&1_511));
}

#[test]
fn a_reset_drops_what_is_behind_and_takes_what_follows() {
    let mut world = long(20);
    let hosted = world.rooms.get_mut(&RoomId(1)).unwrap();
    hosted.events.truncate(15);
    hosted.summary.head.seq = Seq(15);
    let keep = Cursor { epoch: Epoch::FIRST, seq: Seq(15) };
    world.input(Input::Reset { room: RoomId(1), keep, head: keep });
    assert_eq!(world.app.rooms().current().unwrap().timeline.last(), Seq(15));
    world.says(1, "bob", "what really happened");
    let room = world.app.rooms().current().unwrap();
    assert_eq!(room.timeline.at(Seq(16)).unwrap().message().unwrap().text(), "what really happened");
}

#[test]
fn what_the_server_lost_stays_and_is_marked() {
    for (lost, behind) in [(18..=19, "message 18"), (1..=2, "message 1"), (30..=31, "message 20")] {
        let mut world = long(20);
        let hosted = &world.rooms[&RoomId(1)];
        let events: Vec<Event> = lost
            .clone()
            .map(|seq| {
                let text = format!("only here {seq}").as_str().into();
                let message = Message::new(id(seq), MessageKind::Plain, text, None);
                Event { seq: Seq(seq), body: EventBody::Message(message), ..hosted.events[17].clone() }
            })
            .collect();
        world.keys("a draft");
        world.input(Input::Lost { room: RoomId(1), events });
        let screen = world.screen(80, 40);
        assert!(screen.contains("the server lost 2 messages of"), "{screen}");
        assert!(screen.contains("› a draft"), "{screen}");
        let shown: Vec<&str> =
            screen.lines().filter(|line| line.contains("message ") || line.contains("(lost by")).collect();
        let first = shown.iter().position(|line| line.contains("(lost by")).unwrap();
        assert!(shown[first - 1].trim_end().ends_with(behind), "{screen}");
        for seq in lost {
            let marked = format!("only here {seq} (lost by the server)");
            assert_eq!(shown.iter().filter(|line| line.contains(&marked)).count(), 1, "{screen}");
        }
        // It came back: its author sent it again.
        world.input(Input::Lost { room: RoomId(1), events: Vec::new() });
        assert!(!world.screen(80, 40).contains("(lost by"));
    }
}

#[test]
fn what_is_amended_between_asking_for_a_page_and_its_coming_is_shown_as_it_is_now() {
    let mut world = long(120);
    let hosted = &world.rooms[&RoomId(1)];
    let stale = hosted.events[20..70].to_vec();
    let head = hosted.summary.head;
    world.live(
        1,
        "bob",
        EventBody::Edited { target: Seq(40), id: id(1), text: "mended".into(), drops: None },
    );
    let from = PageFrom::Before(Seq(71));
    world.input(Input::Page { room: RoomId(1), from, events: stale, head });
    let room = world.app.rooms().current().unwrap();
    assert_eq!(room.timeline.first(), Some(Seq(21)));
    assert_eq!(room.timeline.at(Seq(40)).unwrap().message().unwrap().text(), "mended");
}

#[test]
fn the_unread_line_stays_and_alt_u_goes_there() {
    let mut world = World::new();
    world.host(1, "#general", "");
    world.host(2, "#ops", "");
    for number in 1..=400u64 {
        world.said(2, MIDNIGHT + number * 20_000, "bob", &format!("message {number}"));
    }
    world.unread(2, 100, 300, 0);
    world.connect();
    world.keys("<A-2>");
    let line = |world: &World| world.app.rooms().current().unwrap().unread_line;
    assert_eq!(line(&world), Some(Seq(100)));
    world.says(2, "bob", "more");
    assert_eq!(line(&world), Some(Seq(100)));
    world.keys("<A-u>");
    assert_eq!(seen(&world)[0], 101, "fetched as far as it takes, and at the top");
    world.keys("<A-1><A-2>");
    assert_eq!(line(&world), None, "what was read is not new");
}

#[test]
fn a_room_of_many_events_costs_what_is_seen() {
    // Not a timed test: it would take minutes if a key or an event cost the whole timeline.
    let mut world = long(20_000);
    for _ in 0..600 {
        world.keys("<PgUp>");
    }
    for number in 0..2_000 {
        world.says(1, "bob", &format!("live {number}"));
    }
    assert_eq!(world.app.rooms().current().unwrap().below, 2_000);
}

#[test]
fn plain_arrows_go_on_selecting_and_else_edit() {
    let mut world = World::new();
    world.host(1, "#general", "");
    for (author, text) in [("bob", "one"), ("ann", "two"), ("bob", "three")] {
        world.said(1, MIDNIGHT + HOUR, author, text);
    }
    world.connect();
    // Keys, what is selected then, what is being written.
    let table = [
        ("<A-k>", Some(3), ""),
        ("<A-k><Up>", Some(2), ""),
        ("<A-k><Up><Up><Up>", Some(1), ""),
        ("<A-k><Up><Up><Down>", Some(2), ""),
        ("<A-k><Down>", None, ""),
        ("<Up>", None, "two"),
        ("<A-k>/re<Up>", Some(3), "/re"),
    ];
    for (keys, selected, written) in table {
        world.keys(keys);
        let room = world.app.rooms().current().unwrap();
        assert_eq!((room.selected, world.app.composer().text()), (selected.map(Seq), written), "{keys}");
        world.keys("<C-u><Esc><Esc>");
    }
}
