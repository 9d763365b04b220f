//! `quip` alone: the terminal client, and before it the first-run screen where no server is known yet.

use quip_protocol::ServerLink;
use quip_protocol::client::{self, Client};

use super::connect::{self, Stay, connect};
use super::env::Env;
use super::exit::CliError;
use super::host::{self, HostArgs};
use super::join::{join, login_name};
use super::local;
use super::out::{Out, say};
use crate::config::settings::{Levels, Settings, Theme};
use crate::shell::{self, FirstRun, Joined, Options};
use crate::view::Look;

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(env: &Env, out: &mut Out) -> Result<(), CliError> {
    let terminal = env.stdin_terminal && env.stdout_terminal;
    if !(terminal || env.plain) || out.is_json() {
        return Err(CliError::Usage(
            "the client needs a terminal, or --plain; for scripts there are `quip send`, `quip tail` and others"
                .into(),
        ));
    }
    if env.plain || is_known(env)? {
        return talk(env, None, Vec::new()).await;
    }
    match shell::first_run(login_name(), look(env, &settings(env)?)).await? {
        FirstRun::Host { name } => host::run(HostArgs::named(name), env, out).await,
        FirstRun::Join { link, name } => {
            join(env, link, name, None).await?;
            talk(env, None, Vec::new()).await
        }
        FirstRun::Quit => Ok(()),
    }
}

fn is_known(env: &Env) -> Result<bool, CliError> {
    Ok(env.named_server()?.is_some() || env.known()?.default_server().is_some())
}

/// Opens the client: on the server that is named, or else on every one that was joined, at first on the one that is
/// meant by default. One that is away is no reason not to: it may come back. `public` is that server as others reach
/// it, if that is another address.
///
/// # Errors
/// See [`CliError`].
pub async fn talk(env: &Env, public: Option<ServerLink>, notice: Vec<String>) -> Result<(), CliError> {
    let settings = settings(env)?;
    let meant = connect::destination(env)?;
    let mut servers = Vec::new();
    for server in servers_with(env, &meant, &settings)? {
        let env = Env { server: Some(server.reveal()), ..env.clone() };
        servers.push((server.address() == meant.address(), env));
    }
    let alone = servers.len() == 1;
    let current = servers.iter().position(|(is_meant, _)| *is_meant).unwrap_or(0);
    let mut joined = Vec::new();
    for (is_meant, env) in servers {
        joined.push(open(&env, alone, public.as_ref().filter(|_| is_meant)).await?);
    }
    let Look { color, light } = look(env, &settings);
    let ask_background = color && settings.theme == Theme::Auto && std::env::var_os("COLORFGBG").is_none();
    let options = Options { notice, plain: env.plain, color, light, ask_background, settings };
    match shell::run(joined, current, options).await? {
        0 => {}
        1 => say("1 message is kept, and delivered when quip runs the next time"),
        kept => say(&format!("{kept} messages are kept, and delivered when quip runs the next time")),
    }
    Ok(())
}

/// The server that is meant, and where none was named, the others that were joined.
fn servers_with(env: &Env, meant: &ServerLink, settings: &Settings) -> Result<Vec<ServerLink>, CliError> {
    let mut servers = Vec::new();
    if env.server.is_none() && env.token.is_none() {
        for known in env.known()?.joined() {
            if known.address == meant.address() || !settings.leaves_out(&known.address) {
                servers.push(connect::to_link(known)?);
            }
        }
    }
    if servers.iter().all(|server| server.address() != meant.address()) {
        servers.push(meant.clone());
    }
    Ok(servers)
}

/// The server that `env` names. Where it is the only one, somebody can be asked whether it is to be trusted, and told
/// that it knows nobody here; among several none is waited for.
async fn open(env: &Env, alone: bool, public: Option<&ServerLink>) -> Result<Joined, CliError> {
    let local = local::dir(env)?;
    let (client, server) = match &local {
        // What is kept is shown at once.
        Some(dir) if !alone || dir.exists() => start(env)?,
        _ => match connect(env, Stay::Reconnect).await {
            Ok(connection) => (connection.client, connection.server),
            Err(CliError::Client(client::Error::Unreachable { .. })) => start(env)?,
            Err(error) => return Err(error),
        },
    };
    let levels = env.paths().ok().map(|paths| Levels::of(&paths, &server.address()));
    // Its key may only be known now.
    let local = local::dir(env)?.or(local);
    let nodes = connect::nodes_file(env, &server);
    Ok(Joined { client, server: public.unwrap_or(&server).reveal(), local, levels, nodes })
}

/// The user's settings. A token needs no files, so without a home they are the defaults.
fn settings(env: &Env) -> Result<Settings, CliError> {
    match env.paths() {
        Ok(paths) => Ok(Settings::load(&paths)?),
        Err(_) => Ok(Settings::default()),
    }
}

fn look(env: &Env, settings: &Settings) -> Look {
    let colours = std::env::var("COLORFGBG").ok();
    Look { color: env.color, light: settings.theme.is_light(colours.as_deref()) }
}

/// A client that is yet to find its server.
fn start(env: &Env) -> Result<(Client, ServerLink), CliError> {
    let server = ServerLink { code: None, ..connect::destination(env)? };
    let config = connect::config(env, &server, &env.identity()?, Stay::Reconnect);
    Ok((Client::start(config), server))
}
