//! From the start to the first paint, and from a key to the screen, with a large copy and the server away.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::PaintArgs;
use crate::{copy, micros, millis};
use quip_tests::pty::Screen;

/// A fast typist's pace.
const BETWEEN_KEYS: Duration = Duration::from_millis(60);

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
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

/// Measures it.
pub fn measure(cli: &PaintArgs) -> Result<Report> {
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
    Ok(Report {
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
    })
}

/// Types one letter that is nowhere on the screen, and takes it away again. How long until it was seen.
fn key(screen: &mut Screen, number: u32) -> Result<Duration> {
    // As people type: the client was painted a while ago, and paints at once.
    screen.rests(BETWEEN_KEYS);
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
