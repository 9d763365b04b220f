//! What connections cost that do nothing but watch a room.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cli::IdleArgs;
use crate::meter::Meter;
use crate::receive::Room;
use crate::report::{Report, per, quantile};
use crate::send::{Enough, Pace};
use crate::stamp::MIN_SIZE;

use super::fanout::{receive_all, rest};
use super::{Run, complete, send_all};

pub(super) async fn run(mut run: Run, args: &IdleArgs) -> Result<Report> {
    let connections = args.connections as usize;
    // One more sends the message at the end.
    let (crowd, summary) = run.crowd_in_a_room(1 + connections).await?;
    let clients = crowd.clients(0..1, &run.progress).await?;
    let before = run.rss_kib();
    let mut leans = crowd.connect(1..1 + connections, &run.progress).await?;
    crowd.watch(&mut leans, &summary, &run.progress).await?;

    run.progress.phase("idle, for seconds");
    run.progress.set(args.seconds);
    let meter = Meter::start(run.subject.process());
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let measured = meter.stop();

    let room = Room::new(run.clock);
    let receiving = receive_all(leans, 1, summary.head.seq, &room);
    let senders = run.senders(&crowd.room, &clients, MIN_SIZE as u32);
    let sent = send_all(&senders, |_| Pace::Window(1), Enough::Messages(1)).await?;
    senders.first().context("there is a sender")?.end().await?;
    let all = rest(receiving, &room).await?;
    all.iter().try_for_each(|got| complete(&got.checker, &sent))?;
    let grown = measured.server_rss_kib.zip(before).map(|(after, before)| after.saturating_sub(before));
    let deliveries = &room.deliveries;
    Ok(Report {
        receivers: Some(args.connections.into()),
        senders: Some(1),
        sent: Some(1),
        delivered: Some(deliveries.count()),
        p50_ms: quantile(&deliveries.all(), 0.5),
        p99_ms: quantile(&deliveries.all(), 0.99),
        last_receiver_p99_ms: quantile(&deliveries.last_receivers(), 0.99),
        server_kib_per_connection: grown.and_then(|kib| per(kib as f64, args.connections.into())),
        ..Report::new("idle", &measured, run.disk)
    })
}
