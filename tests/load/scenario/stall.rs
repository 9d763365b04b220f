//! What one member who stops reading costs the others. It keeps its connection and acknowledges packets, but takes nothing,
//! until its window is full and the server can send it nothing more; then it reads again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use quip_protocol::client::raw;
use quip_protocol::room::RoomSummary;
use rustls::client::Resumption;
use tokio::task::JoinSet;

use crate::cli::StallArgs;
use crate::crowd::Crowd;
use crate::meter::Meter;
use crate::receive::{Got, Receiver, Room};
use crate::report::{Report, per_second, quantile, round};
use crate::send::{Enough, Pace, Sender};

use super::fanout::{early, receive_all, rest};
use super::{Run, send_all};

/// All messages have reached all others within this, or they are lost.
const WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The others.
struct Others {
    room: Arc<Room>,
    receiving: JoinSet<Result<Got>>,
    count: u64,
}

/// What a stretch of sending came to.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    p99: Option<f64>,
    /// Of those that came last.
    last_p99: Option<f64>,
    rss: Option<u64>,
    /// Bytes that had come by then to the one who stalls.
    came: u64,
}

pub(super) async fn run(mut run: Run, args: &StallArgs) -> Result<Report> {
    let receivers = args.receivers as usize;
    let (crowd, summary) = run.crowd_in_a_room(1 + receivers).await?;
    let clients = crowd.clients(0..1, &run.progress).await?;
    let mut stalled = one_with_a_window(&run, &crowd, receivers, &summary, args.window).await?;
    let mut others = Others::begin(&run, &crowd, receivers, &summary).await?;
    let mut sender = run.senders(&crowd.room, &clients, args.size).pop().context("one sends")?;
    let messages = u64::from(args.rate) * args.seconds;
    let meter = Meter::start(run.subject.process());

    run.progress.phase("all read: messages");
    run.progress.set(2 * messages);
    tokio::try_join!(send(&sender, args.rate, messages), stalled.receive_some(messages))?;
    let first = others.stretch(&run, messages, &stalled).await?;
    sender.first = messages;
    tokio::try_join!(send(&sender, args.rate, messages), stalled.receive_some(2 * messages))?;
    let before = others.stretch(&run, 2 * messages, &stalled).await?;
    run.progress.phase("one does not read: messages");
    run.progress.set(messages);
    sender.first = 2 * messages;
    send(&sender, args.rate, messages).await?;
    let meanwhile = others.stretch(&run, 3 * messages, &stalled).await?;
    let unsent = unsent(args, messages, meanwhile.came - before.came)?;

    run.progress.phase("it reads again");
    let begun = Instant::now();
    sender.end().await?;
    let got = tokio::time::timeout(WITHIN, stalled.receive()).await;
    let got = got.context("lost: who had stopped reading does not catch up")??;
    let catch_up = begun.elapsed();
    let delivered = others.room.deliveries.count();
    let all = rest(others.receiving, &others.room).await?;
    let measured = meter.stop();
    all.iter().chain([&got]).try_for_each(|got| got.checker.complete(&[3 * messages], 0))?;
    let mut report = Report {
        receivers: Some(args.receivers.into()),
        senders: Some(1),
        sent: Some(3 * messages),
        delivered: Some(delivered + 3 * messages),
        deliveries_per_s: per_second(delivered, measured.seconds()),
        server_cpu_us_per_delivery: measured.server_us_per(delivered),
        server_cpu_us_per_message: measured.server_us_per(3 * messages),
        p99_ms: meanwhile.p99,
        last_receiver_p99_ms: meanwhile.last_p99,
        ..Report::new("stall", &measured, run.disk)
    };
    note(&mut report, first, before, meanwhile);
    report.note("unsent_bytes_to_the_stalled", unsent);
    report.note("caught_up_ms", round(catch_up.as_secs_f64() * 1_000.0));
    Ok(report)
}

/// What the server could not send to the one who does not read.
fn unsent(args: &StallArgs, messages: u64, came: u64) -> Result<u64> {
    let (needed, window) = (messages * u64::from(args.size), u64::from(args.window));
    ensure!(
        came < needed && needed > 2 * window,
        "{needed} bytes were sent and {came} of them reached the one who does not read: its window of {window} \
         was not full; raise --seconds, --rate or --size"
    );
    Ok(needed - came)
}

/// What grew from the first stretch to the second, while all read, is not what the one who stalls costs.
fn note(report: &mut Report, first: Stretch, before: Stretch, meanwhile: Stretch) {
    report.note("server_rss_kib_first", first.rss);
    report.note("p99_ms_before", before.p99);
    report.note("last_receiver_p99_ms_before", before.last_p99);
    report.note("p99_ratio", meanwhile.p99.zip(before.p99).map(|(of, to)| round(of / to)));
    report.note("server_rss_kib_before", before.rss);
    report.note("server_rss_kib_stalled", meanwhile.rss);
}

/// A member who lets come no more than this before it reads.
async fn one_with_a_window(
    run: &Run,
    crowd: &Crowd,
    at: usize,
    room: &RoomSummary,
    window: u32,
) -> Result<Receiver> {
    let mut transport = raw::transport();
    transport.stream_receive_window(window.into());
    let key = crowd.dialer().key_with(crowd.name(at), transport, Resumption::disabled());
    let mut lean = crowd.dialer().connect(&key).await?;
    lean.watch(&[(room.id, room.head)]).await?;
    Ok(Receiver::new(lean, at, 1, room.head.seq, &Room::new(run.clock)))
}

async fn send(sender: &Sender, rate: u32, messages: u64) -> Result<()> {
    let pace = Pace::Clock { first: Instant::now(), every: Duration::from_secs(1) / rate };
    send_all(std::slice::from_ref(sender), |_| pace, Enough::Messages(messages)).await.map(drop)
}

impl Others {
    /// All but the sender and the last, who watch the room.
    async fn begin(run: &Run, crowd: &Crowd, last: usize, room: &RoomSummary) -> Result<Others> {
        let mut leans = crowd.connect(1..last, &run.progress).await?;
        crowd.watch(&mut leans, room, &run.progress).await?;
        let (count, after) = (leans.len() as u64, room.head.seq);
        let room = Room::new(run.clock);
        Ok(Others { receiving: receive_all(leans, 1, after, &room), room, count })
    }

    /// Waits until each of them has so many messages; how it was since the stretch before.
    async fn stretch(&mut self, run: &Run, messages: u64, stalled: &Receiver) -> Result<Stretch> {
        let all = async {
            let mut looks = tokio::time::interval(LOOK_EVERY);
            while self.room.deliveries.count() < messages * self.count {
                looks.tick().await;
            }
        };
        tokio::select! {
            all = tokio::time::timeout(WITHIN, all) => all.context("lost: some messages did not reach everyone")?,
            Some(got) = self.receiving.join_next() => return Err(early(got)),
        }
        let deliveries = &self.room.deliveries;
        let (p99, last_p99) =
            (quantile(&deliveries.all(), 0.99), quantile(&deliveries.last_receivers(), 0.99));
        deliveries.begin_again();
        Ok(Stretch { p99, last_p99, rss: run.rss_kib(), came: stalled.lean().bytes_received() })
    }
}
