//! A line on stderr that says what goes on, if somebody is looking.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

const EVERY: Duration = Duration::from_millis(250);

/// What goes on.
#[derive(Debug)]
pub struct Progress {
    shown: Arc<Shown>,
    painter: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shown {
    phase: Mutex<&'static str>,
    count: AtomicU64,
}

impl Progress {
    /// Shown from now on, if stderr is a terminal.
    pub fn start() -> Progress {
        let shown = Arc::<Shown>::default();
        let painter = std::io::stderr().is_terminal().then(|| tokio::spawn(paint(Arc::clone(&shown))));
        Progress { shown, painter }
    }

    /// What is counted from now on.
    pub fn phase(&self, phase: &'static str) {
        *self.shown.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        self.set(0);
    }

    /// How many there are.
    pub fn set(&self, count: u64) {
        self.shown.count.store(count, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(painter) = self.painter.take() {
            painter.abort();
            // A terminal that is gone shows nothing.
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

async fn paint(shown: Arc<Shown>) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let phase = *shown.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let count = shown.count.load(Ordering::Relaxed);
        let _ = write!(std::io::stderr(), "\r\x1b[K{phase}: {count}");
    }
}
