//! The way to the server: which one is meant, whether it is to be trusted, who we are there.

use std::path::PathBuf;
use std::time::Duration;

use quip_protocol::client::{self, Client, Config, Handle, Trust};
use quip_protocol::{AccountName, DeviceKey, ErrorCode, Fingerprint, Identity, ServerLink};

use super::ask;
use super::env::Env;
use super::exit::CliError;
use crate::config::known::{KnownServer, KnownServers};
use crate::config::nodes;

/// A server that does not answer for this long is taken to be away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// What the server's operator sees.
const AGENT: &str = concat!("quip/", env!("CARGO_PKG_VERSION"));

/// Whether a lost connection is the end of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// It is.
    Once,
    /// It connects again and goes on.
    Reconnect,
}

/// A connection, and what it was made with.
pub struct Connection {
    /// The client, with its events.
    pub client: Client,
    /// Asks.
    pub handle: Handle,
    /// The server, with its fingerprint.
    pub server: ServerLink,
    /// The public key that was shown to it.
    pub key: DeviceKey,
    /// Who that is there; `None` if the server does not know the key.
    pub account: Option<AccountName>,
}

impl Connection {
    /// Whether the server is a cluster with other nodes than the one that this goes to.
    pub fn has_others(&self) -> bool {
        self.handle.nodes().len() > 1
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.client.close().await;
    }
}

/// Connects to the server that is meant, as an account of it.
///
/// # Errors
/// When no server is known, it is away or not to be trusted, or does not know this device.
pub async fn connect(env: &Env, stay: Stay) -> Result<Connection, CliError> {
    let server = destination(env)?;
    let connection = open(env, server, env.identity()?, stay).await?;
    match connection.account {
        Some(_) => Ok(connection),
        None => Err(stranger(env, &connection.server)),
    }
}

fn stranger(env: &Env, server: &ServerLink) -> CliError {
    let address = server.address();
    CliError::Denied(match env.token {
        Some(_) => format!(
            "{address} does not know this token: it is another server's, or mistyped; \
             somebody with an account there makes one with `quip token new NAME`"
        ),
        None => format!("{address} does not know this device; join it with `quip join LINK --name NAME`"),
    })
}

/// Connects to `server`, which may not know the identity. A server that is not known is asked about once, and kept.
///
/// # Errors
/// When it is away or not to be trusted.
pub async fn open(
    env: &Env,
    mut server: ServerLink,
    identity: Identity,
    stay: Stay,
) -> Result<Connection, CliError> {
    let dialled = match dial(env, &server, &identity, stay).await {
        Err(client::Error::UnknownServer { fingerprint, .. }) => {
            trust(env, &server, fingerprint)?;
            server.fingerprint = Some(fingerprint);
            dial(env, &server, &identity, stay).await
        }
        other => other,
    };
    let client = dialled.map_err(|error| explained(env, error, &server))?;
    let handle = client.handle();
    remember(env, &server, &handle);
    let account = handle.welcome().and_then(|welcome| welcome.account.clone());
    server.code = None;
    Ok(Connection { client, handle, server, key: identity.device_key(), account })
}

async fn dial(
    env: &Env,
    server: &ServerLink,
    identity: &Identity,
    stay: Stay,
) -> Result<Client, client::Error> {
    Client::connect(config(env, server, identity, stay)).await
}

/// Where the nodes of the server are remembered, once its key is known.
pub fn nodes_file(env: &Env, server: &ServerLink) -> Option<PathBuf> {
    server.fingerprint.as_ref().and_then(|fingerprint| env.nodes_of(fingerprint))
}

/// Writes down the nodes that the server has told of; it tells strangers of none.
fn remember(env: &Env, server: &ServerLink, handle: &Handle) {
    if handle.welcome().is_none_or(|welcome| welcome.account.is_none()) {
        return;
    }
    if let Some(Err(error)) = nodes_file(env, server).map(|path| nodes::keep(&path, &handle.nodes())) {
        tracing::debug!(%error, "the nodes of the server are not remembered");
    }
}

