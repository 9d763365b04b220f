//! What the program is told: its flags and their limits.

use std::path::PathBuf;

use clap::Parser;
use quip_tests::cluster::faults::Options;

/// Starts a Redis, nodes and clients, kills or cuts something every few seconds, and checks what the clients sent and saw.
#[derive(Debug, Parser)]
#[command(
    name = "quip-faults",
    after_help = "Examples:\n  quip-faults\n  quip-faults --seconds 600 --seed 7\n  quip-faults --rollback --json\n\nThe same seed kills and cuts the same at the same time. On Linux, as root, each node, Redis and the clients have a network namespace of their own, and a router between them drops for 1 to 15 s what goes between a node and Redis, a node and the clients, two nodes (both ways or one), a node and everyone, Redis and everyone; or a node's cable is pulled. Nothing of this machine's own network is touched, nothing is left of it. Elsewhere a gate cuts nodes off from Redis, and the output says why; `unshare --user --map-root-user quip-faults` may do.\n\nExit code 1: something was lost, doubled or reordered, or a node ended by itself; what, and the nodes' logs, are in the folder that is printed. 2: it could not be run."
)]
pub struct Cli {
    /// For how long something is killed
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    pub seconds: u64,
    /// What is killed when follows from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many clients, spread over the nodes; each follows every room
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub clients: u32,
    /// How many rooms
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub rooms: u32,
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=26))]
    pub nodes: u32,
    /// Messages a second that all clients send together at most
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// Redis also loses what it acknowledged: its append-only file rolled back, FLUSHALL, an empty Redis in its place
    #[arg(long)]
    pub rollback: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Keep the folder of logs and data, also when all was well
    #[arg(long)]
    pub keep: bool,
}

impl Cli {
    /// What is to be run, in this folder.
    pub fn options(&self, folder: PathBuf) -> Options {
        let Cli { seconds, seed, rate, rollback, .. } = *self;
        let [clients, rooms, nodes] = [self.clients, self.rooms, self.nodes].map(|count| count as usize);
        Options { seconds, seed, clients, rooms, nodes, rate, rollback, folder }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
