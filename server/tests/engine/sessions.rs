//! Sessions on a node whose inside can be seen: what they leave behind, and what they tell when.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quip_protocol::client::{Client, Config as ClientConfig, Error, Event, Trust};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{
    Address, ErrorCode, Fingerprint, Identity, NodeAddress, NodeSummary, RoomId, SafeLine, Timestamp,
};
use quip_server::Config;
use quip_server::Stopping;
use quip_server::config::Registration;
use quip_server::engine::{Actor, Command};
use quip_server::node::submit;
use quip_server::pipeline::open::open;
use quip_server::session::{accept, bulletin, socket, tls};
use quip_server::start::Core;
use quip_storage::store::StoreOptions;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::{account, bootstrap};

/// A node with a door, open to everyone.
struct Door {
    core: Core,
    port: u16,
    fingerprint: Fingerprint,
    serving: JoinHandle<()>,
    _stop: watch::Sender<bool>,
    _dir: TempDir,
}

impl Door {
    async fn open() -> Door {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config::new(Vec::new(), dir.path().to_owned());
        config.registration = Registration::Open;
        let options = StoreOptions { cache_bytes: 4 << 20 };
        let opened = open(dir.path(), options, false, &Stopping::default()).expect("the directory opens");
        let core = Core::start(&config, opened).expect("a writer starts");
        let first = Command { at: Timestamp(1), by: Actor::Operator, body: bootstrap() };
        submit(&core.shared.log, first).await.expect("an empty log takes its first command");
        let tls = tls::load(None, dir.path(), false).expect("a certificate is made");
        let endpoint = socket::listen(([127, 0, 0, 1], 0).into(), &tls).expect("a socket");
        let port = endpoint.local_addr().expect("its address").port();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(accept::run(endpoint, core.shared.clone(), None, stopped));
        Door { core, port, fingerprint: tls.fingerprint, serving, _stop: stop, _dir: dir }
    }

    /// A client with an account.
    async fn client(&self, name: &str) -> Client {
        let identity = Identity::from_seed([name.as_bytes()[0]; 32]);
        let config = ClientConfig::new("127.0.0.1", self.port, Trust::Pinned(self.fingerprint), identity);
        let client = Client::connect(ClientConfig { reconnect: false, ..config }).await.expect("it serves");
        let register = Request::Register { name: account(name), device: SafeLine::new("laptop") };
        let reply = client.request(register).await.expect("the name is free");
        assert!(matches!(reply, Reply::Account(_)), "{reply:?}");
        client
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect(what)
}

#[tokio::test]
async fn a_session_that_is_cancelled_leaves_no_watch_and_is_not_online() {
    let door = Door::open().await;
    let client = door.client("ann").await;
    client.watch(vec![(RoomId(1), None)]).await.unwrap();
    client.watch_inbox(None).await.unwrap();
    let node = &door.core.shared.node;
    assert_eq!((node.feeds.watches(), node.sessions.online()), (2, 1));
    door.serving.abort();
    let gone = async {
        while (node.feeds.watches(), node.sessions.online()) != (0, 0) {
            tokio::task::yield_now().await;
        }
    };
    within("what the session held is let go", gone).await;
}

async fn told(client: &mut Client) -> Event {
    within("the client is told", client.next()).await.expect("it lives").expect("no error")
}

fn node_summary(name: &str, connections: u32) -> NodeSummary {
    let (address, fingerprint) = (Address::new(name, 7847).expect("a name"), Fingerprint([7; 32]));
    let node = NodeAddress { name: name.parse().expect("a name"), address, fingerprint };
    NodeSummary { node, connections, draining: false }
}

#[tokio::test]
async fn who_comes_is_told_the_nodes_and_who_is_there_of_those_that_come_and_go() {
    let door = Door::open().await;
    let node = &door.core.shared.node;
    let one = vec![node_summary("a", 1)];
    assert!(node.bulletin.post(one.clone(), None));
    let (mut ann, mut bob) = (door.client("ann").await, door.client("bob").await);
    for client in [&mut ann, &mut bob] {
        let Event::Up(welcome) = told(client).await else { panic!("it was welcomed") };
        // It had no account then.
        assert_eq!(welcome.nodes, []);
        assert_eq!(told(client).await, Event::Nodes(one.clone()));
    }
    let two = vec![node_summary("a", 2), node_summary("b", 0)];
    assert!(node.bulletin.post(two.clone(), None));
    bulletin::ring(node).await;
    for client in [&mut ann, &mut bob] {
        assert_eq!(told(client).await, Event::Nodes(two.clone()));
    }
    // A room's event comes on the same bell, before anything that is no news.
    node.bulletin.post(vec![node_summary("a", 9), node_summary("b", 9)], Some(SafeLine::new("full")));
    bulletin::ring(node).await;
    assert_eq!(told(&mut ann).await, Event::ReadOnly { why: SafeLine::new("full") });
}

#[tokio::test]
async fn everybody_is_told_that_nothing_is_written_and_that_it_is_again() {
    let door = Door::open().await;
    let node = &door.core.shared.node;
    let mut early = door.client("ann").await;
    assert!(matches!(told(&mut early).await, Event::Up(_)));
    let (stop, stopped) = watch::channel(false);
    let posting = tokio::spawn(bulletin::post(Arc::clone(node), stopped));
    node.durable.stall();
    let why = SafeLine::new("the server cannot write now");
    assert_eq!(told(&mut early).await, Event::ReadOnly { why: why.clone() });
    let identity = Identity::from_seed([b'a'; 32]);
    let config = ClientConfig::new("127.0.0.1", door.port, Trust::Pinned(door.fingerprint), identity);
    let mut late = within("it is welcomed", Client::connect(config)).await.expect("reading goes on");
    assert!(matches!(told(&mut late).await, Event::Up(_)));
    assert_eq!(told(&mut late).await, Event::ReadOnly { why });
    node.durable.resume();
    for client in [&mut early, &mut late] {
        assert_eq!(told(client).await, Event::Writable);
    }
    stop.send(true).unwrap();
    within("it ends", posting).await.unwrap();
}

#[tokio::test]
async fn a_refusal_tells_of_nothing_that_is_not_durable() {
    let door = Door::open().await;
    let (ann, bob) = (door.client("ann").await, door.client("bob").await);
    let node = &door.core.shared.node;
    let group = node.applied.load(Ordering::Acquire);
    let questions = [
        Request::WhoIs { name: account("nobody") },
        Request::Open { target: "#nothing".parse().unwrap() },
        Request::Members { target: "#nothing".parse().unwrap(), after: None },
    ];
    for (question, newer) in questions.into_iter().zip(group + 1..) {
        // The engine is ahead of the disk by one group.
        node.applied.store(newer, Ordering::Release);
        let mut asking = std::pin::pin!(ann.request(question.clone()));
        let others = async {
            for _ in 0..20 {
                // This tells nothing of the state.
                assert_eq!(bob.request(Request::Unwatch { room: RoomId(9) }).await, Ok(Reply::Done));
            }
        };
        tokio::select! {
            reply = asking.as_mut() => panic!("{question:?} was answered before it was durable: {reply:?}"),
            () = others => {}
        }
        node.durable.advance(newer);
        let code = match within("an answer", asking).await {
            Err(Error::Refused(refusal)) => refusal.code,
            other => panic!("{other:?}"),
        };
        assert!(matches!(code, ErrorCode::NoSuchAccount | ErrorCode::NoSuchRoom), "{question:?}: {code}");
    }
}
