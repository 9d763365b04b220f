//! `quip host`: a server in this process, its owner, and a link for a colleague. The one file that knows the server.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use quip_protocol::link::DEFAULT_PORT;
use quip_protocol::{AccountName, ServerLink};
use quip_server::ops::admin::{AdminReply, AdminRequest};
use quip_server::{Config, Running, Stopping};
use tokio::signal::unix::{SignalKind, signal};

use super::connect::{Stay, open};
use super::env::Env;
use super::exit::CliError;
use super::invite::lan_address;
use super::join::{join, login_name};
use super::json::Line;
use super::out::{Out, say};
use super::talk;
use crate::config::known::KnownServer;
use crate::config::{device_key, make_private_dir};

const EXAMPLES: &str = "Examples:
  quip host
  quip host --name ann --listen 127.0.0.1:7847

The server runs as long as this command does. What was said is kept: `quip host` goes on with it.
A server that runs by itself is quipd.";

/// How many colleagues the link is for, and how long, in seconds.
const COLLEAGUES: u32 = 10;
const COLLEAGUES_TTL_S: u64 = 24 * 3_600;

/// Starts a server in this process, owns it, and opens the client on it.
#[derive(Debug, Default, Args)]
#[command(after_help = EXAMPLES)]
pub struct HostArgs {
    /// What you want to be called; your login name if left out
    #[arg(long)]
    name: Option<AccountName>,
    /// The UDP address to listen on; all of this machine's, port 7847, if left out
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where the server keeps everything; the directory that quipd takes if left out
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl HostArgs {
    /// With a name that was asked for.
    pub fn named(name: AccountName) -> HostArgs {
        HostArgs { name: Some(name), ..HostArgs::default() }
    }
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: HostArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    // A name for one command, or a token, is about other servers.
    let env = Env { server: None, token: None, ..env.clone() };
    log_to_file(&env)?;
    let running = start(&args, &env).await?;
    let served = tokio::select! {
        served = serve(&running, args.name, &env, out) => served,
        () = running.died() => Err(CliError::Host("the server in this client panicked, see host.log; start it again: nothing acknowledged is lost".into())),
    };
    running.stop().await;
    served
}

async fn serve(
    running: &Running,
    name: Option<AccountName>,
    env: &Env,
    out: &mut Out,
) -> Result<(), CliError> {
    let own = own_link(running);
    become_owner(running, &own, name, env).await?;
    let ready = running.link().reveal();
    let colleague = invite(running, false).await?.reveal();
    out.show(&Line::Ready { link: &ready }, || format!("ready {ready}"))?;
    let expires = quip_protocol::Timestamp::now().plus_ms(COLLEAGUES_TTL_S * 1_000);
    out.show(&Line::Link { link: &colleague, expires }, || format!("invite {colleague}"))?;
    out.flush()?;
    if env.can_ask && env.stdout_terminal && !out.is_json() {
        return talk::talk(env, Some(running.link()), notice(&colleague)).await;
    }
    say(&format!("a colleague joins with: quip join '{colleague}' --name NAME"));
    until_stopped().await
}

/// What the client shows at its start.
fn notice(colleague: &str) -> Vec<String> {
    vec![
        "A colleague joins with this link: quip join 'LINK' --name NAME".into(),
        // Alone on its line, which then begins at the screen's edge, it can be copied.
        colleague.to_owned(),
        format!("The link is good for 24 hours and {COLLEAGUES} people; `quip invite` prints another one."),
        "The server runs in this client: leaving it stops the server and cuts everybody off.".into(),
        "What was said is kept, and `quip host` goes on with it; quipd is a server that runs by itself."
            .into(),
    ]
}

async fn start(args: &HostArgs, env: &Env) -> Result<Running, CliError> {
    let data_dir = match &args.data_dir {
        Some(dir) => dir.clone(),
        None => env.paths()?.hosted,
    };
    make_private_dir(&data_dir)?;
    let listen = args.listen.unwrap_or_else(everywhere);
    let mut config = Config::new(vec![listen], data_dir);
    if listen.ip().is_unspecified() {
        config.public_host = lan_address().map(|ip| ip.to_string());
    }
    quip_server::start(config, &Stopping::default()).await.map_err(|error| CliError::Host(error.to_string()))
}

/// All addresses of this machine, IPv6 and IPv4 where there are both.
fn everywhere() -> SocketAddr {
    let has_ipv6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    let ip = if has_ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    SocketAddr::new(ip, DEFAULT_PORT)
}

/// How this process reaches its own server, whatever the network does.
fn own_link(running: &Running) -> ServerLink {
    let ip = running.addresses.first().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified());
    ServerLink { host: ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string(), ..running.link() }
}

/// This device becomes an owner of its server, unless it has an account there already.
async fn become_owner(
    running: &Running,
    own: &ServerLink,
    name: Option<AccountName>,
    env: &Env,
) -> Result<(), CliError> {
    trust(own, env)?;
    let identity = device_key::load_or_make(&env.paths()?)?;
    let connection = open(env, own.clone(), identity, Stay::Once).await?;
    let code = match (&connection.account, &running.owner_code) {
        (Some(_), _) => None,
        (None, Some(code)) => Some(code.clone()),
        // The first start was cut off, or the device's key was lost: who owns the directory owns the server.
        (None, None) => invite(running, true).await?.code,
    };
    connection.close().await;
    let name = name.or_else(login_name).unwrap_or_else(|| "me".parse().expect("a letter starts a name"));
    join(env, ServerLink { code, ..own.clone() }, Some(name), None).await?;
    Ok(())
}

/// Its key is the right one, whatever was at that address before: it is in this process.
fn trust(own: &ServerLink, env: &Env) -> Result<(), CliError> {
    let (mut known, address) = (env.known()?, own.address());
    let Some(fingerprint) = own.fingerprint else { return Ok(()) };
    if known.at(&address).is_none_or(|server| server.fingerprint != fingerprint) {
        known.remember(KnownServer { address, fingerprint, account: None });
        known.save(&env.paths()?)?;
    }
    Ok(())
}

/// A link, for an owner or for colleagues.
async fn invite(running: &Running, owner: bool) -> Result<ServerLink, CliError> {
    let uses = if owner { 1 } else { COLLEAGUES };
    let request = AdminRequest::Invite { owner, room: None, uses, ttl_s: COLLEAGUES_TTL_S };
    match running.operate(request).await {
        AdminReply::Link(link) => link.parse().map_err(|error| CliError::Host(format!("{error}"))),
        AdminReply::Refused(why) => Err(CliError::Host(format!("the server made no invitation: {why}"))),
        AdminReply::Rows(_) => Err(CliError::Host("the server made no invitation; report this".into())),
    }
}

/// The server's log: a terminal that shows the client has no place for it.
fn log_to_file(env: &Env) -> Result<(), CliError> {
    let state = env.paths()?.state;
    make_private_dir(&state)?;
    let path = state.join("host.log");
    let file = File::create(&path)
        .map_err(|source| CliError::Config(crate::config::ConfigError::Write { path, source }))?;
    let log = tracing_subscriber::fmt().with_writer(Arc::new(file)).with_ansi(false);
    // Only tests have set one already.
    let _ = log.with_max_level(tracing::Level::INFO).try_init();
    Ok(())
}

async fn until_stopped() -> Result<(), CliError> {
    let failed = |error| CliError::Host(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        ended = tokio::signal::ctrl_c() => ended.map_err(failed),
    }
}
