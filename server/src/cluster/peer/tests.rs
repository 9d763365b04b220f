use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use quinn::{ConnectionError, Endpoint};
use quip_protocol::{Epoch, Fingerprint, NodeName};
use quip_storage::store::StoreOptions;
use quip_storage::{EpochSpan, Journal, JournalOptions};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::cluster::key::ClusterKey;
use crate::cluster::{BootId, Heartbeat, Roster};
use crate::log::shared::contract::ClusterId;
use crate::session::{accept, socket, tls as server_tls};
use crate::start::Core;
use crate::{Config, Stopping};
use quip_protocol::Position;

const OURS: ClusterId = ClusterId([1; 16]);

fn key() -> ClusterKey {
    ClusterKey::of([2; 32])
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn at(epoch: u32, offset: u64) -> Position {
    Position { epoch: Epoch(epoch), offset }
}

fn asker() -> Asker {
    Asker { cluster: OURS, name: name("new"), key: key() }
}

type Records = Vec<(Position, Vec<u8>)>;
type Block = Vec<(Position, bytes::Bytes)>;

/// Records of these lengths in one epoch; each is told from the others by its bytes.
fn records(epoch: u32, first: u64, lengths: &[usize]) -> Records {
    let of = |(n, length): (u64, &usize)| (at(epoch, n), vec![n as u8; *length]);
    (first..).zip(lengths).map(of).collect()
}

/// A node that is asked, with a journal of its own.
struct Node {
    name: NodeName,
    core: Core,
    heartbeat: Heartbeat,
    endpoint: Endpoint,
    stop: watch::Sender<bool>,
    _serving: JoinHandle<()>,
    _dir: TempDir,
}

impl Node {
    async fn start(called: &str, records: &Records) -> Node {
        Node::with_key(called, records, key()).await
    }

    async fn with_key(called: &str, records: &Records, key: ClusterKey) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let options = JournalOptions { segment_bytes: 3 << 20, compress: true };
        let mut journal = Journal::open(dir.path().join("told"), options).unwrap();
        for (position, payload) in records {
            journal.append(*position, payload).unwrap();
        }
        let opened = crate::pipeline::open::open(
            &dir.path().join("data"),
            StoreOptions { cache_bytes: 1 << 20 },
            false,
            &Stopping::default(),
        );
        let config = Config::new(Vec::new(), dir.path().join("data"));
        let core = Core::start(&config, opened.unwrap()).unwrap();
        let tls = server_tls::load(None, dir.path(), true).unwrap();
        let endpoint = socket::listen(([127, 0, 0, 1], 0).into(), &tls).unwrap();
        let (stop, stopped) = watch::channel(false);
        let door = Arc::new(Door::new(OURS, name(called), key, journal.reader()));
        let serving = tokio::spawn(accept::run(endpoint.clone(), core.shared.clone(), Some(door), stopped));
        let heartbeat = heartbeat(&endpoint, tls.fingerprint, journal.last());
        Node { name: name(called), core, heartbeat, endpoint, stop, _serving: serving, _dir: dir }
    }

    fn blocks(&self) -> u64 {
        self.core.shared.node.metrics.peer_blocks.load(Ordering::Relaxed)
    }

    fn refused(&self) -> u64 {
        self.core.shared.node.metrics.peers_refused.load(Ordering::Relaxed)
    }
}

fn heartbeat(endpoint: &Endpoint, fingerprint: Fingerprint, position: Position) -> Heartbeat {
    Heartbeat {
        boot: BootId([0; 16]),
        address: endpoint.local_addr().unwrap().to_string(),
        fingerprint,
        connections: 0,
        position,
        draining: false,
    }
}

fn roster(nodes: &[&Node]) -> watch::Receiver<Roster> {
    let roster = nodes.iter().map(|node| (node.name.clone(), node.heartbeat.clone())).collect();
    // Who holds the other end is not asked whether something changes.
    watch::channel(roster).1
}

/// What was taken, and what takes it.
fn sink() -> (Arc<Mutex<Records>>, impl FnMut(Block) -> std::io::Result<()> + Send) {
    let taken: Arc<Mutex<Records>> = Arc::default();
    let into = Arc::clone(&taken);
    let sink = move |block: Block| {
        into.lock().extend(block.into_iter().map(|(position, payload)| (position, payload.to_vec())));
        Ok(())
    };
    (taken, sink)
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect(what)
}

