//! What one member who stops reading costs the others. It keeps its connection and acknowledges packets, but takes nothing,
//! until its window is full and the server can send it nothing more; then it reads again.

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
    room: std::sync::Arc<Room>,
    receiving: JoinSet<Result<Got>>,
    count: u64,
}

pub(super) async fn run(mut run: Run, args: &StallArgs) -> Result<Report> {
    let receivers = args.receivers as usize;
    let (crowd, summary) = run.crowd_in_a_room(1 + receivers).await?;
    let clients = crowd.clients(0..1, &run.progress).await?;
    let mut stalled = one_with_a_window(&run, &crowd, receivers, &summary, args.window).await?;
    let mut leans = crowd.connect(1..receivers, &run.progress).await?;
    crowd.watch(&mut leans, &summary, &run.progress).await?;
    let room = Room::new(run.clock);
    let receiving = receive_all(leans, 1, summary.head.seq, &room);
    let mut others = Others { room, receiving, count: receivers as u64 - 1 };
    let mut sender = run.senders(&crowd.room, &clients, args.size).pop().context("one sends")?;
    let messages = u64::from(args.rate) * args.seconds;
    let meter = Meter::start(run.subject.process());

    run.progress.phase("all read: messages");
    run.progress.set(messages);
    tokio::try_join!(send(&sender, args.rate, messages), stalled.receive_some(messages))?;
    others.have(messages).await?;
    let (before, last_before) = others.p99();
    others.room.deliveries.begin_again();
    let (rss_before, bytes_before) = (run.rss_kib(), stalled.lean().bytes_received());

    run.progress.phase("one does not read: messages");
    run.progress.set(messages);
    sender.first = messages;
    send(&sender, args.rate, messages).await?;
    others.have(2 * messages).await?;
    let (meanwhile, last_meanwhile) = others.p99();
    let (rss, came) = (run.rss_kib(), stalled.lean().bytes_received() - bytes_before);
    let (needed, window) = (messages * u64::from(args.size), u64::from(args.window));
    ensure!(
        came < needed && needed > 2 * window,
        "{needed} bytes were sent and {came} of them reached the one who does not read: its window of {window} \
         was not full; raise --seconds, --rate or --size"
    );

    run.progress.phase("it reads again");
    let begun = Instant::now();
    sender.end().await?;
    let got = tokio::time::timeout(WITHIN, stalled.receive()).await;
    let got = got.context("lost: who had stopped reading does not catch up")??;
    let catch_up = begun.elapsed();
    let count = others.count;
    let delivered = others.room.deliveries.count();
    let all = rest(others.receiving, &others.room).await?;
    let measured = meter.stop();
    all.iter().chain([&got]).try_for_each(|got| got.checker.complete(&[2 * messages]))?;
    let mut report = Report {
        receivers: Some(count + 1),
        senders: Some(1),
        sent: Some(2 * messages),
        delivered: Some(delivered + 2 * messages),
        deliveries_per_s: per_second(delivered, measured.seconds()),
        server_cpu_us_per_delivery: measured.server_us_per(delivered),
        server_cpu_us_per_message: measured.server_us_per(2 * messages),
        p99_ms: meanwhile,
        last_receiver_p99_ms: last_meanwhile,
        ..Report::new("stall", &measured, run.disk)
    };
    report.note("p99_ms_before", before);
    report.note("last_receiver_p99_ms_before", last_before);
    report.note("p99_ratio", meanwhile.zip(before).map(|(of, to)| round(of / to)));
    report.note("server_rss_kib_before", rss_before);
    report.note("server_rss_kib_stalled", rss);
    report.note("unsent_bytes_to_the_stalled", needed.saturating_sub(came));
    report.note("caught_up_ms", round(catch_up.as_secs_f64() * 1_000.0));
    Ok(report)
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
    /// Waits until each of them has so many messages.
    async fn have(&mut self, messages: u64) -> Result<()> {
        let all = async {
            let mut looks = tokio::time::interval(LOOK_EVERY);
            while self.room.deliveries.count() < messages * self.count {
                looks.tick().await;
            }
        };
        tokio::select! {
            all = tokio::time::timeout(WITHIN, all) => all.context("lost: some messages did not reach everyone"),
            Some(got) = self.receiving.join_next() => Err(early(got)),
        }
    }

    /// Of all deliveries, and of those that came last.
    fn p99(&self) -> (Option<f64>, Option<f64>) {
        let deliveries = &self.room.deliveries;
        (quantile(&deliveries.all(), 0.99), quantile(&deliveries.last_receivers(), 0.99))
    }
}
