//! What the program is told: its flags and their limits.

use clap::{Args, Parser, Subcommand};

/// Measures the terminal client on a pseudo terminal of 120×40.
///
/// Prints one JSON object; times are in milliseconds, memory in KiB.
#[derive(Debug, Parser)]
#[command(
    name = "quip-measure",
    after_help = "Examples:\n  quip-measure paint --rooms 200 --messages 1000000\n  quip-measure missed --messages 100000"
)]
pub struct Cli {
    /// What to measure
    #[command(subcommand)]
    pub what: What,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum What {
    /// From the start to the first paint, and from a key to the screen, with a large copy and the server away
    Paint(PaintArgs),
    /// How long until a client that was away has what it missed, and whether all of it came
    Missed(MissedArgs),
}

/// Flags of `paint`.
#[derive(Debug, Args)]
pub struct PaintArgs {
    /// Rooms in the copy
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rooms: u32,
    /// Messages in the copy, over all rooms
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub messages: u64,
    /// How often the client is started
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub starts: u32,
    /// How many keys are pressed
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub keys: u32,
}

/// Flags of `missed`.
#[derive(Debug, Args)]
pub struct MissedArgs {
    /// Messages that were missed, in one room
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub messages: u32,
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
