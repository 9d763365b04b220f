//! How fast messages are made durable.

use anyhow::{Context as _, Result, ensure};
use quip_protocol::client::Client;
use quip_protocol::frame::PageFrom;
use quip_protocol::limits::MAX_PAGE;
use quip_protocol::{Seq, Target};

use crate::check::Checker;
use crate::cli::DurableArgs;
use crate::meter::Meter;
use crate::report::{Report, per_second, quantile};
use crate::send::{Enough, Pace, Sent, receipts};
use crate::stamp::Stamp;

use super::{Run, complete, counts, held_back, in_seconds, send_all};

pub(super) async fn run(run: Run, args: &DurableArgs) -> Result<Report> {
    let (crowd, summary, clients) = run.clients_in_a_room(args.senders as usize).await?;
    let senders = run.senders(&crowd.room, &clients, args.load.size);
    run.progress.phase("sending, for seconds");
    run.progress.set(args.load.seconds);
    let meter = Meter::start(run.subject.process());
    let enough = Enough::At(in_seconds(args.load.seconds));
    let sent = send_all(&senders, |_| Pace::Window(args.window as usize), enough).await?;
    let measured = meter.stop();

    run.progress.phase("reading the history");
    let reader = clients.first().context("there is at least one sender")?;
    check_history(reader, &crowd.room.clone().into(), summary.head.seq, &sent).await?;
    let total = counts(&sent).iter().sum();
    let receipts = receipts(&sent);
    let mut report = Report {
        senders: Some(args.senders.into()),
        sent: Some(total),
        durable_per_s: per_second(total, measured.seconds()),
        server_cpu_us_per_message: measured.server_us_per(total),
        p50_ms: quantile(&receipts, 0.5),
        p99_ms: quantile(&receipts, 0.99),
        receipt_p50_ms: quantile(&receipts, 0.5),
        receipt_p99_ms: quantile(&receipts, 0.99),
        ..Report::new("durable", &measured, run.disk)
    };
    report.note("held_back", held_back(&sent));
    Ok(report)
}

/// Every message that was acknowledged is in the history, once, at the place its receipt says.
pub(super) async fn check_history(reader: &Client, room: &Target, after: Seq, sent: &[Sent]) -> Result<()> {
    let mut checker = Checker::new(sent.len(), after);
    let mut at = after;
    loop {
        let mut page = reader.stream_page(room, PageFrom::After(at), MAX_PAGE).await?;
        while let Some(event) = page.next().await? {
            let message = event.message().context("an event that nobody caused")?;
            let stamp = Stamp::parse(message.text()).context("a message that is not of this run")?;
            checker.message(event.seq, stamp.sender, stamp.number)?;
            let place =
                usize::try_from(stamp.number).ok().and_then(|n| sent[stamp.sender as usize].places.get(n));
            ensure!(
                place == Some(&event.seq),
                "{stamp:?} is at seq {} and its receipt said {place:?}",
                event.seq
            );
            at = event.seq;
        }
        if page.head().is_none_or(|head| head.seq <= at) {
            return Ok(complete(&checker, sent)?);
        }
    }
}
