//! What it costs that several servers are one chat: the same load on a server alone, and on nodes that share a Redis.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use quip_protocol::client::Client;
use quip_protocol::frame::{Reply, Request};
use quip_protocol::room::RoomSummary;
use quip_protocol::{AccountName, RoomName, SafeLine, ServerLink};
use quip_tests::cluster::{Node, Redis};
use quip_tests::process::Process;
use tempfile::TempDir;

use crate::cli::ClusterArgs;
use crate::crowd::Crowd;
use crate::disk;
use crate::latency::new_histogram;
use crate::meter::Meter;
use crate::progress::Progress;
use crate::receive::Room;
use crate::report::{Report, per, per_second, quantile};
use crate::send::{Enough, Pace, Sender, Sent, receipts};
use crate::stamp::Clock;
use crate::subject::Subject;

use super::fanout::{early, receive_all, rest};
use super::{counts, in_seconds, send_all};

/// The server alone, or nodes and their Redis. What is dropped first is stopped first.
struct Stage {
    nodes: Vec<Node>,
    redis: Option<Redis>,
    links: Vec<ServerLink>,
    folder: TempDir,
}

impl Stage {
    fn alone() -> Result<Stage> {
        let folder = tempfile::tempdir()?;
        let mut node = Node::alone(folder.path(), "a");
        let links = vec![node.started()];
        Ok(Stage { nodes: vec![node], redis: None, links, folder })
    }

    fn cluster(nodes: u32) -> Result<Stage> {
        let (redis, folder) = (Redis::start(), tempfile::tempdir()?);
        let key = folder.path().join("cluster.key");
        let mut stage = Stage { nodes: Vec::new(), redis: None, links: Vec::new(), folder };
        for name in ('a'..='z').take(nodes as usize) {
            let mut node = Node::new(stage.folder.path(), &name.to_string(), &redis.url(), &key);
            stage.links.push(node.started());
            stage.nodes.push(node);
        }
        stage.redis = Some(redis);
        Ok(stage)
    }

    /// User and system time of every node, and of Redis behind them.
    fn cpu(&self) -> Vec<Duration> {
        let nodes = self.nodes.iter().map(Node::pid);
        let all = nodes.chain(self.redis.as_ref().map(Redis::pid));
        all.map(|pid| Process::of(pid).cpu().unwrap_or_default()).collect()
    }

    /// How many entries the shared log has had.
    fn entries(&self) -> Option<u64> {
        let last = self.redis.as_ref()?.cli(&["HGET", "{quip}:meta", "last"]);
        last.split_once('-')?.1.parse().ok()
    }

    /// So many people at each node.
    async fn crowds(&self, size: usize, progress: &Progress) -> Result<Vec<Crowd>> {
        let invite = self.nodes[0].invite(size * self.links.len());
        let mut crowds = Vec::with_capacity(self.links.len());
        for link in &self.links {
            let link = ServerLink { code: invite.code.clone(), ..link.clone() };
            let crowd = Crowd::new(&Subject::Given(link), size)?;
            drop(crowd.join(progress).await?);
            crowds.push(crowd);
        }
        Ok(crowds)
    }
}

/// What one half came to.
struct Half {
    receipts: Histogram<u64>,
    /// Delivery at the sender's node.
    here: Histogram<u64>,
    /// Delivery at the last node, which may be the same.
    there: Histogram<u64>,
    /// Saturated.
    sent: u64,
    seconds: f64,
    /// Of every node, and Redis behind them, over what was sent saturated.
    cpu_us: Vec<f64>,
    /// Messages of one entry of the shared log, saturated.
    per_entry: Option<f64>,
}

impl Half {
    fn of_nothing() -> Half {
        let [receipts, here, there] = [(); 3].map(|()| new_histogram());
        Half { receipts, here, there, sent: 0, seconds: 0.0, cpu_us: Vec::new(), per_entry: None }
    }
}

/// Measures a server alone, then a cluster.
pub async fn run(args: &ClusterArgs) -> Result<Report> {
    let (progress, meter) = (Progress::start(), Meter::start(None));
    let alone = Stage::alone()?;
    let disk = disk::measure(alone.folder.path()).context("cannot measure the disk")?;
    let single = half(&alone, args, &progress).await?;
    drop(alone);
    let stage = Stage::cluster(args.nodes)?;
    let shared = half(&stage, args, &progress).await?;
    Ok(report(Report::new("cluster", &meter.stop(), Some(disk)), args, &single, &shared))
}

async fn half(stage: &Stage, args: &ClusterArgs, progress: &Progress) -> Result<Half> {
    let nodes = stage.links.len();
    let size = 1 + args.receivers as usize + (args.senders as usize).div_ceil(nodes);
    let crowds = stage.crowds(size, progress).await?;
    let mut half = latency(&crowds, args, progress).await?;
    let (cpu, entries) = (stage.cpu(), stage.entries());
    let (sent, seconds) = throughput(&crowds, args, progress).await?;
    half.sent = counts(&sent).iter().sum();
    half.seconds = seconds;
    let used = stage.cpu().into_iter().zip(cpu).map(|(after, before)| after.saturating_sub(before));
    let sent = half.sent;
    half.cpu_us = used.filter_map(|used| per(used.as_secs_f64() * 1e6, sent)).collect();
    let grown = stage.entries().zip(entries).map(|(after, before)| after.saturating_sub(before));
    half.per_entry = grown.and_then(|entries| per(sent as f64, entries));
    Ok(half)
}

