//! The client on a pseudo terminal, read as it paints.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::process::Process;
use crate::{Quip, binary};

/// Nothing that is measured may take longer.
const DEADLINE: Duration = Duration::from_secs(60);
const ROWS: NonZeroU16 = NonZeroU16::new(40).expect("40 is not 0");
const COLUMNS: NonZeroU16 = NonZeroU16::new(120).expect("120 is not 0");

/// What the client writes at the end of each painting, in which it shows the cursor.
const PAINTED: &[u8] = b"\x1b[?25h";

/// A running client.
pub struct Screen {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    painted: Receiver<Vec<u8>>,
    /// The terminal: only what differs from before is painted, so the bytes alone tell little.
    shown: vt100::Parser,
    /// How often all of it was painted, and what may be the beginning of the next sign of that.
    paintings: usize,
    rest: Vec<u8>,
    _terminal: Box<dyn MasterPty + Send>,
}

impl Screen {
    /// Starts the client as this user, on 120×40.
    ///
    /// # Errors
    /// When there is no pseudo terminal, or no client.
    pub fn start(quip: &Quip) -> Result<Screen> {
        let size = PtySize { rows: ROWS.get(), cols: COLUMNS.get(), pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size)?;
        let mut command = CommandBuilder::new(binary("quip"));
        command.env("QUIP_HOME", quip.home());
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).context("quip does not start")?;
        let mut reader = pair.master.try_clone_reader()?;
        let (sender, painted) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let keys = pair.master.take_writer()?;
        let shown = vt100::Parser::new(ROWS, COLUMNS, 0);
        Ok(Screen { child, keys, painted, shown, paintings: 0, rest: Vec::new(), _terminal: pair.master })
    }

    /// Presses keys.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn press(&mut self, keys: &[u8]) -> Result<()> {
        self.keys.write_all(keys)?;
        Ok(self.keys.flush()?)
    }

    /// Sends the client a signal, by its name.
    ///
    /// # Panics
    /// When the client is gone.
    pub fn signal(&self, name: &str) {
        let pid = self.child.process_id().expect("the client runs").to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill is there");
        assert!(sent.success(), "kill -s {name} {pid}");
    }

    /// Waits until the screen is as `check` wants it.
    ///
    /// # Errors
    /// At the deadline, with the screen.
    pub fn until(&mut self, what: &str, check: impl Fn(&str) -> bool) -> Result<()> {
        let until = Instant::now() + DEADLINE;
        loop {
            let contents = self.shown.screen().contents();
            if check(&contents) {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.painted.recv_timeout(left) {
                Ok(bytes) => self.take(&bytes),
                Err(_) => bail!("not on the screen: {what}\n{contents}"),
            }
        }
    }

    /// Waits until this is on the screen.
    ///
    /// # Errors
    /// At the deadline, with the screen.
    pub fn shows(&mut self, text: &str) -> Result<()> {
        self.until(text, |screen| screen.contains(text))
    }

    /// Whether this is on the screen now.
    pub fn contains(&self, text: &str) -> bool {
        self.shown.screen().contents().contains(text)
    }

    /// Waits until the client has ended.
    pub fn ends(&mut self) -> Result<()> {
        // The terminal is read to its end, so that the client can write to its own.
        let until = Instant::now() + DEADLINE;
        while self.painted.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
        ensure!(self.child.wait()?.success(), "the client fails at its end");
        Ok(())
    }

    /// Waits until nothing was painted for so long.
    pub fn rests(&mut self, quiet: Duration) {
        while let Ok(bytes) = self.painted.recv_timeout(quiet) {
            self.take(&bytes);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.shown.process(bytes);
        self.rest.extend_from_slice(bytes);
        self.paintings += self.rest.windows(PAINTED.len()).filter(|piece| *piece == PAINTED).count();
        let keep = self.rest.len().saturating_sub(PAINTED.len() - 1);
        self.rest.drain(..keep);
    }

    /// How often the client has painted, as far as that was read here.
    pub fn paintings(&self) -> usize {
        self.paintings
    }

    /// The client's process.
    pub fn process(&self) -> Process {
        Process::of(self.child.process_id().unwrap_or_default())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
