//! Rights that are missing, that end, that race with their use; codes that are guessed; floods.

use quip_protocol::client::{Client, Error, Event, Post};
use quip_protocol::codec::FrameKind;
use quip_protocol::error::close;
use quip_protocol::frame::{PageFrom, Push, Reply, Request};
use quip_protocol::{
    Cursor, ErrorCode, EventBody, InviteCode, MessageId, Refusal, RoomId, SafeLine, Seq, Target,
};
use quip_tests::{Server, identity, join, within};
use tokio::sync::watch;

use super::raw::{Raw, closed, next};

const FAST: &str = "[limits]\nmessages_per_second = 100000\nburst_messages = 100000\n";

fn redeem(code: &InviteCode, name: &str) -> Request {
    let (code, name) = (code.clone(), Some(name.parse().expect("a name")));
    Request::Redeem { code, name, device: SafeLine::new("test") }
}

#[tokio::test]
async fn an_unknown_device_can_only_redeem() {
    let server = Server::start();
    let code = server.invite(&[]).code.unwrap();
    let mut raw = Raw::connect(&server.link, &identity("bob")).await;
    assert_eq!(raw.welcome.account, None);
    let general: Target = "#general".parse().unwrap();
    let questions = [
        Request::WhoAmI,
        Request::WhoIs { name: "ann".parse().unwrap() },
        Request::Rooms { after: None },
        Request::PublicRooms { after: None },
        Request::Members { target: general.clone(), after: None },
        Request::Open { target: general.clone() },
        Request::Join { room: "general".parse().unwrap() },
        Request::Watch { rooms: vec![(RoomId(1), None)] },
        Request::WatchInbox { from: None },
        Request::NewInvite { room: None, uses: 1, ttl_s: 60 },
        Request::NewDeviceCode,
        Request::Devices,
        Request::RevokeDevice { key: identity("ann").device_key() },
    ];
    for question in questions {
        assert_eq!(raw.refuses(question.clone()).await.code, ErrorCode::UnknownDevice, "{question:?}");
    }
    let register = Request::Register { name: "bob".parse().unwrap(), device: SafeLine::new("x") };
    assert_eq!(raw.refuses(register).await.code, ErrorCode::Forbidden, "registration is by invitation");
    let client = Client::connect(quip_tests::person::config(&server.link, identity("bob"))).await.unwrap();
    let page = client.page(&general, PageFrom::Latest, 10).await;
    assert!(matches!(page, Err(Error::Refused(Refusal { code: ErrorCode::UnknownDevice, .. }))), "{page:?}");
    assert!(matches!(raw.ask(redeem(&code, "bob")).await, Reply::Account(_)));
    assert!(matches!(raw.ask(Request::WhoAmI).await, Reply::Account(_)), "on the same connection");
}

