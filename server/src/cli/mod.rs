//! What an operator types: flags, subcommands, their help.

mod admin;
mod check;
mod serve;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use quip_protocol::{AccountName, NodeName, RoomName};

use crate::config::{DEFAULT_CONFIG, FileConfig, Registration};

/// The QUIC chat server of Quip.
#[derive(Debug, Parser)]
#[command(
    name = "quipd",
    version,
    after_help = "Examples:\n  quipd --data-dir /var/lib/quipd            serve on [::]:7847\n  quipd invite --data-dir /var/lib/quipd     print a link for one colleague\n  quipd check --data-dir /var/lib/quipd      verify what is stored\n\nExit codes: 0 done, 1 failed (`check`: something is wrong), 2 usage, 65 input refused, 75 try again, 77 denied."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Verb>,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve until SIGTERM or Ctrl+C (the default)
    #[command(
        after_help = "Examples:\n  quipd serve --data-dir /var/lib/quipd --public-host chat.example.org\n  quipd serve --listen 127.0.0.1:0             for this machine alone, on a port that is free\n  quipd serve --config quipd.toml --http 127.0.0.1:9847\n  quipd serve --redis rediss://:PASSWORD@10.0.0.1 --node a --advertise a.example.org:7847"
    )]
    Serve(Box<ServeArgs>),
    /// Print a link that makes an account
    #[command(
        after_help = "Examples:\n  quipd invite\n  quipd invite --room '#ops' --uses 20 --ttl 7d\n  quipd invite --owner"
    )]
    Invite {
        /// The account administers the server
        #[arg(long)]
        owner: bool,
        /// The account is also a member of this room
        #[arg(long, value_name = "#ROOM")]
        room: Option<RoomName>,
        /// How many accounts the link makes
        #[arg(long, default_value_t = 1, value_name = "N")]
        uses: u32,
        /// For how long it is good: 30m, 24h, 7d
        #[arg(long, default_value = "24h", value_parser = parse_seconds)]
        ttl: u64,
    },
    /// Accounts: list, suspend, resume, devices, revoke-device
    #[command(
        after_help = "Examples:\n  quipd user list\n  quipd user suspend mallory\n  quipd user devices ann"
    )]
    User {
        #[command(subcommand)]
        verb: UserVerb,
    },
    /// Rooms: list, archive, restore
    #[command(
        after_help = "Examples:\n  quipd room list\n  quipd room archive '#old'\n  quipd room restore '#old'"
    )]
    Room {
        #[command(subcommand)]
        verb: RoomVerb,
    },
    /// Counts of the server that runs
    #[command(
        after_help = "Examples:\n  quipd stats | jq 'select(.type == \"stats\").connections_now'\n  quipd stats | jq -c 'select(.type == \"node\") | [.name, .behind]'    the nodes of a cluster"
    )]
    Stats,
    /// Limits as they are now; with NAME=VALUE they are changed, for later starts too
    ///
    /// They are this server's own: each node of a cluster has its limits, and counts for itself what anybody has used of them.
    #[command(
        after_help = "Examples:\n  quipd limits | jq -r 'select(.set).name'          what was changed\n  quipd limits digest_from=500                      holds at once, and after a restart\n  quipd limits digest_from=default                  as it is configured, again"
    )]
    Limits {
        /// What to change; `default` lets go of what was changed
        #[arg(value_name = "NAME=VALUE", value_parser = parse_limit)]
        set: Vec<(String, Option<u32>)>,
    },
    /// Verify journal and store; exit 0, or 1 and what is wrong where
    #[command(
        after_help = "Examples:\n  quipd check --data-dir /var/lib/quipd\n  quipd check --rebuild --data-dir /var/lib/quipd"
    )]
    Check {
        /// Make the store anew from the journal first
        #[arg(long)]
        rebuild: bool,
    },
    /// Print the configuration file with its defaults
    #[command(after_help = "Example:\n  quipd default-config > quipd.toml && quipd --config quipd.toml")]
    DefaultConfig,
    /// Print completions for a shell
    #[command(after_help = "Example:\n  quipd completions bash > /etc/bash_completion.d/quipd")]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  quipd man > quipd.1")]
    Man,
}

#[derive(Debug, Subcommand)]
enum UserVerb {
    /// All accounts, one JSON object a line
    #[command(after_help = "Example:\n  quipd user list | jq -r 'select(.online).name'")]
    List,
    /// The account may do nothing; its connections end
    #[command(after_help = "Example:\n  quipd user suspend mallory")]
    Suspend {
        /// Whom
        name: AccountName,
    },
    /// The account may act again
    #[command(after_help = "Example:\n  quipd user resume mallory")]
    Resume {
        /// Whom
        name: AccountName,
    },
    /// Devices of an account, one JSON object a line
    #[command(after_help = "Example:\n  quipd user devices ann | jq -r .key")]
    Devices {
        /// Whose
        name: AccountName,
    },
    /// A device may no longer connect; its connections end
    #[command(after_help = "Example:\n  quipd user revoke-device KEY")]
    RevokeDevice {
        /// Its key, as `devices` shows it
        key: String,
    },
}

