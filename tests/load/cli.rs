//! What the load program is told: its flags and their limits.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use quip_protocol::ServerLink;
use quip_protocol::limits::MAX_TEXT;

use crate::stamp::MIN_SIZE;

/// Loads a Quip server, checks every delivery, and says what it cost.
#[derive(Debug, Parser)]
#[command(
    name = "quip-load",
    after_help = "Examples:\n  quip-load durable --senders 8 --window 64\n  quip-load fanout --receivers 1000 --rate 20\n  quip-load --json idle --connections 5000\n  quip-load mixed --seconds 1200\n  quip-load --json cluster\n  quip-load --json search --messages 1000000\n  quip-load figures --out figures\n  quip-load plot --out plots runs.jsonl\n\nWithout --server it starts a quipd of its own, built beside it. Exit code 1: something was lost, doubled or out of order, or the server refused or failed."
)]
pub struct Cli {
    /// Load this server instead: an invite link with as many uses as the run has accounts. Its limits on messages
    /// and codes must be above the load, or the run fails on the first refusal
    #[arg(long, value_name = "LINK", global = true)]
    pub server: Option<ServerLink>,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub json: bool,
    /// What to measure
    #[command(subcommand)]
    pub what: What,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum What {
    #[command(flatten)]
    Server(Scenario),
    /// How fast a client's copy is indexed, and how long it takes to look in it; no server is involved
    Search(SearchArgs),
    /// What it costs that several servers are one chat: three nodes on one Redis beside a server alone, on this machine
    Cluster(ClusterArgs),
    /// Runs all that PERFORMANCE.md has a figure of, one after the other, for ten minutes, and prints its table
    Figures(FiguresArgs),
    /// Draws what runs came to, as SVG: deliveries a second over receivers, latency over load, memory over connections
    Plot(PlotArgs),
}

/// What to measure of a server.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// How fast messages are made durable: senders in one room, nobody watching; then the history is read and checked
    Durable(DurableArgs),
    /// How fast messages reach everyone who watches a room
    Fanout(FanoutArgs),
    /// How fast connections that were away get what they missed, all at once, from a server that was just started
    Catchup(CatchupArgs),
    /// What it costs to connect
    Handshake(HandshakeArgs),
    /// What connections cost that do nothing but watch a room
    Idle(IdleArgs),
    /// What it costs to make one room of very many in one command, and whether each of them is told
    Members(MembersArgs),
    /// Many rooms of all sizes, and all that people do in them; a soak. Everything is checked, and a fault ends it
    Mixed(MixedArgs),
    /// What a server holds whose disk is slow, and that is offered several times what the disk takes
    Overload(OverloadArgs),
    /// How fast pages of 50 events come, one after the other, from the newest to the oldest
    Page(PageArgs),
    /// What one member who stops reading costs the others, and whether it catches up when it reads again
    Stall(StallArgs),
}

/// Flags of `durable`.
#[derive(Debug, Args)]
pub struct DurableArgs {
    /// How many accounts send
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub senders: u32,
    /// How many messages of each are unacknowledged at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub window: u32,
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Flags of `fanout`.
#[derive(Debug, Args)]
pub struct FanoutArgs {
    /// How many accounts watch the room
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub receivers: u32,
    /// How many accounts send
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub senders: u32,
    /// Messages a second of all senders together, or max: as fast as they are acknowledged
    #[arg(long, default_value = "max", value_parser = parse_rate)]
    pub rate: Rate,
    /// At the rate max, how many messages of each sender are unacknowledged at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub window: u32,
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Flags of whatever sends.
#[derive(Debug, Clone, Copy, Args)]
pub struct LoadArgs {
    /// Bytes of each message
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(MIN_SIZE as i64..=MAX_TEXT as i64))]
    pub size: u32,
    /// For how long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
}

/// Flags of `catchup`.
#[derive(Debug, Args)]
pub struct CatchupArgs {
    /// How many accounts were away
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub receivers: u32,
    /// How many messages they missed
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub missed: u64,
    /// Bytes of each message
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(MIN_SIZE as i64..=MAX_TEXT as i64))]
    pub size: u32,
    /// So many watch another room, in which messages go on; their latency is measured before and meanwhile
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=900))]
    pub live: u32,
    /// Messages a second in that room
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub live_rate: u32,
    /// For how long they are measured before
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub live_seconds: u64,
}

