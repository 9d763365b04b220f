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
use quip_tests::network;

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
    let lack = report.figures.partitions_lack.as_deref();
    assert!(partitions > 0 || lack.is_some_and(network::is_of_the_system), "{:?}", report.figures);
    std::fs::remove_dir_all(folder).unwrap();
}
