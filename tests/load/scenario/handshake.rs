//! What it costs to connect: the whole handshake, up to the server's welcome, again and again.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use quip_protocol::client::raw;
use rustls::client::Resumption;
use tokio::task::JoinSet;

use crate::cli::HandshakeArgs;
use crate::crowd::Crowd;
use crate::dialer::{Dialer, Key};
use crate::latency::{nanos, new_histogram};
use crate::meter::{Measured, Meter};
use crate::report::{Report, per_second, quantile};

use super::{Run, in_seconds};

/// Sessions that a client remembers: one is used up by each handshake.
const TICKETS: usize = 4;

/// What a stretch of connecting came to.
struct Stretch {
    took: Histogram<u64>,
    resumed: u64,
    measured: Measured,
}

pub(super) async fn run(run: Run, args: &HandshakeArgs) -> Result<Report> {
    let crowd = Crowd::new(&run.subject, args.clients as usize)?;
    crowd.enrol(&run.progress).await?;
    run.progress.phase("connecting, for seconds");
    run.progress.set(args.seconds);
    let Stretch { took, measured, .. } = stretch(&run, &crowd, args.seconds, false).await?;
    let mut report = Report {
        senders: Some(args.clients.into()),
        sent: Some(took.len()),
        deliveries_per_s: per_second(took.len(), measured.seconds()),
        server_cpu_us_per_message: measured.server_us_per(took.len()),
        p50_ms: quantile(&took, 0.5),
        p99_ms: quantile(&took, 0.99),
        ..Report::new("handshake", &measured, run.disk)
    };
    if args.resume {
        run.progress.phase("connecting with tickets, for seconds");
        let Stretch { took, resumed, measured } = stretch(&run, &crowd, args.seconds, true).await?;
        ensure!(resumed > 0, "none of {} connections was resumed: the server gives no tickets", took.len());
        report.note("with_tickets", took.len());
        report.note("with_tickets_resumed", resumed);
        report.note("with_tickets_per_s", per_second(took.len(), measured.seconds()));
        report.note("with_tickets_server_cpu_us", measured.server_us_per(took.len()));
        report.note("with_tickets_p50_ms", quantile(&took, 0.5));
        report.note("with_tickets_p99_ms", quantile(&took, 0.99));
    }
    Ok(report)
}

/// All connect again and again, for so many seconds.
async fn stretch(run: &Run, crowd: &Crowd, seconds: u64, with_tickets: bool) -> Result<Stretch> {
    let mut keys = Vec::new();
    for at in crowd.all() {
        let memory =
            if with_tickets { Resumption::in_memory_sessions(TICKETS) } else { Resumption::disabled() };
        let key = crowd.dialer().key_with(crowd.name(at), raw::transport(), memory);
        if with_tickets {
            // The first ticket is not what is measured.
            crowd.dialer().connect(&key).await?;
            key.has_resumed();
        }
        keys.push(key);
    }
    let meter = Meter::start(run.subject.process());
    let until = in_seconds(seconds);
    let again = |key| again_and_again(Arc::clone(crowd.dialer()), key, until);
    let mut connecting: JoinSet<_> = keys.into_iter().map(again).collect();
    let (mut took, mut resumed) = (new_histogram(), 0);
    while let Some(one) = connecting.join_next().await {
        let (one, of_these) = one??;
        took.add(&one)?;
        resumed += of_these;
    }
    Ok(Stretch { took, resumed, measured: meter.stop() })
}

/// How long each took, and how many resumed a session.
async fn again_and_again(dialer: Arc<Dialer>, key: Key, until: Instant) -> Result<(Histogram<u64>, u64)> {
    let (mut took, mut resumed) = (new_histogram(), 0);
    while Instant::now() < until {
        let begun = Instant::now();
        let lean = dialer.connect(&key).await?;
        took.saturating_record(nanos(begun.elapsed()));
        resumed += u64::from(key.has_resumed());
        drop(lean);
    }
    Ok((took, resumed))
}
