//! Compressing sealed segments in the background. A crash between any two steps leaves a journal that opens: until
//! the original is removed it is the one that counts, and before that its copy is complete, read back and durable.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use super::segment::Segment;
use crate::durable::sync_dir;

/// zstd's default: a journal of text shrinks to a third at some 300 MB a second.
const LEVEL: i32 = 3;
const CHUNK: usize = 256 * 1024;

/// The thread that compresses. Dropping it interrupts what it does.
#[derive(Debug)]
pub(super) struct Compressor {
    queue: Option<Sender<Segment>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Compressor {
    pub(super) fn start(dir: PathBuf) -> io::Result<Compressor> {
        let (queue, segments) = mpsc::channel::<Segment>();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || {
            for segment in segments {
                compress_or_warn(&dir, &segment, &stopped);
            }
        };
        let thread = std::thread::Builder::new().name("journal-zstd".to_owned()).spawn(run)?;
        Ok(Compressor { queue: Some(queue), stop, thread: Some(thread) })
    }

    pub(super) fn push(&self, segment: Segment) {
        if let Some(queue) = &self.queue {
            // Fails only if the thread is gone; then the segment is compressed after the next start.
            let _ = queue.send(segment);
        }
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn compress_or_warn(dir: &Path, segment: &Segment, stop: &AtomicBool) {
    if stop.load(Ordering::Relaxed) {
        return;
    }
    if let Err(error) = compress(dir, segment, stop)
        && error.kind() != io::ErrorKind::Interrupted
    {
        tracing::warn!(
            file = %segment.path.display(), %error,
            "a sealed journal segment could not be compressed; it stays as it is and is tried again after a restart"
        );
    }
}

/// All steps.
fn compress(dir: &Path, segment: &Segment, stop: &AtomicBool) -> io::Result<()> {
    for step in STEPS {
        if let Err(error) = step(dir, segment, stop) {
            // Should this fail as well, the next open removes it.
            let _ = fs::remove_file(temporary(segment));
            return Err(error);
        }
    }
    Ok(())
}

pub(super) type Step = fn(&Path, &Segment, &AtomicBool) -> io::Result<()>;

pub(super) const STEPS: [Step; 4] = [write_copy, verify_copy, publish, remove_original];

fn temporary(segment: &Segment) -> PathBuf {
    segment.to_compressed().path.with_added_extension("tmp")
}

fn write_copy(_: &Path, segment: &Segment, stop: &AtomicBool) -> io::Result<()> {
    let file = BufWriter::with_capacity(CHUNK, File::create(temporary(segment))?);
    let mut encoder = zstd::Encoder::new(file, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut original = File::open(&segment.path)?;
    while io::copy(&mut (&mut original).take(CHUNK as u64), &mut encoder)? > 0 {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    let mut file = encoder.finish()?;
    file.flush()?;
    file.get_ref().sync_all()
}

/// The original is the only copy of what was promised to be durable, so its successor is read back first.
fn verify_copy(_: &Path, segment: &Segment, stop: &AtomicBool) -> io::Result<()> {
    let mut original = BufReader::with_capacity(CHUNK, File::open(&segment.path)?);
    let mut copy = BufReader::with_capacity(CHUNK, zstd::Decoder::new(File::open(temporary(segment))?)?);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let (mut left, mut right) = (Vec::new(), Vec::new());
        (&mut original).take(CHUNK as u64).read_to_end(&mut left)?;
        (&mut copy).take(CHUNK as u64).read_to_end(&mut right)?;
        if left != right {
            return Err(io::Error::other("the compressed copy differs from the original"));
        }
        if left.is_empty() {
            return Ok(());
        }
    }
}

fn publish(dir: &Path, segment: &Segment, _: &AtomicBool) -> io::Result<()> {
    fs::rename(temporary(segment), segment.to_compressed().path)?;
    sync_dir(dir)
}

fn remove_original(dir: &Path, segment: &Segment, _: &AtomicBool) -> io::Result<()> {
    fs::remove_file(&segment.path)?;
    sync_dir(dir)
}
