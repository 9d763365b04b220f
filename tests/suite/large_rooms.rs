//! Very large rooms: who does not look is told where they stand, and goes on without a hole; what is for one person comes
//! before them.

use quip_protocol::client::{Client, Event, Watch};
use quip_protocol::frame::{PageFrom, Reply, Request, WatchState};
use quip_protocol::room::{Digest, RoomSummary};
use quip_protocol::{Cursor, NoticeBody, Seq, ServerLink, Target};
use quip_tests::{Middlebox, Quip, Server, Terminal, eventually, join, post_all, within};
use serde_json::Value;

use crate::offline::fast;

/// Sets limits while the server runs.
fn set(server: &Server, limits: &[&str]) -> Vec<Value> {
    let printed = server.admin(&[&["limits"], limits].concat());
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn limit<'a>(limits: &'a [Value], name: &str) -> (&'a Value, &'a Value) {
    let row = limits.iter().find(|row| row["name"] == name).unwrap();
    (&row["value"], &row["set"])
}

async fn open(client: &Client, target: &str) -> RoomSummary {
    let target: Target = target.parse().unwrap();
    match within("the room", client.request(Request::Open { target })).await.unwrap() {
        Reply::Room(room) => room,
        other => panic!("{other:?}"),
    }
}

async fn next(client: &mut Client) -> Event {
    within("what happens next", client.next()).await.unwrap().unwrap()
}

