//! The server under load: one of our own, or one that is given.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use quip_protocol::ServerLink;
use quip_tests::Server;

use quip_tests::process::Process;

/// Limits are what another program tests; here they would only be in the way.
const CONFIG: &str = "[limits]
connections = 40000
connections_per_address = 40000
requests_in_flight = 5000
burst_messages = 1000000
messages_per_second = 1000000
code_attempts = 1000000
";
/// The most accounts that one invite makes.
const USES: usize = 10_000;

/// The server under load.
#[derive(Debug)]
pub enum Subject {
    /// Started for this run, on a directory that goes with it.
    Own(Box<Server>),
    /// Given by an invite link.
    Given(ServerLink),
}

impl Subject {
    /// The given one, or a new one.
    pub fn new(given: Option<ServerLink>) -> Result<Subject> {
        match given {
            Some(link) => {
                link.fingerprint
                    .context("--server needs a link with a fingerprint, as quipd invite prints it")?;
                link.code
                    .as_ref()
                    .context("--server needs an invite link: quipd invite --uses N prints one")?;
                Ok(Subject::Given(link))
            }
            None => Ok(Subject::Own(Box::new(Server::with_config(CONFIG)))),
        }
    }

    /// An invite for each of `accounts`.
    pub fn invites(&self, accounts: usize) -> Vec<ServerLink> {
        match self {
            Subject::Given(link) => vec![link.clone(); accounts],
            Subject::Own(server) => {
                let uses = USES.to_string();
                let links = (0..accounts.div_ceil(USES)).map(|_| server.invite(&["--uses", &uses]));
                links.flat_map(|link| vec![link; USES]).take(accounts).collect()
            }
        }
    }

    /// Its process, if it is our own.
    pub fn process(&self) -> Option<Process> {
        match self {
            Subject::Own(server) => Some(Process::of(server.pid())),
            Subject::Given(_) => None,
        }
    }

    /// Where it keeps its data, if it is our own.
    pub fn dir(&self) -> Option<PathBuf> {
        match self {
            Subject::Own(server) => Some(server.data_dir()),
            Subject::Given(_) => None,
        }
    }

    /// What it logged so far, if it is our own.
    pub fn log(&self) -> Option<String> {
        match self {
            Subject::Own(server) => Some(server.log()),
            Subject::Given(_) => None,
        }
    }

    /// Starts our own again, so that its memory holds nothing of what came before.
    ///
    /// # Errors
    /// When it does not stop as it should.
    pub fn restart(&mut self) -> Result<()> {
        self.restart_with(&[])
    }

    /// The same with this in its environment.
    ///
    /// # Errors
    /// The same.
    pub fn restart_with(&mut self, env: &[(&str, &str)]) -> Result<()> {
        if let Subject::Own(server) = self {
            ensure!(server.stop(), "quipd did not end with 0 on SIGTERM: {}", server.log());
            server.restart_with(env);
        }
        Ok(())
    }
}
