//! How a node comes into its cluster: what its directory and the log come to by the rules of `membership`, what is missing
//! fetched from another node, the log followed to its end; and then it serves. Imports the shared log, peers and the core.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use quip_protocol::{Epoch, Position, Timestamp};
use quip_storage::data_dir::DataDir;
use quip_storage::journal::{Journal, JournalError, JournalOptions, JournalReader};
use quip_storage::store::StoreOptions;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::barrier::{Barrier, Gate};
use super::key::{ClusterKey, KeyError};
use super::membership::{Membership, MembershipError, Plan, Refused, Started, hex, plan};
use super::orphans::{self, OrphanError};
use super::pause::{Reminder, pause};
use super::peer::FetchError;
use super::realign::{self, RealignError};
use super::roster::{self, Beating, Now, Unwelcome};
use super::{BootId, Cluster, Roster};
use crate::config::{ClusterConfig, Config};
use crate::log::Log;
use crate::log::redis::settings;
use crate::log::redis::{Address, Connection, Ended, Parts};
use crate::log::shared::contract::{Answer, Ask, ClusterId, Look, Lost};
use crate::log::shared::member::Phase;
use crate::log::shared_log::SharedLog;
use crate::node::Node;
use crate::pipeline::open::{OpenError, OpenedDir, leave_cluster, open_shared};
use crate::pipeline::stopping::Stopping;
use crate::session::tls::{self, TlsError};
use crate::start::{Core, StartError};

/// How often it is looked whether everything is applied, and whether to stop.
const LOOK: Duration = Duration::from_millis(20);
/// How often it is looked whether the cluster has written its log back.
const AWAIT: Duration = Duration::from_secs(1);

