//! Where a stream comes from: standard input, or a command that is run. What is read goes into one place, which the
//! sender looks at when it likes: reading never waits for the server.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::log::Log;
use crate::cli::exit::CliError;
use crate::cli::signals::Signals;

/// How long something that outlives its command and keeps the output open is waited for.
const LEFTOVER: Duration = Duration::from_secs(1);
/// How much is read at once.
const CHUNK: usize = 16 * 1024;
/// What a shell says of a command that is not there.
const NOT_THERE: u8 = 127;
/// And of one that cannot be run.
const NO_PROGRAM: u8 = 126;

/// What was read so far.
#[derive(Debug)]
pub struct Progress {
    log: Log,
    /// Nothing more comes.
    eof: bool,
    fault: Option<io::Error>,
    end: Option<End>,
}

/// How a stream ended.
#[derive(Debug, Clone)]
pub struct End {
    /// What stands below it.
    pub line: Option<String>,
    /// What the shell sees once all of it is acknowledged.
    pub code: u8,
}

/// Where the source writes.
pub type Sink = watch::Sender<Progress>;

impl Progress {
    /// Nothing yet, for a text of at most `limit` bytes.
    pub fn new(limit: usize) -> Progress {
        Progress { log: Log::new(limit), eof: false, fault: None, end: None }
    }

    /// The text as it is now.
    pub fn text(&self) -> quip_protocol::SafeText {
        self.log.text(self.end.as_ref().and_then(|end| end.line.as_deref()))
    }

    /// How it ended, if it did.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Why reading failed, if it did.
    pub fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }
}

/// Reads standard input, until its end or a signal.
///
/// # Errors
/// When signals cannot be waited for.
pub fn standard_input(sink: &Sink) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    read(io::stdin(), sink.clone());
    let (sink, mut progress) = (sink.clone(), sink.subscribe());
    tokio::spawn(async move {
        let end = tokio::select! {
            _ = progress.wait_for(|progress| progress.eof) => End { line: None, code: 0 },
            signal = signals.next() => End { line: Some("(interrupted)".into()), code: 128 + signal },
        };
        sink.send_modify(|progress| progress.end = Some(end));
    });
    Ok(())
}

/// Runs a command and reads its output and its errors, in the order in which they come.
///
/// # Errors
/// When it cannot be run.
pub fn command(command: &[OsString], status: bool, sink: &Sink) -> Result<(), CliError> {
    let signals = Signals::listen()?;
    let began = Instant::now();
    let (child, output) = start(command)?;
    read(output, sink.clone());
    let (sink, mut progress) = (sink.clone(), sink.subscribe());
    tokio::spawn(async move {
        let ended = ended(child, signals).await;
        let took = began.elapsed();
        let _ = timeout(LEFTOVER, progress.wait_for(|progress| progress.eof)).await;
        let line = status.then(|| format!("{} after {}", said(&ended), spent(took)));
        sink.send_modify(|progress| progress.end = Some(End { line, code: code(&ended) }));
    });
    Ok(())
}

fn start(command: &[OsString]) -> Result<(Child, io::PipeReader), CliError> {
    let (program, args) = command.split_first().expect("the caller has a command");
    let spawn = || {
        let (output, input) = io::pipe()?;
        let child = Command::new(program).args(args).stdout(input.try_clone()?).stderr(input).spawn()?;
        Ok((child, output))
    };
    spawn().map_err(|error: io::Error| {
        let program = program.display();
        let code = if error.kind() == io::ErrorKind::NotFound { NOT_THERE } else { NO_PROGRAM };
        CliError::NotRun(
            format!("cannot run {program}: {error}; nothing was sent, check its name and PATH"),
            code,
        )
    })
}

/// Waits for the end of a command. One that was told to end tells the command; of an interrupt the terminal told it.
async fn ended(mut child: Child, mut signals: Signals) -> io::Result<ExitStatus> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    loop {
        tokio::select! {
            ended = child.wait() => return ended,
            signal = signals.next() => {
                if let (Some(pid), 15) = (pid, signal) {
                    // It may have ended just now.
                    let _ = kill_process(pid, Signal::TERM);
                }
            }
        }
    }
}

fn read(mut input: impl Read + Send + 'static, sink: Sink) {
    // A thread of its own: reading waits for whoever writes, and is not waited for at the end.
    std::thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        loop {
            match input.read(&mut chunk) {
                Ok(0) => break sink.send_modify(|progress| progress.eof = true),
                Ok(n) => sink.send_modify(|progress| progress.log.take(&chunk[..n])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break sink.send_modify(|progress| progress.fail(error)),
            }
        }
    });
}

impl Progress {
    fn fail(&mut self, error: io::Error) {
        (self.eof, self.fault) = (true, Some(error));
    }
}

fn code(status: &io::Result<ExitStatus>) -> u8 {
    let Ok(status) = status else { return 1 };
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn said(status: &io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => "ended".into(),
        },
        Err(error) => format!("lost ({error})"),
    }
}

/// `31 s`, `12 min 5 s`, `3 h 4 min`.
fn spent(time: Duration) -> String {
    match time.as_secs() {
        s if s < 60 => format!("{s} s"),
        s if s < 3_600 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3_600, s / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_command_ended() {
        let table = [
            (0, "exit 0", 0),
            (2 << 8, "exit 2", 2),
            (255 << 8, "exit 255", 255),
            (9, "killed by signal 9", 137),
            (15, "killed by signal 15", 143),
        ];
        for (raw, line, number) in table {
            let status = Ok(ExitStatus::from_raw(raw));
            assert_eq!((said(&status).as_str(), code(&status)), (line, number));
        }
        assert_eq!(code(&Err(io::ErrorKind::Other.into())), 1);
    }

    #[test]
    fn how_long_it_took() {
        let table = [(0, "0 s"), (31, "31 s"), (60, "1 min 0 s"), (725, "12 min 5 s"), (11_040, "3 h 4 min")];
        for (seconds, text) in table {
            assert_eq!(spent(Duration::from_secs(seconds)), text);
        }
    }

    #[tokio::test]
    async fn a_command_that_cannot_be_run_ends_as_a_shell_says_it() {
        for (command, code) in [("/nonexistent/make", 127), ("no-such-command", 127), ("/etc/hosts", 126)] {
            let error = start(&[command.into()]).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
        }
    }
}
