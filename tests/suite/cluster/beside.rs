//! What nodes say to each other beside the log: who is there, who types; and what the log says that ends connections at
//! other nodes. Real nodes on a real Redis, which is stopped and written to by others, too.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use quip_protocol::client::{Client, Error};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{AccountId, ErrorCode, InviteCode, SafeLine, ServerLink, Target, codec};
use quip_server::cluster::presence::News;
use quip_server::log::redis::Connection;
use quip_server::session::presence::Presence;
use quip_tests::cluster::logs::at_node;
use quip_tests::{Random, identity, join, within};

use super::several::Several;
use crate::presence::first_heard;

const PRESENCE: &str = "{quip}:presence";
const TYPING: &str = "{quip}:typing";

/// Two nodes to begin with, and a code that makes accounts.
struct Two {
    several: Several,
    code: InviteCode,
}

impl Two {
    async fn start() -> Two {
        let several = Several::new(2);
        join(&several.owner, "owner").await.close().await;
        let code = several.nodes[0].invite(20).code.expect("an invite has a code");
        Two { several, code }
    }

    fn a(&self) -> &ServerLink {
        &self.several.links[0]
    }

    fn b(&self) -> &ServerLink {
        &self.several.links[1]
    }

    /// Somebody new, who stays at this node.
    async fn newcomer(&self, link: &ServerLink, name: &str) -> Client {
        let client = back(link, name).await;
        let (name, device) = (Some(name.parse().unwrap()), SafeLine::new("test"));
        let redeem = Request::Redeem { code: self.code.clone(), name, device };
        let made = within("an account", client.request(redeem)).await;
        assert!(matches!(made, Ok(Reply::Account(_))), "{made:?}");
        client
    }

    fn assert_unharmed(&self) {
        for node in &self.several.nodes {
            assert!(!node.log().contains("panicked"), "{}", node.log());
        }
    }
}

/// Somebody who has an account, and stays at this node.
async fn back(link: &ServerLink, name: &str) -> Client {
    within("a connection", at_node(link, identity(name))).await.unwrap()
}

#[derive(Debug, PartialEq)]
enum Seen {
    /// The node has not read of the account yet.
    Unknown,
    Offline,
    Away(String),
    Online,
}

/// How somebody is, as the node of this client tells it.
async fn seen(by: &Client, who: &str) -> Seen {
    let asked = by.request(Request::WhoIs { name: who.parse().unwrap() }).await;
    let account = match asked {
        Ok(Reply::Account(account)) => account,
        Err(Error::Refused(refusal)) if refusal.code == ErrorCode::NoSuchAccount => return Seen::Unknown,
        other => panic!("{other:?}"),
    };
    let target: Target = format!("@{who}").parse().unwrap();
    let away = by.away(&target).await.unwrap().into_iter().next();
    match (account.online, away) {
        (false, None) => Seen::Offline,
        (true, None) => Seen::Online,
        (_, Some(away)) => Seen::Away(away.text.to_string()),
    }
}

/// Waits until somebody is seen so; how long that took.
async fn until(by: &Client, who: &str, expected: Seen) -> Duration {
    let (begun, mut again) = (Instant::now(), tokio::time::interval(Duration::from_millis(20)));
    let seeing = async {
        while seen(by, who).await != expected {
            again.tick().await;
        }
    };
    within(&format!("{who} is {expected:?}"), seeing).await;
    begun.elapsed()
}

async fn say_away(client: &Client, text: Option<&str>) {
    let away = Request::SetAway { text: text.map(SafeLine::new) };
    assert_eq!(within("it is taken", client.request(away)).await, Ok(Reply::Done));
}

/// Who of `#general` is connected, as the node of this client tells it.
async fn online(by: &Client) -> BTreeSet<String> {
    let list = within("members", by.members(&"#general".parse::<Target>().unwrap())).await.unwrap();
    let online = list.members.iter().filter(|member| member.online);
    let names: BTreeSet<String> = online.map(|member| member.name.to_string()).collect();
    assert_eq!(names.len(), list.online as usize, "{list:?}");
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_at_one_node_is_seen_at_the_others() {
    let mut two = Two::start().await;
    let owner = back(two.b(), "owner").await;
    let bob = two.newcomer(two.a(), "bob").await;
    until(&owner, "bob", Seen::Online).await;
    assert_eq!(online(&owner).await, BTreeSet::from(["bob".to_owned(), "owner".to_owned()]));
    until(&bob, "owner", Seen::Online).await;
    say_away(&bob, Some("lunch, back at three")).await;
    until(&owner, "bob", Seen::Away("lunch, back at three".to_owned())).await;
    say_away(&bob, Some("")).await;
    until(&owner, "bob", Seen::Away(String::new())).await;
    say_away(&bob, None).await;
    until(&owner, "bob", Seen::Online).await;
    // Away at one node and active at the other.
    say_away(&bob, Some("at b")).await;
    until(&owner, "bob", Seen::Away("at b".to_owned())).await;
    let second = back(two.b(), "bob").await;
    say_away(&second, None).await;
    until(&bob, "bob", Seen::Online).await;
    until(&owner, "bob", Seen::Online).await;
    second.close().await;
    until(&owner, "bob", Seen::Away("at b".to_owned())).await;
    // One that comes later is told of whoever was there before, and heard.
    two.several.add("c");
    let carl = two.newcomer(&two.several.links[2], "carl").await;
    until(&carl, "owner", Seen::Online).await;
    until(&carl, "bob", Seen::Away("at b".to_owned())).await;
    until(&owner, "carl", Seen::Online).await;
    carl.close().await;
    bob.close().await;
    until(&owner, "bob", Seen::Offline).await;
    until(&owner, "carl", Seen::Offline).await;
    assert_eq!(online(&owner).await, BTreeSet::from(["owner".to_owned()]));
    two.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "a figure to be read")]