/// Why a node did not come into its cluster.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// By the rules.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The file that says of which cluster the directory is.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The cluster's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The directory's journal.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is missing was not got.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A journal that has parted.
    #[error(transparent)]
    Realign(#[from] RealignError),
    /// Messages would be left behind.
    #[error(
        "this node has messages that it has yet to append to the cluster's log again: start it once more as a node, then leave"
    )]
    Unappended,
    /// What is to be appended again cannot be looked for.
    #[error(transparent)]
    Orphans(#[from] OrphanError),
    /// By what the others say.
    #[error(transparent)]
    Unwelcome(#[from] Unwelcome),
    /// The server's key, which the others are told.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The log has become another cluster's.
    #[error("Redis has another cluster's log now: name the right Redis, or start with an empty --data-dir")]
    Foreign,
    /// The driver cannot go on.
    #[error("{0}")]
    Ended(Ended),
    /// The operating system.
    #[error("cannot come into the cluster: {0}")]
    System(#[from] io::Error),
}

impl From<JournalError> for JoinError {
    fn from(error: JournalError) -> JoinError {
        JoinError::Open(error.into())
    }
}

/// A node in its cluster, which serves nobody yet.
#[derive(Debug)]
pub struct Joined {
    /// What the parts of the node share.
    pub cluster: Arc<Cluster>,
    /// Whether the cluster began with it.
    pub founder: bool,
    /// What nodes know each other by.
    pub key: ClusterKey,
    /// Says that it lives.
    pub beating: Beating,
    /// Which node it says that of.
    pub heart: Arc<Heart>,
    /// Where Redis is.
    pub address: Address,
    /// How much of its memory the shared log may take, in bytes.
    pub log_bytes: u64,
    /// With it nobody else has the directory, before it is opened and between two openings too.
    pub(super) dir: Arc<DataDir>,
    /// Answers who asks whether this node has all that the others have told, once it serves.
    gate: Option<Gate>,
}

/// What a node says of itself with each heartbeat, before it serves too.
#[derive(Debug)]
pub struct Heart {
    /// What the node has, whoever has it open.
    journal: Mutex<JournalReader>,
    /// Once there is one.
    node: Mutex<Weak<Node>>,
    serves: AtomicBool,
}

impl Heart {
    fn new(journal: JournalReader) -> Heart {
        Heart { journal: Mutex::new(journal), node: Mutex::default(), serves: AtomicBool::new(false) }
    }

    /// The journal is this one from now on.
    pub(super) fn has(&self, journal: JournalReader) {
        *self.journal.lock() = journal;
    }

    /// Who should come, does, from now on, or no more.
    pub fn serves(&self, serves: bool) {
        self.serves.store(serves, Ordering::Relaxed);
    }

    fn now(&self) -> Now {
        let node = self.node.lock().upgrade();
        Now {
            connections: node.as_ref().map_or(0, |node| node.sessions.total()),
            position: self.journal.lock().last(),
            draining: !self.serves.load(Ordering::Relaxed),
        }
    }
}

impl Joined {
    /// Comes into the cluster; waits for Redis as long as it does not answer. Before the directory is opened.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join(config: &Config, of: &ClusterConfig, stopping: &Stopping) -> Result<Joined, JoinError> {
        let mut connection = Connection::new(of.redis.clone());
        let path = config.data_dir.clone();
        let (dir, file, journal) = blocking(move || survey(&path)).await?;
        let was = file.clone();
        let (file, key) = member(&mut connection, config, of, (file, journal.last()), stopping).await?;
        let (barrier, gate) = Barrier::new();
        let cluster = Cluster {
            id: file.cluster,
            name: file.node.clone(),
            boot: BootId(random()?),
            roster: watch::Sender::new(Roster::new()),
            phase: watch::Sender::new(Phase::Unreachable),
            counts: Arc::default(),
            barrier,
        };
        let cluster = Arc::new(cluster);
        let heart = Arc::new(Heart::new(journal));
        let tls = tls::load(config.certificate.as_ref(), &config.data_dir, true)?;
        let own = roster::Own {
            directory: file.id,
            started: Timestamp::now(),
            address: of.advertise.clone(),
            fingerprint: tls.fingerprint,
            key_mark: key.mark(file.cluster),
        };
        let beats = Arc::clone(&heart);
        let (redis, to) = (of.redis.clone(), Arc::clone(&cluster));
        let beating = roster::start(redis.clone(), to, own, move || beats.now()).await?;
        // Not before: one that is refused may come by another name.
        if was.is_none() {
            file.write(&config.data_dir)?;
        }
        tokio::spawn(settings::tell(redis.clone()));
        let (founder, gate, log_bytes) = (file.founder, Some(gate), of.log_bytes);
        Ok(Joined { cluster, founder, key, beating, heart, address: redis, log_bytes, dir, gate })
    }

    /// Opens the directory and follows the log to where it ends now. Where the two have parted, the directory is put right
    /// first. With what tells when they part later.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(
        &self,
        config: &Config,
        stopping: &Stopping,
    ) -> Result<(Core, oneshot::Receiver<Ended>), StartError> {
        loop {
            let (core, mut ended) = self.core(config, stopping).await?;
            let followed = tokio::select! {
                followed = self.caught_up(&core, stopping) => followed.map(|()| None),
                why = &mut ended => match why {
                    Ok(why) => Ok(Some(why)),
                    Err(_) => Err(io::Error::other("the driver of the shared log ended without a word").into()),
                },
            };
            let why = match followed {
                Ok(None) => return Ok((core, ended)),
                Ok(Some(why)) => why,
                Err(e) => {
                    core.close().await;
                    return Err(e.into());
                }
            };
            core.close().await;
            // What it is cut off at is completed by the next start.
            tokio::select! {
                put = self.put_right(why, stopping) => put?,
                () = begun(stopping) => return Err(OpenError::Stopped.into()),
            }
        }
    }

    async fn core(
        &self,
        config: &Config,
        stopping: &Stopping,
    ) -> Result<(Core, oneshot::Receiver<Ended>), StartError> {
        let (dir, options) = (Arc::clone(&self.dir), StoreOptions { cache_bytes: config.cache_bytes });
        let stopping = stopping.clone();
        let opening = blocking(move || {
            let opened = open_shared(&dir, options, &stopping)?;
            // Nothing is written behind what the log had in common with it yet.
            orphans::judge(dir.path(), &opened.store, opened.journal.last())?;
            Ok(opened)
        });
        let opened: OpenedDir = opening.await?;
        let journal = opened.journal.reader();
        self.heart.has(journal.clone());
        let (address, cluster) = (self.address.clone(), Arc::clone(&self.cluster));
        let (log, intake, ended) = SharedLog::start(Parts { address, cluster, journal })?;
        let cluster = Some(Arc::clone(&self.cluster));
        let core = Core::start_on(config, opened, cluster, Log::Shared(log), Box::new(intake))?;
        *self.heart.node.lock() = Arc::downgrade(&core.shared.node);
        Ok((core, ended))
    }

    /// Waits until everything that the log had is applied here: nobody is to be served what is older.
    async fn caught_up(&self, core: &Core, stopping: &Stopping) -> Result<(), JoinError> {
        let mut phase = self.cluster.phase.subscribe();
        let mut tick = tokio::time::interval(LOOK);
        while *phase.borrow_and_update() != Phase::Live {
            tick.tick().await;
            if stopping.has_begun() {
                return Err(OpenError::Stopped.into());
            }
        }
        let look = look(&mut Connection::new(self.address.clone()), stopping).await?;
        while core.shared.node.journal.last() < look.last {
            tick.tick().await;
            if stopping.has_begun() {
                return Err(OpenError::Stopped.into());
            }
        }
        info!(position = %look.last, "has all that the cluster had");
        Ok(())
    }

    /// Tells sessions whether this node has applied what the log had when they asked, until it stops.
    pub fn keep_gate(&mut self, node: &Node) -> impl Future<Output = ()> + Send + 'static {
        let (gate, journal) = (self.gate.take(), node.journal.clone());
        let (mut connection, id) = (Connection::new(self.address.clone()), self.cluster.id);
        async move {
            let last = async move || match connection.ask(&Ask::Look).await {
                // One that is to be repaired may have lost what other nodes have told.
                Ok(Answer::Look(look)) if is_of(&look, id) => Some(look.last),
                _ => None,
            };
            if let Some(gate) = gate {
                gate.run(last, move || journal.last()).await;
            }
        }
    }
}

