//! Messages, the lists beside them, and where one writes.

use quip::app::Input;
use quip_protocol::room::{AwaySummary, MemberSummary};
use quip_protocol::*;

use crate::harness::*;

fn message(number: u64, text: &str, reply_to: Option<Seq>) -> EventBody {
    EventBody::Message(Message::new(id(number), MessageKind::Plain, text.into(), reply_to))
}

/// A morning in a team's rooms, nothing connected.
pub fn busy(mut world: World) -> World {
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
    let reply = message(90, "which one exactly", Some(first));
    let edited = world.past(1, today + 9 * HOUR + 6 * MINUTE, "carl", reply);
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

/// The same, connected.
pub fn opened(world: World) -> World {
    let mut world = busy(world);
    world.connect();
    world
}

pub fn empty(mut world: World) -> World {
    world.host(1, "#general", "");
    world.connect();
    world
}

/// More rooms and members than there are rows.
pub fn many(mut world: World) -> World {
    for number in 1..=50 {
        world.host(number, &format!("#room-{number:02}"), "");
        world.unread(number, 0, [0, 3, 1_200, 12][number as usize % 4], u32::from(number % 8 == 3));
    }
    world.host(51, "@a-colleague-whose-name-is-long", "");
    let roles = [Role::Owner, Role::Moderator, Role::Reader, Role::Member, Role::Member];
    let members = (0..60).map(|number| MemberSummary {
        name: name(&format!("member-{number:02}{}", if number % 7 == 0 { "-of-the-other-team" } else { "" })),
        role: roles[number % roles.len()],
        online: number % 3 > 0,
        bot: number == 2,
    });
    world.rooms.get_mut(&RoomId(40)).unwrap().members = members.collect();
    world.away = vec![AwaySummary { name: name("member-01"), text: world.outside_line("at lunch") }];
    world.said(40, MIDNIGHT + HOUR, "member-01", "who is here?");
    world.connect();
    world.keys("<C-k>#room-40<Enter>");
    world
}

/// Names, topics and messages in characters of two cells, of several characters, and from right to left.
pub fn wide(mut world: World) -> World {
    world.host(1, "#general", "漢字だけのとても長い話題はここで切られるはずです、そしてまだまだ続きます");
    world.host(2, "@bob", "");
    let at = |minute: u64| MIDNIGHT + 9 * HOUR + minute * MINUTE;
    let question =
        world.said(1, at(0), "bob", "来週の発表の資料を確認してもらえますか、三時までに返事がほしいです");
    world.said(1, at(9), "a-name-longer-than-its-column", "👩‍💻 👍🏽 ❤️ 🇨🇭 한국어 ไทย ｶﾞ e\u{301}");
    world.said(1, at(10), "carl", "שלום עולם مرحبا");
    world.past(1, at(20), "carl", message(90, "はい、見ます", Some(question)));
    let reacted =
        |emoji: &str| EventBody::Reacted { target: question, id: id(92), emoji: emoji.into(), on: true };
    for emoji in ["❤️", "👩‍💻", "漢"] {
        world.past(1, at(21), "carl", reacted(emoji));
    }
    world.said(1, at(22), "bob", "```\n漢字 = \"👍🏽\"\n```");
    world.connect();
    world.input(Input::Paste("返事を書いています 👍🏽 そしてもう少し長くなりますので折り返します".into()));
    world
}

pub fn scrolled(mut world: World) -> World {
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
    world
}

/// What is not here is a line.
pub fn hole(mut world: World) -> World {
    world.host(1, "#ops", "");
    for number in 0..300 {
        world.said(1, MIDNIGHT + number, "bob", &format!("number {number}"));
    }
    world.connect();
    world.lose(3_000);
    world.keys(&"<PgUp>".repeat(60));
    world
}

/// The server's log was repaired, and did not have these any more.
pub fn lost(mut world: World) -> World {
    world.host(1, "#ops", "");
    for text in ["one", "two", "three"] {
        world.said(1, MIDNIGHT + HOUR, "bob", text);
    }
    let mut lost = world.rooms[&RoomId(1)].events[1].clone();
    let text = world.outside("this was said and is not there any more");
    lost.body = message(70, &text, None);
    world.connect();
    world.input(Input::Lost { room: RoomId(1), events: vec![lost] });
    world
}

/// Who comes and goes is one line.
pub fn noise(mut world: World) -> World {
    world.host(1, "#general", "");
    let at = MIDNIGHT - HOUR;
    world.past(1, at, "bob", EventBody::Joined);
    world.past(1, at, "carl", EventBody::Joined);
    world.past(1, at, "carl", EventBody::Left);
    world.past(1, MIDNIGHT + HOUR, "dora", EventBody::Joined);
    world.said(1, MIDNIGHT + HOUR, "bob", "hello all");
    for number in 0..12 {
        world.past(1, MIDNIGHT + 2 * HOUR, &format!("guest{number}"), EventBody::Joined);
    }
    for number in 0..2 {
        world.past(1, MIDNIGHT + 3 * HOUR, &format!("guest{number}"), EventBody::Left);
    }
    world.unread(1, 10, 0, 0);
    world.connect();
    world
}

/// Everything else that takes a place in a room.
pub fn happenings(mut world: World) -> World {
    world.host(1, "#general", "");
    let (carl, eve) = (name("carl"), name("eve"));
    let happened = [
        EventBody::Created { members: 12 },
        EventBody::Topic { topic: "what we do, and what we do not do".into() },
        EventBody::Topic { topic: "".into() },
        EventBody::Invited { who: vec![carl.clone(), eve.clone()], count: 40 },
        EventBody::RoleSet { who: carl, role: Role::Moderator },
        EventBody::Kicked {
            who: eve.clone(),
            reason: "it was a long story that does not fit on one line".into(),
        },
        EventBody::Kicked { who: eve, reason: "".into() },
    ];
    for body in happened {
        world.past(1, MIDNIGHT + HOUR, "ann", body);
    }
    world.connect();
    world
}

/// A review of some code in several languages.
pub fn code(mut world: World) -> World {
    world.host(1, "#review", "Code");
    let at = |minute: u64| MIDNIGHT + 14 * HOUR + minute * MINUTE;
    world.said(1, at(1), "bob", "this loops:\n```rust\n// Sums up.\nfn sum(of: &[u32]) -> u64 {\n\tlet mut all = 0;\n\tprintln!(\"漢字 {}\", all);\n}\n```\nright?");
    world.said(1, at(2), "carl", "```diff\n@@ -1 +1 @@\n-old\n+new\n```");
    world.said(1, at(3), "bob", "```nosuch\nfn plain() {}\n```\n```\nfn nameless() {}\n```");
    world.said(1, at(4), "carl", "```sh\nfor f in *.log; do grep -c \"$f\" # why\ndone");
    world.said(1, at(5), "bob", "run `make all` first");
    world.connect();
    world
}

/// A long log, and code.
pub fn pasted(mut world: World) -> World {
    world.host(1, "#general", "");
    let lines: Vec<String> = (1..=60).map(|n| format!("line {n} of the log")).collect();
    world.said(1, MIDNIGHT + 9 * HOUR, "bob", &format!("it says\n```\n{}\n```", lines.join("\n")));
    let code = "run `make all` first, then\n```rust\nfn main() {\n    println!(\"hi\"); // @ann\n}\n```\nand tell me @ann";
    world.said(1, MIDNIGHT + 10 * HOUR, "carl", code);
    world.connect();
    world
}

pub fn folded(world: World) -> World {
    let mut world = pasted(world);
    world.keys("<A-k><A-k>");
    world
}

pub fn unfolded(world: World) -> World {
    let mut world = folded(world);
    world.keys("<Enter>");
    world
}

pub fn selected(world: World) -> World {
    let mut world = opened(world);
    world.keys("<A-k><A-k>");
    world
}

pub fn replying(world: World) -> World {
    let mut world = selected(world);
    world.keys("/reply<Enter>");
    world
}

pub fn editing(world: World) -> World {
    let mut world = opened(world);
    world.keys("<Up>");
    world
}

/// Several lines are being written.
pub fn composer(world: World) -> World {
    let mut world = opened(world);
    world.keys("first line<A-Enter>second line, which is long enough that it has to be broken somewhere in the middle of it<A-Enter>漢字");
    let pasted = world.outside("");
    world.input(Input::Paste(pasted));
    world
}

pub fn too_long(world: World) -> World {
    let mut world = opened(world);
    let text = world.outside(&"word ".repeat(44));
    world.input(Input::Paste(text));
    world
}

/// Two messages that the server did not take.
pub fn refused(world: World) -> World {
    let mut world = opened(world);
    let why = world.outside_line("#general is archived; it can be read, not written");
    world.refuse = Some(Refusal::new(ErrorCode::Archived, why.as_str()));
    world.keys("one more thing<Enter>and another one<Enter>");
    world.pass(10_000);
    world
}

pub fn refused_selected(world: World) -> World {
    let mut world = refused(world);
    world.keys("<A-k>");
    world
}

/// A room that is looked at and stays unread.
pub fn peeking(world: World) -> World {
    let mut world = opened(world);
    world.keys("/peek #ops<Enter>");
    world
}

pub fn typing(world: World) -> World {
    let mut world = opened(world);
    for who in ["bob", "carl", "dan"] {
        world.input(Input::Typing { room: RoomId(1), who: name(who) });
    }
    world
}

pub fn with_bob_away(world: World) -> World {
    let mut world = busy(world);
    let text = world.outside_line("at lunch, back at three");
    world.away = vec![AwaySummary { name: name("bob"), text }];
    world.connect();
    world
}

pub fn away_direct(world: World) -> World {
    let mut world = with_bob_away(world);
    world.keys("/msg @bob<Enter>");
    world.pass(10_000);
    world
}

pub fn archived(mut world: World) -> World {
    world.host(1, "#old-project", "what we did");
    world.rooms.get_mut(&RoomId(1)).unwrap().summary.archived = true;
    world.said(1, MIDNIGHT, "bob", "that was it");
    world.past(1, MIDNIGHT + HOUR, "bob", EventBody::Archived);
    world.connect();
    world
}
