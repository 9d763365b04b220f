//! Several nodes, and Redis, which they share.

mod beside;
mod contract;
mod degraded;
mod driver;
mod failover;
mod likeness;
mod members;
mod nodes;
mod orphans;
mod parting;
mod repair;
mod roster;
mod secured;
mod several;
mod strangers;
mod writing;

use quip_tests::cluster::faults::{self, Options};

#[test]
fn a_minute_of_faults() {
    let folder = faults::folder("quip-minute").unwrap();
    let options = Options {
        seconds: 60,
        seed: 1,
        clients: 30,
        rooms: 20,
        nodes: 3,
        rate: 100,
        rollback: false,
        folder: folder.clone(),
    };
    let report = faults::run(&options).unwrap();
    let complaints = report.complaints();
    assert_eq!(complaints, [""; 0], "logs in {}: {:?}", folder.display(), report.figures);
    assert!(report.figures.acked > 500 && report.figures.failovers > 0, "{:?}", report.figures);
    let partitions: u64 = report.figures.partitions.values().sum();
    assert!(partitions > 0 || report.figures.partitions_lack.is_some(), "{:?}", report.figures);
    assert_eq!((report.figures.refused, report.figures.reappended), (0, 0), "{:?}", report.figures);
    std::fs::remove_dir_all(folder).unwrap();
}