#[tokio::test]
async fn codes_cannot_be_guessed_for_long() {
    let server = Server::with_config("[limits]\ncode_attempts = 5\n");
    let good = server.owner.clone().unwrap().code.unwrap();
    let wrong = InviteCode::generate().unwrap();
    for attempt in 0..5 {
        // Another device each time: it is the address that counts.
        let mut raw = Raw::connect(&server.link, &identity(&format!("guess{attempt}"))).await;
        assert_eq!(raw.refuses(redeem(&wrong, "eve")).await.code, ErrorCode::BadCode, "{attempt}");
    }
    let mut raw = Raw::connect(&server.link, &identity("guess")).await;
    for code in [&wrong, &good] {
        let refusal = raw.refuses(redeem(code, "eve")).await;
        assert_eq!(refusal.code, ErrorCode::RateLimited, "a good code is no other answer");
        assert!(refusal.retry_after_ms.is_some_and(|ms| (1..=10_000).contains(&ms)), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_flood_is_told_to_wait_and_a_post_goes_through_later() {
    let server = Server::with_config("[limits]\nburst_messages = 5\nmessages_per_second = 20\n");
    let client = join(server.owner.as_ref().unwrap(), "ann").await;
    let mut told = None;
    for _ in 0..200 {
        match client.request(Request::WhoAmI).await {
            Ok(_) => {}
            Err(Error::Refused(refusal)) => told = Some(refusal),
            Err(e) => panic!("{e}"),
        }
    }
    let refusal = told.expect("200 at once are too many");
    assert_eq!(refusal.code, ErrorCode::RateLimited);
    assert!(refusal.retry_after_ms.is_some_and(|ms| (1..=50).contains(&ms)), "{refusal:?}");
    for n in 0..10 {
        let post = Post::new("#general".parse().unwrap(), &format!("{n}"));
        within("a post that waits its turn", client.post(post)).await.unwrap();
    }
    let mut stranger = Raw::connect(&server.link, &identity("stranger")).await;
    let mut codes = Vec::new();
    for _ in 0..200 {
        codes.push(stranger.refuses(Request::WhoAmI).await.code);
    }
    assert_eq!(codes[0], ErrorCode::UnknownDevice);
    assert!(codes.contains(&ErrorCode::RateLimited), "who has no account is not free to flood");
}

#[tokio::test]
async fn who_is_suspended_is_cut_off_with_their_bots_at_once() {
    let server = Server::start();
    let bob = join(&server.invite(&[]), "bob").await;
    let token = Request::NewToken {
        name: "bot".parse().unwrap(),
        key: identity("bot").device_key(),
        label: SafeLine::new("ci"),
    };
    bob.request(token).await.unwrap();
    let (of_bob, of_bot) = (identity("bob"), identity("bot"));
    let live = [Raw::connect(&server.link, &of_bob).await, Raw::connect(&server.link, &of_bot).await];
    server.admin(&["user", "suspend", "bob"]);
    for raw in &live {
        assert_eq!(closed(&raw.quic).await, close::REVOKED);
    }
    for identity in [&of_bob, &of_bot] {
        let (refusal, code) = Raw::refused(&server.link, identity).await;
        assert_eq!((refusal.code, code), (ErrorCode::Suspended, close::REVOKED));
    }
    server.admin(&["user", "resume", "bob"]);
    for identity in [of_bob, of_bot] {
        let mut raw = Raw::connect(&server.link, &identity).await;
        assert!(matches!(raw.ask(Request::WhoAmI).await, Reply::Account(_)));
    }
}

#[tokio::test]
async fn a_revoked_device_is_cut_off_at_once_and_the_others_are_not() {
    let server = Server::start();
    let ann = join(server.owner.as_ref().unwrap(), "ann").await;
    let Reply::Code { code, .. } = ann.request(Request::NewDeviceCode).await.unwrap() else {
        panic!("a code")
    };
    let lost = identity("lost");
    let mut raw = Raw::connect(&server.link, &lost).await;
    let link = Request::Redeem { code, name: None, device: SafeLine::new("phone") };
    assert!(matches!(raw.ask(link).await, Reply::Account(_)));
    let key = lost.device_key();
    server.admin(&["user", "revoke-device", &key.to_string()]);
    assert_eq!(closed(&raw.quic).await, close::REVOKED);
    let (refusal, code) = Raw::refused(&server.link, &lost).await;
    assert_eq!((refusal.code, code), (ErrorCode::Revoked, close::REVOKED));
    // By another device of the account.
    let Reply::Code { code, .. } = ann.request(Request::NewDeviceCode).await.unwrap() else {
        panic!("a code")
    };
    let mut other = Raw::connect(&server.link, &identity("other")).await;
    let link = Request::Redeem { code, name: None, device: SafeLine::new("tablet") };
    assert!(matches!(other.ask(link).await, Reply::Account(_)));
    ann.request(Request::RevokeDevice { key: identity("other").device_key() }).await.unwrap();
    assert_eq!(closed(&other.quic).await, close::REVOKED);
    assert!(ann.request(Request::WhoAmI).await.is_ok());
}

/// Posts until it is refused; how many were accepted is told.
async fn post_until_removed(client: &Client, accepted: watch::Sender<usize>) -> Refusal {
    loop {
        match client.post(Post::new("#ops".parse().unwrap(), "mine")).await {
            Ok(_) => accepted.send_modify(|n| *n += 1),
            Err(Error::Refused(refusal)) => return refusal,
            Err(e) => panic!("{e}"),
        }
    }
}

/// Reads the victim's live stream to the end of the room for them; the last event.
async fn last_before_unwatched(
    live: &mut quip_protocol::transport::FrameReader,
    mut after: Seq,
) -> quip_protocol::Event {
    let mut last = None;
    loop {
        let frame = next(live).await;
        if frame.kind == FrameKind::Push {
            let push: Push = frame.decode(FrameKind::Push, "push").unwrap();
            assert!(matches!(push, Push::Unwatched { refusal, .. } if refusal.code == ErrorCode::Removed));
            return last.expect("something was seen");
        }
        let event: quip_protocol::Event = frame.decode(FrameKind::Event, "event").unwrap();
        assert_eq!(event.seq, after.next(), "dense");
        after = event.seq;
        last = Some(event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kick_that_races_with_messages_has_one_place_for_everyone() {
    let server = Server::with_config(FAST);
    let ann = join(server.owner.as_ref().unwrap(), "ann").await;
    let invite = server.invite(&["--uses", "3"]);
    let (mia, max, vic) =
        (join(&invite, "mia").await, join(&invite, "max").await, join(&invite, "vic").await);
    let create = Request::CreateRoom {
        name: "ops".parse().unwrap(),
        private: true,
        topic: SafeLine::default(),
        members: ["mia", "max", "vic"].map(|name| name.parse().unwrap()).to_vec(),
    };
    let Reply::Room(ops) = ann.request(create).await.unwrap() else { panic!("a room") };
    let start = Cursor { seq: Seq::ZERO, ..ops.head };
    for client in [&ann, &mia, &max] {
        client.watch(vec![(ops.id, Some(start))]).await.unwrap();
    }
    let mut victim = Raw::connect(&server.link, &identity("vic")).await;
    let mut live = victim.live_after_watch(ops.id, start).await;
    let mut seen = start;
    for round in 0..10 {
        let (accepted, mut count) = watch::channel(0);
        let posting = post_until_removed(&vic, accepted);
        let kicking = async {
            within("messages", count.wait_for(|n| *n >= 5)).await.unwrap();
            let kick = Request::Kick {
                room: "ops".parse().unwrap(),
                who: "vic".parse().unwrap(),
                reason: SafeLine::new("race"),
            };
            ann.request(kick).await.unwrap();
        };
        let chatting = async {
            for _ in 0..30 {
                mia.post(Post::new("#ops".parse().unwrap(), "hers")).await.unwrap();
            }
        };
        let (refusal, (), ()) = tokio::join!(posting, kicking, chatting);
        assert_eq!(refusal.code, ErrorCode::Removed);
        max.post(Post::new("#ops".parse().unwrap(), "behind the kick")).await.unwrap();

        let last = last_before_unwatched(&mut live, seen.seq).await;
        assert!(
            matches!(&last.body, EventBody::Kicked { who, .. } if who.as_str() == "vic"),
            "{round}: {last:?}"
        );
        tokio::select! {
            biased;
            frame = live.next() => panic!("something behind the kick: {frame:?}"),
            refusal = victim.refuses(Request::Mark { room: ops.id, seq: Seq(1) }) => {
                assert_eq!(refusal.code, ErrorCode::Removed);
            }
        }
        let who = vec!["vic".parse().unwrap()];
        ann.request(Request::Invite { room: "ops".parse().unwrap(), who }).await.unwrap();
        seen = Cursor { epoch: last.epoch, seq: last.seq };
        assert!(matches!(
            victim.ask(Request::Watch { rooms: vec![(ops.id, Some(seen))] }).await,
            Reply::Watching { .. }
        ));
    }
    let log = ann.page(&"#ops".parse().unwrap(), PageFrom::After(Seq::ZERO), 1_000_000).await.unwrap().events;
    check_kicks(&log);
    let expected: Vec<_> = log.iter().map(|event| (event.seq, event.body.id())).collect();
    for mut client in [ann, mia, max] {
        assert_eq!(view(&mut client, expected.len()).await, expected);
    }
}

/// Between a kick and the next invitation there is nothing of the kicked.
fn check_kicks(log: &[quip_protocol::Event]) {
    let mut is_in = true;
    for event in log {
        match &event.body {
            EventBody::Kicked { .. } => is_in = false,
            EventBody::Invited { .. } => is_in = true,
            _ => assert!(is_in || event.author.as_str() != "vic", "{event:?}"),
        }
    }
    assert_eq!(log.iter().filter(|event| matches!(event.body, EventBody::Kicked { .. })).count(), 10);
}

/// What a client is told of the room, from its beginning.
async fn view(client: &mut Client, count: usize) -> Vec<(Seq, Option<MessageId>)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match within("an event", client.next()).await.unwrap().unwrap() {
            Event::Message(message) => seen.push((message.seq(), Some(message.message().id))),
            Event::Other(event) => seen.push((event.seq, event.body.id())),
            Event::Reset { .. } | Event::Unwatched { .. } => panic!("the log is one"),
            _ => {}
        }
    }
    seen
}
