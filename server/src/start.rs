//! Starting and stopping a server.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use quip_protocol::{Fingerprint, InviteCode, NodeName, Refusal, SafeLine, ServerLink, Timestamp};
use quip_storage::data_dir::DataDir;
use quip_storage::store::StoreOptions;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::cluster::join::{JoinError, Joined, alone, taken};
use crate::cluster::membership::Membership;
use crate::cluster::peer::Door;
use crate::cluster::roster::NameTaken;
use crate::cluster::turn::Turn;
use crate::cluster::{Cluster, bus, orphans};
use crate::config::{Config, OutOfRange, Registration};
use crate::engine::{Actor, Command, CommandBody};
use crate::feed::Feeds;
use crate::link;
use crate::log::redis::Ended;
use crate::log::redis::trim::Trimmer;
use crate::log::{Intake, LocalLog, Log};
use crate::node::{Node, Shared, submit};
use crate::ops;
use crate::ops::admin::AdminSocket;
use crate::ops::limits::LimitsError;
use crate::ops::metrics::Metrics;
use crate::pipeline::durable::Durable;
use crate::pipeline::fault::Fault;
use crate::pipeline::open::{OpenError, OpenedDir, open, open_shared};
use crate::pipeline::stopping::Stopping;
use crate::pipeline::whole::Whole;
use crate::session::bulletin::{self, Bulletin};
use crate::session::registry::Sessions;
use crate::session::{accept, presence, socket, tls};

/// How long the code for the first owner is good, in milliseconds.
const OWNER_CODE_MS: u64 = 24 * 3600 * 1000;
/// How long a stop waits for sessions.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The cluster.
    #[error(transparent)]
    Join(#[from] JoinError),
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
    #[error("cannot make the owner's code: {0}")]
    Bootstrap(Refusal),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] OutOfRange),
    /// Limits that were set while it ran.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// No server has served, and so nobody knows where the next one will be found, and by which key.
    #[error("no server has run on {}, so its address and key are not known: start quipd once", dir.display())]
    NeverServed {
        /// The data directory.
        dir: PathBuf,
    },
    /// A node of a cluster that does not run cannot be written.
    #[error("this data directory is node {node} of a cluster: start it, or ask another node that runs")]
    WrittenByLog {
        /// Which node.
        node: NodeName,
    },
    /// The operating system.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// No randomness.
    #[error("the operating system gives no randomness: {0}")]
    Random(#[from] getrandom::Error),
}

/// Why a server is not to be started again by itself.
#[derive(Debug, thiserror::Error)]
pub enum Over {
    /// Another process has the node's name.
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
    /// A thread that everything depends on has panicked.
    #[error("a part of the server panicked, see the log; start it again: nothing acknowledged is lost")]
    Died,
}

/// What writes, without a door: the data directory, the writer, and what sessions would share.
#[derive(Debug)]
pub struct Core {
    /// What sessions share.
    pub shared: Shared,
    writer: JoinHandle<()>,
    /// Held until the writer has ended: nobody else may write.
    dir: Arc<DataDir>,
}

impl Core {
    async fn open(config: &Config, stopping: &Stopping) -> Result<Core, StartError> {
        let options = StoreOptions { cache_bytes: config.cache_bytes };
        let (path, leave) = (config.data_dir.clone(), config.leave_cluster);
        let stopping = stopping.clone();
        let opening = tokio::task::spawn_blocking(move || {
            alone(&path, leave)?;
            Ok::<_, StartError>(open(&path, options, false, &stopping)?)
        });
        Core::start(config, opening.await.map_err(io::Error::other)??)
    }

    /// Starts the writer on a directory that was opened.
    ///
    /// # Errors
    /// When the operating system gives no thread, or the limits that were set cannot hold.
    pub fn start(config: &Config, opened: OpenedDir) -> Result<Core, StartError> {
        let (log, intake) = LocalLog::new();
        Core::start_on(config, opened, None, Log::Local(log), Box::new(intake))
    }

