//! What a stretch of a run used: time, the server's CPU and memory, this program's CPU.

use std::time::{Duration, Instant};

use quip_tests::process::Process;

/// Running.
#[derive(Debug)]
pub struct Meter {
    server: Option<Process>,
    server_cpu: Option<Duration>,
    client_cpu: Option<Duration>,
    begun: Instant,
}

/// Stopped.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// User and system time of the server.
    pub server_cpu: Option<Duration>,
    /// Its resident memory at the end.
    pub server_rss_kib: Option<u64>,
    /// User and system time of this program.
    pub client_cpu: Option<Duration>,
    /// How long it was.
    pub elapsed: Duration,
}

impl Meter {
    /// Starts; `server` is the server's process if it is known.
    pub fn start(server: Option<Process>) -> Meter {
        let server_cpu = server.as_ref().and_then(Process::cpu);
        Meter { server, server_cpu, client_cpu: Process::this().cpu(), begun: Instant::now() }
    }

    /// Stops.
    pub fn stop(self) -> Measured {
        let elapsed = self.begun.elapsed();
        let used = |after: Option<Duration>, before: Option<Duration>| Some(after?.saturating_sub(before?));
        Measured {
            server_cpu: used(self.server.as_ref().and_then(Process::cpu), self.server_cpu),
            server_rss_kib: self.server.as_ref().and_then(Process::rss_kib),
            client_cpu: used(Process::this().cpu(), self.client_cpu),
            elapsed,
        }
    }
}

impl Measured {
    /// How long it was.
    pub fn seconds(&self) -> f64 {
        self.elapsed.as_secs_f64()
    }

    /// The server's CPU over a count, in microseconds.
    pub fn server_us_per(&self, count: u64) -> Option<f64> {
        crate::report::per(self.server_cpu?.as_secs_f64() * 1e6, count)
    }
}