async fn a_killed_node_has_nobody_online() {
    let mut two = Two::start().await;
    let owner = back(two.b(), "owner").await;
    let (bob, carl) = (two.newcomer(two.a(), "bob").await, two.newcomer(two.a(), "carl").await);
    say_away(&carl, Some("lunch")).await;
    until(&owner, "bob", Seen::Online).await;
    until(&owner, "carl", Seen::Away("lunch".to_owned())).await;
    two.several.nodes[0].kill();
    let took = until(&owner, "bob", Seen::Offline).await;
    eprintln!("a killed node's accounts were offline elsewhere after {took:?}");
    until(&owner, "carl", Seen::Offline).await;
    drop((bob, carl));
    // Another life of it has others.
    two.several.links[0] = two.several.nodes[0].started();
    let carl = back(two.a(), "carl").await;
    until(&owner, "carl", Seen::Online).await;
    until(&carl, "owner", Seen::Online).await;
    assert_eq!(seen(&owner, "bob").await, Seen::Offline);
    // One that stops lets them go at once.
    assert!(two.several.nodes[0].stop());
    until(&owner, "carl", Seen::Offline).await;
    two.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_is_heard_at_the_other_node() {
    let two = Two::start().await;
    let mut ann = two.newcomer(two.a(), "ann").await;
    let mut bob = two.newcomer(two.b(), "bob").await;
    let room = within("ann joins", ann.join("#general")).await.unwrap().id;
    within("bob joins", bob.join("#general")).await.unwrap();
    assert_eq!(first_heard(&ann.handle(), &[room], &mut bob).await, (room, "ann".to_owned()));
    assert_eq!(first_heard(&bob.handle(), &[room], &mut ann).await, (room, "bob".to_owned()));
    two.assert_unharmed();
}

/// Takes events until the server ends the connection.
async fn is_cut_off(client: &mut Client) {
    let ending = async {
        loop {
            match client.next().await {
                Some(Ok(_)) => {}
                Some(Err(Error::Refused(refusal))) if refusal.code == ErrorCode::Revoked => return,
                other => panic!("{other:?}"),
            }
        }
    };
    within("the connection is ended", ending).await;
}

async fn is_refused(link: &ServerLink, name: &str, code: ErrorCode) {
    match within("an answer", at_node(link, identity(name))).await {
        Err(e) => match e.downcast_ref() {
            Some(Error::Refused(refusal)) => assert_eq!(refusal.code, code, "{refusal}"),
            other => panic!("{other:?}"),
        },
        Ok(_) => panic!("{name} was let in"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "figures to be read")]
async fn who_is_revoked_or_suspended_at_one_node_is_cut_off_at_the_other() {
    let two = Two::start().await;
    for name in ["bob", "carl", "dora"] {
        let here = two.newcomer(two.a(), name).await;
        let mut there = back(two.b(), name).await;
        let Ok(Reply::Code { code, .. }) = here.request(Request::NewDeviceCode).await else {
            panic!("a code")
        };
        let (phone, key) = (format!("{name}-phone"), identity(&format!("{name}-phone")).device_key());
        let mut lost = back(two.b(), &phone).await;
        let redeem = Request::Redeem { code, name: None, device: SafeLine::new("phone") };
        assert!(matches!(lost.request(redeem).await, Ok(Reply::Account(_))));

        let begun = Instant::now();
        assert_eq!(here.request(Request::RevokeDevice { key }).await, Ok(Reply::Done));
        let done = begun.elapsed();
        is_cut_off(&mut lost).await;
        eprintln!("revoked at a after {done:?}, cut off at b after {:?}", begun.elapsed());
        is_refused(two.b(), &phone, ErrorCode::Revoked).await;
        assert!(there.request(Request::WhoAmI).await.is_ok(), "the other device is not");

        let begun = Instant::now();
        two.several.nodes[0].admin(&["user", "suspend", name]);
        let done = begun.elapsed();
        is_cut_off(&mut there).await;
        eprintln!("suspended at a after {done:?}, cut off at b after {:?}", begun.elapsed());
        is_refused(two.b(), name, ErrorCode::Suspended).await;
    }
    two.assert_unharmed();
}

/// Whatever somebody can say who may write to Redis and does not know what it means.
async fn say_garbage(redis: &mut Connection) {
    let mut random = Random::new(7);
    let words = |boot, node: &str, number| {
        let changes = (1..40).map(|id| (AccountId(id), Presence::Online)).collect();
        codec::encode(&News { node: node.parse().unwrap(), boot, number, changes })
    };
    // Of nobody who lives, and of another life of somebody.
    let stranger = words([9; 16], "x", 1);
    let mut garbage =
        vec![Vec::new(), vec![0xff; 300 * 1024], stranger.clone(), words([9; 16], "b", u64::MAX)];
    garbage.extend((0..stranger.len()).map(|end| stranger[..end].to_vec()));
    garbage.extend((0..200).map(|_| random.bytes(100)));
    for message in &garbage {
        for channel in [PRESENCE, TYPING] {
            redis.say(channel, message).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_harms_nothing() {
    let two = Two::start().await;
    let owner = back(two.b(), "owner").await;
    let (ann, redis) = (two.newcomer(two.a(), "ann").await, &two.several.redis);
    two.newcomer(two.a(), "gone").await.close().await;
    let mut listener = two.newcomer(two.b(), "bob").await;
    within("bob joins", listener.join("#general")).await.unwrap();
    let room = within("ann joins", ann.join("#general")).await.unwrap().id;
    let mut connection = Connection::new(redis.url().parse().unwrap());
    let lists = ["a", "b"].map(|name| format!("{PRESENCE}:{name}"));
    let spoil: [fn(&str) -> Vec<&str>; 4] = [
        |list| {
            vec!["HSET", list, "boot", "x", "whole", "x", "x", "x", "18446744073709551616", "x", "1", "\x09"]
        },
        |list| vec!["HSET", list, "boot", "0123456789abcdef", "-1", "", "", ""],
        |list| vec!["SET", list, "no list"],
        |list| vec!["DEL", list],
    ];
    for (round, spoil) in spoil.into_iter().enumerate() {
        for list in &lists {
            if round == 2 {
                redis.cli(&["DEL", list]);
            }
            redis.cli(&spoil(list));
        }
        say_garbage(&mut connection).await;
        // Whoever was there is, and who comes and goes is seen.
        until(&owner, "ann", Seen::Online).await;
        until(&ann, "bob", Seen::Online).await;
        let name = format!("carl-{round}");
        let carl = two.newcomer(two.a(), &name).await;
        until(&owner, &name, Seen::Online).await;
        carl.close().await;
        until(&owner, &name, Seen::Offline).await;
        until(&ann, "gone", Seen::Offline).await;
        until(&owner, "gone", Seen::Offline).await;
        first_heard(&ann.handle(), &[room], &mut listener).await;
    }
    two.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_comes_back_with_redis() {
    let mut two = Two::start().await;
    let owner = back(two.b(), "owner").await;
    let ann = two.newcomer(two.a(), "ann").await;
    let mut bob = two.newcomer(two.a(), "bob").await;
    two.newcomer(two.a(), "carl").await.close().await;
    until(&owner, "ann", Seen::Online).await;
    until(&owner, "bob", Seen::Online).await;
    until(&owner, "carl", Seen::Offline).await;

    // What changes while it is away is known when it is back, with what it had or with nothing.
    two.several.redis.kill();
    bob.close().await;
    let carl = back(two.a(), "carl").await;
    say_away(&ann, Some("no Redis")).await;
    two.several.redis.restart();
    until(&owner, "bob", Seen::Offline).await;
    until(&owner, "carl", Seen::Online).await;
    until(&owner, "ann", Seen::Away("no Redis".to_owned())).await;

    two.several.redis.kill();
    carl.close().await;
    bob = back(two.a(), "bob").await;
    say_away(&ann, None).await;
    two.several.redis.replace_by_an_empty_one();
    until(&owner, "carl", Seen::Offline).await;
    until(&owner, "bob", Seen::Online).await;
    until(&owner, "ann", Seen::Online).await;
    until(&bob, "owner", Seen::Online).await;

    // Whoever is not heard for long is not there, until they are heard.
    two.several.redis.pause();
    until(&owner, "bob", Seen::Offline).await;
    assert_eq!(seen(&bob, "bob").await, Seen::Online, "the own accounts are as they are");
    two.several.redis.resume();
    until(&owner, "bob", Seen::Online).await;
    until(&bob, "owner", Seen::Online).await;
    two.assert_unharmed();
}
