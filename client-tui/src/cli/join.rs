//! `quip join`: this device's key, a code for it, and a server to come back to.

use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use quip_protocol::client::Handle;
use quip_protocol::frame::Request;
use quip_protocol::room::AccountSummary;
use quip_protocol::{AccountName, ErrorCode, InviteCode, SafeLine, ServerLink};

use super::ask;
use super::connect::{Connection, Stay, open, resolve};
use super::env::Env;
use super::exit::CliError;
use super::json::{Line, Place};
use super::out::{Out, say};
use super::replies;
use crate::config::device_key;
use crate::config::known::{KnownServer, KnownServers};

const EXAMPLES: &str = "Examples:
  quip join 'quip://chat.example:7847/?fp=SHA256:…#code' --name ann
  quip join 'LINK'                       with a link of `quip device link`
  quip join chat.example --name ann      where anyone may register";

/// The longest label that a device gets by itself.
const MAX_LABEL: usize = 64;

/// How long a server that was there is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Joins a server by a link, and makes it the one that is meant from now on.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct JoinArgs {
    /// The link, in quotes, or the server's address
    #[arg(value_name = "LINK|ADDRESS", value_parser = parse_link)]
    link: ServerLink,
    /// What you want to be called
    #[arg(long)]
    name: Option<AccountName>,
    /// What this device is called in `quip device list`; the host's name if left out
    #[arg(long, value_name = "LABEL")]
    device: Option<String>,
}

/// A link or an address, with a hint for what most often goes wrong.
///
/// # Errors
/// When it is none.
pub fn parse_link(text: &str) -> Result<ServerLink, String> {
    text.parse().map_err(|error: quip_protocol::link::LinkError| {
        let error = error.to_string();
        if error.contains("quotes") { error } else { format!("{error}; copy the whole link, in quotes") }
    })
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: JoinArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let (server, account) = join(env, args.link, args.name, args.device.as_deref()).await?;
    let address = server.address();
    out.show(&Line::account(&account, None, Some(Place::new(&address, &[]))), || {
        format!("joined {address} as {}; it is the server that quip takes from now on", account.name)
    })
}

/// Joins, and keeps the server as the default one.
///
/// # Errors
/// See [`CliError`].
pub async fn join(
    env: &Env,
    link: ServerLink,
    name: Option<AccountName>,
    label: Option<&str>,
) -> Result<(ServerLink, AccountSummary), CliError> {
    let env = &Env { token: None, ..env.clone() };
    let paths = env.paths()?;
    let server = resolve(Some(link), &KnownServers::load(&paths)?)?;
    let code = server.code.clone();
    let identity = device_key::load_or_make(&paths)?;
    // Whoever is asked for a name may take longer than the server waits for strangers.
    let connection = open(env, server, identity.clone(), Stay::Reconnect).await?;
    let is_new = connection.account.is_none();
    let label = label.map_or_else(host_name, SafeLine::new);
    let account = enter(env, &connection, code, name, label).await?;
    remember(env, &connection.server, &account)?;
    let server = connection.server.clone();
    connection.close().await;
    // A server tells of its other nodes who comes with an account: they are remembered, should this one be gone next time.
    if is_new && let Ok(again) = open(env, server.clone(), identity, Stay::Once).await {
        again.close().await;
    }
    Ok((server, account))
}

async fn enter(
    env: &Env,
    connection: &Connection,
    code: Option<InviteCode>,
    name: Option<AccountName>,
    device: SafeLine,
) -> Result<AccountSummary, CliError> {
    let (handle, address) = (&connection.handle, connection.server.address());
    if let Some(known) = &connection.account {
        if code.is_some() {
            say(&format!("this device is {known} at {address} already; the code was not used"));
        }
        return replies::account(handle, Request::WhoAmI).await;
    }
    match code {
        Some(code) => redeem(env, handle, &address, code, name, device).await,
        None => register(env, handle, &address, name, device).await,
    }
}

/// Only the server knows whether a code needs a name, and an attempt without one uses nothing up.
async fn redeem(
    env: &Env,
    handle: &Handle,
    address: &str,
    code: InviteCode,
    name: Option<AccountName>,
    device: SafeLine,
) -> Result<AccountSummary, CliError> {
    let nameless = name.is_none();
    let request = |name| Request::Redeem { code: code.clone(), name, device: device.clone() };
    match replies::account(handle, request(name)).await {
        Err(error) if nameless && error.refusal().is_some_and(|r| r.code == ErrorCode::BadRequest) => {
            let name = needed_name(env, address)?;
            soon(handle, request(Some(name)), address).await
        }
        other => other,
    }
}