/// What is told of a room until it is told of this event.
async fn told(client: &mut Client, upto: Seq) -> Digest {
    loop {
        match next(client).await {
            Event::Digest(digest) if digest.head.seq >= upto => return digest,
            Event::Message(message) => panic!("{} came, and nobody looks", message.text()),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_look_is_told_where_a_room_stands_and_misses_nothing_when_they_do() {
    const SAID: u64 = 300;
    let mut server = fast();
    set(&server, &["digest_from=3", "digest_interval_ms=100"]);
    let bob = join(server.owner.as_ref().unwrap(), "bob").await;
    let cy = join(&server.invite(&[]), "cy").await;
    let mut ann = join(&server.invite(&[]), "ann").await;
    let general: Target = "#general".parse().unwrap();
    bob.join("#general").await.unwrap();
    cy.join("#general").await.unwrap();
    ann.watch_inbox(None).await.unwrap();
    let room = open(&ann, "#general").await;
    let before = match ann.watch_as(vec![(room.id, Some(room.head))], Watch::Digest).await.unwrap()[..] {
        [WatchState::Digest(digest)] => digest,
        ref other => panic!("three watch it: {other:?}"),
    };
    assert_eq!(before.head, room.head);
    post_all(&bob, &general, (0..SAID).map(|n| format!("message {n}"))).await;
    let last = Seq(room.head.seq.0 + SAID);
    let digest = told(&mut ann, last).await;
    assert_eq!((digest.head.seq, digest.messages), (last, before.messages + SAID));
    // No digest comes for a while; a mention does.
    set(&server, &["digest_interval_ms=60000"]);
    bob.send(&general, "@ann look here").await.unwrap();
    loop {
        match next(&mut ann).await {
            Event::Notice(notice) => {
                let mention =
                    NoticeBody::Mentioned { room: room.id, seq: last.next(), by: "bob".parse().unwrap() };
                assert_eq!(notice.body, mention);
                break;
            }
            // Of before.
            Event::Digest(digest) => assert_eq!(digest.head.seq, last),
            other => panic!("{other:?}"),
        }
    }
    ann.watch(vec![(room.id, Some(room.head))]).await.unwrap();
    for seq in room.head.seq.0 + 1..=last.0 + 1 {
        match next(&mut ann).await {
            Event::Message(message) => assert_eq!(message.seq(), Seq(seq)),
            Event::Digest(_) => panic!("every event was asked for"),
            other => panic!("{other:?}"),
        }
    }
    assert!(server.stop());
    server.restart();
    let limits = set(&server, &[]);
    assert_eq!(limit(&limits, "digest_from"), (&3.into(), &true.into()), "also after a restart");
    let limits = set(&server, &["digest_from=default"]);
    assert_eq!(limit(&limits, "digest_from"), (&1000.into(), &false.into()));
}

#[test]
fn the_client_counts_what_it_is_told_and_has_it_at_once_when_the_user_comes() {
    let server = fast();
    set(&server, &["digest_from=3", "digest_interval_ms=100"]);
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let others = runtime.block_on(async {
        let others = [join(&server.invite(&[]), "bob").await, join(&server.invite(&[]), "cy").await];
        ann.run(&["room", "create", "#ops", "--members", "bob,cy"]).ok();
        for other in &others {
            other.join("#ops").await.unwrap();
        }
        others
    });
    // Which is why that one is opened.
    runtime.block_on(others[0].send(&"#general".parse::<Target>().unwrap(), "@ann look here")).unwrap();
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.until("it is in another room", |screen| {
        screen.contains("connected to") && screen.contains("Message #general")
    });
    let digests = || -> u64 {
        let stats: Value = serde_json::from_str(&server.admin(&["stats"])).unwrap();
        stats["digests"].as_u64().unwrap()
    };
    let ops: Target = "#ops".parse().unwrap();
    for text in ["one", "two", "three", "four", "five of five"] {
        runtime.block_on(others[0].send(&ops, text)).unwrap();
    }
    let unread = |screen: &str| {
        let line = screen.lines().find_map(|line| line.split_once("#ops"));
        line.is_some_and(|(_, rest)| rest.split_whitespace().next() == Some("5"))
    };
    terminal.until("five are unread", unread);
    assert!(digests() > 0, "they were told, and did not come");
    terminal.press(&["M-2"]);
    let screen = terminal.shows("five of five");
    for text in ["one", "two", "three", "four"] {
        assert!(screen.contains(text), "{text}: {screen}");
    }
    runtime.block_on(others[1].send(&ops, "and a sixth")).unwrap();
    terminal.shows("and a sixth");
    let find = || ann.run(&["search", "sixth"]).stdout.lines().next().map(str::to_owned);
    eventually("the copy has it", find);
}

fn through(middlebox: &Middlebox, link: &ServerLink) -> ServerLink {
    ServerLink { port: middlebox.port(), ..link.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_one_person_overtakes_a_large_room_and_a_page_on_a_narrow_line() {
    const FLOOD: usize = 1_500;
    const RATE: u32 = 400_000;
    /// What the line and the congestion window hold of the room; what the server has ready is several times that.
    const ON_THE_LINE: usize = 250;
    let server = fast();
    let bob = join(server.owner.as_ref().unwrap(), "bob").await;
    let middlebox = Middlebox::narrow(server.link.port, RATE);
    let mut ann = join(&through(&middlebox, &server.invite(&[])), "ann").await;
    let general: Target = "#general".parse().unwrap();
    let long = "x".repeat(1_000);
    post_all(&bob, &general, (0..FLOOD).map(|_| long.clone())).await;
    let direct = open(&ann, "@bob").await;
    ann.watch(vec![(direct.id, Some(direct.head))]).await.unwrap();
    ann.watch_inbox(None).await.unwrap();
    let page = ann.handle();
    let target = general.clone();
    tokio::spawn(async move { page.page(&target, PageFrom::Latest, FLOOD as u32).await });
    let room = open(&ann, "#general").await;
    ann.watch(vec![(room.id, Some(Cursor::default()))]).await.unwrap();
    let (mut seen, mut asked) = (0, None);
    let (mut message, mut mention) = (None, None);
    while seen < room.head.seq.0 as usize + 1 {
        if seen == 100 && asked.is_none() {
            bob.send(&general, "@ann look").await.unwrap();
            bob.send(&"@ann".parse::<Target>().unwrap(), "at once").await.unwrap();
            asked = Some(seen);
        }
        match next(&mut ann).await {
            Event::Message(received) if received.room() == direct.id => message = Some(seen),
            Event::Message(_) | Event::Other(_) => seen += 1,
            Event::Notice(notice) if matches!(notice.body, NoticeBody::Mentioned { .. }) => {
                mention = Some(seen)
            }
            Event::Up(_) | Event::Notice(_) | Event::Typing { .. } | Event::Presence { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let asked = asked.unwrap();
    for (what, came) in [("the message", message.unwrap()), ("the mention", mention.unwrap())] {
        assert!(came - asked < ON_THE_LINE, "{what} came behind {} of {FLOOD} others", came - asked);
    }
    // Nor do what she says and its receipt wait for all that.
    assert!(within("a last word", ann.send(&general, "done")).await.is_ok());
}