/// Before a directory is opened for a single node: refused where it is of a cluster, unless it leaves that.
///
/// # Errors
/// See [`JoinError`].
pub fn alone(data_dir: &Path, leave: bool) -> Result<(), JoinError> {
    let started = Started { node: None, leave, may_found: false };
    let planned = plan(started, Membership::read(data_dir)?.as_ref(), Position::ZERO, None)?;
    if leave && planned == Plan::Alone {
        info!("--leave-cluster has nothing to do: this data directory is of no cluster");
    }
    if planned == Plan::Leave {
        let dir = taken(data_dir)?;
        if orphans::are_kept(data_dir)? {
            return Err(JoinError::Unappended);
        }
        leave_cluster(&dir)?;
        Membership::remove(data_dir)?;
        warn!("this node has left its cluster: it serves alone, with all that it has");
    }
    Ok(())
}

/// Takes a node's directory, which nobody else has from here on. What a crash left of putting it right is completed.
///
/// # Errors
/// When another process has it, or the operating system refuses.
pub fn taken(path: &Path) -> Result<DataDir, JoinError> {
    let dir = DataDir::open(path).map_err(OpenError::from)?;
    realign::finish(dir.path())?;
    Ok(dir)
}

/// The directory, what it says of its cluster, and its journal.
fn survey(path: &Path) -> Result<(Arc<DataDir>, Option<Membership>, JournalReader), JoinError> {
    let dir = taken(path)?;
    let journal = open_journal(&dir)?;
    Ok((Arc::new(dir), Membership::read(path)?, journal.reader()))
}

pub(super) fn open_journal(dir: &DataDir) -> Result<Journal, JoinError> {
    Ok(Journal::open(dir.journal(), JournalOptions::default())?)
}

/// What the directory, which has this much, is in the cluster or becomes, and its key. Waits for others; a joiner is written later.
async fn member(
    connection: &mut Connection,
    config: &Config,
    of: &ClusterConfig,
    (file, last): (Option<Membership>, Position),
    stopping: &Stopping,
) -> Result<(Membership, ClusterKey), JoinError> {
    let mut reminder = Reminder::default();
    loop {
        let look = look(connection, stopping).await?;
        // One that cannot be used is told before anything is written.
        let may_found = ClusterKey::find(&of.key)?.is_none() || of.founds;
        let started = Started { node: Some(&of.node), leave: false, may_found };
        let there = look.agreed.as_ref().map(|agreed| agreed.cluster);
        let awaited = match plan(started, file.as_ref(), last, there)? {
            Plan::Found { base } => {
                // The key comes last: who has one and no membership was given it.
                if let Some(founder) = found(connection, config, of, base, &look).await? {
                    return Ok((founder, ClusterKey::load_or_make(&of.key)?));
                }
                OTHERS.to_owned()
            }
            Plan::Await => awaited(&of.key),
            Plan::Join(cluster) => {
                let key = ClusterKey::load(&of.key)?;
                let joins = Membership { cluster, node: of.node.clone(), id: random()?, founder: false };
                info!(cluster = %hex(joins.cluster.0), "joining the cluster");
                return Ok((joins, key));
            }
            Plan::Stay(_) | Plan::Alone | Plan::Leave => {
                let file = file.expect("only a directory of a cluster stays in it");
                // Where it founded the cluster and then failed, nobody has the key yet.
                let key = if file.founder { ClusterKey::load_or_make } else { ClusterKey::load }(&of.key)?;
                return Ok((file, key));
            }
        };
        if reminder.is_due() {
            warn!("{awaited}");
        }
        rest(AWAIT, stopping).await?;
    }
}