/// Everything behind `after`.
async fn got(nodes: &[&Node], after: Position) -> Records {
    let (taken, sink) = sink();
    let reached = within("the records", fetch(roster(nodes), &asker(), after, sink, |_| {})).await.unwrap();
    let taken = std::mem::take(&mut *taken.lock());
    assert_eq!(taken.last().map(|(position, _)| *position), Some(reached));
    taken
}

async fn refused(nodes: &[&Node], asker: &Asker, after: Position) -> Broken {
    let (taken, sink) = sink();
    let error = within("an answer", fetch(roster(nodes), asker, after, sink, |_| {})).await.unwrap_err();
    assert_eq!(*taken.lock(), [], "nothing is told");
    match error {
        FetchError::Refused { why, .. } => why,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_journal_arrives_from_any_record_on() {
    let lengths: Vec<usize> = (0..400).map(|n| [0, 3, 100, 40_000][n % 4]).chain([3 << 20, 5]).collect();
    let mut all = records(1, 1, &lengths);
    all.extend(records(7, 403, &[10; 5_000]));
    let node = Node::start("a", &all).await;
    for after in [Position::ZERO, at(1, 1), at(1, 399), at(1, 402), at(7, 403), at(7, 5_401)] {
        let expected: Vec<_> = all.iter().filter(|(position, _)| *position > after).cloned().collect();
        assert!(got(&[&node], after).await == expected, "behind {after}");
    }
    let mut percents = Vec::new();
    let (_, sink) = sink();
    let (asker, progress) = (asker(), |progress: &Progress| percents.push(progress.percent()));
    let asked = fetch(roster(&[&node]), &asker, at(1, 300), sink, progress);
    assert_eq!(within("the end", asked).await.unwrap(), at(7, 5_402));
    assert!(percents.is_sorted() && percents.last() == Some(&100), "{percents:?}");
    let (from, spans) = within("the epochs", epochs(roster(&[&node]), &asker)).await.unwrap();
    let span = |epoch, first, last| EpochSpan { epoch: Epoch(epoch), first, last };
    assert_eq!((from, spans), (name("a"), vec![span(1, 1, 402), span(7, 403, 5_402)]));
}

#[tokio::test]
async fn a_record_of_sixty_mebibytes_arrives() {
    let all = records(1, 1, &[5, 60 << 20, 5]);
    let node = Node::start("a", &all).await;
    assert!(got(&[&node], Position::ZERO).await == all);
}

#[tokio::test]
async fn another_key_is_a_clear_error_on_both_sides() {
    let node = Node::start("a", &records(1, 1, &[5])).await;
    let other = Asker { key: ClusterKey::of([3; 32]), ..asker() };
    let why = refused(&[&node], &other, Position::ZERO).await;
    assert!(matches!(why, Broken::Key), "{why}");
    assert!(why.to_string().contains("cluster.key"), "{why}");
    assert_eq!(node.refused(), 1);
    assert_eq!(got(&[&node], Position::ZERO).await.len(), 1, "who has the key is served");
}

/// The end of the stream arrives before the close that says why.
#[tokio::test]
async fn another_key_is_a_clear_error_however_late_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let tls = server_tls::load(None, dir.path(), true).unwrap();
    let late = socket::listen(([127, 0, 0, 1], 0).into(), &tls).unwrap();
    let heartbeat = heartbeat(&late, tls.fingerprint, at(1, 9));
    let refusing = async {
        let connection = late.accept().await.unwrap().await.unwrap();
        let (mut send, _recv) = connection.accept_bi().await.unwrap();
        send.finish().unwrap();
        assert_eq!(send.stopped().await, Ok(None), "the end has arrived");
        Broken::Key.close(&connection);
        connection.closed().await;
    };
    let (asker, name) = (asker(), name("a"));
    let both = async { tokio::join!(asker.epochs(&name, &heartbeat), refusing) };
    let why = within("an answer", both).await.0.unwrap_err();
    assert!(matches!(why, Broken::Key), "{why}");
}

#[tokio::test]
async fn who_is_asked_has_to_be_who_is_meant() {
    let node = Node::start("a", &records(1, 1, &[5, 5])).await;
    let other = Asker { cluster: ClusterId([9; 16]), ..asker() };
    let why = refused(&[&node], &other, Position::ZERO).await;
    assert!(matches!(why, Broken::Refused(Refused::OtherCluster)), "{why}");
    // It has not the record that is to be gone on from, but another one of that offset.
    let mut ahead = node.heartbeat.clone();
    ahead.position = at(9, 9);
    let told = watch::channel(Roster::from([(name("a"), ahead)])).1;
    let (_, sink) = sink();
    let error = within("an answer", fetch(told, &asker(), at(2, 1), sink, |_| {})).await.unwrap_err();
    let expected = "does not have the record 2-1";
    assert!(error.to_string().contains(expected), "{error}");
    let error = asker().epochs(&name("b"), &node.heartbeat).await.unwrap_err();
    assert!(matches!(&error, Broken::Refused(Refused::OtherNode(is)) if *is == node.name), "{error}");
    // A key that the roster does not know is not talked to.
    let forged = Heartbeat { fingerprint: Fingerprint([0; 32]), ..node.heartbeat.clone() };
    let error = asker().epochs(&name("a"), &forged).await.unwrap_err();
    assert!(matches!(error, Broken::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn when_a_node_dies_another_one_goes_on() {
    let all = records(1, 1, &[100_000; 200]);
    for gracefully in [true, false] {
        let (first, second) = (Node::start("a", &all).await, Node::start("b", &all).await);
        let mut blocks = 0;
        let (taken, sink) = sink();
        let asker = asker();
        let progress = |progress: &Progress| {
            blocks += 1;
            match blocks {
                1..5 => assert_eq!(progress.from, first.name),
                5 if gracefully => drop(first.stop.send(true)),
                5 => first.endpoint.close(0_u32.into(), b""),
                _ => {}
            }
        };
        let asked = fetch(roster(&[&first, &second]), &asker, Position::ZERO, sink, progress);
        assert_eq!(within("the rest", asked).await.unwrap(), at(1, 200));
        assert!(*taken.lock() == all, "each once, in order");
        assert!(second.blocks() > 0 && second.blocks() < 20, "only the rest: {}", second.blocks());
    }
}

#[tokio::test(start_paused = true)]
async fn when_nobody_has_more_it_is_given_up_in_time() {
    let begun = tokio::time::Instant::now();
    let (_, sink) = sink();
    let error = fetch(roster(&[]), &asker(), at(1, 5), sink, |_| {}).await.unwrap_err();
    assert!(matches!(error, FetchError::Nobody { after, .. } if after == at(1, 5)), "{error}");
    assert!((60..70).contains(&begun.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn one_that_joins_itself_is_not_asked() {
    let joins = Heartbeat {
        boot: BootId([1; 16]),
        address: "127.0.0.1:1".into(),
        fingerprint: Fingerprint([0; 32]),
        connections: 0,
        position: at(1, 9),
        draining: true,
    };
    let told = watch::channel(Roster::from([(name("a"), joins)])).1;
    let (_, sink) = sink();
    let error = fetch(told, &asker(), at(1, 5), sink, |_| {}).await.unwrap_err();
    let FetchError::Nobody { why, .. } = error else { panic!("{error}") };
    assert_eq!(why, "no other node lives that has more");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_take_it_makes_a_node_hold_some_blocks_alone() {
    let node = Node::start("a", &records(1, 1, &[100_000; 640])).await;
    let (runtime, told) = (tokio::runtime::Handle::current(), roster(&[&node]));
    let mut ahead = None;
    let metrics = Arc::clone(&node.core.shared.node);
    let waits = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&waits);
    let slow = move |_| {
        // While this one waits, another one is told everything: that long the node could have read on.
        if ahead.is_none() {
            let (_, sink) = sink();
            let other = Asker { name: name("other"), ..asker() };
            let all = runtime.block_on(fetch(told.clone(), &other, Position::ZERO, sink, |_| {}));
            assert_eq!(all.unwrap(), at(1, 640));
            ahead = Some(metrics.metrics.peer_blocks.load(Ordering::Relaxed));
            *seen.lock() = ahead;
        }
        Ok(())
    };
    let asker = asker();
    let asked = fetch(roster(&[&node]), &asker, Position::ZERO, slow, |_| {});
    assert_eq!(within("the end", asked).await.unwrap(), at(1, 640));
    let (all, ahead) = (node.blocks() / 2, waits.lock().unwrap());
    assert_eq!(all, 64, "640 records, ten to a block");
    assert!(ahead > all && ahead <= all + 8, "{} blocks of {all} were read for who waited", ahead - all);
}

#[tokio::test]
async fn no_more_than_two_are_told_at_once() {
    let node = Node::start("a", &records(1, 1, &[1_000_000; 30])).await;
    let ask = wire::Ask::Records { after: Position::ZERO };
    let mut served = Vec::new();
    for _ in 0..2 {
        let mut asked = asker().ask(&node.name, &node.heartbeat, ask.clone()).await.unwrap();
        assert!(matches!(asked.told().await.unwrap(), wire::Told::Records { .. }));
        served.push(asked);
    }
    let mut third = asker().ask(&node.name, &node.heartbeat, ask).await.unwrap();
    let error = third.told().await.unwrap_err();
    assert!(matches!(error, Broken::Refused(Refused::Busy)), "{error}");
    drop(served);
    assert_eq!(got(&[&node], Position::ZERO).await.len(), 30, "who waits has its turn");
}

/// Connects as a node and says this.
async fn stranger(node: &Node, says: &[u8]) -> (Vec<u8>, ConnectionError) {
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let config = tls::client_config(node.heartbeat.fingerprint).unwrap();
    let address = node.endpoint.local_addr().unwrap();
    let connection = endpoint.connect_with(config, address, "quip").unwrap().await.unwrap();
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(says).await.unwrap();
    let mut heard = Vec::new();
    while let Ok(Some(chunk)) = recv.read_chunk(1_000, true).await {
        heard.extend_from_slice(&chunk.bytes);
    }
    (heard, within("it is closed", connection.closed()).await)
}

#[tokio::test]
async fn a_stranger_is_told_nothing_and_not_waited_for() {
    let node = Node::start("a", &records(1, 1, &[5])).await;
    let sayings: [&[u8]; 4] = [&[], &[0; 31], &[0; 32], &[0xff; 100_000]];
    for (n, says) in sayings.into_iter().enumerate() {
        let (heard, why) = within("it is closed", stranger(&node, says)).await;
        assert!(heard.is_empty(), "{} bytes", says.len());
        assert!(matches!(&why, ConnectionError::ApplicationClosed(_)), "{why}");
        // Who says too little is only slow.
        assert_eq!(node.refused(), (n as u64).saturating_sub(1), "{} bytes: {why}", says.len());
    }
    assert_eq!(node.core.shared.node.sessions.total(), 0, "none of them takes a place");
}

#[tokio::test]
async fn a_node_alone_does_not_speak_it() {
    let node = Node::start("a", &records(1, 1, &[5])).await;
    let alone = server_tls::load(None, node._dir.path(), false).unwrap();
    node.endpoint.set_server_config(Some(accept::server_config(&alone.config)));
    let error = asker().epochs(&node.name, &node.heartbeat).await.unwrap_err();
    assert!(error.to_string().contains("any known protocol"), "{error}");
}

/// Round trips that seem to take so long make a connection last for fifteen minutes after it is closed.
fn slow() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport.initial_rtt(Duration::from_secs(100));
    transport
}

#[tokio::test]
async fn the_address_is_free_while_connections_of_before_are_still_being_closed() {
    let node = Node::start("a", &records(1, 1, &[5])).await;
    let address = node.endpoint.local_addr().unwrap();
    let tls = server_tls::load(None, node._dir.path(), true).unwrap();
    let mut config = accept::server_config(&tls.config);
    node.endpoint.set_server_config(Some(config.transport_config(Arc::new(slow())).clone()));
    // A client that is heard once and hears nothing.
    let between = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let config = tls::client_config(node.heartbeat.fingerprint).unwrap();
    let _connecting = client.connect_with(config, between.local_addr().unwrap(), "quip").unwrap();
    let mut first = [0; 2_000];
    let (length, _) = within("it says hello", between.recv_from(&mut first)).await.unwrap();
    between.send_to(&first[..length], address).await.unwrap();
    let arrived = async {
        while node.endpoint.open_connections() == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("it is heard", arrived).await;
    let _ = node.stop.send(true);
    socket::release(node.endpoint.clone()).await;
    within("it is free", socket::listen_again(address, &tls)).await.unwrap();
    assert_eq!(node.endpoint.open_connections(), 1, "it is still being closed");
}
