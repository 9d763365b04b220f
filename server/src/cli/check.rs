//! `quipd check`: verifies journal and store, and says what is wrong where.

use std::io::Write as _;
use std::path::Path;

use quip_protocol::Position;
use quip_storage::data_dir::{DataDir, DataDirError};
use quip_storage::journal::{Journal, JournalOptions};
use quip_storage::store::{Opened, Store, StoreOptions};
use tracing_subscriber::EnvFilter;

use crate::pipeline::open::open;

use super::{FAILED, Failure, PlaceArgs, TRY_AGAIN, USAGE, print};

pub fn run(place: &PlaceArgs, rebuild: bool) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info,sled=warn"))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let path = place.data_dir(&place.file()?)?;
    if !path.join("journal").exists() {
        let text = format!("{} is no data directory of quipd; say which with --data-dir DIR", path.display());
        return Err(Failure::new(USAGE, text));
    }
    let dir = DataDir::open(&path).map_err(|e| match e {
        // Not damage: nobody should be woken by it.
        DataDirError::InUse { .. } => Failure::new(TRY_AGAIN, e),
        e => failed(e),
    })?;
    let mut problems = lines(Journal::check(&dir.journal()).map_err(failed)?);
    if rebuild && problems.is_empty() {
        drop(dir);
        drop(open(&path, StoreOptions::default(), true).map_err(failed)?);
        return run_checks(&path, DataDir::open(&path).map_err(failed)?, problems);
    }
    if rebuild {
        problems.push("the store was not made anew: the journal has to be sound for that".into());
    }
    run_checks(&path, dir, problems)
}

fn run_checks(path: &Path, dir: DataDir, mut problems: Vec<String>) -> Result<(), Failure> {
    // A journal with problems is not opened: that would cut a torn tail, and a check changes nothing there.
    let last = match problems.is_empty() {
        true => Some(Journal::open(dir.journal(), JournalOptions::default()).map_err(failed)?.last()),
        false => None,
    };
    let (store, opened) = Store::open(dir.store(), StoreOptions::default()).map_err(failed)?;
    if let Opened::SetAside { to, why } = opened {
        problems.push(format!(
            "the store could not be opened ({why}) and was renamed to {}; it is made again from the journal when quipd starts",
            to.display()
        ));
    }
    problems.extend(last.filter(|last| store.applied() > *last).map(|last| {
        format!("the store is at {}, the journal ends at {last}; run quipd check --rebuild", store.applied())
    }));
    problems.extend(lines(store.check().map_err(failed)?));
    report(path, store.applied(), last, &problems)
}

fn report(
    path: &Path,
    applied: Position,
    last: Option<Position>,
    problems: &[String],
) -> Result<(), Failure> {
    for problem in problems {
        print(&format!("{problem}\n"))?;
    }
    if !problems.is_empty() {
        let count =
            if problems.len() == 1 { "1 problem".into() } else { format!("{} problems", problems.len()) };
        return Err(Failure::new(FAILED, format!("{count} found in {}", path.display())));
    }
    let behind = match last.filter(|last| applied < *last) {
        Some(last) => format!("the store is at {applied}, and is brought up to {last} when quipd starts"),
        None => format!("journal and store end at {applied}"),
    };
    let _ = writeln!(std::io::stderr(), "quipd: {} is sound; {behind}", path.display());
    Ok(())
}

fn lines(problems: Vec<quip_storage::Problem>) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn failed(e: impl std::fmt::Display) -> Failure {
    Failure::new(FAILED, e)
}
