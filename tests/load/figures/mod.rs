//! `quip-load figures`: runs all that is asked of the server's speed, one after the other, each in a process of its own,
//! and prints what came of it as the table of PERFORMANCE.md.

mod asked;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cli::{FiguresArgs, PlotArgs};
use crate::plot;

use asked::{ASKED, DRAWN, HEAD, SOAK};

/// What runs printed, and the table; the pictures are beside them.
const RUNS: &str = "runs.jsonl";
const TABLE: &str = "table.md";

/// Runs them.
///
/// # Errors
/// When a run failed, the others done and told all the same; when a file cannot be written.
pub fn run(args: &FiguresArgs) -> Result<()> {
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let mut figures = Figures { runs: String::new(), failed: Vec::new() };
    let mut table = HEAD.to_owned();
    for figure in ASKED.iter().chain(args.soak.then_some(&SOAK)) {
        table += &figure.rows(figures.measure(figure.command)?.as_ref());
    }
    for command in DRAWN {
        figures.measure(command)?;
    }
    write(&args.out, RUNS, &figures.runs)?;
    write(&args.out, TABLE, &table)?;
    std::io::stdout().write_all(table.as_bytes())?;
    plot::draw(&PlotArgs { out: args.out.clone(), runs: vec![args.out.join(RUNS)] })?;
    ensure!(figures.failed.is_empty(), "these runs failed: {}", figures.failed.join("; "));
    Ok(())
}

/// What came so far.
struct Figures {
    /// One object a line, as `quip-load plot` takes them.
    runs: String,
    failed: Vec<&'static str>,
}

impl Figures {
    /// What the command printed; none if it failed, and said why on stderr.
    fn measure(&mut self, command: &'static str) -> Result<Option<Value>> {
        // A terminal that is gone shows nothing.
        let _ = writeln!(std::io::stderr(), "quip-load {command}");
        let own = std::env::current_exe().context("where is this program?")?;
        let mut run = Command::new(own);
        run.arg("--json").args(command.split(' ')).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = run.output().context("cannot start a run")?;
        if !output.status.success() {
            self.failed.push(command);
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let Ok(value) = serde_json::from_str(&text) else {
            self.failed.push(command);
            return Ok(None);
        };
        self.runs += &text;
        Ok(Some(value))
    }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
