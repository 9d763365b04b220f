//! kill -9 is a test step: what was acknowledged is there, once, in order.

use std::collections::HashMap;
use std::path::Path;

use quip_protocol::client::{Client, Event, Handle, Post};
use quip_protocol::frame::PageFrom;
use quip_protocol::{MessageId, Receipt, Seq, Target};
use quip_tests::{Server, connected, join, within};
use tokio::sync::watch;
use tokio::task::JoinSet;

const SENDERS: usize = 4;

/// An event as one reader or the history has it.
#[derive(Debug, PartialEq)]
pub struct Place {
    seq: Seq,
    id: Option<MessageId>,
}

/// What is done to the server's directory while it is down.
#[derive(Clone, Copy, PartialEq)]
enum Harm {
    None,
    StoreDeleted,
    StoreGarbled,
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load() {
    rounds(30, Harm::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_the_store_deleted() {
    rounds(5, Harm::StoreDeleted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_the_store_garbled() {
    rounds(5, Harm::StoreGarbled).await;
}

async fn rounds(rounds: usize, harm: Harm) {
    let mut server = Server::with_config("[limits]\nmessages_per_second = 100000\nburst_messages = 100000");
    let owner = join(server.owner.as_ref().unwrap(), "owner").await;
    let general: Target = "#general".parse().unwrap();
    let invite = server.invite(&["--uses", "10"]);
    let (stop, stopped) = watch::channel(false);
    let mut senders = JoinSet::new();
    let (progress, mut acknowledged) = watch::channel(0usize);
    for n in 0..SENDERS {
        let client = join(&invite, &format!("sender{n}")).await;
        senders.spawn(send_until(client, general.clone(), stopped.clone(), progress.clone()));
    }
    let reader = join(&invite, "reader").await;
    let room = reader.join("#general").await.unwrap();
    let after = room.summary.head.seq;
    let reading = tokio::spawn(read_until(reader, stopped.clone()));

    for _ in 0..rounds {
        // Killed at another moment each round: as soon as some more were acknowledged.
        let enough = *acknowledged.borrow() + 40;
        within("messages are acknowledged", acknowledged.wait_for(|n| *n >= enough)).await.unwrap();
        server.kill();
        damage(&server.data_dir(), harm);
        server.restart();
    }
    let enough = *acknowledged.borrow() + 40;
    within("the clients are back by themselves", acknowledged.wait_for(|n| *n >= enough)).await.unwrap();
    stop.send(true).unwrap();

    let mut receipts = Vec::new();
    while let Some(sent) = senders.join_next().await {
        receipts.push(sent.unwrap());
    }
    let history = history(&owner, &general).await;
    check_receipts(&receipts, &history);
    let last = history.last().unwrap().seq;
    let seen = within("the reader has everything", reading_up_to(reading, last)).await;
    let expected: Vec<_> = history.into_iter().filter(|place| place.seq > after).collect();
    assert_eq!(seen, expected, "the reader missed nothing, doubled nothing, and saw the order of the log");
    assert!(server.stop());
}

/// Sends one message after the other; every receipt is kept.
pub async fn send_until(
    client: Client,
    to: Target,
    stop: watch::Receiver<bool>,
    progress: watch::Sender<usize>,
) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    while !*stop.borrow() {
        let post = Post::new(to.clone(), &format!("message {}", receipts.len()));
        let id = post.id;
        let receipt = client.post(post).await.expect("a post is repeated until it is acknowledged");
        assert_eq!(receipt.id, id);
        receipts.push(receipt);
        progress.send_modify(|n| *n += 1);
    }
    receipts
}

async fn read_until(mut client: Client, mut stop: watch::Receiver<bool>) -> (Client, Vec<Place>) {
    let mut seen = Vec::new();
    loop {
        tokio::select! {
            event = client.next() => note(&mut seen, event.expect("the client goes on").expect("nothing is final")),
            _ = stop.wait_for(|stop| *stop) => return (client, seen),
        }
    }
}

fn note(seen: &mut Vec<Place>, event: Event) {
    match event {
        Event::Message(message) => seen.push(Place { seq: message.seq(), id: Some(message.message().id) }),
        Event::Other(event) => seen.push(Place { seq: event.seq, id: event.body.id() }),
        Event::Reset { .. } | Event::Unwatched { .. } => panic!("nothing acknowledged may go: {event:?}"),
        _ => {}
    }
}

async fn reading_up_to(reading: tokio::task::JoinHandle<(Client, Vec<Place>)>, last: Seq) -> Vec<Place> {
    let (mut client, mut seen) = reading.await.unwrap();
    while seen.last().is_none_or(|place| place.seq < last) {
        note(&mut seen, client.next().await.unwrap().unwrap());
    }
    seen
}

pub async fn history(handle: &Handle, room: &Target) -> Vec<Place> {
    let mut history: Vec<Place> = Vec::new();
    loop {
        let from = PageFrom::After(history.last().map_or(Seq::ZERO, |place| place.seq));
        let page = connected("a page of the history", || handle.page(room, from, 2_000)).await;
        history.extend(page.events.iter().map(|event| Place { seq: event.seq, id: event.body.id() }));
        if page.events.is_empty() || history.last().is_some_and(|place| place.seq >= page.head.seq) {
            let seqs: Vec<u64> = history.iter().map(|place| place.seq.0).collect();
            assert_eq!(seqs, (1..=page.head.seq.0).collect::<Vec<_>>(), "dense");
            return history;
        }
    }
}

/// Every receipt is in the history at its place, once; and one sender's messages are in the order it sent them.
pub fn check_receipts(receipts: &[Vec<Receipt>], history: &[Place]) {
    let mut places: HashMap<MessageId, Vec<Seq>> = HashMap::new();
    for place in history {
        if let Some(id) = place.id {
            places.entry(id).or_default().push(place.seq);
        }
    }
    for sender in receipts {
        assert!(!sender.is_empty());
        assert!(sender.is_sorted_by_key(|receipt| receipt.seq));
        for receipt in sender {
            assert_eq!(places.get(&receipt.id), Some(&vec![receipt.seq]), "{receipt:?}");
        }
    }
}

fn damage(data_dir: &Path, harm: Harm) {
    let store = data_dir.join("store");
    match harm {
        Harm::None => {}
        Harm::StoreDeleted => std::fs::remove_dir_all(store).unwrap(),
        Harm::StoreGarbled => {
            for entry in std::fs::read_dir(store).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let garbage: Vec<u8> =
                        (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
                    std::fs::write(path, garbage).unwrap();
                }
            }
        }
    }
}
