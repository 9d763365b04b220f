//! Anything may happen in any order: nothing panics, and what must hold holds.

use proptest::prelude::*;
use quip::app::text::is_boundary;
use quip::app::{Effect, Input};
use quip::view::{self, Look};
use quip_protocol::frame::PageFrom;
use quip_protocol::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::harness::*;

#[derive(Debug, Clone)]
enum Step {
    Keys(&'static str),
    Type(String),
    Paste(String),
    Says(u64, String),
    Amends(u64, u64, u8),
    Joins(u64),
    Leaves(u64),
    Replies(u64, u64),
    Focus(bool),
    Mouse(quip::app::input::Mouse, u16, u16),
    Resize(u16, u16),
    Pass(u64),
    Lose,
    Connect,
    Refuse(bool),
    Reset(u64, u64),
    StalePage(u64, u64, u64),
    Missed(u64),
    Writes(u64),
}

const KEYS: &[&str] = &[
    "<Enter>",
    "<A-Enter>",
    "<Tab>",
    "<BackTab>",
    "<Esc>",
    "<Up>",
    "<Down>",
    "<Left>",
    "<Right>",
    "<A-b>",
    "<A-f>",
    "<Home>",
    "<End>",
    "<BS>",
    "<Del>",
    "<C-w>",
    "<C-u>",
    "<C-k>",
    "<C-f>",
    "<C-f>b<Up>",
    "<C-r>",
    "<C-x>",
    "<C-e>",
    "y",
    "z",
    "o",
    "/thread<Enter>",
    "<C-y>",
    "<A-d>",
    "<C-p>",
    "<C-n>",
    "<PgUp>",
    "<PgDn>",
    "<A-Home>",
    "<A-End>",
    "<A-u>",
    "<A-k>",
    "<A-j>",
    "<A-1>",
    "<A-2>",
    "<A-3>",
    "<A-Up>",
    "<A-Down>",
    "<A-a>",
    "<F1>",
    "<C-l>",
    "/edit<Enter>",
    "/delete<Enter>y",
    "/reply<Enter>",
    "/react :+1:<Enter>",
    "/me waves<Enter>",
    "/members<Enter>",
    "/away<Enter>",
    "/whois @bob<Enter>",
    "s/a/b/<Enter>",
    "/part<Enter>",
    "/msg @bob hi<Enter>",
];

fn words() -> impl Strategy<Value = String> {
    "[a-c @#:/`\n\t漢é👩\u{200d}💻\u{301}\u{1b}\u{202e}\u{2067}]{0,30}"
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::sample::select(KEYS).prop_map(Step::Keys),
        2 => words().prop_map(Step::Type),
        1 => words().prop_map(Step::Paste),
        4 => (1..4u64, words()).prop_map(|(room, text)| Step::Says(room, text)),
        3 => (1..4u64, 1..80u64, 0..4u8).prop_map(|(room, target, what)| Step::Amends(room, target, what)),
        1 => (1..4u64).prop_map(Step::Joins),
        1 => (1..4u64).prop_map(Step::Leaves),
        1 => (1..4u64, 0..80u64).prop_map(|(room, to)| Step::Replies(room, to)),
        1 => any::<bool>().prop_map(Step::Focus),
        1 => (0..3u8, 0..130u16, 0..45u16).prop_map(|(what, x, y)| {
            use quip::app::input::Mouse;
            Step::Mouse([Mouse::WheelUp, Mouse::WheelDown, Mouse::Click][usize::from(what)], x, y)
        }),
        1 => (0..130u16, 0..45u16).prop_map(|(columns, rows)| Step::Resize(columns, rows)),
        1 => (0..5_000u64).prop_map(Step::Pass),
        1 => Just(Step::Lose),
        2 => Just(Step::Connect),
        1 => any::<bool>().prop_map(Step::Refuse),
        1 => (1..4u64, 0..80u64).prop_map(|(room, keep)| Step::Reset(room, keep)),
        1 => (1..4u64, 0..80u64, 0..40u64).prop_map(|(room, from, count)| Step::StalePage(room, from, count)),
        1 => (1..4u64).prop_map(Step::Missed),
        1 => (1..5u64).prop_map(Step::Writes),
    ]
}

