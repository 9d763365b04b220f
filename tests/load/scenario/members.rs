//! What it costs to make one room of very many in one command, and whether each of them is told.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{Cursor, NoticeBody, RoomId, Seq};
use quip_tests::copied;
use tokio::task::JoinSet;

use crate::cli::MembersArgs;
use crate::crowd::Crowd;
use crate::latency::{nanos, new_histogram};
use crate::lean::{Lean, Told};
use crate::meter::Meter;
use crate::report::{Report, quantile, round};

use super::Run;

/// Everyone is told within this, or it is lost.
const WITHIN: Duration = Duration::from_secs(120);
/// Requests at once.
const AT_ONCE: usize = 32;

pub(super) async fn run(run: Run, args: &MembersArgs) -> Result<Report> {
    let members = args.accounts as usize;
    let crowd = Crowd::new(&run.subject, 1 + members)?;
    let mut leans = crowd.join(&run.progress).await?;
    watch_inboxes(&mut leans[1..]).await?;
    let journal = run.subject.dir().map(|dir| dir.join("journal"));
    let bytes = || journal.as_deref().map(copied::bytes).transpose();
    let before = bytes()?;

    run.progress.phase("making the room");
    let meter = Meter::start(run.subject.process());
    let begun = Instant::now();
    let maker = leans.first_mut().context("somebody makes the room")?;
    let room = crowd.make_room(maker, &crowd.room, 1..1 + members).await?;
    let created = begun.elapsed();
    let after = bytes()?;
    ensure!(room.members as usize == 1 + members, "{} members, and 1 + {members} were named", room.members);
    let told = |lean| entered(lean, room.id, begun);
    let telling: JoinSet<_> = leans.drain(1..).map(told).collect();
    let all = tokio::time::timeout(WITHIN, telling.join_all()).await;
    let measured = meter.stop();
    let mut latencies = new_histogram();
    for took in all.context("lost: not every inbox has the room")? {
        latencies.saturating_record(nanos(took?.1));
    }
    let mut report = Report {
        receivers: Some(members as u64),
        senders: Some(1),
        sent: Some(1),
        delivered: Some(latencies.len()),
        server_cpu_us_per_delivery: measured.server_us_per(latencies.len()),
        p50_ms: quantile(&latencies, 0.5),
        p99_ms: quantile(&latencies, 0.99),
        last_receiver_p99_ms: quantile(&latencies, 1.0),
        ..Report::new("members", &measured, run.disk)
    };
    report.note("created_ms", round(created.as_secs_f64() * 1_000.0));
    report.note("journal_bytes", after.zip(before).map(|(after, before)| after - before));
    Ok(report)
}

/// From the very first notice on.
async fn watch_inboxes(leans: &mut [Lean]) -> Result<()> {
    let from = Some(Cursor::default());
    for chunk in leans.chunks_mut(AT_ONCE) {
        try_join_all(chunk.iter_mut().map(|lean| lean.ask(Request::WatchInbox { from })))
            .await?
            .into_iter()
            .try_for_each(|reply| match reply {
                Reply::Inbox { .. } => Ok(()),
                other => bail!("watching an inbox was answered with {other:?}"),
            })?;
    }
    Ok(())
}

/// Reads an inbox, whose notices are dense, until it has this room. The connection stays open, so that closing costs nothing
/// while others are told.
async fn entered(mut lean: Lean, wanted: RoomId, begun: Instant) -> Result<(Lean, Duration)> {
    let mut last = Seq::ZERO;
    loop {
        let Told::Notice(notice) = lean.told().await? else { bail!("an inbox is watched, and no room") };
        ensure!(notice.seq == last.next(), "notice {} where {} belongs", notice.seq, last.next());
        last = notice.seq;
        if matches!(notice.body, NoticeBody::Entered { room, .. } if room == wanted) {
            return Ok((lean, begun.elapsed()));
        }
    }
}
