//! What survives a connection: messages on their way, and the place in each room.

use quip_protocol::client::{Client, Config, Error, Event};
use quip_protocol::codec::{FrameKind, encode_event, encode_frame, encode_notice};
use quip_protocol::error::close;
use quip_protocol::frame::{PageEnd, PageFrom, Push, Reply, Request, WatchState};
use quip_protocol::limits::MAX_REQUEST_FRAME;
use quip_protocol::transport::write_frame;
use quip_protocol::{Cursor, Epoch, ErrorCode, Notice, NoticeBody, Refusal, Seq, Target, Timestamp};

use crate::server::{Peer, ROOM, Server, cursor, live, message, next, receipt, welcome, within};

fn ops() -> Target {
    "#ops".parse().unwrap()
}

/// Watches the room from its head, which is `seq`.
async fn watch(client: &Client, peer: &mut Peer, seq: u64) {
    let rooms = vec![(ROOM, Some(cursor(seq)))];
    let (states, _) = within(async { tokio::join!(client.watch(rooms), peer.watch(live)) }).await;
    assert_eq!(states, Ok(vec![live(cursor(seq))]));
}

/// Asserts that the next events are the messages `seqs`.
async fn expect(client: &mut Client, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        match next(client).await {
            Event::Message(received) => {
                assert_eq!((received.seq(), received.room()), (Seq(seq), ROOM));
                assert_eq!(received.text(), format!("message {seq}"));
            }
            other => panic!("expected message {seq}, got {other:?}"),
        }
    }
}

async fn expect_down(client: &mut Client) {
    let event = next(client).await;
    assert!(matches!(event, Event::Down { .. }), "{event:?}");
}

#[tokio::test]
async fn a_post_is_repeated_with_the_same_id_after_a_cut() {
    let (server, ops) = (Server::new(), ops());
    let (client, mut peer) = server.connected(server.config()).await;
    let serving = async {
        let (_, first) = peer.post().await;
        peer.cut(close::STOPPING);
        let mut peer = server.accept().await;
        let (label, second) = peer.post().await;
        peer.reply(label, receipt(second, 1)).await;
        (first, second, peer)
    };
    let (result, (first, second, _peer)) =
        within(async { tokio::join!(client.send(&ops, "hello"), serving) }).await;
    assert_eq!(first, second);
    assert_eq!(result.unwrap().id, first);
}

