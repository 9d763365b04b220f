//! How a command ends: its errors, and the one mapping from an error to an exit code. Scripts depend on the codes,
//! which are those of `sysexits.h` where it has one.

use std::io;

use quip_protocol::{ErrorCode, Refusal, client};

use crate::config::ConfigError;
use crate::shell::ShellError;

/// What the shell sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; what was sent is acknowledged.
    Done = 0,
    /// Nothing was found, as grep says it.
    NoMatch = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The input was refused: too long, not UTF-8, a name that is taken or unknown.
    Refused = 65,
    /// The server cannot be reached.
    Unreachable = 69,
    /// A mistake of Quip itself.
    Internal = 70,
    /// The output, or a local file, cannot be written.
    Io = 74,
    /// Not now: try again.
    TryAgain = 75,
    /// Not allowed, or not to be trusted.
    Denied = 77,
    /// A file of the user is damaged.
    Config = 78,
    /// Nothing came in time.
    TimedOut = 124,
}

/// Why a command failed, in one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line, or what stands in the environment, makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The input was refused before anything was sent.
    #[error("{0}")]
    Input(String),
    /// Not allowed, or not to be trusted.
    #[error("{0}")]
    Denied(String),
    /// The server, or the way to it.
    #[error("{}", said(.0))]
    Client(#[from] client::Error),
    /// The user's files.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The terminal client.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// The output cannot be written.
    #[error("cannot write the output: {0}; what was printed is not all")]
    Output(io::Error),
    /// The input cannot be read.
    #[error("cannot read the input: {0}")]
    Stdin(io::Error),
    /// The server that `quip host` starts did not start, or ended.
    #[error("{0}")]
    Host(String),
    /// Nothing came in time.
    #[error("{0}")]
    TimedOut(String),
    /// Neither the server nor what is kept here has it.
    #[error("{0}")]
    Unreachable(String),
    /// The server was away, or wrote nothing, for too long.
    #[error("{0}")]
    TryAgain(String),
    /// Nothing was found.
    #[error("no match")]
    NoMatch,
    /// A command that was to be run is not there (127), or no program (126), as a shell says it.
    #[error("{0}")]
    NotRun(String, u8),
    /// A command that was run ended with this code; all is acknowledged. Not said.
    #[error("the command ended with {0}")]
    Ended(u8),
    /// Whoever read the output has seen enough. Not said.
    #[error("the reader of the output has gone")]
    ReaderGone,
}

impl CliError {
    /// From writing the output.
    pub fn from_output(error: io::Error) -> CliError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::ReaderGone,
            _ => CliError::Output(error),
        }
    }

    /// The refusal, if the server refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            CliError::Client(client::Error::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            CliError::Usage(_) | CliError::NotRun(..) => Exit::Usage,
            CliError::NoMatch => Exit::NoMatch,
            CliError::Input(_) => Exit::Refused,
            CliError::Denied(_) => Exit::Denied,
            CliError::Client(error) => of_client(error),
            CliError::Config(error) => of_config(error),
            CliError::Output(_) | CliError::Stdin(_) | CliError::Host(_) | CliError::Shell(_) => Exit::Io,
            CliError::TimedOut(_) => Exit::TimedOut,
            CliError::Unreachable(_) => Exit::Unreachable,
            CliError::TryAgain(_) => Exit::TryAgain,
            CliError::Ended(_) | CliError::ReaderGone => Exit::Done,
        }
    }

    /// What the shell sees.
    pub fn code(&self) -> u8 {
        match self {
            CliError::Ended(code) | CliError::NotRun(_, code) => *code,
            error => error.exit() as u8,
        }
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> CliError {
        CliError::Client(client::Error::Refused(refusal))
    }
}

/// The exit code for a refusal.
pub fn of_code(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::BadRequest
        | ErrorCode::TooLong
        | ErrorCode::TooMany
        | ErrorCode::NameTaken
        | ErrorCode::NoSuchAccount
        | ErrorCode::NoSuchMessage
        | ErrorCode::BadCursor
        | ErrorCode::IdReused
        | ErrorCode::NoSuchDevice => Exit::Refused,
        ErrorCode::Version => Exit::Unreachable,
        ErrorCode::UnknownDevice
        | ErrorCode::Revoked
        | ErrorCode::Suspended
        | ErrorCode::BadCode
        | ErrorCode::UsedCode
        | ErrorCode::ExpiredCode
        // A private room that one may not know of and a room that is not there look alike.
        | ErrorCode::NoSuchRoom
        | ErrorCode::NotMember
        | ErrorCode::Removed
        | ErrorCode::Forbidden
        | ErrorCode::Archived => Exit::Denied,
        ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Degraded => Exit::TryAgain,
        _ => Exit::Internal,
    }
}

