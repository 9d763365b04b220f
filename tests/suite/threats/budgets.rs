//! Budgets beside a device's: of an account with its bots, of a room, of who has no account; and what may be made.

use quip_protocol::codec::{FrameKind, encode_frame};
use quip_protocol::error::close;
use quip_protocol::frame::{Labelled, Reply, Request};
use quip_protocol::{ErrorCode, MessageId, MessageKind, Refusal, SafeLine, SafeText};
use quip_tests::{Server, identity, join};

use super::raw::{Raw, closed};

fn post(text: &str) -> Request {
    Request::Post {
        target: "#general".parse().unwrap(),
        id: MessageId::generate(),
        kind: MessageKind::Plain,
        text: SafeText::new(text),
        reply_to: None,
    }
}

fn new_token(name: &str) -> Request {
    let (name, key) = (name.parse().unwrap(), identity(name).device_key());
    Request::NewToken { name, key, label: SafeLine::new("ci") }
}

fn create(name: &str, members: Vec<quip_protocol::AccountName>) -> Request {
    Request::CreateRoom { name: name.parse().unwrap(), private: false, topic: SafeLine::default(), members }
}

/// Posts in turn until one is refused; how many went through, and the refusal.
async fn flood(senders: &mut [Raw]) -> (usize, Refusal) {
    for count in 0..10_000 {
        let sender = count % senders.len();
        match senders[sender].ask(post("spam")).await {
            Reply::Receipt(_) => {}
            Reply::Refused(refusal) => return (count, refusal),
            other => panic!("{other:?}"),
        }
    }
    panic!("nobody was ever refused")
}

fn assert_told(refusal: &Refusal, whose: &str) {
    assert_eq!(refusal.code, ErrorCode::RateLimited, "{refusal:?}");
    assert!(refusal.text.as_str().contains(whose), "{refusal:?}");
    assert!(refusal.retry_after_ms.is_some_and(|ms| ms > 0), "{refusal:?}");
}

#[tokio::test]
async fn bots_spend_what_is_their_owners() {
    let limits = "[limits]\nburst_messages = 20\nmessages_per_second = 1\naccount_factor = 2\n";
    let server = Server::with_config(limits);
    let ann = join(server.owner.as_ref().unwrap(), "ann").await;
    let mut senders = vec![Raw::connect(&server.link, &identity("ann")).await];
    for bot in ["bot1", "bot2", "bot3"] {
        ann.request(new_token(bot)).await.unwrap();
        senders.push(Raw::connect(&server.link, &identity(bot)).await);
    }
    let (count, refusal) = flood(&mut senders).await;
    assert_told(&refusal, "account together");
    assert!(count < 50, "{count} of four senders with 20 each went through, two may");
    // Nobody else's.
    let bob = join(&server.invite(&[]), "bob").await;
    assert!(matches!(bob.request(post("hello")).await, Ok(Reply::Receipt(_))));
}

#[tokio::test]
async fn a_room_has_a_budget_that_who_is_not_in_it_takes_nothing_of() {
    let limits = "[limits]\nburst_messages = 20\nmessages_per_second = 1\nroom_factor = 2\n";
    let server = Server::with_config(limits);
    let invite = server.invite(&["--uses", "4"]);
    let mut senders = Vec::new();
    for name in ["ann", "bob", "eve", "zoe"] {
        join(&invite, name).await;
        senders.push(Raw::connect(&server.link, &identity(name)).await);
    }
    let mut outsider = senders.pop().unwrap();
    let general = "general".parse().unwrap();
    assert!(matches!(outsider.ask(Request::Leave { room: general }).await, Reply::Done));
    for _ in 0..15 {
        assert_eq!(outsider.refuses(post("x")).await.code, ErrorCode::NotMember);
    }
    let (count, refusal) = flood(&mut senders).await;
    assert_told(&refusal, "in this room together");
    assert!((40..50).contains(&count), "{count} of three senders with 20 each went through, two may");
    // Another room has its own.
    assert!(matches!(senders[0].ask(create("ops", Vec::new())).await, Reply::Room(_)));
}

#[tokio::test]
async fn a_request_costs_as_much_as_it_names() {
    let server = Server::with_config("[limits]\nburst_messages = 100\nmessages_per_second = 1\n");
    let mut ann = {
        join(server.owner.as_ref().unwrap(), "ann").await;
        Raw::connect(&server.link, &identity("ann")).await
    };
    let everyone = vec!["ann".parse().unwrap(); 10_000];
    assert!(matches!(ann.ask(create("all", everyone)).await, Reply::Room(_)), "it may be in debt once");
    let refusal = ann.refuses(Request::WhoAmI).await;
    assert_told(&refusal, "too fast");
    assert!(refusal.retry_after_ms.is_some_and(|ms| ms > 90_000), "it paid for ten thousand: {refusal:?}");
}

