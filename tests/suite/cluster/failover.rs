//! What clients of a cluster see when a node dies, when one stops, and when Redis is away.

use std::io::{BufRead as _, BufReader, Read as _};

use quip_protocol::client::{Client, Event};
use quip_protocol::{SafeLine, Target};
use quip_tests::{Quip, eventually, join, within};
use serde_json::Value;

use super::several::Several;

fn general() -> Target {
    "#general".parse().unwrap()
}

/// Takes events until it knows both nodes; which one it is on.
async fn knows_both(client: &mut Client) -> String {
    let telling = async {
        while client.nodes().len() < 2 {
            client.next().await.expect("it lives").expect("no error");
        }
    };
    within("both nodes are told", telling).await;
    client.node().expect("it is on one").name.to_string()
}

/// Takes events until there is one of these.
async fn until<T>(client: &mut Client, what: &str, wanted: impl Fn(Event) -> Option<T>) -> T {
    let telling = async {
        loop {
            let event = client.next().await.expect("it lives").expect("no error");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    within(what, telling).await
}

fn text(event: Event) -> Option<String> {
    if let Event::Message(message) = event { Some(message.text().to_owned()) } else { None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_to_another_node() {
    let mut cluster = Several::new(2);
    let mut client = join(&cluster.owner, "owner").await;
    client.join("#general").await.unwrap();
    let first = knows_both(&mut client).await;
    within("it is taken", client.send(&general(), "before")).await.unwrap();
    assert_eq!(until(&mut client, "it comes", text).await, "before");
    cluster.node(&first).kill();
    within("it is taken by the other", client.send(&general(), "after")).await.unwrap();
    assert_ne!(client.node().unwrap().name.as_str(), first);
    // Not by the connection's own end, half a minute later: its machine is there and says that nobody listens.
    let why = until(&mut client, "it is told", |event| match event {
        Event::Down { why, .. } => Some(why),
        _ => None,
    });
    assert!(why.await.as_str().starts_with("nobody listens there"));
    assert_eq!(until(&mut client, "it comes, and nothing twice", text).await, "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_sends_its_clients_to_the_other() {
    let mut cluster = Several::new(2);
    let mut client = join(&cluster.owner, "owner").await;
    let first = knows_both(&mut client).await;
    cluster.node(&first).signal("TERM");
    let welcome = until(&mut client, "it is welcomed by the other", |event| match event {
        Event::Up(welcome) if welcome.nodes.first().is_some_and(|n| n.node.name.as_str() != first) => {
            Some(welcome)
        }
        _ => None,
    });
    welcome.await;
    assert!(cluster.node(&first).ended());
    within("it is taken", client.send(&general(), "after")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nothing_is_written_and_everybody_knows() {
    let cluster = Several::new(2);
    let mut client = join(&cluster.owner, "owner").await;
    knows_both(&mut client).await;
    within("it is taken", client.send(&general(), "before")).await.unwrap();
    cluster.redis.pause();
    let why = until(&mut client, "it is told", |event| match event {
        Event::ReadOnly { why } => Some(why),
        _ => None,
    });
    assert_eq!(why.await, SafeLine::new("the servers' log is away"));
    // The client may be at the other node, which noticed first.
    eventually("its figures tell", || {
        let stats = cluster.nodes[0].admin(&["stats"]);
        (stats.contains(r#""log":"unreachable""#) && stats.contains(r#""writable":false"#)).then_some(())
    });
    let handle = client.handle();
    let waiting = tokio::spawn(async move { handle.send(&general(), "meanwhile").await });
    let (room, newest) = (general(), quip_protocol::frame::PageFrom::Latest);
    let page = client.page(&room, newest, 10);
    assert!(!within("reading goes on", page).await.unwrap().events.is_empty());
    cluster.redis.resume();
    until(&mut client, "it is told", |event| (event == Event::Writable).then_some(())).await;
    within("what waited is taken", waiting).await.unwrap().unwrap();
}

#[test]
fn a_command_that_waits_for_the_servers_log_says_so_once() {
    let cluster = Several::new(2);
    let ann = Quip::joined(&cluster.owner, "ann");
    ann.run(&["send", "#general", "before"]).ok();
    cluster.redis.pause();
    eventually("both nodes notice", || {
        let stats = cluster.nodes.iter().map(|node| node.admin(&["stats"]));
        stats.into_iter().all(|stats| stats.contains(r#""writable":false"#)).then_some(())
    });
    let mut sending = ann.spawn(&["send", "#general", "meanwhile"]);
    let mut stderr = BufReader::new(sending.stderr.take().unwrap());
    let (mut said, mut rest) = (String::new(), String::new());
    stderr.read_line(&mut said).unwrap();
    let waits = "quip: the server writes nothing now (the servers' log is away): waiting for at most 30 s\n";
    assert_eq!(said, waits);
    cluster.redis.resume();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), sending.wait().unwrap().code()), ("", Some(0)));
    assert!(ann.run(&["history", "#general"]).ok().contains("meanwhile"));
}

#[test]
fn a_command_finds_the_node_that_lives_and_says_which() {
    let mut cluster = Several::new(2);
    let ann = Quip::joined(&cluster.owner, "ann");
    let whoami = |user: &Quip| -> Value {
        serde_json::from_str(&user.run(&["whoami", "--json"]).ok()).expect("one line of JSON")
    };
    let said = eventually("both are told", || {
        Some(whoami(&ann)).filter(|said| said["nodes"].as_array().is_some_and(|nodes| nodes.len() == 2))
    });
    let names = said["nodes"].as_array().unwrap().iter().map(|node| node["name"].clone());
    assert_eq!(names.collect::<Vec<_>>()[0], said["node"], "the one that answers first");
    let nodes: Vec<Value> = eventually("its figures tell of both", || {
        let stats = cluster.nodes[1].admin(&["stats"]);
        let nodes = stats.lines().skip(1).map(|line| serde_json::from_str(line).unwrap());
        Some(nodes.collect()).filter(|nodes: &Vec<Value>| nodes.len() == 2)
    });
    assert_eq!(nodes.iter().map(|node| node["name"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(nodes[1]["this"], true, "{nodes:?}");
    // The one that was joined.
    cluster.node("a").kill();
    assert_eq!(whoami(&ann)["node"], "b");
    let answered = format!("  at {}, node b of ", cluster.links[1].address());
    assert!(ann.run(&["whoami"]).ok().contains(&answered));
    ann.run(&["send", "#general", "still here"]).ok();
    // Who names a node means that one.
    let named = cluster.links[0].reveal();
    ann.run(&["--server", &named, "whoami"]).fails(69);
}