/// One sends at the first node at a rate; some watch there, and at the last one.
async fn latency(crowds: &[Crowd], args: &ClusterArgs, progress: &Progress) -> Result<Half> {
    let watching = 1..1 + args.receivers as usize;
    let (first, last) = crowds.first().zip(crowds.last()).context("there is a node")?;
    let clients = first.clients(0..1, progress).await?;
    let clock = Clock::start();
    let summary = make_room(&clients[0], first.name(0), "latency", crowds).await?;
    let (here, there) = (Room::new(clock), Room::new(clock));
    let mut receiving = Vec::new();
    for (crowd, room) in [(first, &here), (last, &there)] {
        let mut watchers = crowd.connect(watching.clone(), progress).await?;
        crowd.watch(&mut watchers, &summary, progress).await?;
        receiving.push(receive_all(watchers, 1, summary.head.seq, room));
    }
    let [mut at_first, mut at_last] = <[_; 2]>::try_from(receiving).ok().context("two rooms of receivers")?;
    let senders = senders(&clients, &summary, args.load.size, clock);
    progress.phase("sending, for seconds");
    progress.set(args.load.seconds);
    let every = Duration::from_secs(1) / args.rate;
    let pace = Pace::Clock { first: Instant::now() + every, every };
    let sent = tokio::select! {
        sent = send_all(&senders, |_| pace, Enough::At(in_seconds(args.load.seconds))) => sent?,
        Some(got) = at_first.join_next() => return Err(early(got)),
        Some(got) = at_last.join_next() => return Err(early(got)),
    };
    senders.first().context("one sends")?.end().await?;
    for (receiving, room) in [(at_first, &here), (at_last, &there)] {
        rest(receiving, room).await?.iter().try_for_each(|got| got.checker.complete(&counts(&sent), 0))?;
    }
    Ok(Half {
        receipts: receipts(&sent),
        here: here.deliveries.all(),
        there: there.deliveries.all(),
        ..Half::of_nothing()
    })
}

/// All send at all nodes as fast as they are acknowledged, and nobody watches.
async fn throughput(crowds: &[Crowd], args: &ClusterArgs, progress: &Progress) -> Result<(Vec<Sent>, f64)> {
    let from = 1 + args.receivers as usize;
    let mut clients = Vec::new();
    for (index, crowd) in crowds.iter().enumerate() {
        let here = (args.senders as usize + crowds.len() - 1 - index) / crowds.len();
        clients.extend(crowd.clients(from..from + here, progress).await?);
    }
    let maker = clients.first().context("somebody sends")?;
    let summary = make_room(maker, crowds[0].name(from), "throughput", crowds).await?;
    let senders = senders(&clients, &summary, args.load.size, Clock::start());
    progress.phase("sending as fast as it goes, for seconds");
    progress.set(args.load.seconds);
    let (begun, end) = (Instant::now(), Enough::At(in_seconds(args.load.seconds)));
    let sent = send_all(&senders, |_| Pace::Window(args.window as usize), end).await?;
    Ok((sent, begun.elapsed().as_secs_f64()))
}

/// A public room of everyone.
async fn make_room(maker: &Client, who: &AccountName, name: &str, crowds: &[Crowd]) -> Result<RoomSummary> {
    let (name, topic): (RoomName, _) = (name.parse()?, SafeLine::default());
    let everyone = crowds.iter().flat_map(|crowd| crowd.all().map(|at| crowd.name(at)));
    let members = everyone.filter(|name| *name != who).cloned().collect();
    match maker.request(Request::CreateRoom { name, private: false, topic, members }).await? {
        Reply::Room(summary) => Ok(summary),
        other => bail!("making a room was answered with {other:?}"),
    }
}

fn senders(clients: &[Client], room: &RoomSummary, size: u32, clock: Clock) -> Vec<Sender> {
    let sender = |(index, client): (u32, &Client)| Sender {
        handle: client.handle(),
        index,
        first: 0,
        to: room.target.clone(),
        size: size as usize,
        clock,
    };
    (0..).zip(clients).map(sender).collect()
}

fn report(report: Report, args: &ClusterArgs, single: &Half, shared: &Half) -> Report {
    let mut report = Report {
        receivers: Some(u64::from(args.receivers) * 2),
        senders: Some(args.senders.into()),
        sent: Some(shared.sent),
        durable_per_s: per_second(shared.sent, shared.seconds),
        p50_ms: quantile(&shared.there, 0.5),
        p99_ms: quantile(&shared.there, 0.99),
        receipt_p50_ms: quantile(&shared.receipts, 0.5),
        receipt_p99_ms: quantile(&shared.receipts, 0.99),
        ..report
    };
    report.note("nodes", args.nodes);
    report.note("rate", args.rate);
    report.note("window", args.window);
    report.note("same_node_p50_ms", quantile(&shared.here, 0.5));
    report.note("same_node_p99_ms", quantile(&shared.here, 0.99));
    let (redis, nodes) = shared.cpu_us.split_last().unzip();
    report.note("node_cpu_us_per_message", nodes.unwrap_or_default().to_vec());
    report.note("redis_cpu_us_per_message", redis.copied());
    report.note("messages_per_entry", shared.per_entry);
    report.note("alone_p50_ms", quantile(&single.here, 0.5));
    report.note("alone_p99_ms", quantile(&single.here, 0.99));
    report.note("alone_receipt_p50_ms", quantile(&single.receipts, 0.5));
    report.note("alone_receipt_p99_ms", quantile(&single.receipts, 0.99));
    report.note("alone_durable_per_s", per_second(single.sent, single.seconds));
    report.note("alone_cpu_us_per_message", single.cpu_us.first().copied());
    report
}