#[tokio::test]
async fn what_stays_in_memory_is_made_a_few_at_a_time() {
    let limits = "[limits]\nmakings = 12\nbots_per_account = 2\nrooms_per_account = 3\n\
                  invites_per_account = 2\ndevices_per_account = 2\n";
    let server = Server::with_config(limits);
    // Not by the owner's link, which also makes an owner of #general.
    join(&server.invite(&[]), "ann").await;
    let mut ann = Raw::connect(&server.link, &identity("ann")).await;
    let link = || Request::NewInvite { room: None, uses: 1, ttl_s: 600 };
    let makings: [(&str, Vec<Request>); 4] = [
        ("at most 2 bots", ["b1", "b2", "b3"].map(new_token).to_vec()),
        ("at most 3 rooms", ["r1", "r2", "r3", "more"].map(|name| create(name, Vec::new())).to_vec()),
        ("at most 2 open links", vec![link(), link(), link()]),
        ("at most 2 devices", vec![Request::NewDeviceCode, Request::NewDeviceCode]),
    ];
    for (told, mut requests) in makings {
        let last = requests.pop().unwrap();
        for request in requests {
            let reply = ann.ask(request).await;
            assert!(!matches!(reply, Reply::Refused(_)), "{told}: {reply:?}");
        }
        let refusal = ann.refuses(last).await;
        assert!(refusal.code == ErrorCode::TooMany && refusal.text.as_str().contains(told), "{refusal:?}");
    }
    let again = Request::NewToken {
        name: "b1".parse().unwrap(),
        key: identity("another").device_key(),
        label: SafeLine::new("ci"),
    };
    assert!(matches!(ann.ask(again).await, Reply::Account(_)), "another token makes no bot");
    // Nine were made. What is archived makes room for another, but it stays.
    for n in 1.. {
        let archive = Request::Archive { room: format!("r{n}").parse().unwrap() };
        assert!(matches!(ann.ask(archive).await, Reply::Done));
        match ann.ask(create(&format!("r{}", n + 3), Vec::new())).await {
            Reply::Room(_) => assert!(n < 12, "as many as one likes"),
            Reply::Refused(refusal) => {
                assert!(n > 3, "{n}");
                return assert_told(&refusal, "too many rooms");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn accounts_are_registered_at_the_rate_of_an_address() {
    let server = Server::with_config("registration = 'open'\n[limits]\ncode_attempts = 3\n");
    let register =
        |name: &str| Request::Register { name: name.parse().unwrap(), device: SafeLine::new("test") };
    for name in ["p1", "p2", "p3"] {
        let mut raw = Raw::connect(&server.link, &identity(name)).await;
        assert!(matches!(raw.ask(register(name)).await, Reply::Account(_)));
    }
    let mut raw = Raw::connect(&server.link, &identity("p4")).await;
    assert_told(&raw.refuses(register("p4")).await, "from this address");
}

#[tokio::test]
async fn who_gets_no_account_is_closed() {
    let server = Server::with_config("[limits]\nstranger_deadline_ms = 300\n");
    join(server.owner.as_ref().unwrap(), "ann").await;
    let mut ann = Raw::connect(&server.link, &identity("ann")).await;
    let stranger = Raw::connect(&server.link, &identity("stranger")).await;
    assert_eq!(closed(&stranger.quic).await, close::DEADLINE);
    // The deadline has passed for everyone: it is none of an account's.
    assert!(matches!(ann.ask(Request::WhoAmI).await, Reply::Account(_)));
    // A frame of an account's length.
    let mut raw = Raw::connect(&server.link, &identity("bob")).await;
    let members = vec!["ann".parse().unwrap(); 2_000];
    let large = |name: &str| create(name, members.clone());
    raw.write(encode_frame(FrameKind::Request, &Labelled { label: 1, body: large("r1") })).await;
    assert_eq!(closed(&raw.quic).await, close::PROTOCOL, "not of who has none");
    let mut raw = Raw::connect(&server.link, &identity("bob")).await;
    let code = server.invite(&[]).code.unwrap();
    let redeem = Request::Redeem { code, name: Some("bob".parse().unwrap()), device: SafeLine::new("test") };
    assert!(matches!(raw.ask(redeem).await, Reply::Account(_)));
    assert!(matches!(raw.ask(large("r2")).await, Reply::Room(_)), "on the same connection");
}
