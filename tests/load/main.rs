//! `quip-load`: loads a server, checks every delivery, and says what it cost. Speaks through the protocol crate alone.

mod check;
mod cli;
mod crowd;
mod dialer;
mod disk;
mod figures;
mod latency;
mod lean;
mod meter;
mod plot;
mod progress;
mod receive;
mod report;
mod scenario;
mod send;
mod stamp;
mod subject;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser as _;

use cli::{Cli, Scenario, What};
use report::Report;
use scenario::{Run, cluster, search};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match load(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If stderr is gone too, the exit code still says it.
            let _ = writeln!(std::io::stderr(), "quip-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(cli: &Cli) -> Result<()> {
    let (json, table) = match &cli.what {
        What::Server(scenario) => {
            let report = measure(cli, scenario)?;
            (serde_json::to_string(&report)?, report.table())
        }
        What::Search(args) => {
            let report = search::run(args)?;
            (serde_json::to_string(&report)?, report.table())
        }
        What::Cluster(args) => {
            let report = runtime()?.block_on(cluster::run(args))?;
            (serde_json::to_string(&report)?, report.table())
        }
        What::Figures(args) => {
            ensure!(cli.server.is_none(), "figures are of servers of its own: leave --server out");
            return figures::run(args);
        }
        What::Plot(args) => return plot::draw(args),
    };
    let text = if cli.json { json + "\n" } else { table };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn measure(cli: &Cli, scenario: &Scenario) -> Result<Report> {
    runtime()?.block_on(async {
        let run = Run::new(cli.server.clone())?;
        run.scenario(scenario).await
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
