//! Starting and stopping a server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use quip_protocol::error::close;
use quip_protocol::link::DEFAULT_PORT;
use quip_protocol::{Fingerprint, InviteCode, Refusal, SafeLine, ServerLink, Timestamp};
use quip_storage::data_dir::DataDir;
use quip_storage::store::StoreOptions;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::{Config, Registration};
use crate::engine::{Actor, Command, CommandBody};
use crate::feed::Feeds;
use crate::log::LocalLog;
use crate::node::{Node, Shared, submit};
use crate::ops;
use crate::ops::metrics::Metrics;
use crate::pipeline::durable::Durable;
use crate::pipeline::fault::Fault;
use crate::pipeline::open::{OpenError, OpenedDir, open};
use crate::session::registry::Sessions;
use crate::session::{accept, tls};

/// How long the code for the first owner is good, in milliseconds.
const OWNER_CODE_MS: u64 = 24 * 3600 * 1000;
/// The file in the data directory that keeps the server's link.
const LINK: &str = "link";
/// How long a stop waits for sessions.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// An address.
    #[error(
        "cannot listen on {address}: {source}; is another server running there? choose another with --listen or --http"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The first command was refused.
    #[error("cannot set up the first room: {0}")]
    Bootstrap(Refusal),
    /// The operating system.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// No randomness.
    #[error("the operating system gives no randomness: {0}")]
    Random(#[from] getrandom::Error),
}

/// What writes, without a door: the data directory, the writer, and what sessions would share.
#[derive(Debug)]
pub struct Core {
    /// What sessions share.
    pub shared: Shared,
    writer: JoinHandle<()>,
    /// Held until the writer has ended: nobody else may write.
    dir: DataDir,
}

impl Core {
    async fn open(config: &Config) -> Result<Core, StartError> {
        let options = StoreOptions { cache_bytes: config.cache_bytes };
        let path = config.data_dir.clone();
        let opening = tokio::task::spawn_blocking(move || open(&path, options, false));
        Core::start(config, opening.await.map_err(io::Error::other)??)
    }

    /// Starts the writer on a directory that was opened.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(config: &Config, opened: OpenedDir) -> Result<Core, StartError> {
        let OpenedDir { dir, journal, store, engine, .. } = opened;
        let node = Arc::new(Node {
            name: SafeLine::new(&config.name),
            data_dir: config.data_dir.clone(),
            open_registration: config.registration == Registration::Open,
            limits: RwLock::new(config.limits.clone()),
            engine: RwLock::new(engine),
            feeds: Feeds::default(),
            store,
            durable: Durable::default(),
            applied: AtomicU64::new(0),
            sessions: Sessions::default(),
            metrics: Metrics::default(),
            disk_reserve: AtomicU64::new(config.disk_reserve),
            fault: Mutex::new(Fault::from_env()),
        });
        let (log, intake) = LocalLog::new();
        let writer = crate::pipeline::start(Arc::clone(&node), journal, dir.journal(), intake)?;
        Ok(Core { shared: Shared { node, log }, writer, dir })
    }

    /// Writes what waits, makes everything durable, gives the directory back.
    pub async fn close(self) {
        drop(self.shared);
        let writer = self.writer;
        // A writer that panicked has said so.
        let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        drop(self.dir);
    }
}

/// A server that serves.
#[derive(Debug)]
pub struct Running {
    /// The addresses it listens on, with the ports that were picked.
    pub addresses: Vec<SocketAddr>,
    /// On the first start: redeem it to become the server's owner.
    pub owner_code: Option<InviteCode>,
    link: ServerLink,
    core: Core,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    endpoints: Vec<quinn::Endpoint>,
}

/// Starts a server: opens the data directory, listens, serves in background tasks.
///
/// # Errors
/// See [`StartError`].
pub async fn start(config: Config) -> Result<Running, StartError> {
    let core = Core::open(&config).await?;
    let tls = tls::load(config.certificate.as_ref(), &config.data_dir)?;
    let mut endpoints = Vec::new();
    for address in &config.listen {
        let listen = |source| StartError::Listen { address: *address, source };
        endpoints.push(accept::endpoint(*address, &tls).map_err(listen)?);
    }
    let addresses = endpoints.iter().map(quinn::Endpoint::local_addr).collect::<Result<Vec<_>, _>>()?;
    let shared = core.shared.clone();
    let owner_code =
        if shared.node.engine.read().is_empty() { Some(bootstrap(&shared.log).await?) } else { None };
    let link = link(&config, addresses.first().copied(), tls.fingerprint);
    // For links that are made while no server runs. Without it they carry the address of the configuration.
    if let Err(e) = std::fs::write(config.data_dir.join(LINK), link.reveal()) {
        warn!(error = %e, "the server's link was not kept");
    }
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for endpoint in &endpoints {
        tasks.spawn(accept::run(endpoint.clone(), shared.clone(), stopped.clone()));
    }
    ops::admin::listen(&mut tasks, &config.data_dir, shared.clone(), link.clone(), stopped.clone())?;
    if let Some(address) = config.http {
        let serving = ops::http::listen(&mut tasks, address, Arc::clone(&shared.node), stopped).await;
        serving.map_err(|source| StartError::Listen { address, source })?;
    }
    info!(?addresses, fingerprint = %tls.fingerprint, "serving");
    Ok(Running { addresses, owner_code, link, core, stop, tasks, endpoints })
}

