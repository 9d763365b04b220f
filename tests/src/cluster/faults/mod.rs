//! Real nodes, a real Redis and real clients, and something killed or cut off every few seconds; then everything that was sent and seen is
//! held to what a cluster promises.

mod crew;
mod cut;
mod plan;
mod stage;
mod wires;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use quip_protocol::client::Client;
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{AccountName, MessageId, RoomId, SafeLine, ServerLink};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use super::history::{Entry, History, NodeLog, Sent};
use super::logs::{at_node, node_of, read_room};
use super::{Verdict, check};
use crate::{identity, join};
use crew::{Crew, Goal, Person, Room};
use plan::Scene;
use stage::Stage;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// For how long something is killed.
    pub seconds: u64,
    /// What is killed when follows from it.
    pub seed: u64,
    /// How many clients.
    pub clients: usize,
    /// How many rooms.
    pub rooms: usize,
    /// How many nodes.
    pub nodes: usize,
    /// Messages a second that all clients send together at most.
    pub rate: u32,
    /// Redis loses what it acknowledged, too.
    pub rollback: bool,
    /// Where nodes keep their data and logs.
    pub folder: PathBuf,
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// What the checker found.
    pub verdict: Verdict,
    /// What went wrong beside: a node that ended by itself.
    pub surprises: Vec<String>,
    /// How much of everything.
    pub figures: Figures,
}

/// How much of everything. Times in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Of the run.
    pub seed: u64,
    /// For how long something was killed.
    pub seconds: u64,
    /// Whether Redis lost what it had acknowledged, too.
    pub rollback: bool,
    /// Messages that were sent.
    pub messages: usize,
    /// Those that were acknowledged.
    pub acked: usize,
    /// Those that were refused for good; there should be none.
    pub refused: usize,
    /// How often one was refused for now and sent again, by hand: what the client library repeats by itself is not counted.
    pub repeats: u64,
    /// How often a client lost its node and went to another one, or the same.
    pub failovers: u64,
    /// Events that clients saw.
    pub seen: usize,
    /// How often a client was told to fetch again.
    pub resets: usize,
    /// Messages that were appended again after Redis had lost them.
    pub reappended: usize,
    /// What fell, how often.
    pub blows: BTreeMap<&'static str, u64>,
    /// Who was cut off from whom, how often.
    pub partitions: BTreeMap<&'static str, u64>,
    /// Why nothing but nodes and Redis could be cut off from each other, if so.
    pub partitions_lack: Option<String>,
    /// The longest time in which nothing was acknowledged.
    pub longest_silence_ms: f64,
    /// From sending to the receipt.
    pub receipt_p50_ms: f64,
    /// The same, of the slowest hundredth.
    pub receipt_p99_ms: f64,
    /// The same, of the slowest: the longest that one sender waited.
    pub receipt_max_ms: f64,
    /// From sending to being seen at another node.
    pub elsewhere_p50_ms: f64,
    /// The same, of the slowest hundredth.
    pub elsewhere_p99_ms: f64,
}

/// Once nothing is killed any more, everyone has everything within this.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// The one who makes the rooms and reads the logs.
const OWNER: &str = "owner";

impl Report {
    /// Everything that is wrong, a line each.
    pub fn complaints(&self) -> Vec<String> {
        let found = self.verdict.faults.iter().map(ToString::to_string);
        self.surprises.iter().cloned().chain(found).chain(self.figures.complaints()).collect()
    }
}

impl Figures {
    /// Where Redis keeps what it acknowledges every message is taken, and stays where it was acknowledged.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.refused > 0 {
            complaints.push(format!("{} messages were refused for good", self.refused));
        }
        if self.reappended > 0 && !self.rollback {
            let count = self.reappended;
            complaints.push(format!("{count} acknowledged messages stand elsewhere, and Redis lost nothing"));
        }
        complaints
    }
}

/// Runs it, where this system allows that with a network namespace for each node, for Redis and for the clients.
///
/// # Errors
/// When the cluster cannot be set up, or a node's logs cannot be read in the end.
///
/// # Panics
/// When `quipd` or `redis-server` cannot be started.
pub fn run(options: &Options) -> Result<Report> {
    // In a thread of its own: one that has entered a network stays there.
    let done = std::thread::scope(|scope| scope.spawn(|| run_here(options)).join());
    done.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
}