/// How the client is told where to go.
pub fn config(env: &Env, server: &ServerLink, identity: &Identity, stay: Stay) -> Config {
    let remembered = nodes_file(env, server).filter(|_| env.any_node);
    Config {
        host: server.host.clone(),
        port: server.port,
        trust: server.fingerprint.map_or(Trust::Ask, Trust::Pinned),
        identity: identity.clone(),
        agent: AGENT.into(),
        reconnect: stay == Stay::Reconnect,
        connect_timeout: CONNECT_TIMEOUT,
        nodes: remembered.map(|path| nodes::load(&path)).unwrap_or_default(),
    }
}

fn trust(env: &Env, server: &ServerLink, fingerprint: Fingerprint) -> Result<(), CliError> {
    let address = server.address();
    if !env.can_ask {
        return Err(CliError::Denied(format!(
            "{address} is not known and nobody can be asked; {}if its key is {fingerprint}, \
             name it as '{address}/?fp={fingerprint}'",
            of_default_server(env)
        )));
    }
    if !ask::trust(&address, &fingerprint)? {
        return Err(CliError::Denied(format!("{address} is not trusted; nothing was sent")));
    }
    // Who comes with a token leaves no files behind.
    if env.token.is_none() {
        let mut known = env.known()?;
        known.remember(KnownServer { address, fingerprint, account: None });
        known.save(&env.paths()?)?;
    }
    Ok(())
}

/// How the default server's nodes become known, for who named an address that may be of one.
fn of_default_server(env: &Env) -> String {
    let names_one = env.server.is_some() && env.token.is_none();
    let known = env.known().ok().filter(|_| names_one);
    known.as_ref().and_then(KnownServers::default_server).map_or_else(String::new, |default| {
        let address = &default.address;
        format!(
            "if it is a node of {address}, one command without QUIP_SERVER learns the nodes there; else, "
        )
    })
}

fn explained(env: &Env, error: client::Error, server: &ServerLink) -> CliError {
    let address = server.address();
    match error {
        client::Error::WrongServer { found, expected, .. } => {
            let known = env.known().ok().and_then(|known| known.at(&address).map(|known| known.fingerprint));
            let is_known = known == Some(expected);
            CliError::Denied(if is_known { changed } else { not_the_links }(&address, &expected, &found))
        }
        client::Error::Refused(refusal) if env.token.is_some() && refusal.code == ErrorCode::Revoked => {
            CliError::Denied(format!(
                "this token was revoked at {address}; its owner makes another with `quip token new NAME`"
            ))
        }
        other => other.into(),
    }
}

/// The server is known, and shows another key now.
fn changed(address: &str, known: &Fingerprint, found: &Fingerprint) -> String {
    format!(
        "the key of {address} is {found}, and not {known} as expected: it may be another server in between; \
         if its operator changed the key, remove it from known_servers.toml and join again"
    )
}

/// Only the link says which key the server should have.
fn not_the_links(address: &str, link: &Fingerprint, found: &Fingerprint) -> String {
    format!(
        "the server at {address} has the key {found}, and the link says {link}: the link is wrong or old, or this \
         is another server; nothing was sent, ask whoever gave you the link for a new one"
    )
}

/// The link speaks of another key than the one that is known.
fn contradicted(address: &str, known: &Fingerprint, link: &Fingerprint) -> String {
    format!(
        "the link says that {address} has the key {link}, but the server that is known there has {known}: the link \
         is wrong or of another server; ask for a new one, and only if its operator changed the key, remove it \
         from known_servers.toml"
    )
}

/// The server that a command means, with its fingerprint if that is known.
///
/// # Errors
/// When no server is known, or what is known of it contradicts what was given.
pub fn destination(env: &Env) -> Result<ServerLink, CliError> {
    let named = env.named_server()?;
    // All is said already: no file is looked at.
    if let (Some(link), Some(_)) = (&named, &env.token)
        && link.fingerprint.is_some()
    {
        return Ok(link.clone());
    }
    let known = env.known()?;
    let server = resolve(named, &known)?;
    let fingerprint = server.fingerprint.or_else(|| told_of(env, &known, &server.address()));
    Ok(ServerLink { fingerprint, ..server })
}

/// The key of a node that the default server has told of. Any other could tell of an address that is not its own, to come
/// between it and who asks for it the first time.
fn told_of(env: &Env, known: &KnownServers, address: &str) -> Option<Fingerprint> {
    let file = env.nodes_of(&known.default_server()?.fingerprint)?;
    let mut told = nodes::load(&file).into_iter();
    told.find(|node| format!("quip://{}", node.address) == address).map(|node| node.fingerprint)
}

