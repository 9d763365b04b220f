//! A soak: many rooms of all sizes, and all that people do in them. Every delivery is checked: none lost, doubled or out of
//! order, everyone gets the same, edits are seen, and whoever comes back goes on exactly where it was.

mod actor;
mod ledger;
mod plan;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use quip_tests::process::Process;
use quip_tests::{Random, copied};
use tokio::task::JoinSet;

use crate::cli::MixedArgs;
use crate::crowd::Crowd;
use crate::meter::{Measured, Meter};
use crate::report::{Report, per_second, quantile};

use super::{Run, in_seconds};
use actor::Actor;
use world::{Count, World};

/// When nobody does anything any more, everyone has everything within this, or it is lost.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);
const MINUTE: Duration = Duration::from_secs(60);

/// Resident memory over the run, in KiB: at its begin, each minute, at its end.
#[derive(Debug, Default)]
struct Memory {
    server: Vec<u64>,
    load: Vec<u64>,
}

pub(super) async fn run(run: Run, args: &MixedArgs) -> Result<Report> {
    let mut random = Random::new(args.seed);
    let plan = plan::plan(&mut random, args.accounts as usize, args.rooms as usize);
    let crowd = Crowd::new(&run.subject, plan.accounts)?;
    let world = Arc::new(World::make(crowd, plan, run.clock, args.seed, &run.progress).await?);
    let mut memory = Memory::default();
    let mut actors = Vec::new();
    for index in 0..world.plan.accounts {
        actors.push(Actor::begin(Arc::clone(&world), index, Random::new(random.any())).await?);
    }
    memory.note(&run);
    let meter = Meter::start(run.subject.process());
    let until = in_seconds(args.seconds);
    let every = Duration::from_secs(1) * args.accounts / args.rate;
    let actors = act(&run, &world, actors, every, until, &mut memory).await?;
    settle(&run, &world, actors).await?;
    let measured = meter.stop();
    memory.note(&run);
    world.complete()?;

    let mut report = report_of(&world, Report::new("mixed", &measured, run.disk), &measured);
    report.note("rooms", args.rooms);
    report.note("server_rss_kib_by_minute", memory.server);
    report.note("load_rss_kib_by_minute", memory.load);
    let journal = run.subject.dir().map(|dir| copied::bytes(&dir.join("journal"))).transpose();
    report.note("journal_bytes", journal.context("the server's journal")?);
    if let Some(log) = run.subject.log() {
        report.note("log_warnings", levels(&log, "WARN").count());
        report.note("log_errors", levels(&log, "ERROR").count());
        if let Some(line) = levels(&log, "ERROR").next() {
            bail!("the server logged an error, seed {}: {line}", args.seed);
        }
    }
    Ok(report)
}

fn report_of(world: &World, common: Report, measured: &Measured) -> Report {
    let (events, posts) = (world.counted(Count::Delivered), world.counted(Count::Posts));
    let latencies = world.deliveries.all();
    let mut report = Report {
        receivers: Some(world.plan.accounts as u64),
        senders: Some(world.plan.accounts as u64),
        sent: Some(posts),
        delivered: Some(events),
        deliveries_per_s: per_second(events, measured.seconds()),
        durable_per_s: per_second(posts, measured.seconds()),
        server_cpu_us_per_delivery: measured.server_us_per(events),
        server_cpu_us_per_message: measured.server_us_per(posts),
        p50_ms: quantile(&latencies, 0.5),
        p99_ms: quantile(&latencies, 0.99),
        ..common
    };
    report.note("seed", world.seed);
    Count::NAMED.iter().for_each(|(count, name)| report.note(name, world.counted(*count)));
    report
}

/// Has all of them act until it is time, and looks at the memory each minute.
async fn act(
    run: &Run,
    world: &World,
    actors: Vec<Actor>,
    every: Duration,
    until: Instant,
    memory: &mut Memory,
) -> Result<Vec<Actor>> {
    run.progress.phase("events delivered");
    let mut acting: JoinSet<_> = actors.into_iter().map(|actor| actor.act_until(every, until)).collect();
    let mut minutes = tokio::time::interval_at((Instant::now() + MINUTE).into(), MINUTE);
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    let mut done = Vec::new();
    loop {
        tokio::select! {
            acted = acting.join_next() => match acted {
                Some(actor) => done.push(actor??),
                None => return Ok(done),
            },
            _ = minutes.tick() => memory.note(run),
            _ = looks.tick() => run.progress.set(world.counted(Count::Delivered)),
        }
    }
}

async fn settle(run: &Run, world: &World, actors: Vec<Actor>) -> Result<()> {
    run.progress.phase("accounts that have yet to read everything");
    let mut settling: JoinSet<_> = actors.into_iter().map(Actor::settle).collect();
    let all = async {
        while let Some(settled) = settling.join_next().await {
            settled??;
            run.progress.set(settling.len() as u64);
        }
        anyhow::Ok(())
    };
    let settled = tokio::time::timeout(SETTLE_WITHIN, all).await;
    let text = || format!("lost: not everyone got everything within {SETTLE_WITHIN:?}, seed {}", world.seed);
    settled.with_context(text)??;
    ensure!(settling.is_empty(), "everyone has settled");
    Ok(())
}

/// Lines of the server's log of this level: it stands behind the time.
fn levels<'a>(log: &'a str, level: &'a str) -> impl Iterator<Item = &'a str> {
    log.lines().filter(move |line| line.split_whitespace().nth(1) == Some(level))
}

impl Memory {
    fn note(&mut self, run: &Run) {
        self.server.extend(run.rss_kib());
        self.load.extend(Process::this().rss_kib());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_has_its_level_behind_the_time() {
        let log = "2026-11-21T08:00:00.1Z  INFO quipd: ready\n2026-11-21T08:00:01.1Z ERROR quipd: a fault\nERROR of somebody\n";
        let found: Vec<&str> = levels(log, "ERROR").collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("a fault"));
    }
}