fn run_here(options: &Options) -> Result<Report> {
    let mut stage = Stage::new(&options.folder, options.nodes);
    // Behind the stage, so that its threads are where the clients are.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let links: Vec<ServerLink> = stage.nodes.iter_mut().map(|node| node.started()).collect();
    let owner = stage.nodes[0].owner();
    let invite = |clients| stage.nodes[0].invite(clients);
    let mut play = runtime.block_on(Play::begin(options, &links, &owner, invite))?;
    stage.play(&plan::plan(options.seed, options.scene(&stage)), Duration::from_secs(options.seconds));
    let history = runtime.block_on(play.end(&links))?;
    let verdict = check(&history);
    let figures = figures(options, &play.crew, &stage, &history, &verdict);
    Ok(Report { verdict, surprises: stage.surprises.clone(), figures })
}

impl Options {
    fn scene(&self, stage: &Stage) -> Scene {
        let Options { nodes, seconds, rollback, .. } = *self;
        Scene { nodes, length_ms: seconds * 1_000, rollback, networks: stage.wires.lack().is_none() }
    }
}

/// The clients of a run, while it lasts.
#[derive(Debug)]
pub struct Play {
    crew: Arc<Crew>,
    rooms: Arc<Vec<Room>>,
    senders: JoinSet<()>,
    readers: JoinSet<super::Reading>,
    stop: watch::Sender<bool>,
}

impl Play {
    /// Connects everyone, each to the next node; from here on they send.
    ///
    /// # Errors
    /// When somebody is refused.
    pub async fn begin(
        options: &Options,
        links: &[ServerLink],
        owner: &ServerLink,
        invite: impl FnOnce(usize) -> ServerLink,
    ) -> Result<Play> {
        let owner = join(owner, OWNER).await;
        let invite = invite(options.clients);
        let names: Vec<AccountName> =
            (0..options.clients).map(|index| format!("client-{index}").parse()).collect::<Result<_, _>>()?;
        let mut clients = Vec::with_capacity(names.len());
        for (name, link) in names.iter().zip(links.iter().cycle()) {
            let link = ServerLink { code: invite.code.clone(), ..link.clone() };
            clients.push((name.clone(), join(&link, name.as_str()).await));
        }
        let rooms = Arc::new(make_rooms(&owner, options.rooms, &names).await?);
        let (crew, stop) = (Arc::new(Crew::new()), watch::Sender::new(false));
        let (senders, readers) = (JoinSet::new(), JoinSet::new());
        let mut play = Play { crew, rooms, senders, readers, stop };
        let every = Duration::from_secs(1) * u32::try_from(options.clients)? / options.rate;
        for (seed, (name, client)) in (options.seed..).zip(clients) {
            play.enter(client, Person { name, seed, every, rooms: Arc::clone(&play.rooms) });
        }
        Ok(play)
    }

    fn enter(&mut self, client: Client, person: Person) {
        let (handle, name) = (client.handle(), person.name.clone());
        self.senders.spawn(crew::send(Arc::clone(&self.crew), handle, person));
        let (crew, rooms) = (Arc::clone(&self.crew), Arc::clone(&self.rooms));
        self.readers.spawn(crew::follow(crew, client, name, rooms, self.stop.subscribe()));
    }

    /// How many messages were acknowledged so far.
    pub fn acked(&self) -> usize {
        self.crew.all_sent().iter().filter(|sent| sent.acked().is_some()).count()
    }

    /// Nobody sends any more; everyone who sent has an answer, and everyone has seen everything, or the time is up.
    ///
    /// # Errors
    /// When a node's logs cannot be read in the end.
    pub async fn end(&mut self, links: &[ServerLink]) -> Result<History> {
        self.crew.enough.store(true, Ordering::Relaxed);
        let senders = async { while self.senders.join_next().await.is_some() {} };
        let until = Instant::now() + SETTLED_WITHIN;
        // Who has no answer then is told of by the checker.
        let _ = timeout(SETTLED_WITHIN, senders).await;
        let nodes = self.read_all(links, until).await?;
        self.crew.goal.send_replace(goal(&nodes));
        let mut readings = Vec::new();
        let late = tokio::time::sleep(SETTLED_WITHIN);
        tokio::pin!(late);
        loop {
            tokio::select! {
                reading = self.readers.join_next() => match reading {
                    Some(reading) => readings.push(reading?),
                    None => break,
                },
                () = &mut late, if !*self.stop.borrow() => drop(self.stop.send_replace(true)),
            }
        }
        let sends = self.crew.all_sent();
        let reappended = reappended(&sends, &nodes);
        Ok(History { sends, readings, nodes, reappended })
    }

