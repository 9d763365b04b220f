//! `quip token …`: bots of one's account, and their keys.

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use quip_protocol::frame::Request;
use quip_protocol::{AccountName, Identity, SafeLine};

use super::connect::{Connection, Stay, connect};
use super::env::Env;
use super::exit::CliError;
use super::human;
use super::json::Line;
use super::out::{Out, say, say_plain};
use super::replies;
use crate::config::ConfigError;

const EXAMPLES: &str = "Examples:
  quip token new build-bot
  quip token list
  quip token revoke build-bot";

/// Makes tokens for bots and CI, used through QUIP_TOKEN and QUIP_SERVER.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Makes a bot, or one more token for it, and prints the token once
    #[command(after_help = "Example:\n  export QUIP_TOKEN=$(quip token new build-bot)")]
    New {
        /// The bot's name
        name: AccountName,
        /// What the token is for
        #[arg(long, default_value = "token")]
        label: String,
    },
    /// Lists your bots and their keys
    #[command(after_help = "Example:\n  quip token list --json")]
    List,
    /// Revokes all tokens of a bot; its connections end
    #[command(after_help = "Example:\n  quip token revoke build-bot")]
    Revoke {
        /// The bot's name
        name: AccountName,
    },
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: TokenArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let connection = connect(env, Stay::Once).await?;
    match args.command {
        TokenCommand::New { name, label } => make(&connection, name, &label, out).await?,
        TokenCommand::List => list(&connection, out).await?,
        TokenCommand::Revoke { name } => {
            replies::did(&connection.handle, Request::RevokeToken { name }, out).await?;
        }
    }
    connection.close().await;
    Ok(())
}

/// The secret half is made here and never sent.
async fn make(
    connection: &Connection,
    name: AccountName,
    label: &str,
    out: &mut Out,
) -> Result<(), CliError> {
    let identity = Identity::generate().map_err(|_| ConfigError::Randomness)?;
    let request =
        Request::NewToken { name: name.clone(), key: identity.device_key(), label: SafeLine::new(label) };
    replies::account(&connection.handle, request).await?;
    let (token, server) = (identity.to_token(), connection.server.reveal());
    out.show(&Line::Token { name: &name, token: &token, server: &server }, || token.clone())?;
    out.flush()?;
    if !out.is_json() {
        say(&format!(
            "this is the only time that the token of {name} is shown; a bot takes it from its environment:"
        ));
        say_plain(&format!("export QUIP_SERVER='{server}'"));
        say_plain(&format!("export QUIP_TOKEN='{token}'"));
    }
    Ok(())
}

async fn list(connection: &Connection, out: &mut Out) -> Result<(), CliError> {
    let zone = TimeZone::system();
    for bot in &replies::tokens(&connection.handle).await? {
        for key in &bot.keys {
            let human = || format!("{:<24} {}", bot.account.name, human::device(key, false, &zone));
            out.show(&Line::device(&bot.account.name, key, key.key == connection.key), human)?;
        }
    }
    Ok(())
}
