//! The scriptable command: its definitions, one file a subcommand, and how it ends. Knows the protocol's client and
//! the user's files; of the terminal client it knows how to open it.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quip_protocol::ServerLink;
use tokio::runtime::{Builder, Runtime};

pub mod ask;
pub mod backlog;
mod colours;
pub mod connect;
pub mod consumer;
pub mod consumers;
pub mod device;
pub mod duration;
pub mod env;
pub mod exit;
pub mod export;
pub mod history;
pub mod host;
pub mod human;
pub mod invite;
pub mod join;
pub mod json;
pub mod local;
pub mod manual;
pub mod out;
pub mod pages;
pub mod read;
pub mod render;
pub mod replies;
pub mod room;
pub mod rooms;
pub mod search;
pub mod send;
pub mod signals;
pub mod stream;
pub mod tail;
pub mod talk;
pub mod time;
pub mod token;
pub mod usage;
pub mod wait;
pub mod waiting;
pub mod who;

use env::Env;
use exit::{CliError, Exit};
use out::{Out, say};

const EXAMPLES: &str = "Examples:
  quip                                   the client, on all your servers
  quip --server build.example            on this one alone
  quip host                              start a server here and talk
  quip join 'LINK' --name ann            join a colleague's server
  quip --plain                           in lines, also where TERM=dumb
  quip send '#ops' deploy is done
  quip tail '#ops' --follow --json
  quip send --stream '#ci' --status -- make -j8

Environment:
  QUIP_HOME     all files under this directory
  QUIP_SERVER   another server for one command: quip://host[:port] or a link
  QUIP_TOKEN    a bot's token, with QUIP_SERVER; no files are needed
  NO_COLOR      no colour

Exit codes: 0 acknowledged, 1 nothing found (search), 2 usage, 65 input refused, 69 server unreachable, 75 try again, 77 denied, 124 timed out.
`quip send --stream … -- COMMAND` ends with the command's own.";

/// Terminal-first chat: a terminal client, and a command for scripts.
#[derive(Debug, Parser)]
#[command(name = "quip", version, after_help = EXAMPLES)]
pub struct Cli {
    /// One JSON object a line
    #[arg(long, global = true)]
    json: bool,
    /// The client in lines, for screen readers and dumb terminals: reads lines, prints lines
    #[arg(long)]
    plain: bool,
    /// The client on this server alone: an address, or a link
    #[arg(long, value_name = "LINK|ADDRESS", value_parser = join::parse_link)]
    server: Option<ServerLink>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Host(host::HostArgs),
    Join(join::JoinArgs),
    Invite(invite::InviteArgs),
    Send(send::SendArgs),
    Tail(tail::TailArgs),
    Wait(wait::WaitArgs),
    Consumer(consumers::ConsumerArgs),
    History(history::HistoryArgs),
    Export(export::ExportArgs),
    Search(search::SearchArgs),
    Rooms(rooms::RoomsArgs),
    Room(room::RoomArgs),
    Unread(rooms::UnreadArgs),
    Read(read::ReadArgs),
    Who(who::WhoArgs),
    Whoami(who::WhoAmIArgs),
    Device(device::DeviceArgs),
    Token(token::TokenArgs),
    /// Print quip.toml, the terminal client's settings, with all defaults.
    #[command(after_help = "Example: quip default-config > ~/.config/quip/quip.toml")]
    DefaultConfig,
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

/// Reads the command line, does what it says, and says on one line what went wrong.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let code = match Cli::try_parse_from(args) {
        Ok(cli) => ended(perform(cli)),
        Err(error) if usage::is_answer(&error) => {
            // Help for a reader that has gone is no failure.
            let _ = error.print();
            Exit::Done as u8
        }
        Err(error) => {
            say(&usage::one_line(&error));
            Exit::Usage as u8
        }
    };
    ExitCode::from(code)
}

fn ended(result: Result<(), CliError>) -> u8 {
    let Err(error) = result else { return Exit::Done as u8 };
    if error.exit() != Exit::Done {
        say(&error.to_string());
    }
    error.code()
}

fn perform(cli: Cli) -> Result<(), CliError> {
    let mut env = Env::of_process();
    env.plain |= cli.plain;
    env.any_node &= cli.server.is_none();
    env.server = cli.server.as_ref().map(ServerLink::reveal).or(env.server);
    let mut out = Out::stdout(cli.is_json());
    let runtime = runtime(&cli).map_err(|error| CliError::Host(format!("cannot start: {error}")))?;
    let performed = runtime.block_on(cli.run(&env, &mut out));
    // What was printed before an error is data too.
    let flushed = out.flush();
    // A thread that still waits for a key or a line is not waited for.
    runtime.shutdown_background();
    performed.and(flushed)
}

/// The connection has a thread of its own: it stays alive while a slow reader of the output holds up this one.
/// Only a server needs more.
fn runtime(cli: &Cli) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if !matches!(cli.command, None | Some(Command::Host(_))) {
        builder.worker_threads(1);
    }
    builder.enable_all().build()
}

impl Cli {
    /// An export is JSON always.
    fn is_json(&self) -> bool {
        self.json || matches!(self.command, Some(Command::Export(_)))
    }

    async fn run(self, env: &Env, out: &mut Out) -> Result<(), CliError> {
        let Some(command) = self.command else {
            return talk::run(env, out).await;
        };
        match command {
            Command::Host(args) => host::run(args, env, out).await,
            Command::Join(args) => join::run(args, env, out).await,
            Command::Invite(args) => invite::run(args, env, out).await,
            Command::Send(args) => send::run(args, env, out).await,
            Command::Tail(args) => tail::run(args, env, out).await,
            Command::Wait(args) => wait::run(args, env, out).await,
            Command::Consumer(args) => consumers::run(args, env, out).await,
            Command::History(args) => history::run(args, env, out).await,
            Command::Export(args) => export::run(args, env, out).await,
            Command::Search(args) => search::run(args, env, out).await,
            Command::Rooms(args) => rooms::run(args, env, out).await,
            Command::Room(args) => room::run(args, env, out).await,
            Command::Unread(args) => rooms::unread(args, env, out).await,
            Command::Read(args) => read::run(args, env, out).await,
            Command::Who(args) => who::run(args, env, out).await,
            Command::Whoami(args) => who::whoami(args, env, out).await,
            Command::Device(args) => device::run(args, env, out).await,
            Command::Token(args) => token::run(args, env, out).await,
            Command::DefaultConfig => out.bytes(crate::config::settings::DEFAULT.as_bytes()),
            Command::Completions(args) => manual::completions(&args, out),
            Command::Man(args) => manual::man(args, out),
        }
    }
}
