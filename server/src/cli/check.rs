//! `quipd check`: verifies journal and store, and says what is wrong where.

use std::io::Write as _;
use std::path::Path;

use quip_protocol::Position;
use quip_storage::data_dir::{DataDir, DataDirError};
use quip_storage::journal::{Checked, Journal, JournalOptions};
use quip_storage::store::{Opened, Store, StoreOptions};
use tracing_subscriber::EnvFilter;

use crate::cluster::membership::Membership;
use crate::cluster::realign;
use crate::pipeline::open::{OpenError, open};
use crate::pipeline::stopping::Stopping;

use super::{FAILED, Failure, PlaceArgs, TRY_AGAIN, USAGE, print};

pub fn run(place: &PlaceArgs, rebuild: bool) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info,sled=warn"))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let path = place.data_dir(&place.file()?)?;
    if !path.join("journal").exists() && !path.join("store").exists() && !realign::is_unfinished(&path) {
        let text = format!("{} is no data directory of quipd; say which with --data-dir DIR", path.display());
        return Err(Failure::new(USAGE, text));
    }
    let dir = DataDir::open(&path).map_err(|e| match e {
        // Not damage: nobody should be woken by it.
        DataDirError::InUse { .. } => Failure::new(TRY_AGAIN, e),
        e => failed(e),
    })?;
    realign::finish(&path).map_err(failed)?;
    let node = Membership::read(&path).map_err(failed)?.map(|file| file.node);
    if let Some(node) = node.filter(|_| rebuild) {
        let text = format!(
            "{} is node {node} of a cluster: to make its store anew, delete {} and start it",
            path.display(),
            dir.store().display()
        );
        return Err(Failure::new(USAGE, text));
    }
    if !rebuild {
        let checked = Journal::check(&dir.journal()).map_err(failed)?;
        return run_checks(&path, &dir, &checked, lines(&checked.problems));
    }
    // What a crash left at its end is cut off, as at every start.
    drop(Journal::open(dir.journal(), JournalOptions::default()).map_err(failed)?);
    let checked = Journal::check(&dir.journal()).map_err(failed)?;
    if !checked.problems.is_empty() {
        let mut problems = lines(&checked.problems);
        problems.push("the store was not made anew: the journal has to be sound for that".into());
        return run_checks(&path, &dir, &checked, problems);
    }
    drop(dir);
    remake(&path)
}

fn remake(path: &Path) -> Result<(), Failure> {
    let opened = open(path, StoreOptions::default(), true, &Stopping::default()).map_err(failed)?;
    let set_aside = opened.set_aside.clone();
    drop(opened);
    let dir = DataDir::open(path).map_err(failed)?;
    let checked = Journal::check(&dir.journal()).map_err(failed)?;
    run_checks(path, &dir, &checked, lines(&checked.problems))?;
    if let Some(kept) = set_aside {
        // Not removed: what the journal had lost is nowhere else.
        let kept = kept.display();
        let _ = writeln!(
            std::io::stderr(),
            "quipd: the store of before is kept as {kept}; delete it when nothing is missed"
        );
    }
    Ok(())
}

fn run_checks(
    path: &Path,
    dir: &DataDir,
    journal: &Checked,
    mut problems: Vec<String>,
) -> Result<(), Failure> {
    let (store, opened) = Store::open(dir.store(), StoreOptions::default()).map_err(failed)?;
    if let Opened::SetAside { to, why } = opened {
        problems.push(format!(
            "the store could not be opened ({why}) and was renamed to {}; it is made again from the journal when quipd starts",
            to.display()
        ));
    }
    let (last, applied) = (journal.last, store.applied());
    // Of a node of a cluster the rest comes from the others.
    if applied > last && Membership::read(path).map_err(failed)?.is_none() {
        problems.push(OpenError::JournalBehind { journal: last, store: applied }.to_string());
    }
    problems.extend(lines(&store.check().map_err(failed)?));
    report(path, applied, last, &problems)
}

fn report(path: &Path, applied: Position, last: Position, problems: &[String]) -> Result<(), Failure> {
    for problem in problems {
        print(&format!("{problem}\n"))?;
    }
    if !problems.is_empty() {
        let count =
            if problems.len() == 1 { "1 problem".into() } else { format!("{} problems", problems.len()) };
        return Err(Failure::new(FAILED, format!("{count} found in {}", path.display())));
    }
    let behind = if applied > last {
        format!("the journal ends at {last}, and the rest comes from the cluster when quipd starts")
    } else if applied < last {
        format!("the store is at {applied}, and is brought up to {last} when quipd starts")
    } else {
        format!("journal and store end at {applied}")
    };
    let _ = writeln!(std::io::stderr(), "quipd: {} is sound; {behind}", path.display());
    Ok(())
}

fn lines(problems: &[quip_storage::Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn failed(e: impl std::fmt::Display) -> Failure {
    Failure::new(FAILED, e)
}