#[tokio::test]
async fn a_client_that_does_not_reconnect_says_that_it_is_cut_off() {
    let (server, ops) = (Server::new(), ops());
    let config = Config { reconnect: false, ..server.config() };
    let (mut client, mut peer) = server.connected(config).await;
    let serving = async {
        peer.post().await;
        peer.cut(close::STOPPING);
    };
    let (result, ()) = within(async { tokio::join!(client.send(&ops, "hello"), serving) }).await;
    assert_eq!(result, Err(Error::Disconnected));
    assert_eq!(within(client.next()).await, Some(Err(Error::Disconnected)));
    assert_eq!(within(client.next()).await, None);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_a_no_is_final() {
    let (server, ops) = (Server::new(), ops());
    let (client, mut peer) = server.connected(server.config()).await;
    let no = Refusal::new(ErrorCode::Forbidden, "readers do not write");
    let serving = async {
        let (label, first) = peer.post().await;
        peer.reply(label, Reply::Refused(Refusal::retry(ErrorCode::RateLimited, "slow down", 1))).await;
        let (label, second) = peer.post().await;
        peer.reply(label, Reply::Refused(no.clone())).await;
        assert_eq!(first, second);
    };
    let (result, ()) = within(async { tokio::join!(client.send(&ops, "hello"), serving) }).await;
    assert_eq!(result, Err(Error::Refused(no)));
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_it_is_sent() {
    let (server, ops) = (Server::new(), ops());
    let (client, _peer) = server.connected(server.config()).await;
    let limit = welcome().limits.text_bytes as usize;
    match client.send(&ops, &"x".repeat(limit + 1)).await {
        Err(Error::Refused(refusal)) => {
            assert_eq!(refusal.code, ErrorCode::TooLong);
            assert!(refusal.text.as_str().contains(&limit.to_string()), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
    let topic = quip_protocol::SafeLine::new(&"x".repeat(MAX_REQUEST_FRAME));
    let request = Request::SetTopic { room: "ops".parse().unwrap(), topic };
    let refused = within(client.request(request)).await;
    assert!(matches!(refused, Err(Error::Refused(refusal)) if refusal.code == ErrorCode::TooLong));
}

#[tokio::test]
async fn rooms_are_resumed_from_the_last_event_before_up() {
    let server = Server::new();
    let (mut client, mut peer) = server.connected(server.config()).await;
    watch(&client, &mut peer, 3).await;
    peer.push_messages([4, 5]).await;
    expect(&mut client, [4, 5]).await;
    peer.say(&Push::Stopping { retry_after_ms: 1 }).await;
    peer.cut(close::STOPPING);
    expect_down(&mut client).await;
    let mut peer = within(server.accept()).await;
    // A server that sends again what the client has, and does not stop at one break.
    peer.push_messages([5, 6]).await;
    assert_eq!(peer.watch(live).await, cursor(5));
    assert_eq!(next(&mut client).await, Event::Up(welcome()));
    expect(&mut client, [6]).await;
    peer.cut(close::DONE);
    expect_down(&mut client).await;
    let mut peer = within(server.accept()).await;
    assert_eq!(peer.watch(live).await, cursor(6));
    peer.push_messages([7]).await;
    assert_eq!(next(&mut client).await, Event::Up(welcome()));
    expect(&mut client, [7]).await;
}

#[tokio::test]
async fn a_hole_is_asked_for_and_never_shown() {
    let server = Server::new();
    let (mut client, mut peer) = server.connected(server.config()).await;
    watch(&client, &mut peer, 0).await;
    peer.push_messages([1, 2, 5, 6]).await;
    expect(&mut client, [1, 2]).await;
    assert_eq!(peer.watch(live).await, cursor(2));
    peer.push_messages([7, 3, 4, 5, 6, 7, 8]).await;
    expect(&mut client, 3..=8).await;
}

#[tokio::test]
async fn a_repaired_log_is_told_before_its_events() {
    let server = Server::new();
    let (mut client, mut peer) = server.connected(server.config()).await;
    watch(&client, &mut peer, 9).await;
    peer.cut(close::STOPPING);
    expect_down(&mut client).await;
    let mut peer = within(server.accept()).await;
    let keep = cursor(7);
    let head = Cursor { epoch: Epoch(2), seq: Seq(8) };
    peer.watch(|_| WatchState::Reset { room: ROOM, keep, head }).await;
    peer.push(encode_event(&message(2, 8))).await;
    assert_eq!(next(&mut client).await, Event::Reset { room: ROOM, keep, head });
    assert_eq!(next(&mut client).await, Event::Up(welcome()));
    expect(&mut client, [8]).await;
    peer.cut(close::STOPPING);
    expect_down(&mut client).await;
    let mut peer = within(server.accept()).await;
    let refusal = Refusal::new(ErrorCode::Removed, "you were removed");
    let refused = WatchState::Refused { room: ROOM, refusal: refusal.clone() };
    assert_eq!(peer.watch(|_| refused).await, head);
    assert_eq!(next(&mut client).await, Event::Unwatched { room: ROOM, refusal });
    assert_eq!(next(&mut client).await, Event::Up(welcome()));
}

/// Begins to watch the room anew from `seq`; returns the label of the request.
async fn watch_again(client: &Client, peer: &mut Peer, seq: u64) -> u32 {
    let serving = async {
        let (label, request) = peer.request().await;
        assert!(matches!(request, Request::Watch { .. }), "{request:?}");
        peer.reply(label, Reply::Watching { rooms: vec![live(cursor(seq))] }).await;
        label
    };
    let rooms = vec![(ROOM, Some(cursor(seq)))];
    let (states, label) = within(async { tokio::join!(client.watch(rooms), serving) }).await;
    assert_eq!(states, Ok(vec![live(cursor(seq))]));
    label
}

#[tokio::test]
async fn the_end_of_an_old_watch_does_not_end_the_new_one() {
    let server = Server::new();
    let (mut client, mut peer) = server.connected(server.config()).await;
    let old = watch_again(&client, &mut peer, 0).await;
    let new = watch_again(&client, &mut peer, 0).await;
    let refusal = Refusal::new(ErrorCode::Removed, "you were removed");
    peer.say(&Push::Unwatched { room: ROOM, watch: old, refusal: refusal.clone() }).await;
    peer.push_messages([1]).await;
    expect(&mut client, [1]).await;
    peer.say(&Push::Unwatched { room: ROOM, watch: new, refusal: refusal.clone() }).await;
    assert_eq!(next(&mut client).await, Event::Unwatched { room: ROOM, refusal });
}

fn notice(epoch: u32, seq: u64) -> Notice {
    Notice { seq: Seq(seq), epoch: Epoch(epoch), at: Timestamp(1), body: NoticeBody::Devices }
}

/// Answers one watch of the inbox; returns the cursor that was asked for.
async fn inbox(peer: &mut Peer, reply: Reply) -> Option<Cursor> {
    match peer.request().await {
        (label, Request::WatchInbox { from }) => {
            peer.reply(label, reply).await;
            from
        }
        (_, other) => panic!("expected a watch of the inbox, got {other:?}"),
    }
}

#[tokio::test]
async fn an_inbox_that_is_another_one_comes_again_from_its_beginning() {
    let server = Server::new();
    let (mut client, mut peer) = server.connected(server.config()).await;
    let serving = inbox(&mut peer, Reply::Inbox { head: cursor(7) });
    let (head, from) = within(async { tokio::join!(client.watch_inbox(None), serving) }).await;
    assert_eq!((head, from), (Ok(cursor(7)), None), "the client knows when it is caught up");
    peer.cut(close::STOPPING);
    expect_down(&mut client).await;
    let bad = || Reply::Refused(Refusal::new(ErrorCode::BadCursor, "another inbox"));
    let mut peer = within(server.accept()).await;
    assert_eq!(inbox(&mut peer, bad()).await, Some(cursor(7)), "from the head, although no notice came");
    expect_down(&mut client).await;
    let mut peer = within(server.accept()).await;
    let head = Cursor { epoch: Epoch(2), seq: Seq(2) };
    assert_eq!(inbox(&mut peer, Reply::Inbox { head }).await, Some(Cursor::default()));
    assert_eq!(next(&mut client).await, Event::Up(welcome()));
    peer.push(encode_notice(&notice(1, 1))).await;
    // Repaired while the connection holds: what is ahead of the answer is asked for, and begun anew if need be.
    peer.push(encode_notice(&notice(3, 2))).await;
    assert_eq!(next(&mut client).await, Event::Notice(notice(1, 1)));
    assert_eq!(inbox(&mut peer, bad()).await, Some(cursor(1)));
    assert_eq!(
        inbox(&mut peer, Reply::Inbox { head: Cursor { epoch: Epoch(3), seq: Seq(1) } }).await,
        Some(Cursor::default())
    );
    peer.push(encode_notice(&notice(3, 1))).await;
    assert_eq!(next(&mut client).await, Event::Notice(notice(3, 1)));
}

#[tokio::test]
async fn a_slow_user_holds_the_server_back_and_no_request_up() {
    const MANY: u64 = 20_000;
    let server = Server::new();
    let (mut client, mut peer) = server.connected(server.config()).await;
    watch(&client, &mut peer, 0).await;
    let mut live = peer.quic.open_uni().await.unwrap();
    let pushing = tokio::spawn(async move {
        for seq in 1..=MANY {
            write_frame(&mut live, encode_event(&message(1, seq))).await.unwrap();
        }
        live
    });
    for _ in 0..20 {
        let answering = async {
            let (label, _) = peer.request().await;
            peer.reply(label, Reply::Done).await;
        };
        let (reply, ()) = within(async { tokio::join!(client.request(Request::WhoAmI), answering) }).await;
        assert_eq!(reply, Ok(Reply::Done));
    }
    assert!(!pushing.is_finished(), "nobody took an event, so most are still with the server");
    expect(&mut client, 1..=MANY).await;
    within(pushing).await.unwrap();
}

#[tokio::test]
async fn pages_come_whole_or_not_at_all() {
    let (server, ops) = (Server::new(), ops());
    let (client, mut peer) = server.connected(server.config()).await;
    let serve = async |peer: &mut Peer, seqs: &[u64], end: PageEnd| {
        let (mut send, request) = peer.page().await;
        assert_eq!((&request.target, request.from, request.limit), (&ops, PageFrom::Latest, 3));
        for seq in seqs {
            write_frame(&mut send, encode_event(&message(1, *seq))).await.unwrap();
        }
        write_frame(&mut send, encode_frame(FrameKind::PageEnd, &end)).await.unwrap();
    };
    let complete = PageEnd::Complete { room: ROOM, head: cursor(9) };
    let refusal = Refusal::new(ErrorCode::NoSuchRoom, "no such room");
    let table = [
        (&[7, 8, 9][..], complete.clone(), Ok(vec![Seq(7), Seq(8), Seq(9)])),
        (&[][..], PageEnd::Refused(refusal.clone()), Err(Error::Refused(refusal))),
    ];
    for (seqs, end, expected) in table {
        let asking = client.page(&ops, PageFrom::Latest, 3);
        let (page, ()) = within(async { tokio::join!(asking, serve(&mut peer, seqs, end)) }).await;
        assert_eq!(page.map(|page| page.events.iter().map(|event| event.seq).collect()), expected);
    }
    let asking = client.page(&ops, PageFrom::Latest, 3);
    let (page, ()) = within(async { tokio::join!(asking, serve(&mut peer, &[7, 9], complete)) }).await;
    assert!(matches!(page, Err(Error::Protocol(_))), "{page:?}");
}

#[tokio::test]
async fn a_busy_server_is_asked_for_a_page_again() {
    let (server, ops) = (Server::new(), ops());
    let (client, mut peer) = server.connected(server.config()).await;
    let busy = PageEnd::Refused(Refusal::retry(ErrorCode::RateLimited, "too fast", 1));
    let complete = PageEnd::Complete { room: ROOM, head: cursor(9) };
    let serving = async {
        for end in [busy.clone(), busy, complete] {
            let (mut send, _) = peer.page().await;
            write_frame(&mut send, encode_frame(FrameKind::PageEnd, &end)).await.unwrap();
        }
    };
    let (page, ()) = within(async { tokio::join!(client.page(&ops, PageFrom::Latest, 3), serving) }).await;
    assert_eq!(page.unwrap().head, cursor(9));
}
