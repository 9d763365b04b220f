//! How fast connections that were away get what they missed, all at once, from a server that was just started.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use quip_protocol::client::Client;
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{Cursor, RoomId, Seq, Target};
use tokio::task::JoinSet;

use crate::cli::CatchupArgs;
use crate::crowd::Crowd;
use crate::latency::Deliveries;
use crate::meter::Meter;
use crate::receive::Receiver;
use crate::report::{Report, per_second};
use crate::send::{Enough, Pace};

use super::{Run, counts, send_all};

/// How the room is filled.
const WINDOW: usize = 256;
/// Everyone has everything within this, or it is lost.
const WITHIN: Duration = Duration::from_secs(600);

pub(super) async fn run(mut run: Run, args: &CatchupArgs) -> Result<Report> {
    let crowd = Crowd::new(&run.subject, args.receivers as usize)?;
    let clients = crowd.join(&run.progress).await?;
    let after = crowd.make_room(&clients).await?;
    run.progress.phase("filling the room");
    let senders = run.senders(&crowd, &clients[..1], args.size);
    let sent = send_all(&senders, |_| Pace::Window(WINDOW), Enough::Messages(args.missed)).await?;
    senders.first().context("there is a client")?.end().await?;
    drop((senders, clients));
    run.subject.restart()?;
    let clients = crowd.connect(&run.progress).await?;
    let (room, from) = place(&clients[0], &crowd, after).await?;

    run.progress.phase("catching up");
    let meter = Meter::start(run.subject.process());
    try_join_all(clients.iter().map(|client| client.watch(vec![(room, Some(from))]))).await?;
    let deliveries = Arc::<Deliveries>::default();
    let mut receiving = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        let (clock, deliveries) = (run.clock, Arc::clone(&deliveries));
        receiving.spawn(Receiver { client, index, after, clock, deliveries }.receive(1));
    }
    let all = tokio::time::timeout(WITHIN, receiving.join_all()).await;
    let all = all.with_context(|| format!("lost: only {} deliveries came", deliveries.count()))?;
    let measured = meter.stop();
    all.into_iter().try_for_each(|got| anyhow::Ok(got?.checker.complete(&counts(&sent))?))?;
    Ok(Report {
        receivers: Some(args.receivers.into()),
        sent: Some(args.missed),
        delivered: Some(deliveries.count()),
        deliveries_per_s: per_second(deliveries.count(), measured.seconds()),
        server_cpu_us_per_delivery: measured.server_us_per(deliveries.count()),
        ..Report::new("catchup", &measured, run.disk)
    })
}

/// The room's id, and the cursor of who has everything up to `after`.
async fn place(client: &Client, crowd: &Crowd, after: Seq) -> Result<(RoomId, Cursor)> {
    let target = Target::from(crowd.room.clone());
    match client.request(Request::Open { target }).await? {
        Reply::Room(room) => Ok((room.id, Cursor { seq: after, ..room.head })),
        other => bail!("opening a room was answered with {other:?}"),
    }
}