#[derive(Debug, Subcommand)]
enum RoomVerb {
    /// All rooms with a name, one JSON object a line
    #[command(after_help = "Example:\n  quipd room list | jq -r 'select(.archived | not).name'")]
    List,
    /// The room can be read, not written; `restore` undoes it
    #[command(after_help = "Example:\n  quipd room archive '#old'")]
    Archive {
        /// Which
        room: RoomName,
    },
    /// An archived room can be written again
    #[command(after_help = "Example:\n  quipd room restore '#old'")]
    Restore {
        /// Which
        room: RoomName,
    },
}

/// Where the server keeps everything.
#[derive(Debug, Clone, Args)]
struct PlaceArgs {
    /// Where everything is kept [default: $XDG_DATA_HOME/quipd]
    #[arg(long, env = "QUIPD_DATA_DIR", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Configuration file, TOML; see `quipd default-config`
    #[arg(long, env = "QUIPD_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Args)]
struct ServeArgs {
    /// UDP address; may be given more than once [default: [::]:7847]
    #[arg(long, env = "QUIPD_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// Certificate chain, PEM; else a self-signed pair is made once and kept
    #[arg(long, env = "QUIPD_CERT", value_name = "PEM", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, env = "QUIPD_KEY", value_name = "PEM", requires = "cert")]
    key: Option<PathBuf>,
    /// Who can make an account [default: invite]
    #[arg(long, env = "QUIPD_REGISTRATION")]
    registration: Option<Registration>,
    /// What the server is called
    #[arg(long, env = "QUIPD_NAME")]
    name: Option<String>,
    /// The host that stands in links
    #[arg(long, env = "QUIPD_PUBLIC_HOST", value_name = "HOST")]
    public_host: Option<String>,
    /// Serve /metrics, /healthz and /readyz here
    #[arg(long, env = "QUIPD_HTTP", value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Be one of several servers that are one chat, through this Redis: redis://host:port, with TLS rediss://host:port
    #[arg(
        long,
        env = "QUIPD_REDIS",
        value_name = "URL",
        conflicts_with = "leave_cluster",
        hide_env_values = true
    )]
    redis: Option<String>,
    /// With TLS: who signs the certificates of Redis and its Sentinels, PEM; else whom the system trusts
    #[arg(long, env = "QUIPD_REDIS_CA", value_name = "PEM")]
    redis_ca: Option<PathBuf>,
    /// Use a Redis on another machine without TLS or without a password too
    #[arg(long, env = "QUIPD_REDIS_INSECURE")]
    redis_insecure: bool,
    /// What this server is called among them [default: the host's name, where that is a valid one]
    #[arg(long, env = "QUIPD_NODE", value_name = "NAME")]
    node: Option<NodeName>,
    /// Where clients and the other servers find it, as host:port
    #[arg(long, env = "QUIPD_ADVERTISE", value_name = "ADDR")]
    advertise: Option<String>,
    /// The key that all of them have [default: cluster.key in the data directory; the first one makes it]
    #[arg(long, env = "QUIPD_CLUSTER_KEY", value_name = "FILE")]
    cluster_key: Option<PathBuf>,
    /// Found a cluster with the key that is there; a server with a key waits for the others otherwise. For one start
    #[arg(long, conflicts_with = "leave_cluster")]
    found_cluster: bool,
    /// Serve alone from now on, with all that this server has; the others may go on without it
    #[arg(long)]
    leave_cluster: bool,
    /// How logs are written to stderr
    #[arg(long, env = "QUIPD_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// Why a command ended badly: what it prints, and its exit code.
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn new(code: u8, text: impl ToString) -> Failure {
        Failure { text: text.to_string(), code }
    }
}

/// Wrong usage or configuration.
const USAGE: u8 = 2;
/// What was given cannot be: a name that is unknown, a key that is none.
const REFUSED: u8 = 65;
/// Not now.
const TRY_AGAIN: u8 = 75;
/// It was refused.
const DENIED: u8 = 77;
/// Anything else that went wrong.
const FAILED: u8 = 1;