fn run(world: &mut World, step: Step) {
    match step {
        Step::Keys(keys) => world.keys(keys),
        Step::Type(text) => text.chars().for_each(|c| world.keys(&c.to_string())),
        Step::Paste(text) => world.input(Input::Paste(text)),
        Step::Says(room, text) => drop(world.says(room, "bob", &text)),
        Step::Leaves(room) => drop(world.live(room, "carl", EventBody::Left)),
        Step::Replies(room, to) => {
            let number = world.rooms[&RoomId(room)].events.len() as u64 + 1_000;
            let language = if to % 2 == 0 { "sh" } else { "" };
            let text = format!("```{language}\n{}```", "echo \"漢\"\n".repeat(to as usize));
            let message = Message::new(
                id(room * 9_000_000 + number),
                MessageKind::Plain,
                text.as_str().into(),
                Some(Seq(to)),
            );
            world.live(room, "bob", EventBody::Message(message));
        }
        Step::Mouse(what, x, y) => world.input(Input::Mouse { what, x, y }),
        Step::Focus(focused) => world.input(Input::Focus(focused)),
        Step::Joins(room) => drop(world.live(room, "carl", EventBody::Joined)),
        Step::Amends(room, target, what) => {
            let (target, id) = (Seq(target), id(7));
            let body = match what {
                0 => EventBody::Edited { target, id, text: "edited".into(), drops: None },
                1 => EventBody::Deleted { target, id, edits: vec![] },
                on => EventBody::Reacted { target, id, emoji: SafeLine::new("👍"), on: on == 2 },
            };
            world.live(room, "bob", body);
        }
        Step::Resize(columns, rows) => world.input(Input::Resize { columns, rows }),
        Step::Pass(ms) => world.pass(ms),
        Step::Lose => world.lose(1_000),
        Step::Connect => world.connect(),
        Step::Refuse(yes) => world.refuse = yes.then(|| Refusal::new(ErrorCode::Forbidden, "no")),
        Step::Reset(room, keep) => {
            let hosted = world.rooms.get_mut(&RoomId(room)).unwrap();
            let keep = Seq(keep.min(hosted.summary.head.seq.0));
            hosted.events.retain(|event| event.seq <= keep);
            hosted.summary.head.seq = keep;
            let keep = Cursor { epoch: Epoch::FIRST, seq: keep };
            world.input(Input::Reset { room: RoomId(room), keep, head: keep });
        }
        Step::StalePage(room, from, count) => {
            let hosted = &world.rooms[&RoomId(room)];
            let events =
                hosted.events.iter().filter(|e| e.seq.0 >= from).take(count as usize).cloned().collect();
            let (from, head) = (PageFrom::Before(Seq(from)), hosted.summary.head);
            world.input(Input::Page { room: RoomId(room), from, events, head });
        }
        Step::Writes(room) => world.input(Input::Typing { room: RoomId(room), who: name("bob") }),
        Step::Missed(room) => {
            let online = std::mem::take(&mut world.online);
            world.says(room, "bob", "missed");
            world.online = online;
        }
    }
}

fn check(world: &World) {
    let composer = world.app.composer();
    assert!(is_boundary(composer.text(), composer.cursor()), "the cursor is inside a grapheme");
    assert_eq!(SafeText::new(composer.text()).as_str(), composer.text());
    for (_, room) in world.app.rooms().listed() {
        let seqs: Vec<u64> = room.timeline.events().map(|event| event.seq.0).collect();
        assert!(seqs.windows(2).all(|pair| pair[1] > pair[0]), "{seqs:?}");
        let mut ids: Vec<MessageId> =
            room.timeline.events().filter_map(|event| event.message()).map(|message| message.id).collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all, "a message is there twice");
    }
    if let Some(layout) = world.app.layout() {
        for post in &layout.posts {
            let mut there = layout.room.timeline.events().map(|event| event.body.id());
            assert!(!there.any(|id| id == Some(post.id)), "a message is pending and there");
        }
    }
}

fn paint(world: &World) {
    let panes = world.app.panes();
    let (columns, rows) = (panes.composer.width, panes.composer.y + panes.composer.height + 1);
    let mut terminal = Terminal::new(TestBackend::new(columns.max(1), rows)).unwrap();
    terminal.draw(|frame| view::draw(frame, &world.app, Look { color: true, light: false })).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn nothing_breaks(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for (room, what) in [(1, "#general"), (2, "#ops"), (3, "@bob")] {
            world.host(room, what, "topic");
            for number in 0..room * 30 {
                world.said(room, MIDNIGHT + number * MINUTE, "carl", "before");
            }
        }
        for step in steps {
            run(&mut world, step);
            check(&world);
            paint(&world);
            crate::colours::read(&mut world);
        }
        let marks = world.wanted.iter().filter_map(|effect| match effect {
            Effect::Mark { room, seq } => Some((*room, *seq)),
            _ => None,
        });
        for (room, seq) in marks {
            prop_assert!(seq.0 > 0 && (1..=3).contains(&room.0));
        }
    }
}
