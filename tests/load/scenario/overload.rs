//! What a server holds that is offered several times what its disk takes: senders are told when to come again, and what it
//! holds does not grow.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use quip_protocol::Target;

use crate::cli::OverloadArgs;
use crate::meter::Meter;
use crate::report::{Report, per_second, quantile, round};
use crate::send::{Enough, Pace, receipts};

use super::durable::check_history;
use super::{Run, counts, held_back, in_seconds, send_all};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What memory may grow by from the first half to the second: allocators keep what was freed.
const GROWTH: f64 = 0.25;

pub(super) async fn run(mut run: Run, args: &OverloadArgs) -> Result<Report> {
    let (crowd, summary) = run.crowd_in_a_room(args.senders as usize).await?;
    run.subject.restart_with(&[("QUIPD_FAULT", "slow-disk")])?;
    let clients = crowd.clients(crowd.all(), &run.progress).await?;
    let senders = run.senders(&crowd.room, &clients, args.size);
    run.progress.phase("sending, for seconds");
    run.progress.set(args.seconds);
    let meter = Meter::start(run.subject.process());
    let enough = Enough::At(in_seconds(args.seconds));
    let sending = send_all(&senders, |_| Pace::Window(args.window as usize), enough);
    let mut sending = std::pin::pin!(sending);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut memory: Vec<u64> = Vec::new();
    let sent = loop {
        tokio::select! {
            sent = &mut sending => break sent?,
            _ = looks.tick() => memory.extend(run.rss_kib()),
        }
    };
    let measured = meter.stop();

    run.progress.phase("reading the history");
    let reader = clients.first().context("there is at least one sender")?;
    check_history(reader, &Target::from(crowd.room.clone()), summary.head.seq, &sent).await?;
    let (total, held_back) = (counts(&sent).iter().sum(), held_back(&sent));
    ensure!(held_back > 0, "nobody was held back: it was offered no more than it took");
    let receipts = receipts(&sent);
    let mut report = Report {
        senders: Some(args.senders.into()),
        sent: Some(total),
        durable_per_s: per_second(total, measured.seconds()),
        server_cpu_us_per_message: measured.server_us_per(total),
        p50_ms: quantile(&receipts, 0.5),
        p99_ms: quantile(&receipts, 0.99),
        ..Report::new("overload", &measured, run.disk)
    };
    let offered = u64::from(args.senders) * u64::from(args.window) * u64::from(args.size);
    report.note("offered_at_once_bytes", offered);
    report.note("held_back", held_back);
    if let Some(growth) = growth(&memory) {
        report.note("server_rss_growth", round(growth));
        ensure!(growth <= GROWTH, "the server's memory grew while it was offered too much: {memory:?} KiB");
    }
    report.note("server_rss_kib_by_second", memory);
    Ok(report)
}

/// By how much the most of the second half of a run is over the most of the first.
#[allow(clippy::cast_precision_loss, reason = "memory is far below 2^52 KiB")]
fn growth(memory: &[u64]) -> Option<f64> {
    let (first, second) = memory.split_at(memory.len() / 2);
    let (before, after) = (first.iter().max()?, second.iter().max()?);
    Some((*after as f64 - *before as f64) / *before as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_from_half_to_half() {
        assert_eq!(growth(&[]), None);
        assert_eq!(growth(&[5, 100, 90, 120]), Some(0.2));
        assert_eq!(growth(&[100, 200, 150, 100]), Some(-0.25));
    }
}
