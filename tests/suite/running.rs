//! A `quip` that goes on beside the test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use quip_tests::poll::DEADLINE;
use quip_tests::{Quip, eventually};
use serde_json::Value;

/// A command that goes on, and the JSON lines that it prints.
pub struct Running {
    pub process: Child,
    pub lines: Receiver<Value>,
}

impl Running {
    /// Starts it.
    pub fn start(quip: &Quip, args: &[&str]) -> Running {
        let mut command = quip.command(args);
        Running::of(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn of(mut process: Child) -> Running {
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        // A line that a kill cut off was not flushed: it does not count.
        let parsed = |line: String| serde_json::from_str(&line).ok();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).filter_map(parsed).try_for_each(|line| sender.send(line))
        });
        Running { process, lines }
    }

    /// The next line.
    pub fn next(&self) -> Value {
        self.lines.recv_timeout(DEADLINE).expect("the command goes on")
    }

    /// kill -9; what it had printed.
    pub fn kill(mut self) -> Vec<Value> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        // Ends when the pipe does.
        self.lines.iter().collect()
    }

    /// SIGTERM; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        terminate(&self.process);
        self.ended()
    }

    /// Waits; its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        eventually("the command ends", || self.process.try_wait().unwrap()).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// SIGTERM.
pub fn terminate(process: &Child) {
    signal(process, "TERM");
}

/// A signal by its name.
pub fn signal(process: &Child, name: &str) {
    let pid = process.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}
