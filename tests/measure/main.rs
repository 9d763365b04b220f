//! `quip-measure`: what a person waits for in the terminal client, with a large local copy and no server: from the start to
//! the first paint, from a key to the screen.

mod copy;

use std::io::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use hdrhistogram::Histogram;
use quip_tests::pty::Screen;
use serde::Serialize;

/// A fast typist's pace.
const BETWEEN_KEYS: Duration = Duration::from_millis(60);

/// Measures the terminal client on a pseudo terminal of 120×40, with a copy of many rooms and its server away.
///
/// Prints one JSON object; times are in milliseconds, memory in KiB.
#[derive(Debug, Parser)]
#[command(
    name = "quip-measure",
    after_help = "Example:\n  quip-measure --rooms 200 --messages 1000000 --starts 20 --keys 200"
)]
struct Cli {
    /// Rooms in the copy
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rooms: u32,
    /// Messages in the copy, over all rooms
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    messages: u64,
    /// How often the client is started
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    starts: u32,
    /// How many keys are pressed
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    keys: u32,
}

#[derive(Debug, Serialize)]
struct Report {
    rooms: u32,
    messages: u64,
    copy_mib: u64,
    copy_seconds: f64,
    first_paint_p50_ms: f64,
    first_paint_max_ms: f64,
    key_p50_ms: f64,
    key_p99_ms: f64,
    key_max_ms: f64,
    rss_kib: Option<u64>,
    peak_rss_kib: Option<u64>,
}

fn main() -> ExitCode {
    match measure(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "quip-measure: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> Result<()> {
    let began = Instant::now();
    let copy = copy::make(cli.rooms, cli.messages).context("cannot make the copy")?;
    let copy_seconds = began.elapsed().as_secs_f64();
    let mut paints = Histogram::<u64>::new(3)?;
    for _ in 0..cli.starts {
        let began = Instant::now();
        let mut screen = Screen::start(&copy.quip)?;
        screen.shows(&copy.last)?;
        paints.record(micros(began.elapsed()))?;
    }
    let mut screen = Screen::start(&copy.quip)?;
    screen.shows(&copy.last)?;
    let mut keys = Histogram::<u64>::new(3)?;
    for number in 0..cli.keys {
        keys.record(micros(key(&mut screen, number)?))?;
    }
    let process = screen.process();
    let report = Report {
        rooms: cli.rooms,
        messages: cli.messages,
        copy_mib: copy.mib()?,
        copy_seconds,
        first_paint_p50_ms: millis(paints.value_at_quantile(0.5)),
        first_paint_max_ms: millis(paints.max()),
        key_p50_ms: millis(keys.value_at_quantile(0.5)),
        key_p99_ms: millis(keys.value_at_quantile(0.99)),
        key_max_ms: millis(keys.max()),
        rss_kib: process.rss_kib(),
        peak_rss_kib: process.peak_rss_kib(),
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?;
    Ok(())
}

/// Types one letter that is nowhere on the screen, and takes it away again. How long until it was seen.
fn key(screen: &mut Screen, number: u32) -> Result<Duration> {
    // As people type: the client has been drawn a while ago, and draws at once.
    thread::sleep(BETWEEN_KEYS);
    // Letters of another script: no escape sequence and no word of the client has one.
    let letter = char::from_u32(0x3B1 + number % 24).context("a Greek letter")?;
    let began = Instant::now();
    screen.press(letter.encode_utf8(&mut [0; 4]).as_bytes())?;
    screen.shows(&letter.to_string())?;
    let took = began.elapsed();
    // Everything is taken away now and then, and that is seen too: the next letter meets a client at rest.
    if number % 24 == 23 {
        screen.press(b"\x15")?;
        screen.until("an empty line", |screen| !screen.contains(letter))?;
    }
    Ok(took)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of a run are far below 2^52")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}
