//! What connections cost that do nothing but watch a room.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use crate::cli::IdleArgs;
use crate::crowd::Crowd;
use crate::latency::Deliveries;
use crate::meter::Meter;
use crate::receive::Receiver;
use crate::report::{Report, per, quantile};
use crate::stamp::MIN_SIZE;
use quip_tests::process::Process;

use super::Run;

/// At the end one message reaches everyone within this, or it is lost.
const REACHED_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn run(mut run: Run, args: &IdleArgs) -> Result<Report> {
    let connections = args.connections;
    let crowd = Crowd::new(&run.subject, connections as usize)?;
    let clients = crowd.join(&run.progress).await?;
    let after = crowd.make_room(&clients).await?;
    // The accounts are no part of what a connection costs: they are there before the memory is looked at first.
    drop(clients);
    run.subject.restart()?;
    let before = run.subject.process().as_ref().and_then(Process::rss_kib);
    let clients = crowd.connect(&run.progress).await?;
    crowd.watch(&clients, &run.progress).await?;

    run.progress.phase("idle, for seconds");
    run.progress.set(args.seconds);
    let meter = Meter::start(run.subject.process());
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let measured = meter.stop();

    let deliveries = Arc::<Deliveries>::default();
    let senders = run.senders(&crowd, &clients[..1], MIN_SIZE as u32);
    let mut receiving = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        let (clock, deliveries) = (run.clock, Arc::clone(&deliveries));
        receiving.spawn(Receiver { client, index, after, clock, deliveries }.receive(1));
    }
    let sender = senders.into_iter().next().context("there is at least one connection")?;
    let end = sender.clone();
    let sent = sender.send(crate::send::Pace::Window(1), crate::send::Enough::Messages(1)).await?;
    end.end().await?;
    let all = tokio::time::timeout(REACHED_WITHIN, receiving.join_all()).await;
    let all = all.context("lost: a message did not reach every connection")?;
    all.into_iter().try_for_each(|got| anyhow::Ok(got?.checker.complete(&[sent.count()])?))?;
    let grown = measured.server_rss_kib.zip(before).map(|(after, before)| after.saturating_sub(before));
    Ok(Report {
        receivers: Some(connections.into()),
        senders: Some(1),
        sent: Some(sent.count()),
        delivered: Some(deliveries.count()),
        p50_ms: quantile(&deliveries.all(), 0.5),
        p99_ms: quantile(&deliveries.all(), 0.99),
        last_receiver_p99_ms: quantile(&deliveries.last_receivers(), 0.99),
        server_kib_per_connection: grown.and_then(|kib| per(kib as f64, connections.into())),
        ..Report::new("idle", &measured, run.disk)
    })
}
