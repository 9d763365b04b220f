//! How a server ends, and what it does not share.

use std::process::Command;

use quip_protocol::client::{Event, Post};
use quip_protocol::codec::FrameKind;
use quip_protocol::error::close;
use quip_protocol::frame::{PageFrom, Push, Reply, Request};
use quip_protocol::{Cursor, Epoch, RoomId, Seq, Target};
use quip_tests::{Server, binary, identity, join, within};

use super::raw::{Raw, closed, next};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_tells_the_clients_finishes_what_was_accepted_and_exits_0() {
    let mut server = Server::start();
    let mut ann = join(server.owner.as_ref().unwrap(), "ann").await;
    let general: Target = "#general".parse().unwrap();
    let mut raw = Raw::connect(&server.link, &identity("ann")).await;
    let start = Cursor { epoch: Epoch::FIRST, seq: Seq::ZERO };
    let mut live = raw.live_after_watch(RoomId(1), start).await;
    let handle = ann.handle();
    let to = general.clone();
    let posting = tokio::spawn(async move {
        let mut receipts = Vec::new();
        for n in 0..50 {
            receipts.push(handle.post(Post::new(to.clone(), &format!("{n}"))).await.unwrap());
        }
        receipts
    });
    // In the midst of it.
    while next(&mut live).await.decode::<quip_protocol::Event>(FrameKind::Event, "event").unwrap().seq
        < Seq(5)
    {}
    assert!(server.stop(), "exit 0");
    let mut told = false;
    let mut urgent = raw.urgent.take().expect("it is before that of the rooms");
    while let Ok(Some(frame)) = within("the end of the live stream", urgent.next()).await {
        told |= matches!(frame.decode(FrameKind::Push, "push"), Ok(Push::Stopping { .. }));
    }
    assert!(told, "clients are told before the connection ends");
    assert_eq!(closed(&raw.quic).await, close::STOPPING);
    let down = async { while !matches!(ann.next().await.unwrap().unwrap(), Event::Down { .. }) {} };
    within("the client notices", down).await;
    server.restart();
    let up = async { while !matches!(ann.next().await.unwrap().unwrap(), Event::Up(_)) {} };
    within("the client is back by itself", up).await;
    let receipts = within("every post is acknowledged in the end", posting).await.unwrap();
    let log = ann.page(&general, PageFrom::After(Seq::ZERO), 1_000).await.unwrap().events;
    for receipt in receipts {
        let there = log.iter().filter(|event| event.body.id() == Some(receipt.id)).map(|event| event.seq);
        assert_eq!(there.collect::<Vec<_>>(), vec![receipt.seq]);
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_says_so_in_one_line() {
    let server = Server::start();
    let mut command = Command::new(binary("quipd"));
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(server.data_dir());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(&format!("in use by process {}", server.pid())), "{stderr}");
    join(server.owner.as_ref().unwrap(), "ann").await;
}

#[tokio::test]
async fn a_client_that_has_said_all_is_not_told_that_the_server_stops() {
    let server = Server::start();
    join(server.owner.as_ref().unwrap(), "ann").await.close().await;
    let mut raw = Raw::connect(&server.link, &identity("ann")).await;
    assert!(matches!(raw.ask(Request::WhoAmI).await, Reply::Account(_)));
    raw.send.finish().unwrap();
    assert_eq!(closed(&raw.quic).await, close::DONE);
}