    /// The same on any log.
    ///
    /// # Errors
    /// As [`Core::start`].
    pub fn start_on(
        config: &Config,
        opened: OpenedDir,
        cluster: Option<Arc<Cluster>>,
        log: Log,
        intake: Box<dyn Intake>,
    ) -> Result<Core, StartError> {
        let OpenedDir { dir, journal, store, engine, .. } = opened;
        let limits = ops::limits::effective(&config.data_dir, &config.limits)?;
        let feeds = Feeds::default();
        feeds.tiers().set(&limits);
        // Without a runtime there are no sessions to be woken.
        if tokio::runtime::Handle::try_current().is_ok() {
            feeds.start();
        }
        let node = Arc::new(Node {
            name: SafeLine::new(&config.name),
            data_dir: config.data_dir.clone(),
            open_registration: config.registration == Registration::Open,
            link: RwLock::new(None),
            limits: RwLock::new(limits),
            configured: RwLock::new(config.limits.clone()),
            engine: RwLock::new(engine),
            journal: journal.reader(),
            feeds,
            store,
            whole: Whole::default(),
            stopping: Stopping::default(),
            durable: Durable::default(),
            applied: AtomicU64::new(0),
            sessions: Sessions::default(),
            bulletin: Bulletin::default(),
            cluster,
            metrics: Metrics::default(),
            disk_reserve: AtomicU64::new(config.disk_reserve),
            fault: Mutex::new(Fault::from_env()),
        });
        let writer = crate::pipeline::start(Arc::clone(&node), journal, dir.journal(), intake)?;
        Ok(Core { shared: Shared { node, log }, writer, dir })
    }