/// Flags of `handshake`.
#[derive(Debug, Args)]
pub struct HandshakeArgs {
    /// How many connect at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub clients: u32,
    /// For how long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Then for as long again with the tickets of sessions before
    #[arg(long)]
    pub resume: bool,
}

/// Flags of `members`.
#[derive(Debug, Args)]
pub struct MembersArgs {
    /// How many accounts are made members, beside the one who makes the room
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub accounts: u32,
}

/// Flags of `mixed`.
#[derive(Debug, Args)]
pub struct MixedArgs {
    /// How many accounts
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(8..=1_000))]
    pub accounts: u32,
    /// How many rooms: a few have everyone or half of all, most are small, every fourth is direct
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(8..=1_000))]
    pub rooms: u32,
    /// What all of them do together, a second
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// For how long
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Who does what and when follows from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Flags of `idle`.
#[derive(Debug, Args)]
pub struct IdleArgs {
    /// How many
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// For how long they are idle: a keep-alive is sent each 10 s
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
}

/// Flags of `overload`.
#[derive(Debug, Args)]
pub struct OverloadArgs {
    /// How many accounts send
    #[arg(long, default_value_t = 160, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub senders: u32,
    /// How many messages of each are unacknowledged at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub window: u32,
    /// Bytes of each message: a disk that takes a second for each group takes 16 MiB a second
    #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(MIN_SIZE as i64..=MAX_TEXT as i64))]
    pub size: u32,
    /// For how long; it takes some 20 s until everything is full
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(40..=86_400))]
    pub seconds: u64,
}

/// Flags of `page`.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// How many messages the room has
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(50..=10_000_000))]
    pub messages: u64,
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Flags of `stall`.
#[derive(Debug, Args)]
pub struct StallArgs {
    /// How many accounts watch the room; one of them stops
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub receivers: u32,
    /// Messages a second
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rate: u32,
    /// Bytes of each message
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(MIN_SIZE as i64..=MAX_TEXT as i64))]
    pub size: u32,
    /// For how long all read, twice, and then for how long one does not
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// What the one who stops lets come unread, in bytes: a whole client's 512 KiB take long to fill
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(256..=524_288))]
    pub window: u32,
}

/// Flags of `figures`.
#[derive(Debug, Args)]
pub struct FiguresArgs {
    /// Where to; what is written there is table.md, runs.jsonl and the pictures of `plot`
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Then the soak, for twenty minutes more
    #[arg(long)]
    pub soak: bool,
}

/// Flags of `plot`.
#[derive(Debug, Args)]
pub struct PlotArgs {
    /// Where to; the files in it are deliveries.svg, latency.svg and memory.svg
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What runs with --json printed, one object a line; standard input if there is none
    pub runs: Vec<PathBuf>,
}

/// Flags of `cluster`.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=26))]
    pub nodes: u32,
    /// Messages a second, for latency: one sends at the first node, and who watches is there and at the last one
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// How many watch at each of these two
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub receivers: u32,
    /// How many send, over all nodes, for throughput
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub senders: u32,
    /// How many messages of each of those are unacknowledged at a time
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub window: u32,
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Flags of `search`.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// How many messages the copy has
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub messages: u64,
    /// In how many rooms
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..=10_000))]
    pub rooms: u64,
    /// How often each query is repeated
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub repeat: u32,
}

/// How fast to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// As fast as messages are acknowledged.
    Max,
    /// So many a second.
    PerSecond(f64),
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(Rate::Max),
        Ok(rate) if (0.01..=1e6).contains(&rate) => Ok(Rate::PerSecond(rate)),
        _ => Err("a rate is max, or messages a second from 0.01 to 1000000".into()),
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

    #[test]
    fn rates() {
        assert_eq!(parse_rate("max"), Ok(Rate::Max));
        assert_eq!(parse_rate("0.5"), Ok(Rate::PerSecond(0.5)));
        for wrong in ["", "0", "-1", "NaN", "inf", "fast", "1e9"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }
}
