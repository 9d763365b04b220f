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
use crate::shell::{self, FirstRun, Options};
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

/// Opens the client on the server that is meant. One that is away is no reason not to: it may come back.
/// `public` is the server as others reach it, if that is another address.
///
/// # Errors
/// See [`CliError`].
pub async fn talk(env: &Env, public: Option<ServerLink>, notice: Vec<String>) -> Result<(), CliError> {
    let (client, server) = match local::dir(env)? {
        // What is kept is shown at once.
        Some(dir) if dir.exists() => start(env)?,
        _ => match connect(env, Stay::Reconnect).await {
            Ok(connection) => (connection.client, connection.server),
            Err(CliError::Client(client::Error::Unreachable { .. })) => start(env)?,
            Err(error) => return Err(error),
        },
    };
    let settings = settings(env)?;
    let levels = env.paths().ok().map(|paths| Levels::of(&paths, &server.address()));
    let Look { color, light } = look(env, &settings);
    let ask_background = color && settings.theme == Theme::Auto && std::env::var_os("COLORFGBG").is_none();
    let server = public.unwrap_or(server).reveal();
    let (local, plain) = (local::dir(env)?, env.plain);
    let options = Options { server, notice, local, plain, color, light, ask_background, settings, levels };
    match shell::run(client, options).await? {
        0 => {}
        1 => say("1 message is kept, and delivered when quip runs the next time"),
        kept => say(&format!("{kept} messages are kept, and delivered when quip runs the next time")),
    }
    Ok(())
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
    let config = connect::config(&server, &env.identity()?, Stay::Reconnect);
    Ok((Client::start(config), server))
}