/// The server that `named` means, or else the default one, with its fingerprint if that is known.
///
/// # Errors
/// As [`destination`].
pub fn resolve(named: Option<ServerLink>, known: &KnownServers) -> Result<ServerLink, CliError> {
    let Some(link) = named else {
        return known.default_server().map_or_else(|| Err(no_server()), to_link);
    };
    let kept = known.at(&link.address()).map(|server| server.fingerprint);
    match (link.fingerprint, kept) {
        (Some(given), Some(kept)) if given != kept => {
            Err(CliError::Denied(contradicted(&link.address(), &kept, &given)))
        }
        (given, kept) => Ok(ServerLink { fingerprint: given.or(kept), ..link }),
    }
}

/// A known server, with its fingerprint.
///
/// # Errors
/// When its address is none.
pub fn to_link(server: &KnownServer) -> Result<ServerLink, CliError> {
    let link: ServerLink =
        server.address.parse().map_err(|error| CliError::Usage(format!("{}: {error}", server.address)))?;
    Ok(ServerLink { fingerprint: Some(server.fingerprint), ..link })
}

fn no_server() -> CliError {
    CliError::Usage(
        "no server is known yet; join one with `quip join LINK --name NAME`, or start one with `quip host`"
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;
    use quip_protocol::{NodeAddress, NodeSummary, Refusal};

    fn known() -> KnownServers {
        let mut known = KnownServers::default();
        for (address, byte) in [("quip://a:7847", 1), ("quip://b:7847", 2)] {
            let fingerprint = Fingerprint([byte; 32]);
            known.remember(KnownServer { address: address.into(), fingerprint, account: None });
        }
        known.make_default("quip://a:7847");
        known
    }

    #[test]
    fn which_server_is_meant() {
        let fp = |byte: u8| Fingerprint([byte; 32]);
        let table = [
            (None, Ok(("quip://a:7847", Some(fp(1))))),
            (Some("b".to_owned()), Ok(("quip://b:7847", Some(fp(2))))),
            (Some("quip://c:5".to_owned()), Ok(("quip://c:5", None))),
            (Some(format!("quip://c:5/?fp={}", fp(3))), Ok(("quip://c:5", Some(fp(3))))),
            (Some(format!("quip://b/?fp={}", fp(2))), Ok(("quip://b:7847", Some(fp(2))))),
            (Some(format!("quip://b/?fp={}", fp(3))), Err(Exit::Denied)),
        ];
        for (named, expected) in table {
            let link = named.as_deref().map(|text| text.parse().unwrap());
            let found = resolve(link, &known());
            let found = found.as_ref().map(|link| (link.address(), link.fingerprint));
            let expected = expected.map(|(address, fp)| (address.to_owned(), fp));
            assert_eq!(found.map_err(CliError::exit), expected, "{named:?}");
        }
        assert_eq!(resolve(None, &KnownServers::default()).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn a_changed_key_is_refused_with_both_fingerprints() {
        let link = format!("quip://b/?fp={}", Fingerprint([3; 32])).parse().unwrap();
        let error = resolve(Some(link), &known()).unwrap_err().to_string();
        for byte in [2, 3] {
            assert!(error.contains(&Fingerprint([byte; 32]).to_string()), "{error}");
        }
    }

    #[test]
    fn a_wrong_fingerprint_is_the_links_fault_or_the_servers() {
        let home = tempfile::tempdir().unwrap();
        let env = Env { home: Some(home.path().into()), ..Env::default() };
        known().save(&env.paths().unwrap()).unwrap();
        let found = Fingerprint([9; 32]);
        let of = |host: &str, byte: u8| {
            let server: ServerLink = format!("quip://{host}:7847").parse().unwrap();
            let (address, expected) = (server.address(), Fingerprint([byte; 32]));
            let error = client::Error::WrongServer { address, expected, found };
            explained(&env, error, &server).to_string()
        };
        assert!(of("b", 2).contains("known_servers.toml"), "{}", of("b", 2));
        for (host, byte) in [("b", 3), ("c", 3)] {
            let said = of(host, byte);
            assert!(said.contains("the link is wrong") && !said.contains("known_servers"), "{said}");
        }
    }

    #[test]
    fn a_revoked_token_says_what_to_do() {
        let refused = || client::Error::Refused(Refusal::new(ErrorCode::Revoked, "this device was revoked"));
        let server: ServerLink = "quip://h:9".parse().unwrap();
        let token = Env { token: Some("quip_x".into()), ..Env::default() };
        let said = explained(&token, refused(), &server).to_string();
        assert!(
            said.contains("token was revoked at quip://h:9") && said.contains("quip token new"),
            "{said}"
        );
        let device = explained(&Env::default(), refused(), &server).to_string();
        assert_eq!(device, "this device was revoked");
    }

    #[test]
    fn a_token_with_a_whole_address_needs_no_files() {
        let server = format!("quip://h:9/?fp={}", Fingerprint([9; 32]));
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("config")).unwrap();
        std::fs::write(home.path().join("config/known_servers.toml"), "damaged").unwrap();
        let mut env = Env { home: Some(home.path().into()), server: Some(server), ..Env::default() };
        assert_eq!(destination(&env).unwrap_err().exit(), Exit::Config);
        env.token = Some(Identity::from_seed([1; 32]).to_token());
        assert_eq!(destination(&env).unwrap().address(), "quip://h:9");
        assert_eq!(env.identity().unwrap(), Identity::from_seed([1; 32]));
        env.token = Some("quip_short".into());
        assert_eq!(env.identity().unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn a_node_that_a_known_server_has_told_of_is_known() {
        let home = tempfile::tempdir().unwrap();
        let mut env = Env { home: Some(home.path().into()), ..Env::default() };
        let paths = env.paths().unwrap();
        let mut known = known();
        let (ann, joined) = ("ann".parse().unwrap(), Fingerprint([1; 32]));
        let address = "quip://a:7847".into();
        known.remember(KnownServer { address, fingerprint: joined, account: Some(ann) });
        known.make_default("quip://a:7847");
        known.save(&paths).unwrap();
        let node = NodeAddress {
            name: "n2".parse().unwrap(),
            address: "a2.example:7848".parse().unwrap(),
            fingerprint: Fingerprint([7; 32]),
        };
        let told = NodeSummary { node, connections: 0, draining: false };
        nodes::keep(&paths.nodes(&joined), &[told]).unwrap();
        for (named, expected) in [("a2.example:7848", Some(Fingerprint([7; 32]))), ("a2.example", None)] {
            env.server = Some(named.into());
            assert_eq!(destination(&env).unwrap().fingerprint, expected, "{named}");
        }
        let (address, other) = ("quip://other:7847".into(), Fingerprint([2; 32]));
        known.remember(KnownServer { address, fingerprint: other, account: Some("ann".parse().unwrap()) });
        known.make_default("quip://other:7847");
        known.save(&paths).unwrap();
        env.server = Some("a2.example:7848".into());
        assert_eq!(destination(&env).unwrap().fingerprint, None, "not the server that is meant by default");
    }

    #[test]
    fn without_a_terminal_nobody_is_asked() {
        let link: ServerLink = "quip://h:9".parse().unwrap();
        let error = trust(&Env::default(), &link, Fingerprint([5; 32])).unwrap_err();
        assert_eq!(error.exit(), Exit::Denied);
        assert!(error.to_string().contains("'quip://h:9/?fp=SHA256:BQUF"), "{error}");
    }

    #[test]
    fn who_names_a_node_that_was_not_told_of_is_told_how_it_gets_known() {
        let home = tempfile::tempdir().unwrap();
        let named = Env { home: Some(home.path().into()), server: Some("h:9".into()), ..Env::default() };
        let said = |env: &Env| {
            trust(env, &"quip://h:9".parse().unwrap(), Fingerprint([5; 32])).unwrap_err().to_string()
        };
        assert!(!said(&named).contains("QUIP_SERVER"), "there is no default server: {}", said(&named));
        known().save(&named.paths().unwrap()).unwrap();
        let told = "if it is a node of quip://a:7847, one command without QUIP_SERVER learns the nodes there";
        assert!(said(&named).contains(told), "{}", said(&named));
        // It learns nothing, or was not to go to a node.
        let token = Env { token: Some("quip_x".into()), ..named.clone() };
        let joining = Env { server: None, ..named.clone() };
        assert!([token, joining].iter().all(|env| !said(env).contains("QUIP_SERVER")));
    }
}