fn of_client(error: &client::Error) -> Exit {
    match error {
        client::Error::Refused(refusal) => of_code(refusal.code),
        client::Error::Unreachable { .. } | client::Error::Disconnected => Exit::Unreachable,
        client::Error::UnknownServer { .. }
        | client::Error::WrongServer { .. }
        | client::Error::ForgedServer { .. } => Exit::Denied,
        client::Error::TimedOut => Exit::TimedOut,
        client::Error::Config(_) | client::Error::Name(_) => Exit::Usage,
        _ => Exit::Internal,
    }
}

fn of_config(error: &ConfigError) -> Exit {
    match error {
        ConfigError::NoHome => Exit::Usage,
        ConfigError::Read { .. } | ConfigError::Write { .. } | ConfigError::Randomness => Exit::Io,
        ConfigError::Known { .. } | ConfigError::Key { .. } | ConfigError::Settings { .. } => Exit::Config,
        ConfigError::KeyOpen { .. } => Exit::Denied,
    }
}

/// The client's own words, and when to try again where the server said so, unless it has said it in words.
fn said(error: &client::Error) -> String {
    let says_when = |text: &str| text.contains("try again") || text.contains("; wait ");
    match error {
        client::Error::Refused(Refusal { text, retry_after_ms: Some(ms), .. })
            if !says_when(text.as_str()) =>
        {
            format!("{text}; try again in {} s", ms.div_ceil(1_000).max(1))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_code() {
        use ErrorCode::*;
        let table: &[(Exit, &[ErrorCode])] = &[
            (
                Exit::Refused,
                &[
                    BadRequest,
                    TooLong,
                    TooMany,
                    NameTaken,
                    NoSuchAccount,
                    NoSuchMessage,
                    BadCursor,
                    IdReused,
                    NoSuchDevice,
                ],
            ),
            (Exit::Unreachable, &[Version]),
            (Exit::Denied, &[UnknownDevice, Revoked, Suspended, BadCode, UsedCode, ExpiredCode]),
            (Exit::Denied, &[NoSuchRoom, NotMember, Removed, Forbidden, Archived]),
            (Exit::TryAgain, &[RateLimited, Unavailable, Degraded]),
            (Exit::Internal, &[Internal, Unknown(999)]),
        ];
        let mut seen = 0;
        for (exit, codes) in table {
            for code in *codes {
                assert_eq!(CliError::from(Refusal::new(*code, "no")).exit(), *exit, "{code}");
                seen += 1;
            }
        }
        let known = (0..1_000).filter(|n| !matches!(ErrorCode::from(*n), Unknown(_))).count();
        assert_eq!(seen, known + 1, "a code of the protocol is missing in this table");
    }

    #[test]
    fn the_documented_numbers() {
        let table = [
            (CliError::Usage(String::new()), 2),
            (CliError::Input(String::new()), 65),
            (CliError::Denied(String::new()), 77),
            (client::Error::Disconnected.into(), 69),
            (client::Error::TimedOut.into(), 124),
            (CliError::TimedOut(String::new()), 124),
            (CliError::TryAgain(String::new()), 75),
            (CliError::Ended(3), 3),
            (CliError::NoMatch, 1),
            (CliError::NotRun(String::new(), 127), 127),
            (CliError::ReaderGone, 0),
        ];
        for (error, number) in table {
            assert_eq!(error.code(), number, "{error}");
        }
    }

    #[test]
    fn a_refusal_that_passes_says_when() {
        let error = CliError::from(Refusal::retry(ErrorCode::RateLimited, "too fast", 1_200));
        assert_eq!(error.to_string(), "too fast; try again in 2 s");
        for once in ["it cannot be written to now; try again in 500 ms", "too many codes; wait 1 s"] {
            let error = CliError::from(Refusal::retry(ErrorCode::Degraded, once, 500));
            assert_eq!(error.to_string(), once);
        }
    }
}
