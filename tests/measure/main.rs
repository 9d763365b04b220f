//! `quip-measure`: what a person waits for in the terminal client.

mod cli;
mod copy;
mod missed;
mod paint;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser as _;

use cli::{Cli, What};

fn main() -> ExitCode {
    match measure(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If stderr is gone too, the exit code still says it.
            let _ = writeln!(std::io::stderr(), "quip-measure: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> Result<()> {
    let report = match &cli.what {
        What::Paint(args) => serde_json::to_string(&paint::measure(args)?)?,
        What::Missed(args) => serde_json::to_string(&missed::measure(args)?)?,
    };
    Ok(writeln!(std::io::stdout(), "{report}")?)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of a run are far below 2^52")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}
