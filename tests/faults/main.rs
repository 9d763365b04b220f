//! `quip-faults`: kills nodes and Redis under a cluster in use, or cuts them off from each other, and says whether anything was lost, doubled or reordered.

mod cli;
mod table;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use quip_tests::cluster::faults::{Report, folder, run};

use cli::Cli;

/// Complaints that are printed; the rest is in the folder.
const SHOWN: usize = 20;

fn main() -> ExitCode {
    match faults(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("quip-faults: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Runs it, and says whether all was well.
fn faults(cli: &Cli) -> Result<bool> {
    let folder = folder(&format!("quip-faults-{}", cli.seed))?;
    say(&format!("seed {}, logs in {}", cli.seed, folder.display()));
    let report = run(&cli.options(folder.clone()))?;
    let text =
        if cli.json { serde_json::to_string(&report.figures)? + "\n" } else { table::of(&report.figures) };
    std::io::stdout().write_all(text.as_bytes())?;
    let well = complain(&report, &folder)?;
    if well && !cli.keep {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(well)
}

/// Says what is wrong, and keeps all of it beside the logs.
fn complain(report: &Report, folder: &std::path::Path) -> Result<bool> {
    let complaints = report.complaints();
    std::fs::write(folder.join("faults"), complaints.join("\n"))?;
    complaints.iter().take(SHOWN).for_each(|complaint| say(complaint));
    if complaints.len() > SHOWN {
        let rest = complaints.len() - SHOWN;
        say(&format!("and {rest} more, in {}", folder.join("faults").display()));
    }
    Ok(complaints.is_empty())
}

fn say(line: &str) {
    // If stderr is gone, the exit code still says it.
    let _ = writeln!(std::io::stderr(), "{line}");
}
