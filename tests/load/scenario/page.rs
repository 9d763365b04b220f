//! How fast pages of 50 events come, one after the other, from the newest to the oldest and again.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use quip_protocol::client::Client;
use quip_protocol::frame::PageFrom;
use quip_protocol::{Seq, Target};

use crate::cli::PageArgs;
use crate::latency::{nanos, new_histogram};
use crate::meter::Meter;
use crate::report::{Report, per_second, quantile};
use crate::send::{Enough, Pace};
use crate::stamp::Stamp;

use super::{Run, in_seconds, send_all};

/// Events of a page: a screen or two.
const PAGE: u32 = 50;
/// How the room is filled.
const WINDOW: usize = 256;

/// Pages that were read.
struct Pages {
    pages: u64,
    events: u64,
    latencies: Histogram<u64>,
}

pub(super) async fn run(run: Run, args: &PageArgs) -> Result<Report> {
    let (crowd, summary, clients) = run.clients_in_a_room(1).await?;
    let after = summary.head.seq;
    run.progress.phase("filling the room");
    let senders = run.senders(&crowd.room, &clients, args.load.size);
    send_all(&senders, |_| Pace::Window(WINDOW), Enough::Messages(args.messages)).await?;

    run.progress.phase("paging, for seconds");
    run.progress.set(args.load.seconds);
    let reader = clients.first().context("there is a client")?;
    let room = Target::from(crowd.room.clone());
    let meter = Meter::start(run.subject.process());
    let read = read_pages(reader, &room, after, in_seconds(args.load.seconds)).await?;
    let measured = meter.stop();
    Ok(Report {
        receivers: Some(1),
        sent: Some(read.pages),
        delivered: Some(read.events),
        deliveries_per_s: per_second(read.events, measured.seconds()),
        server_cpu_us_per_delivery: measured.server_us_per(read.events),
        server_cpu_us_per_message: measured.server_us_per(read.pages),
        p50_ms: quantile(&read.latencies, 0.5),
        p99_ms: quantile(&read.latencies, 0.99),
        ..Report::new("page", &measured, run.disk)
    })
}

async fn read_pages(reader: &Client, room: &Target, first: Seq, until: Instant) -> Result<Pages> {
    let mut read = Pages { pages: 0, events: 0, latencies: new_histogram() };
    let mut from = PageFrom::Latest;
    while Instant::now() < until {
        let begun = Instant::now();
        let page = reader.page(room, from, PAGE).await?;
        read.latencies.saturating_record(nanos(begun.elapsed()));
        read.pages += 1;
        read.events += page.events.len() as u64;
        check(&page.events, first)?;
        let oldest = page.events.first().context("an empty page in the middle of a room")?.seq;
        // Before the first message is the event that made the room; there the walk begins again.
        from = if oldest.0 > first.0 + u64::from(PAGE) { PageFrom::Before(oldest) } else { PageFrom::Latest };
    }
    Ok(read)
}

/// One sender filled the room, so each message's number follows from its place.
fn check(events: &[quip_protocol::Event], first: Seq) -> Result<()> {
    ensure!(events.len() == PAGE as usize, "a page of {} events in the middle of a room", events.len());
    for event in events {
        let stamp = event.message().and_then(|message| Stamp::parse(message.text()));
        let number = event.seq.0.checked_sub(first.next().0);
        ensure!(stamp.map(|stamp| stamp.number) == number, "seq {} has {stamp:?}", event.seq);
    }
    Ok(())
}