/// Redis has part of a log that no cluster has agreed on: nodes that have yet to write back the rest.
const OTHERS: &str = "waiting for the nodes of the cluster whose log Redis has lost: they are writing it back, or have \
    to be started; if there are none any more, empty Redis (FLUSHDB)";

fn awaited(key: &Path) -> String {
    format!(
        "waiting for a node of the cluster whose key is {}: Redis has no log, and this directory is empty; start a node that has been in the cluster, or, if there is none, start this one with --found-cluster",
        key.display()
    )
}

/// The directory says that it founds the cluster before Redis does: a crash between the two is repaired as a Redis that was
/// wiped. Nothing if another node was first.
async fn found(
    connection: &mut Connection,
    config: &Config,
    of: &ClusterConfig,
    base: Position,
    look: &Look,
) -> Result<Option<Membership>, JoinError> {
    let cluster = ClusterId(random()?);
    let founder = Membership { cluster, node: of.node.clone(), id: random()?, founder: true };
    founder.write(&config.data_dir)?;
    let epoch = Epoch(base.epoch.max(look.last.epoch).0.saturating_add(1));
    let answered = connection.ask(&Ask::Found { cluster, epoch, base }).await;
    match answered {
        Ok(Answer::Done) => info!(cluster = %hex(founder.cluster.0), %base, "founded a cluster"),
        // It may be done: then this is the founder, or else the log is repaired by who is.
        Err(Lost(why)) => warn!(why, "Redis did not say whether the cluster is founded"),
        Ok(_) => {
            Membership::remove(&config.data_dir)?;
            return Ok(None);
        }
    }
    Ok(Some(founder))
}

pub(super) async fn look(connection: &mut Connection, stopping: &Stopping) -> Result<Look, JoinError> {
    match until_answered(connection, &Ask::Look, stopping).await? {
        Answer::Look(look) => Ok(look),
        _ => Err(JoinError::System(io::Error::other("Redis answers what was not asked"))),
    }
}

pub(super) async fn until_answered(
    connection: &mut Connection,
    ask: &Ask,
    stopping: &Stopping,
) -> Result<Answer, JoinError> {
    for failures in 0.. {
        match connection.ask(ask).await {
            Ok(answer) => return Ok(answer),
            Err(lost) if failures == 0 => {
                warn!(redis = %connection.address(), why = %lost, "waiting for Redis");
            }
            Err(_) => {}
        }
        rest(pause(failures), stopping).await?;
    }
    Err(OpenError::Stopped.into())
}

/// Waits for so long, unless it is to be stopped before.
pub(super) async fn rest(time: Duration, stopping: &Stopping) -> Result<(), JoinError> {
    match tokio::time::timeout(time, begun(stopping)).await {
        Ok(()) => Err(OpenError::Stopped.into()),
        Err(_) => Ok(()),
    }
}

/// Whether it is the log that this cluster has agreed on.
pub(super) fn is_of(look: &Look, cluster: ClusterId) -> bool {
    look.is_agreed() && look.agreed.as_ref().is_some_and(|agreed| agreed.cluster == cluster)
}

/// Waits until it is to be stopped.
async fn begun(stopping: &Stopping) {
    while !stopping.has_begun() {
        tokio::time::sleep(LOOK).await;
    }
}

fn random() -> Result<[u8; 16], JoinError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| JoinError::System(io::Error::other(e)))?;
    Ok(bytes)
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JoinError> + Send + 'static,
) -> Result<T, JoinError> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heart_tells_what_the_journal_has_before_there_is_a_node() {
        let at = |offset| Position { epoch: Epoch::FIRST, offset };
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| Journal::open(dir.path().join(name), JournalOptions::default()).unwrap();
        let mut journal = open("journal");
        journal.append_all(&[(at(1), b"one"), (at(2), b"two")]).unwrap();
        let heart = Heart::new(journal.reader());
        assert_eq!((heart.now().position, heart.now().draining), (at(2), true));
        // What is got from another node.
        journal.append(at(3), b"three").unwrap();
        assert_eq!(heart.now().position, at(3));
        // It had parted, and was cut back.
        let mut other = open("cut");
        other.append(at(1), b"one").unwrap();
        heart.has(other.reader());
        assert_eq!(heart.now().position, at(1));
    }
}