/// Opens a data directory that no server runs on, to do what an operator asks; and the link its server would have.
///
/// # Errors
/// See [`StartError`].
pub async fn open_offline(config: &Config) -> Result<(Core, ServerLink), StartError> {
    let core = Core::open(config).await?;
    let tls = tls::load(config.certificate.as_ref(), &config.data_dir)?;
    let kept = std::fs::read_to_string(config.data_dir.join(LINK)).ok().and_then(|kept| kept.parse().ok());
    let link = link(config, config.listen.first().copied(), tls.fingerprint);
    Ok((core, kept.filter(|kept: &ServerLink| kept.fingerprint == link.fingerprint).unwrap_or(link)))
}

/// The first command of an empty log: the first room, and a code for the first owner.
async fn bootstrap(log: &LocalLog) -> Result<InviteCode, StartError> {
    let at = Timestamp::now();
    let code = InviteCode::generate()?;
    let body = CommandBody::Bootstrap { owner: code.hash(), expires: at.plus_ms(OWNER_CODE_MS) };
    submit(log, Command { at, by: Actor::Operator, body }).await.map_err(StartError::Bootstrap)?;
    Ok(code)
}

fn link(config: &Config, address: Option<SocketAddr>, fingerprint: Fingerprint) -> ServerLink {
    let host = match (&config.public_host, address) {
        (Some(host), _) => host.clone(),
        (None, Some(address)) if !address.ip().is_unspecified() => address.ip().to_string(),
        _ => "127.0.0.1".into(),
    };
    let port = address.map_or(DEFAULT_PORT, |address| address.port());
    ServerLink { host, port, fingerprint: Some(fingerprint), code: None }
}

impl Running {
    /// The link of the server, with its fingerprint: `ready` prints it.
    pub fn link(&self) -> ServerLink {
        self.link.clone()
    }

    /// The link that makes the first owner, on the first start.
    pub fn owner_link(&self) -> Option<ServerLink> {
        self.owner_code.clone().map(|code| ServerLink { code: Some(code), ..self.link() })
    }

    /// Reads the certificate again and takes the limits and the disk's reserve of `config`. Connections that are open stay.
    ///
    /// # Errors
    /// When the certificate cannot be used; then nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<(), tls::TlsError> {
        let node = &self.core.shared.node;
        let tls = tls::load(config.certificate.as_ref(), &node.data_dir)?;
        if Some(tls.fingerprint) != self.link.fingerprint {
            warn!(old = ?self.link.fingerprint, new = %tls.fingerprint, "the key has changed: clients will refuse it until they are told");
        }
        for endpoint in &self.endpoints {
            endpoint.set_server_config(Some(accept::server_config(&tls.config)));
        }
        *node.limits.write() = config.limits.clone();
        node.disk_reserve.store(config.disk_reserve, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until a thread that everything depends on has panicked: then the process is to end.
    pub async fn died(&self) {
        self.core.shared.node.durable.died().await;
    }

    /// Does what an operator asks, as the admin socket does. For who runs the server in the same process.
    pub async fn operate(&self, request: ops::admin::AdminRequest) -> ops::admin::AdminReply {
        ops::admin::answer(&self.core.shared, &self.link, request).await
    }

    /// Stops: accepts nothing more, tells the clients, finishes what was accepted, makes everything durable.
    pub async fn stop(mut self) {
        // Nobody listens if every task has ended already.
        let _ = self.stop.send(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_DEADLINE, ended).await.is_err() {
            warn!("some sessions did not end in time and are cut");
        }
        self.tasks.shutdown().await;
        for endpoint in &self.endpoints {
            endpoint.close(close::STOPPING.into(), b"the server is stopping");
        }
        for endpoint in self.endpoints.drain(..) {
            // What is not acknowledged by then was not wanted.
            let _ = tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
        }
        let ready = self.core.shared.node.is_ready();
        self.core.close().await;
        match ready {
            true => info!("stopped"),
            false => {
                warn!("stopped while nothing could be written; everything acknowledged is in the journal")
            }
        }
    }
}
