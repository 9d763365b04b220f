//! `quip who` and `quip whoami`: members of a room, an account, oneself.

use std::collections::BTreeMap;

use clap::Args;
use jiff::tz::TimeZone;
use quip_protocol::client::Handle;
use quip_protocol::frame::Request;
use quip_protocol::{AccountName, SafeLine, Target};

use super::connect::{Stay, connect};
use super::env::Env;
use super::exit::CliError;
use super::human;
use super::json::{Line, Place};
use super::out::Out;
use super::replies;

/// Lists the members of a room, or shows an account.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  quip who '#ops'\n  quip who @ann\n  quip who '#ops' --json")]
pub struct WhoArgs {
    /// #room or @user
    target: Target,
}

/// Shows who you are, and where.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  quip whoami\n  quip whoami --json | jq -r .server")]
pub struct WhoAmIArgs {}

/// Runs `quip who`.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: WhoArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let connection = connect(env, Stay::Once).await?;
    match &args.target {
        Target::Room(_) => members(&connection.handle, &args.target, out).await?,
        Target::Direct(name) => {
            let account = replies::account(&connection.handle, Request::WhoIs { name: name.clone() }).await?;
            let away = away(&connection.handle, &args.target).await?;
            let away = away.get(&account.name);
            let human = || human::account(&account, away, &TimeZone::system());
            out.show(&Line::account(&account, away, None), human)?;
        }
    }
    connection.close().await;
    Ok(())
}

async fn members(handle: &Handle, room: &Target, out: &mut Out) -> Result<(), CliError> {
    let away = away(handle, room).await?;
    for member in &handle.members(room).await?.members {
        let away = away.get(&member.name);
        out.show(&Line::member(room, member, away), || human::member(member, away))?;
    }
    Ok(())
}

/// Who is away, and what they said.
async fn away(handle: &Handle, target: &Target) -> Result<BTreeMap<AccountName, SafeLine>, CliError> {
    let away = handle.away(target).await?;
    Ok(away.into_iter().map(|member| (member.name, member.text)).collect())
}

/// Runs `quip whoami`.
///
/// # Errors
/// See [`CliError`].
pub async fn whoami(_: WhoAmIArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let connection = connect(env, Stay::Once).await?;
    let account = replies::account(&connection.handle, Request::WhoAmI).await?;
    let server = connection.server.address();
    let away = away(&connection.handle, &Target::Direct(account.name.clone())).await?;
    let away = away.get(&account.name);
    let nodes = connection.handle.nodes();
    out.show(&Line::account(&account, away, Some(Place::new(&server, &nodes))), || {
        let account = human::account(&account, away, &TimeZone::system());
        format!("{account}  at {}", human::place(&server, &nodes))
    })?;
    connection.close().await;
    Ok(())
}
