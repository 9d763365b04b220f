//! `quipd check`: verifies journal and store.

use std::io::Write as _;

use quip_storage::data_dir::DataDir;
use quip_storage::journal::{Journal, JournalOptions};
use quip_storage::store::{Opened, Store, StoreOptions};
use tracing_subscriber::EnvFilter;

use crate::pipeline::open::open;

use super::{FAILED, Failure, PlaceArgs, USAGE, print};

pub fn run(place: &PlaceArgs, rebuild: bool) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info,sled=warn"))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let path = place.data_dir(&place.file()?)?;
    let failed = |e: &dyn std::fmt::Display| Failure::new(FAILED, e);
    if !path.join("journal").exists() {
        return Err(Failure::new(
            USAGE,
            format!("{} is no data directory of quipd; say which with --data-dir DIR", path.display()),
        ));
    }
    let mut problems = Vec::new();
    let store = {
        let dir = DataDir::open(&path).map_err(|e| failed(&e))?;
        problems
            .extend(Journal::check(&dir.journal()).map_err(|e| failed(&e))?.iter().map(ToString::to_string));
        if problems.is_empty() && rebuild {
            drop(dir);
            let opened = open(&path, StoreOptions::default(), true).map_err(|e| failed(&e))?;
            opened.store
        } else {
            let journal = Journal::open(dir.journal(), JournalOptions::default());
            let (store, opened) =
                Store::open(dir.store(), StoreOptions::default()).map_err(|e| failed(&e))?;
            if let Opened::SetAside { to, why } = opened {
                problems.push(format!(
                    "{}: the store could not be opened ({why}); run quipd check --rebuild",
                    to.display()
                ));
            }
            match journal {
                Ok(journal) if store.applied() > journal.last() => {
                    problems.push(format!(
                        "the store is at {}, the journal ends at {}; run quipd check --rebuild",
                        store.applied(),
                        journal.last()
                    ));
                }
                Ok(_) => {}
                Err(e) => problems.push(e.to_string()),
            }
            store
        }
    };
    problems.extend(store.check().map_err(|e| failed(&e))?.iter().map(ToString::to_string));
    report(&path, &store, &problems)
}

fn report(path: &std::path::Path, store: &Store, problems: &[String]) -> Result<(), Failure> {
    for problem in problems {
        print(&format!("{problem}\n"))?;
    }
    if problems.is_empty() {
        let _ = writeln!(
            std::io::stderr(),
            "quipd: {} is sound; the store is at {}",
            path.display(),
            store.applied()
        );
        return Ok(());
    }
    Err(Failure::new(FAILED, format!("{} problems found in {}", problems.len(), path.display())))
}
