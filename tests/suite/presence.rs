//! Who types and who is away, through the real server and client.

use std::time::Duration;

use quip_protocol::client::{Client, Event, Handle};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{RoomId, SafeLine};
use quip_tests::person::config;
use quip_tests::{Quip, Server, Terminal, eventually, identity, join, within};
use serde_json::Value;

/// The first typing that `listener` is told of while `speaker` types in these rooms, in their order.
pub async fn first_heard(speaker: &Handle, rooms: &[RoomId], listener: &mut Client) -> (RoomId, String) {
    // Slow enough for the budget: one that was lost is said again.
    let mut again = tokio::time::interval(Duration::from_millis(1_500));
    let hearing = async {
        loop {
            tokio::select! {
                event = listener.next() => if let Event::Typing { room, who } = event.unwrap().unwrap() {
                    return (room, who.to_string());
                },
                _ = again.tick() => rooms.iter().for_each(|room| speaker.typing(*room)),
            }
        }
    };
    within("somebody is typing", hearing).await
}

async fn create(client: &Client, name: &str, members: &[&str]) {
    let (name, members) = (name.parse().unwrap(), members.iter().map(|name| name.parse().unwrap()).collect());
    let create = Request::CreateRoom { name, private: true, topic: SafeLine::default(), members };
    within("a room", client.request(create)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_is_told_to_members_who_watch_until_they_are_removed() {
    let server = Server::start();
    let ann = join(server.owner.as_ref().unwrap(), "ann").await;
    let mut bob = join(&server.invite(&[]), "bob").await;
    create(&ann, "ops", &["bob"]).await;
    let general = ann.join("#general").await.unwrap();
    let ops = ann.join("#ops").await.unwrap();
    bob.join("#general").await.unwrap();
    let rooms = [ops.id, general.id];
    assert_eq!(first_heard(&ann, &rooms, &mut bob).await, (general.id, "ann".to_owned()), "not watched yet");
    bob.join("#ops").await.unwrap();
    assert_eq!(first_heard(&ann, &rooms[..1], &mut bob).await, (ops.id, "ann".to_owned()));
    let kick = Request::Kick {
        room: "ops".parse().unwrap(),
        who: "bob".parse().unwrap(),
        reason: SafeLine::default(),
    };
    ann.request(kick).await.unwrap();
    let gone = async {
        while !matches!(bob.next().await.unwrap().unwrap(), Event::Unwatched { room, .. } if room == ops.id) {
        }
    };
    within("bob is out", gone).await;
    assert_eq!(first_heard(&ann, &rooms, &mut bob).await, (general.id, "ann".to_owned()), "he hears no more");
    // Nor is he heard: ann hears him in the other room first.
    let bob = bob.handle();
    let mut ann = ann;
    assert_eq!(first_heard(&bob, &rooms, &mut ann).await, (general.id, "bob".to_owned()));
}

/// Watches the room on so many connections.
async fn watching(server: &Server, who: &str, room: RoomId, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let client = Client::connect(config(&server.link, identity(who))).await.unwrap();
        client.watch(vec![(room, None)]).await.unwrap();
        clients.push(client);
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_many_watch_hears_no_typing_and_a_direct_room_always() {
    let server = Server::with_config("[limits]\nmessages_per_second = 100000\nburst_messages = 100000\n");
    let ann = join(server.owner.as_ref().unwrap(), "ann").await;
    let mut bob = join(&server.invite(&[]), "bob").await;
    create(&ann, "ops", &["bob"]).await;
    let (ops, general) = (ann.join("#ops").await.unwrap(), ann.join("#general").await.unwrap());
    let direct = ann.join("@bob").await.unwrap();
    for room in ["#ops", "#general"] {
        bob.join(room).await.unwrap();
    }
    // With ann's and bob's own there are 51.
    let mut others = watching(&server, "bob", ops.id, 49).await;
    let rooms = [ops.id, general.id];
    assert_eq!(first_heard(&ann, &rooms, &mut bob).await.0, general.id);
    others.pop().unwrap().close().await;
    let heard = async { while first_heard(&ann, &rooms, &mut bob).await.0 != ops.id {} };
    within("50 are few enough", heard).await;
    drop(others);
    let mut talk = watching(&server, "bob", direct.id, 60).await;
    assert_eq!(first_heard(&ann, &[direct.id], &mut talk[0]).await, (direct.id, "ann".to_owned()));
}

fn members(quip: &Quip) -> Vec<(String, String, Option<String>)> {
    let printed = quip.run(&["who", "#general", "--json"]).ok();
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        (text("name").unwrap(), text("presence").unwrap(), text("away"))
    };
    printed.lines().map(line).collect()
}

fn ann(quip: &Quip, presence: &str, away: Option<&str>) {
    let expected = (String::from("ann"), presence.to_owned(), away.map(str::to_owned));
    eventually(&format!("ann is {presence}"), || members(quip).contains(&expected).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_is_seen_until_the_last_device_is_back_or_gone() {
    let server = Server::start();
    let first = join(server.owner.as_ref().unwrap(), "ann").await;
    let bob = Quip::joined(&server.invite(&[]), "bob");
    let away = |text: &str| Request::SetAway { text: Some(text.into()) };
    assert_eq!(first.request(away("lunch, back at three")).await, Ok(Reply::Done));
    ann(&bob, "away", Some("lunch, back at three"));
    let told = bob.run(&["who", "@ann"]).ok();
    assert!(told.contains("  away: lunch, back at three  "), "{told}");
    // A second device is active, until it is away too: its word is the last.
    let Reply::Code { code, .. } = first.request(Request::NewDeviceCode).await.unwrap() else {
        panic!("a code")
    };
    let second = Client::connect(config(&server.link, identity("phone"))).await.unwrap();
    let redeem = Request::Redeem { code, name: None, device: "phone".into() };
    assert!(matches!(second.request(redeem).await, Ok(Reply::Account(_))));
    ann(&bob, "online", None);
    second.request(away("")).await.unwrap();
    ann(&bob, "away", Some(""));
    second.close().await;
    ann(&bob, "away", Some("lunch, back at three"));
    assert_eq!(first.request(Request::SetAway { text: None }).await, Ok(Reply::Done));
    ann(&bob, "online", None);
    first.request(away("gone")).await.unwrap();
    first.close().await;
    ann(&bob, "offline", None);
    // A new connection knows nothing of the one before.
    let again = Client::connect(config(&server.link, identity("ann"))).await.unwrap();
    ann(&bob, "online", None);
    let refused = again.request(away(&"x".repeat(129))).await.unwrap_err().to_string();
    assert!(refused.contains("at most 128 bytes"), "{refused}");
    let private = Request::WhoIsAway { target: "#nowhere".parse().unwrap(), after: None };
    assert!(again.request(private).await.is_err());
}

#[test]
fn two_terminals_see_each_other_type_and_go() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    let hers = Terminal::client(&ann, 80, 24);
    let his = Terminal::client(&bob, 120, 40);
    hers.connected();
    his.shows("bob joined");
    his.press(&["h", "e", "l", "l", "o"]);
    let screen = hers.shows("bob is typing…");
    assert!(!screen.contains("hello"), "{screen}");
    his.press(&["Enter"]);
    hers.until("he has sent it", |screen| screen.contains("hello") && !screen.contains("is typing"));
    hers.say("/away at lunch");
    self::ann(&bob, "away", Some("at lunch"));
    his.say("/whois @ann");
    his.shows("away: at lunch");
    his.escape_from("away: at lunch");
    his.say("/msg @ann are you there?");
    his.shows("◐ away: at lunch");
    // Told, not asked for: that is done every five minutes.
    hers.say("/away");
    his.shows("● online");
    hers.say("/quit");
    hers.ends();
    his.shows("○ offline");
    self::ann(&bob, "offline", None);
}
