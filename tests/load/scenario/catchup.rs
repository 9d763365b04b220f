//! How fast connections that were away get what they missed, all at once, from a server that was just started.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use quip_protocol::RoomName;
use quip_protocol::client::Client;
use tokio::task::{JoinHandle, JoinSet};

use crate::cli::CatchupArgs;
use crate::crowd::Crowd;
use crate::meter::Meter;
use crate::receive::{Got, Room};
use crate::report::{Report, per_second, quantile};
use crate::send::{Enough, Pace, Sender, Sent};

use super::fanout::{early, receive_all, rest};
use super::{Run, complete, send_all};

/// How the room is filled.
const WINDOW: usize = 256;
/// Everyone has everything within this, or it is lost.
const WITHIN: Duration = Duration::from_secs(600);

pub(super) async fn run(mut run: Run, args: &CatchupArgs) -> Result<Report> {
    let away = args.receivers as usize;
    let crowd = Crowd::new(&run.subject, away + 1 + args.live as usize)?;
    let mut leans = crowd.join(&run.progress).await?;
    let summary = crowd.make_room(&mut leans[0], &crowd.room, 1..away).await?;
    drop(leans);
    let clients = crowd.clients(0..1, &run.progress).await?;
    run.progress.phase("filling the room");
    let senders = run.senders(&crowd.room, &clients, args.size);
    let sent = send_all(&senders, |_| Pace::Window(WINDOW), Enough::Messages(args.missed)).await?;
    senders.first().context("there is a client")?.end().await?;
    drop((senders, clients));
    run.subject.restart()?;
    let mut leans = crowd.connect(0..away, &run.progress).await?;
    let mut live = match args.live {
        0 => None,
        _ => Some(Live::begin(&run, &crowd, args).await?),
    };
    let before = match &mut live {
        Some(live) => Some(live.before(Duration::from_secs(args.live_seconds)).await?),
        None => None,
    };

    run.progress.phase("catching up");
    let meter = Meter::start(run.subject.process());
    let place = [(summary.id, summary.head)];
    try_join_all(leans.iter_mut().map(|lean| lean.watch(&place))).await?;
    let room = Room::new(run.clock);
    let receiving = receive_all(leans, 1, summary.head.seq, &room);
    let all = tokio::time::timeout(WITHIN, receiving.join_all()).await;
    let all = all.with_context(|| format!("lost: only {} deliveries came", room.deliveries.count()))?;
    let measured = meter.stop();
    all.into_iter().try_for_each(|got| anyhow::Ok(complete(&got?.checker, &sent)?))?;
    let delivered = room.deliveries.count();
    let mut report = Report {
        receivers: Some(args.receivers.into()),
        sent: Some(args.missed),
        delivered: Some(delivered),
        deliveries_per_s: per_second(delivered, measured.seconds()),
        server_cpu_us_per_delivery: measured.server_us_per(delivered),
        ..Report::new("catchup", &measured, run.disk)
    };
    if let Some((live, before)) = live.zip(before) {
        live.end(before, &mut report).await?;
    }
    Ok(report)
}

/// Others, in another room, who are there all the time.
struct Live {
    room: Arc<Room>,
    receiving: JoinSet<Result<Got>>,
    sender: Sender,
    sending: JoinHandle<Result<Vec<Sent>>>,
    enough: Arc<AtomicBool>,
    _clients: Vec<Client>,
}

/// Latencies of others, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Latency {
    p50: Option<f64>,
    p99: Option<f64>,
}

impl Live {
    /// They are who comes behind those who were away; the last of them sends.
    async fn begin(run: &Run, crowd: &Crowd, args: &CatchupArgs) -> Result<Live> {
        let (first, last) = (args.receivers as usize, crowd.all().end - 1);
        let name: RoomName = format!("{}-live", crowd.room).parse()?;
        let mut maker = crowd.connect(last..last + 1, &run.progress).await?;
        let summary = crowd.make_room(&mut maker[0], &name, first..last).await?;
        let mut leans = crowd.connect(first..last, &run.progress).await?;
        crowd.watch(&mut leans, &summary, &run.progress).await?;
        let room = Room::new(run.clock);
        let receiving = receive_all(leans, 1, summary.head.seq, &room);
        let clients = crowd.clients(last..last + 1, &run.progress).await?;
        let sender = run.senders(&name, &clients, args.size).pop().context("one sends")?;
        let enough = Arc::<AtomicBool>::default();
        let (one, told) = ([sender.clone()], Enough::Told(Arc::clone(&enough)));
        let pace = Pace::Clock { first: Instant::now(), every: Duration::from_secs(1) / args.live_rate };
        let sending = tokio::spawn(async move { send_all(&one, |_| pace, told).await });
        Ok(Live { room, receiving, sender, sending, enough, _clients: clients })
    }

    /// As it is while nobody catches up.
    async fn before(&mut self, during: Duration) -> Result<Latency> {
        tokio::select! {
            () = tokio::time::sleep(during) => {}
            Some(got) = self.receiving.join_next() => return Err(early(got)),
        }
        let latency = self.latency();
        self.room.deliveries.begin_again();
        Ok(latency)
    }

    fn latency(&self) -> Latency {
        let all = self.room.deliveries.all();
        Latency { p50: quantile(&all, 0.5), p99: quantile(&all, 0.99) }
    }

    /// As it was since, and that nothing is missing.
    async fn end(self, before: Latency, report: &mut Report) -> Result<()> {
        let meanwhile = self.latency();
        self.enough.store(true, Ordering::Relaxed);
        let sent = self.sending.await??;
        self.sender.end().await?;
        let got = rest(self.receiving, &self.room).await?;
        got.iter().try_for_each(|got| complete(&got.checker, &sent))?;
        let ratio = |of: Option<f64>, to: Option<f64>| Some(crate::report::round(of? / to?));
        report.note("live_receivers", got.len());
        report.note("live_p50_ms_before", before.p50);
        report.note("live_p99_ms_before", before.p99);
        report.note("live_p50_ms_meanwhile", meanwhile.p50);
        report.note("live_p99_ms_meanwhile", meanwhile.p99);
        report.note("live_p50_ratio", ratio(meanwhile.p50, before.p50));
        report.note("live_p99_ratio", ratio(meanwhile.p99, before.p99));
        Ok(())
    }
}