/// Runs the program.
pub fn main() -> ExitCode {
    let Cli { command, place, serve } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    let of = admin::Of { serve: &serve, place: &place };
    let done = match command {
        None => serve::run(&serve, &place),
        Some(Verb::Serve(args)) => serve::run(&args, &place),
        Some(Verb::Invite { owner, room, uses, ttl }) => admin::invite(&of, owner, room, uses, ttl),
        Some(Verb::User { verb }) => admin::user(&of, verb),
        Some(Verb::Room { verb }) => admin::room(&of, verb),
        Some(Verb::Stats) => admin::stats(&of),
        Some(Verb::Limits { set }) => admin::limits(&of, set),
        Some(Verb::Check { rebuild }) => check::run(&place, rebuild),
        Some(Verb::DefaultConfig) => print(DEFAULT_CONFIG),
        Some(Verb::Completions { shell }) => completions(shell),
        Some(Verb::Man) => man(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "quipd: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

/// Help and version as they are; what is wrong with a command line in one line.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let _ = writeln!(std::io::stderr(), "quipd: {what}; see quipd --help");
    ExitCode::from(USAGE)
}

/// Writes data to stdout. A reader that went away is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(FAILED, format!("cannot write to stdout: {e}")))
        }
        _ => Ok(()),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "quipd", &mut script);
    print(&String::from_utf8_lossy(&script))
}

fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(|e| Failure::new(FAILED, e))?;
    print(&String::from_utf8_lossy(&page))
}

/// What a line begins with, up to its value: that may be a password, or have one in it.
fn key_of(line: &str) -> &str {
    let is_of_a_key = |c: char| c.is_ascii_alphanumeric() || "_-.[]".contains(c);
    line.split(|c| !is_of_a_key(c)).next().unwrap_or_default()
}

/// What is wrong, without the text that it is said of.
fn without_text(why: &str) -> String {
    match (why.find('"'), why.rfind('"')) {
        (Some(begin), Some(end)) if begin < end => format!("{}…{}", &why[..=begin], &why[end..]),
        _ => why.to_owned(),
    }
}

impl PlaceArgs {
    fn file(&self) -> Result<FileConfig, Failure> {
        let Some(path) = &self.config else { return Ok(FileConfig::default()) };
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|e| Failure::new(USAGE, format!("cannot read {}: {e}", path.display())))?;
        toml::from_str(&text).map_err(|e| {
            let why = without_text(e.message().lines().next().unwrap_or_default());
            // The message alone does not say which key it is about.
            let place = e.span().map_or(0, |span| text[..span.start].matches('\n').count());
            let line = text.lines().nth(place).unwrap_or_default().trim();
            let line = key_of(line);
            let path = path.display();
            Failure::new(
                USAGE,
                format!("{path}, line {}, {line:?}: {why}; see quipd default-config", place + 1),
            )
        })
    }

    fn data_dir(&self, file: &FileConfig) -> Result<PathBuf, Failure> {
        let below_home =
            || directories::ProjectDirs::from("", "", "quipd").map(|dirs| dirs.data_dir().to_owned());
        let given = self.data_dir.clone().or_else(|| file.data_dir.clone());
        given
            .or_else(below_home)
            .ok_or_else(|| Failure::new(USAGE, "no home directory: say where with --data-dir DIR"))
    }
}

/// `digest_from=500`; `digest_from=default` has no value.
fn parse_limit(text: &str) -> Result<(String, Option<u32>), String> {
    let (name, value) = text.split_once('=').ok_or("say NAME=VALUE, such as digest_from=500")?;
    match value {
        "default" => Ok((name.to_owned(), None)),
        value => match value.parse() {
            Ok(value) => Ok((name.to_owned(), Some(value))),
            Err(_) => Err(format!("{value:?} is neither a whole number nor `default`")),
        },
    }
}

/// `90s`, `30m`, `24h`, `7d`; a bare number is seconds.
fn parse_seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 24 * 3_600,
        _ => return Err("say how long as 90s, 30m, 24h or 7d".into()),
    };
    let number: u64 = number.parse().map_err(|_| "say how long as 90s, 30m, 24h or 7d")?;
    number.checked_mul(seconds).filter(|s| *s > 0).ok_or_else(|| "that is too long or no time at all".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn limits_are_named_and_numbers() {
        let limit = |name: &str, value| Ok((name.to_owned(), value));
        assert_eq!(parse_limit("digest_from=500"), limit("digest_from", Some(500)));
        assert_eq!(parse_limit("digest_from=default"), limit("digest_from", None));
        for text in ["digest_from", "digest_from=", "digest_from=-1", "digest_from=many"] {
            assert!(parse_limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        let table = [
            ("90s", Some(90)),
            ("30m", Some(1_800)),
            ("24h", Some(86_400)),
            ("7d", Some(604_800)),
            ("5", Some(5)),
        ];
        for (text, seconds) in table {
            assert_eq!(parse_seconds(text).ok(), seconds, "{text}");
        }
        for text in ["", "h", "0s", "-1h", "1w", "99999999999999999999d"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