async fn register(
    env: &Env,
    handle: &Handle,
    address: &str,
    name: Option<AccountName>,
    device: SafeLine,
) -> Result<AccountSummary, CliError> {
    if !handle.welcome().is_some_and(|welcome| welcome.open_registration) {
        return Err(CliError::Denied(format!(
            "{address} takes new accounts by invitation only, and the link has no code (#…); \
             ask somebody there for `quip invite`, and give the whole link in quotes"
        )));
    }
    let name = name.map_or_else(|| needed_name(env, address), Ok)?;
    soon(handle, Request::Register { name, device }, address).await
}

/// Asks, over a new connection if the one before was lost meanwhile. Repeated, both requests lead to the same account.
async fn soon(handle: &Handle, request: Request, address: &str) -> Result<AccountSummary, CliError> {
    let answered = tokio::time::timeout(PATIENCE, replies::account(handle, request)).await;
    let away = || CliError::Unreachable(format!("{address} does not answer any more; run the same again"));
    answered.unwrap_or_else(|_| Err(away()))
}

fn needed_name(env: &Env, address: &str) -> Result<AccountName, CliError> {
    if env.can_ask {
        return ask::name(address);
    }
    Err(CliError::Usage("this makes a new account: say what it is called, with --name NAME".into()))
}

fn remember(env: &Env, server: &ServerLink, account: &AccountSummary) -> Result<(), CliError> {
    let paths = env.paths()?;
    let mut known = KnownServers::load(&paths)?;
    let address = server.address();
    if let Some(fingerprint) = server.fingerprint {
        let account = Some(account.name.clone());
        known.remember(KnownServer { address: address.clone(), fingerprint, account });
        known.make_default(&address);
    }
    Ok(known.save(&paths)?)
}

/// What this machine is called: `uname -n` is on every system that Quip runs on.
fn host_name() -> SafeLine {
    let name: String = printed("uname", "-n").unwrap_or_default().chars().take(MAX_LABEL).collect();
    SafeLine::new(if name.is_empty() { "device" } else { &name })
}

/// What a small program of the system prints.
fn printed(program: &str, arg: &str) -> Option<String> {
    let output = Command::new(program).arg(arg).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The name by which the user logged in here, if an account can be called like that.
pub fn login_name() -> Option<AccountName> {
    let said = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    as_name(&said.or_else(|| printed("id", "-un")).unwrap_or_default())
}

/// What is valid of a login name.
fn as_name(login: &str) -> Option<AccountName> {
    let valid = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = login.chars().filter(valid).take(32).collect();
    name.trim_start_matches(['-', '_', '.']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_whoever_did_not_choose_one() {
        let table = [
            ("ann", Some("ann")),
            ("Ann Lee", Some("annlee")),
            ("_www", Some("www")),
            ("DOMAIN\\ann", Some("domainann")),
            ("анна", None),
            ("", None),
            ("abcdefghijklmnopqrstuvwxyz0123456789", Some("abcdefghijklmnopqrstuvwxyz012345")),
        ];
        for (login, name) in table {
            assert_eq!(as_name(login).as_ref().map(AccountName::as_str), name, "{login:?}");
        }
    }

    #[test]
    fn a_cut_link_is_refused_with_the_hint_to_quote_it() {
        let fp = quip_protocol::Fingerprint([7; 32]);
        let whole = format!("quip://h:7847/?fp={fp}#AAECAwQFBgcICQoLDA0ODw");
        assert!(parse_link(&whole).is_ok());
        for cut in ["quip://", "quip://h:7847/?x", &whole[..40], &whole[..whole.len() - 4]] {
            let error = parse_link(cut).unwrap_err();
            assert!(error.contains("in quotes"), "{cut}: {error}");
        }
    }

    #[test]
    fn a_server_that_was_joined_is_the_default_one() {
        let home = tempfile::tempdir().unwrap();
        let env = Env { home: Some(home.path().into()), ..Env::default() };
        let account = AccountSummary {
            name: "ann".parse().unwrap(),
            bot: false,
            owner: None,
            admin: false,
            suspended: false,
            online: true,
            created_at: quip_protocol::Timestamp(0),
        };
        for host in ["a", "b"] {
            let link = format!("quip://{host}/?fp={}", quip_protocol::Fingerprint([7; 32]));
            remember(&env, &link.parse().unwrap(), &account).unwrap();
            let known = env.known().unwrap();
            let default = known.default_server().unwrap();
            assert_eq!(default.address, format!("quip://{host}:7847"));
            assert_eq!(default.account, Some("ann".parse().unwrap()));
        }
        assert!(env.known().unwrap().at("quip://a:7847").is_some());
    }

    #[test]
    fn this_machine_has_a_name() {
        assert!((1..=MAX_LABEL * 4).contains(&host_name().len()));
    }
}