    /// The logs of all nodes, once they end at the same places, or the time is up.
    async fn read_all(&self, links: &[ServerLink], until: Instant) -> Result<Vec<NodeLog>> {
        let mut turns = interval(Duration::from_millis(500));
        loop {
            turns.tick().await;
            let logs = self.try_read_all(links).await;
            match logs {
                Ok(logs)
                    if Instant::now() > until
                        || logs.windows(2).all(|pair| goal(&pair[..1]) == goal(&pair[1..])) =>
                {
                    return Ok(logs);
                }
                Err(error) if Instant::now() > until => return Err(error),
                _ => {}
            }
        }
    }

    async fn try_read_all(&self, links: &[ServerLink]) -> Result<Vec<NodeLog>> {
        let mut logs = Vec::with_capacity(links.len());
        for link in links {
            let client = at_node(link, identity(OWNER)).await?;
            let node = node_of(&client)?;
            let mut rooms = BTreeMap::new();
            for room in self.rooms.iter() {
                let log = read_room(&client, &room.target).await?;
                rooms.insert(room.id, log.iter().map(Entry::from).collect());
            }
            client.close().await;
            logs.push(NodeLog { node, rooms });
        }
        Ok(logs)
    }
}

async fn make_rooms(owner: &Client, count: usize, members: &[AccountName]) -> Result<Vec<Room>> {
    let mut rooms = Vec::with_capacity(count);
    for index in 0..count {
        let (name, topic) = (format!("room-{index}").parse()?, SafeLine::default());
        let create = Request::CreateRoom { name, private: false, topic, members: members.to_vec() };
        let Reply::Room(summary) = owner.request(create).await? else { bail!("no room was made") };
        rooms.push(Room { id: summary.id, target: summary.target });
    }
    Ok(rooms)
}

/// Where the rooms of the first of these nodes end.
fn goal(nodes: &[NodeLog]) -> Goal {
    let end = |(room, log): (&RoomId, &Vec<Entry>)| Some((*room, log.last()?.place.seq));
    nodes.first().map(|node| node.rooms.iter().filter_map(end).collect())
}

/// What stands in a higher epoch than its receipt says: after that receipt the log was repaired without it, and the node that
/// had it appended it again. Where Redis keeps what it acknowledges there is none.
fn reappended(sends: &[Sent], nodes: &[NodeLog]) -> std::collections::BTreeSet<MessageId> {
    let entries = nodes.first().into_iter().flat_map(|node| node.rooms.values().flatten());
    let epochs: BTreeMap<MessageId, _> = entries.filter_map(|e| Some((e.id?, e.place.epoch))).collect();
    let said = |sent: &Sent| Some((sent.id, sent.acked()?.receipt.epoch));
    let raised = |(id, epoch): &(MessageId, _)| epochs.get(id).is_some_and(|now| now > epoch);
    sends.iter().filter_map(said).filter(raised).map(|(id, _)| id).collect()
}

fn figures(options: &Options, crew: &Crew, stage: &Stage, history: &History, verdict: &Verdict) -> Figures {
    let (repeats, failovers) = crew.repeats_and_failovers();
    let latencies = crew.all_latencies();
    let ms = |us: u64| us as f64 / 1e3;
    Figures {
        seed: options.seed,
        seconds: options.seconds,
        rollback: options.rollback,
        messages: verdict.figures.sent,
        acked: verdict.figures.acked,
        refused: verdict.figures.refused,
        repeats,
        failovers,
        seen: verdict.figures.seen,
        resets: verdict.figures.resets,
        reappended: verdict.figures.reappended,
        blows: stage.blows.clone(),
        partitions: stage.partitions.clone(),
        partitions_lack: stage.wires.lack().map(str::to_owned),
        longest_silence_ms: ms(longest_silence(&history.sends)),
        receipt_p50_ms: ms(latencies.receipt.value_at_quantile(0.5)),
        receipt_p99_ms: ms(latencies.receipt.value_at_quantile(0.99)),
        receipt_max_ms: ms(latencies.receipt.max()),
        elsewhere_p50_ms: ms(latencies.elsewhere.value_at_quantile(0.5)),
        elsewhere_p99_ms: ms(latencies.elsewhere.value_at_quantile(0.99)),
    }
}

/// Between two receipts, in the time of the history.
fn longest_silence(sends: &[Sent]) -> u64 {
    let mut receipts: Vec<u64> = sends.iter().filter_map(|sent| Some(sent.acked()?.at)).collect();
    receipts.sort_unstable();
    receipts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// A folder of this name below the system's for temporary files, made anew.
///
/// # Errors
/// When it cannot be made.
pub fn folder(name: &str) -> Result<PathBuf> {
    let folder: &Path = &std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.to_owned())
}
