//! The real `quip` command under a `QUIP_HOME` of its own.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use quip_protocol::ServerLink;
use tempfile::TempDir;

use crate::binary;
use crate::network::Machine;

/// A user's directories.
#[derive(Debug)]
pub struct Quip {
    home: TempDir,
    machine: Machine,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; -1 for a signal.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Ran {
    /// Asserts that it went well; returns what it printed.
    ///
    /// # Panics
    /// When it did not.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Asserts that it failed with this code and one line on stderr; returns the line.
    ///
    /// # Panics
    /// When it did not.
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "one line says what went wrong: {self:?}");
        self.stderr.trim_end().to_owned()
    }
}

impl Default for Quip {
    fn default() -> Self {
        Quip::new()
    }
}

impl Quip {
    /// A user who has never run it.
    pub fn new() -> Quip {
        Quip::at(Machine::default())
    }

    /// One at this machine.
    pub fn at(machine: Machine) -> Quip {
        Quip { home: tempfile::tempdir().expect("a home"), machine }
    }

    /// A user with an account made by a link.
    pub fn joined(link: &ServerLink, name: &str) -> Quip {
        Quip::new().join(link, name)
    }

    /// Makes an account by a link.
    pub fn join(self, link: &ServerLink, name: &str) -> Quip {
        self.run(&["join", &link.reveal(), "--name", name]).ok();
        self
    }

    /// Its `QUIP_HOME`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The command, to be changed and run.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.machine.command(binary("quip"));
        command.args(args).env("QUIP_HOME", self.home()).env_remove("QUIP_SERVER").env_remove("QUIP_TOKEN");
        command.stdin(Stdio::null());
        command
    }

    /// Runs it without input.
    pub fn run(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().expect("quip runs"))
    }

    /// Runs it with this on standard input.
    pub fn pipe(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("quip runs");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let input = input.to_vec();
        // It may stop reading before the end: that is its right.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("quip ends");
        writer.join().expect("the writer does not panic");
        ran(output)
    }

    /// Starts it, with stdout piped, to go on beside the test.
    pub fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("quip runs")
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("quip prints UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("quip complains in UTF-8"),
    }
}
