//! `quip consumer …`: the durable cursors of one's account.

use clap::{Args, Subcommand};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{ConsumerName, Target};

use super::connect::{Stay, connect};
use super::env::Env;
use super::exit::CliError;
use super::json::Line;
use super::out::Out;
use super::replies;

const EXAMPLES: &str = "Examples:
  quip consumer list
  quip consumer remove deploy-bot
  quip consumer remove deploy-bot '#ops'";

/// Shows and forgets the cursors of `quip tail --consumer`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ConsumerArgs {
    #[command(subcommand)]
    command: ConsumerCommand,
}

#[derive(Debug, Subcommand)]
enum ConsumerCommand {
    /// Lists your consumers and the last event that each has read
    #[command(after_help = "Example:\n  quip consumer list --json")]
    List,
    /// Forgets a consumer; one of that name then starts anew
    #[command(after_help = "Example:\n  quip consumer remove deploy-bot '#ops'")]
    Remove {
        /// Its name
        name: ConsumerName,
        /// Where; in every room if it is left out
        target: Option<Target>,
    },
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: ConsumerArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let connection = connect(env, Stay::Once).await?;
    match args.command {
        ConsumerCommand::List => match connection.handle.request(Request::Consumers).await? {
            Reply::Consumers(all) => {
                for it in &all {
                    let (epoch, seq) = (it.cursor.epoch.0, it.cursor.seq);
                    let line = Line::Consumer { name: &it.name, room: &it.target, epoch, seq };
                    out.show(&line, || format!("{:<24} {:<24} {seq}", it.name, it.target))?;
                }
            }
            _ => return Err(replies::unexpected()),
        },
        ConsumerCommand::Remove { name, target } => {
            replies::did(&connection.handle, Request::DropConsumer { name, target }, out).await?;
        }
    }
    connection.close().await;
    Ok(())
}
