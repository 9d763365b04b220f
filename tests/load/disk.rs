//! What the disk itself costs: durable figures mean nothing without it.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::latency::{millis, nanos, new_histogram};

const APPENDS: usize = 200;
const BYTES: usize = 128;

/// How long the disk takes to make a small append durable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disk {
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// The 99th of 100, in milliseconds.
    pub p99_ms: f64,
}

/// Appends a little and waits until it is durable, many times, in a file that is removed again.
///
/// # Errors
/// When the directory cannot be written to.
pub fn measure(dir: &Path) -> io::Result<Disk> {
    let path = dir.join("quip-load.probe");
    let measured = appends(&path);
    // Whatever happened: nothing of it stays behind.
    let _ = std::fs::remove_file(&path);
    let histogram = measured?;
    let at = |quantile| millis(histogram.value_at_quantile(quantile));
    Ok(Disk { p50_ms: at(0.5), p99_ms: at(0.99) })
}

fn appends(path: &Path) -> io::Result<Histogram<u64>> {
    let mut file = std::fs::File::options().create(true).append(true).open(path)?;
    let mut histogram = new_histogram();
    for _ in 0..APPENDS {
        let begun = Instant::now();
        file.write_all(&[b'x'; BYTES])?;
        file.sync_data()?;
        histogram.saturating_record(nanos(begun.elapsed()));
    }
    Ok(histogram)
}