    /// Writes what waits, makes everything durable, gives the directory back.
    pub async fn close(self) {
        self.shared.node.stopping.begin();
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
    /// As long as nobody has an account: redeem it to become the server's owner.
    pub owner_code: Option<InviteCode>,
    core: Core,
    part: Option<Part>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    endpoints: Vec<quinn::Endpoint>,
}

/// The part in a cluster.
#[derive(Debug)]
struct Part {
    /// Says when this node cannot go on as it is.
    parted: oneshot::Receiver<Ended>,
    joined: Joined,
}

impl Part {
    /// Who should come, does, from now on, or no more: it is said at once.
    async fn serves(&self, serves: bool) {
        self.joined.heart.serves(serves);
        self.joined.beating.at_once();
        self.joined.cluster.is_told(!serves).await;
    }
}

/// Everything that a start can fail at, open and not yet served.
struct Doors {
    endpoints: Vec<quinn::Endpoint>,
    addresses: Vec<SocketAddr>,
    fingerprint: Fingerprint,
    http: Option<TcpListener>,
    admin: Option<AdminSocket>,
}

impl Doors {
    async fn open(config: &Config, is_clustered: bool) -> Result<Doors, StartError> {
        let tls = tls::load(config.certificate.as_ref(), &config.data_dir, is_clustered)?;
        let mut endpoints = Vec::new();
        for address in &config.listen {
            let listen = |source| StartError::Listen { address: *address, source };
            let listening = match is_clustered {
                true => socket::listen_again(*address, &tls).await,
                false => socket::listen(*address, &tls),
            };
            endpoints.push(listening.map_err(listen)?);
        }
        let addresses = endpoints.iter().map(quinn::Endpoint::local_addr).collect::<Result<_, _>>()?;
        let http = match config.http {
            Some(address) => {
                let listening = ops::http::listen(address).await;
                Some(listening.map_err(|source| StartError::Listen { address, source })?)
            }
            None => None,
        };
        let admin = AdminSocket::bind(&config.data_dir);
        Ok(Doors { endpoints, addresses, fingerprint: tls.fingerprint, http, admin })
    }
}

/// Starts a server: opens the data directory, listens, serves in background tasks. When `stopping` begins while the
/// store is made from the journal, that is left to the next start. The owner's code is made last: a
/// start that fails tells it nobody, and so must not make it.
///
/// # Errors
/// See [`StartError`].
pub async fn start(config: Config, stopping: &Stopping) -> Result<Running, StartError> {
    config.check()?;
    let (core, part) = match &config.cluster {
        None => (Core::open(&config, stopping).await?, None),
        Some(of) => {
            let joined = Joined::join(&config, of, stopping).await?;
            match joined.open(&config, stopping).await {
                Ok((core, parted)) => (core, Some(Part { joined, parted })),
                Err(e) => {
                    // Or its name would be taken when it is started again.
                    joined.beating.stop().await;
                    return Err(e);
                }
            }
        }
    };
    let owned_here = part.as_ref().is_none_or(|part| part.joined.founder);
    let opened = match Doors::open(&config, part.is_some()).await {
        Ok(doors) if owned_here => owner_code(&core.shared).await.map(|code| (doors, code)),
        Ok(doors) => Ok((doors, None)),
        Err(e) => Err(e),
    };
    match opened {
        Ok((doors, owner_code)) => {
            if let Some(part) = &part {
                part.serves(true).await;
            }
            Ok(serve(&config, core, doors, owner_code, part))
        }
        Err(e) => {
            core.close().await;
            if let Some(part) = part {
                part.joined.beating.stop().await;
            }
            Err(e)
        }
    }
}

fn serve(
    config: &Config,
    core: Core,
    doors: Doors,
    owner_code: Option<InviteCode>,
    mut part: Option<Part>,
) -> Running {
    let Doors { endpoints, addresses, fingerprint, http, admin } = doors;
    let node = Arc::clone(&core.shared.node);
    link::keep(&node, link::of(config, addresses.first().copied(), fingerprint));
    // Who comes first is told it too.
    bulletin::look(&node);
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let peers = part.as_mut().map(|part| {
        let (gate, stop) = (part.joined.keep_gate(&node), stopped.clone());
        tasks.spawn(until_stopped(gate, stop));
        let bus = (Arc::clone(&node), Arc::clone(&part.joined.cluster), part.joined.address.clone());
        tasks.spawn(bus::run(bus.0, bus.1, bus.2, stopped.clone()));
        let (joined, cluster) = (&part.joined, Arc::clone(&part.joined.cluster));
        let turn = Turn::new(joined.address.clone(), cluster.name.clone());
        tasks.spawn(orphans::append_until(core.shared.clone(), turn, stopped.clone()));
        let (id, name) = (cluster.id, cluster.name.clone());
        let trimmer = Trimmer::new(joined.address.clone(), cluster, node.journal.clone(), joined.log_bytes);
        tasks.spawn(trimmer.run(stopped.clone()));
        Arc::new(Door::new(id, name, joined.key.clone(), node.journal.clone()))
    });
    for endpoint in &endpoints {
        tasks.spawn(accept::run(endpoint.clone(), core.shared.clone(), peers.clone(), stopped.clone()));
    }
    tasks.spawn(presence::tell(Arc::clone(&node), stopped.clone()));
    tasks.spawn(bulletin::post(Arc::clone(&node), stopped.clone()));
    if let Some(admin) = admin {
        tasks.spawn(admin.serve(core.shared.clone(), stopped.clone()));
    }
    if let Some(listener) = http {
        ops::http::serve(&mut tasks, listener, Arc::clone(&node), stopped);
    }
    info!(?addresses, %fingerprint, "serving");
    if let Some(link) = node.link.read().as_ref().filter(|link| link::is_local(link)) {
        info!(host = link.host, "{}", link::FOR_OTHERS);
    }
    Running { addresses, owner_code, core, part, stop, tasks, endpoints }
}

async fn until_stopped(task: impl Future<Output = ()>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = task => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Opens a data directory that no server runs on, to do what an operator asks. One of a cluster's node only to be read: its
/// journal is written from the log alone.
///
/// # Errors
/// See [`StartError`].
pub async fn open_offline(
    config: &Config,
    link: Option<ServerLink>,
    writes: bool,
) -> Result<Core, StartError> {
    let file = Membership::read(&config.data_dir).map_err(JoinError::from)?;
    let core = match file {
        Some(file) if writes => return Err(StartError::WrittenByLog { node: file.node }),
        Some(_) => {
            let (path, options) = (config.data_dir.clone(), StoreOptions { cache_bytes: config.cache_bytes });
            let opening = tokio::task::spawn_blocking(move || {
                let dir = Arc::new(taken(&path)?);
                Ok::<_, StartError>(open_shared(&dir, options, &Stopping::default())?)
            });
            Core::start(config, opening.await.map_err(io::Error::other)??)?
        }
        None => Core::open(config, &Stopping::default()).await?,
    };
    *core.shared.node.link.write() = link;
    Ok(core)
}

/// A code for the first owner, as long as there is none: the one of the start before may have been lost.
async fn owner_code(shared: &Shared) -> Result<Option<InviteCode>, StartError> {
    if !shared.node.engine.read().is_unowned() {
        return Ok(None);
    }
    let at = Timestamp::now();
    let code = InviteCode::generate()?;
    let body = CommandBody::Bootstrap { owner: code.hash(), expires: at.plus_ms(OWNER_CODE_MS) };
    let command = Command { at, by: Actor::Operator, body };
    submit(&shared.log, command).await.map_err(StartError::Bootstrap)?;
    Ok(Some(code))
}

impl Running {
    /// The link of the server, with its fingerprint: `ready` prints it.
    pub fn link(&self) -> ServerLink {
        self.core.shared.node.link.read().clone().expect("it was set before the server served")
    }

    /// The link that makes the first owner, as long as nobody has an account.
    pub fn owner_link(&self) -> Option<ServerLink> {
        self.owner_code.clone().map(|code| ServerLink { code: Some(code), ..self.link() })
    }

    /// Reads the certificate again and takes the limits and the disk's reserve of `config`. Connections that are open stay;
    /// links that are made from now on carry the new key.
    ///
    /// # Errors
    /// When a limit or the certificate cannot be used; then nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<(), StartError> {
        config.check()?;
        let node = &self.core.shared.node;
        let tls = tls::load(config.certificate.as_ref(), &node.data_dir, node.cluster.is_some())?;
        ops::limits::configure(node, &config.limits)?;
        let link = self.link();
        if Some(tls.fingerprint) != link.fingerprint {
            warn!(old = ?link.fingerprint, new = %tls.fingerprint, "the key has changed: clients will refuse it until they are told");
            link::keep(node, ServerLink { fingerprint: Some(tls.fingerprint), ..link });
        }
        for endpoint in &self.endpoints {
            endpoint.set_server_config(Some(accept::server_config(&tls.config)));
        }
        node.disk_reserve.store(config.disk_reserve, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until it is to be stopped and started again: this node and its cluster have parted, and a start puts that right.
    /// Never on a single node.
    ///
    /// # Errors
    /// When it is to be stopped, and not to be started again.
    pub async fn parted(&mut self) -> Result<(), Over> {
        let durable = &self.core.shared.node.durable;
        let Some(Part { parted, joined }) = &mut self.part else {
            durable.died().await;
            return Err(Over::Died);
        };
        tokio::select! {
            // A driver that ended without a word has panicked, and said so.
            _ = parted => Ok(()),
            Ok(taken) = &mut joined.beating.taken => Err(taken.into()),
            () = durable.died() => Err(Over::Died),
        }
    }

    /// Waits until a thread that everything depends on has panicked: then the process is to end.
    pub async fn died(&self) {
        self.core.shared.node.durable.died().await;
    }

    /// Does what an operator asks, as the admin socket does. For who runs the server in the same process.
    pub async fn operate(&self, request: ops::admin::AdminRequest) -> ops::admin::AdminReply {
        ops::admin::answer(&self.core.shared, request).await
    }

    /// Stops: accepts nothing more, tells the clients, finishes what was accepted, makes everything durable.
    pub async fn stop(mut self) {
        if let Some(part) = &self.part {
            part.serves(false).await;
        }
        // Nobody listens if every task has ended already.
        let _ = self.stop.send(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_DEADLINE, ended).await.is_err() {
            warn!("some sessions did not end in time and are cut");
        }
        self.tasks.shutdown().await;
        for endpoint in self.endpoints.drain(..) {
            socket::release(endpoint).await;
        }
        let ready = self.core.shared.node.is_ready();
        self.core.close().await;
        if let Some(part) = self.part {
            part.joined.beating.stop().await;
        }
        match ready {
            true => info!("stopped"),
            false => {
                warn!("stopped while nothing could be written; everything acknowledged is in the journal")
            }
        }
    }
}
