//! How fast messages reach everyone who watches a room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use quip_protocol::Seq;
use tokio::task::JoinSet;

use crate::cli::{FanoutArgs, Rate};
use crate::lean::Lean;
use crate::meter::{Measured, Meter};
use crate::receive::{Got, Receiver, Room};
use crate::report::{Report, per, per_second, quantile};
use crate::send::{Enough, Pace, Sent, receipts};

use super::{Run, complete, counts, held_back, in_seconds, send_all};

/// After the last message, everyone has everything within this, or it is lost.
const REST_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn run(mut run: Run, args: &FanoutArgs) -> Result<Report> {
    let (senders, everyone) = (args.senders as usize, (args.senders + args.receivers) as usize);
    let (crowd, summary) = run.crowd_in_a_room(everyone).await?;
    let clients = crowd.clients(0..senders, &run.progress).await?;
    let before = run.rss_kib();
    let mut watchers = crowd.connect(senders..everyone, &run.progress).await?;
    crowd.watch(&mut watchers, &summary, &run.progress).await?;
    let grown = run.rss_kib().zip(before).map(|(after, before)| after.saturating_sub(before));
    let room = Room::new(run.clock);
    let mut receiving = receive_all(watchers, senders, summary.head.seq, &room);

    let senders = run.senders(&crowd.room, &clients, args.load.size);
    run.progress.phase("sending, for seconds");
    run.progress.set(args.load.seconds);
    let meter = Meter::start(run.subject.process());
    let enough = Enough::At(in_seconds(args.load.seconds));
    let begun = Instant::now();
    let sending = send_all(&senders, |index| pace(args, index, begun), enough);
    let sent = tokio::select! {
        sent = sending => sent?,
        // A receiver that ends before the end of the run has failed: no need to go on.
        Some(got) = receiving.join_next() => return Err(early(got)),
    };
    let sending_seconds = begun.elapsed().as_secs_f64();
    senders.first().context("there is at least one sender")?.end().await?;
    let got = rest(receiving, &room).await?;
    let measured = meter.stop();
    got.iter().try_for_each(|got| complete(&got.checker, &sent))?;
    let mut report = Report::new("fanout", &measured, run.disk);
    report.server_kib_per_connection = grown.and_then(|kib| per(kib as f64, args.receivers.into()));
    report.note("rate", rate(args.rate));
    report.note("window", args.window);
    report.note("held_back", held_back(&sent));
    Ok(report_of(report, args, &measured, &sent, &room, sending_seconds))
}

fn rate(rate: Rate) -> serde_json::Value {
    match rate {
        Rate::Max => "max".into(),
        Rate::PerSecond(rate) => rate.into(),
    }
}

fn pace(args: &FanoutArgs, index: u32, begun: Instant) -> Pace {
    match args.rate {
        Rate::Max => Pace::Window(args.window as usize),
        Rate::PerSecond(rate) => {
            let every = Duration::from_secs_f64(f64::from(args.senders) / rate);
            // Senders take turns rather than all sending at once.
            Pace::Clock { first: begun + every * index / args.senders, every }
        }
    }
}

/// Has all of them receive, from behind `after` on.
pub(super) fn receive_all(
    watchers: Vec<Lean>,
    senders: usize,
    after: Seq,
    room: &Arc<Room>,
) -> JoinSet<Result<Got>> {
    let receiver = |(index, lean)| Receiver::new(lean, index, senders, after, room).receive();
    watchers.into_iter().enumerate().map(receiver).collect()
}

/// Why a receiver ended while messages were still sent.
pub(super) fn early(got: Result<Result<Got>, tokio::task::JoinError>) -> anyhow::Error {
    match got {
        Ok(Err(error)) => error,
        Ok(Ok(_)) => anyhow::anyhow!("a receiver saw the end of the run before it was sent"),
        Err(error) => error.into(),
    }
}

/// What all of them got, once the end was sent.
pub(super) async fn rest(mut receiving: JoinSet<Result<Got>>, room: &Room) -> Result<Vec<Got>> {
    let all = async {
        let mut all = Vec::new();
        while let Some(got) = receiving.join_next().await {
            all.push(got??);
        }
        Ok(all)
    };
    let got = tokio::time::timeout(REST_WITHIN, all).await;
    got.with_context(|| {
        let count = room.deliveries.count();
        format!("lost: {REST_WITHIN:?} after the last message there were only {count} deliveries")
    })?
}

fn report_of(
    report: Report,
    args: &FanoutArgs,
    measured: &Measured,
    sent: &[Sent],
    room: &Room,
    sending_seconds: f64,
) -> Report {
    let total: u64 = counts(sent).iter().sum();
    let deliveries = &room.deliveries;
    let (latencies, receipts) = (deliveries.all(), receipts(sent));
    Report {
        receivers: Some(args.receivers.into()),
        senders: Some(args.senders.into()),
        sent: Some(total),
        delivered: Some(deliveries.count()),
        deliveries_per_s: per_second(deliveries.count(), measured.seconds()),
        durable_per_s: per_second(total, sending_seconds),
        server_cpu_us_per_delivery: measured.server_us_per(deliveries.count()),
        server_cpu_us_per_message: measured.server_us_per(total),
        p50_ms: quantile(&latencies, 0.5),
        p99_ms: quantile(&latencies, 0.99),
        last_receiver_p99_ms: quantile(&deliveries.last_receivers(), 0.99),
        receipt_p50_ms: quantile(&receipts, 0.5),
        receipt_p99_ms: quantile(&receipts, 0.99),
        ..report
    }
}
