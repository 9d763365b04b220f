//! What it costs to connect: the whole handshake, up to the server's welcome, again and again.

use std::time::Instant;

use anyhow::Result;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::cli::HandshakeArgs;
use crate::crowd::Crowd;
use crate::latency::new_histogram;
use crate::meter::Meter;
use crate::report::{Report, per_second, quantile};

use super::{Run, in_seconds};

pub(super) async fn run(run: Run, args: &HandshakeArgs) -> Result<Report> {
    let crowd = Crowd::new(&run.subject, args.clients as usize)?;
    drop(crowd.join(&run.progress).await?);
    run.progress.phase("connecting, for seconds");
    run.progress.set(args.seconds);
    let meter = Meter::start(run.subject.process());
    let until = in_seconds(args.seconds);
    let mut connecting = JoinSet::new();
    for at in 0..args.clients as usize {
        let crowd = crowd.clone();
        connecting.spawn(async move { again_and_again(&crowd, at, until).await });
    }
    let mut all = new_histogram();
    while let Some(one) = connecting.join_next().await {
        all.add(&one??)?;
    }
    let measured = meter.stop();
    Ok(Report {
        senders: Some(args.clients.into()),
        sent: Some(all.len()),
        deliveries_per_s: per_second(all.len(), measured.seconds()),
        server_cpu_us_per_message: measured.server_us_per(all.len()),
        p50_ms: quantile(&all, 0.5),
        p99_ms: quantile(&all, 0.99),
        ..Report::new("handshake", &measured, run.disk)
    })
}

async fn again_and_again(crowd: &Crowd, at: usize, until: Instant) -> Result<Histogram<u64>> {
    let mut took = new_histogram();
    while Instant::now() < until {
        let begun = Instant::now();
        let client = crowd.connect_one(at).await?;
        took.saturating_record(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        client.close().await;
    }
    Ok(took)
}
