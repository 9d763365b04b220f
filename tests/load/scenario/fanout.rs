//! How fast messages reach everyone who watches a room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use quip_protocol::Seq;
use quip_protocol::client::Client;
use tokio::task::JoinSet;

use crate::cli::{FanoutArgs, Rate};
use crate::crowd::Crowd;
use crate::latency::Deliveries;
use crate::meter::{Measured, Meter};
use crate::receive::{Got, Receiver};
use crate::report::{Report, per_second, quantile};
use crate::send::{Enough, Pace, Sent, receipts};

use super::{Run, counts, in_seconds, send_all};

/// After the last message, everyone has everything within this, or it is lost.
const REST_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn run(run: Run, args: &FanoutArgs) -> Result<Report> {
    let crowd = Crowd::new(&run.subject, (args.senders + args.receivers) as usize)?;
    let mut clients = crowd.join(&run.progress).await?;
    let after = crowd.make_room(&clients).await?;
    let watchers = clients.split_off(args.senders as usize);
    crowd.watch(&watchers, &run.progress).await?;
    let deliveries = Arc::<Deliveries>::default();
    let mut receiving = receive_all(&run, watchers, args.senders as usize, after, &deliveries);

    let senders = run.senders(&crowd, &clients, args.load.size);
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
    let got = rest(receiving, &deliveries).await?;
    let measured = meter.stop();
    got.iter().try_for_each(|got| got.checker.complete(&counts(&sent)))?;
    let report = Report::new("fanout", &measured, run.disk);
    Ok(report_of(report, args, &measured, &sent, &deliveries, sending_seconds))
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

fn receive_all(
    run: &Run,
    watchers: Vec<Client>,
    senders: usize,
    after: Seq,
    deliveries: &Arc<Deliveries>,
) -> JoinSet<Result<Got>> {
    let receiver = |(index, client)| {
        Receiver { client, index, after, clock: run.clock, deliveries: Arc::clone(deliveries) }
            .receive(senders)
    };
    watchers.into_iter().enumerate().map(receiver).collect()
}

fn early(got: Result<Result<Got>, tokio::task::JoinError>) -> anyhow::Error {
    match got {
        Ok(Err(error)) => error,
        Ok(Ok(_)) => anyhow::anyhow!("a receiver saw the end of the run before it was sent"),
        Err(error) => error.into(),
    }
}

async fn rest(mut receiving: JoinSet<Result<Got>>, deliveries: &Deliveries) -> Result<Vec<Got>> {
    let all = async {
        let mut all = Vec::new();
        while let Some(got) = receiving.join_next().await {
            all.push(got??);
        }
        Ok(all)
    };
    let got = tokio::time::timeout(REST_WITHIN, all).await;
    got.with_context(|| {
        let count = deliveries.count();
        format!("lost: {REST_WITHIN:?} after the last message there were only {count} deliveries")
    })?
}

fn report_of(
    report: Report,
    args: &FanoutArgs,
    measured: &Measured,
    sent: &[Sent],
    deliveries: &Deliveries,
    sending_seconds: f64,
) -> Report {
    let total: u64 = counts(sent).iter().sum();
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
