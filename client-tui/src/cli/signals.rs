//! The signals that ask a command to end. Imports nothing of Quip but how a command fails.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::CliError;

/// Waits for SIGTERM and SIGINT, which from then on do not end the process by themselves.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn listen() -> Result<Signals, CliError> {
        let listen =
            |kind| signal(kind).map_err(|error| CliError::Host(format!("cannot wait for signals: {error}")));
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// The number of the next one.
    pub async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.terminate.recv() => 15,
            _ = self.interrupt.recv() => 2,
        }
    }
}
