//! The admin socket: what an operator asks a server that runs, one JSON object a line. Whoever may open the socket
//! (0600, in the data directory) is an operator.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, Permissions};
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quip_protocol::{
    AccountName, DeviceKey, ErrorCode, InviteCode, NodeName, Refusal, RoomName, ServerLink, Timestamp,
};
use quip_storage::data_dir::holder_of;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::cluster::{Cluster, Heartbeat};
use crate::engine::{Actor, Command, CommandBody};
use crate::log::shared_log;
use crate::node::{Shared, submit};
use crate::ops::limits::{self, LimitsError};

/// The socket's name in the data directory.
pub const SOCKET: &str = "admin.sock";
/// Longest request, in bytes.
const MAX_LINE: u64 = 64 * 1024;
/// Requests that are served at once; the next ones wait.
const AT_ONCE: usize = 8;
/// A request must have come within this, and an answer be taken.
const DEADLINE: Duration = Duration::from_secs(10);
/// A request must be answered within this. The log refuses before, with better words.
const ANSWERED: Duration = Duration::from_secs(12);
/// How long who asks waits: the server is the one that says why there is no answer.
const PATIENCE: Duration = Duration::from_secs(20);

const _: () = assert!(shared_log::PATIENCE.as_secs() < ANSWERED.as_secs());
const _: () = assert!(ANSWERED.as_secs() < PATIENCE.as_secs());

/// What an operator asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminRequest {
    /// A link that makes accounts.
    Invite {
        /// Of administrators.
        owner: bool,
        /// Also a member of.
        room: Option<RoomName>,
        /// How many.
        uses: u32,
        /// For how long, in seconds.
        ttl_s: u64,
    },
    /// All accounts.
    Users,
    /// Devices of an account.
    Devices(AccountName),
    /// An account may do nothing.
    Suspend(AccountName),
    /// It may again.
    Resume(AccountName),
    /// A key may no longer connect.
    RevokeDevice(String),
    /// All rooms with a name.
    Rooms,
    /// A room is no longer written.
    Archive(RoomName),
    /// It is written again.
    Restore(RoomName),
    /// Counts.
    Stats,
    /// All limits, after setting these by name; `None` lets go of what was set.
    Limits(BTreeMap<String, Option<u32>>),
}

impl AdminRequest {
    /// Whether it comes to a command in the log.
    pub fn writes(&self) -> bool {
        !matches!(
            self,
            AdminRequest::Users
                | AdminRequest::Devices(_)
                | AdminRequest::Rooms
                | AdminRequest::Stats
                | AdminRequest::Limits(_)
        )
    }
}

/// What is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminReply {
    /// Objects, one a line of output.
    Rows(Vec<Value>),
    /// A link.
    Link(String),
    /// It was refused.
    Refused(Refusal),
}

/// The socket, bound and not yet served.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Binds it. Where that cannot be done, a warning says so, and the server serves without: paths of sockets are
    /// short on every system.
    pub fn bind(data_dir: &Path) -> Option<AdminSocket> {
        let path = data_dir.join(SOCKET);
        match bind_private(data_dir, &path) {
            Ok(listener) => Some(AdminSocket { listener, path }),
            Err(e) => {
                let socket = path.display();
                warn!(error = %e, %socket, "no admin socket: use a shorter --data-dir to have one");
                None
            }
        }
    }

    /// Serves it until told to stop.
    pub async fn serve(self, shared: Shared, mut stop: watch::Receiver<bool>) {
        let mut serving = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if serving.len() < AT_ONCE => match accepted {
                    Ok((stream, _)) => drop(serving.spawn(serve_one(stream, shared.clone()))),
                    Err(e) => debug!(error = %e, "no admin connection"),
                },
                Some(_) = serving.join_next() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        let _ = std::fs::remove_file(&self.path);
        while serving.join_next().await.is_some() {}
    }
}

/// Nobody else may open the socket, at no moment: it is bound within a directory that is private from its making, and
/// moved to its place when it is private itself. The lock of the data directory is ours: what is there is a leftover.
fn bind_private(data_dir: &Path, path: &Path) -> io::Result<UnixListener> {
    // As long as the path that it will have: one that is too long for a socket has to be found here.
    let dir = data_dir.join(".new");
    let _ = std::fs::remove_dir_all(&dir);
    DirBuilder::new().mode(0o700).create(&dir)?;
    let made = dir.join("admin");
    let listener = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    std::fs::rename(&made, path)?;
    std::fs::remove_dir(&dir)?;
    Ok(listener)
}

async fn serve_one(stream: UnixStream, shared: Shared) {
    let served = serve(stream, &shared).await;
    if let Err(e) = served {
        debug!(error = %e, "admin connection ended");
    }
}

async fn serve(stream: UnixStream, shared: &Shared) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(MAX_LINE));
    timeout(DEADLINE, read.read_line(&mut line)).await??;
    let reply = match serde_json::from_str(&line) {
        Ok(request) => timeout(ANSWERED, answer(shared, request)).await.unwrap_or_else(|_| undecided()),
        Err(e) => AdminReply::Refused(Refusal::new(ErrorCode::BadRequest, format!("not a request: {e}"))),
    };
    let mut text = serde_json::to_string(&reply)?;
    text.push('\n');
    timeout(DEADLINE, write.write_all(text.as_bytes())).await?
}

fn undecided() -> AdminReply {
    let text = "the server has not done it yet: it may still; look whether it did, and try again later";
    AdminReply::Refused(Refusal::new(ErrorCode::Unavailable, text))
}

/// Why a server that runs has not answered.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// It says nothing.
    #[error("the server on {} (process {pid}) does not answer: it hangs, or has too much to do; look at that process and its log", dir.display())]
    Silent {
        /// Its data directory.
        dir: PathBuf,
        /// The process that has that, as far as it is known.
        pid: String,
    },
    /// It ended the connection.
    #[error("the server on {} ended before it answered: see its log, and look whether it was done", dir.display())]
    Ended {
        /// Its data directory.
        dir: PathBuf,
    },
    /// Neither.
    #[error("the running server does not answer: {0}")]
    System(#[from] io::Error),
}

/// Asks the server that runs on this data directory; `None` if none does.
///
/// # Errors
/// When there is one and it does not answer.
pub fn ask(data_dir: &Path, request: &AdminRequest) -> Result<Option<AdminReply>, Unanswered> {
    ask_within(PATIENCE, data_dir, request)
}

fn ask_within(
    patience: Duration,
    data_dir: &Path,
    request: &AdminRequest,
) -> Result<Option<AdminReply>, Unanswered> {
    let mut stream = match std::os::unix::net::UnixStream::connect(data_dir.join(SOCKET)) {
        Ok(stream) => stream,
        // A path that is too long for a socket is invalid: the server has none there either.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidInput
            ) =>
        {
            return Ok(None);
        }
        Err(e) => return Err(e.into()),
    };
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let request = serde_json::to_string(request).map_err(io::Error::other)? + "\n";
    let mut line = String::new();
    let asked =
        stream.write_all(request.as_bytes()).and_then(|()| io::BufReader::new(stream).read_line(&mut line));
    match asked {
        Ok(1..) => Ok(Some(serde_json::from_str(&line).map_err(io::Error::other)?)),
        Ok(0) => Err(Unanswered::Ended { dir: data_dir.to_owned() }),
        Err(e) => Err(unanswered(e, data_dir)),
    }
}

fn unanswered(error: io::Error, data_dir: &Path) -> Unanswered {
    let dir = data_dir.to_owned();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            let pid = holder_of(data_dir).unwrap_or_else(|| "unknown".into());
            Unanswered::Silent { dir, pid }
        }
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Unanswered::Ended { dir },
        _ => error.into(),
    }
}

/// Answers one request.
pub async fn answer(shared: &Shared, request: AdminRequest) -> AdminReply {
    match reply(shared, request).await {
        Ok(reply) => reply,
        Err(refusal) => AdminReply::Refused(refusal),
    }
}

async fn reply(shared: &Shared, request: AdminRequest) -> Result<AdminReply, Refusal> {
    let body = match request {
        AdminRequest::Invite { owner, room, uses, ttl_s } => {
            return invite(shared, owner, room, uses, ttl_s).await;
        }
        AdminRequest::Users => return Ok(AdminReply::Rows(users(shared))),
        AdminRequest::Devices(name) => return devices(shared, &name),
        AdminRequest::Rooms => return Ok(AdminReply::Rows(rooms(shared))),
        AdminRequest::Stats => return Ok(AdminReply::Rows(stats(shared))),
        AdminRequest::Limits(set) => return limits(shared, set),
        AdminRequest::Suspend(name) => CommandBody::Suspend { name, on: true },
        AdminRequest::Resume(name) => CommandBody::Suspend { name, on: false },
        AdminRequest::RevokeDevice(key) => CommandBody::RevokeDevice { key: device_key(&key)? },
        AdminRequest::Archive(room) => CommandBody::Archive { room },
        AdminRequest::Restore(room) => CommandBody::Restore { room },
    };
    operate(shared, body).await?;
    Ok(AdminReply::Rows(Vec::new()))
}

async fn operate(shared: &Shared, body: CommandBody) -> Result<(), Refusal> {
    submit(&shared.log, Command { at: Timestamp::now(), by: Actor::Operator, body }).await.map(|_| ())
}

fn device_key(text: &str) -> Result<DeviceKey, Refusal> {
    text.parse()
        .map_err(|e: quip_protocol::identity::KeyError| Refusal::new(ErrorCode::BadRequest, e.to_string()))
}

async fn invite(
    shared: &Shared,
    admin: bool,
    room: Option<RoomName>,
    uses: u32,
    ttl_s: u64,
) -> Result<AdminReply, Refusal> {
    let link = shared.node.link.read().clone();
    let link = link.ok_or_else(|| {
        Refusal::new(ErrorCode::Unavailable, "the server's address is not known; start quipd")
    })?;
    let code = InviteCode::generate()
        .map_err(|e| Refusal::new(ErrorCode::Internal, format!("no randomness: {e}")))?;
    let expires = Timestamp::now().plus_ms(ttl_s.saturating_mul(1_000));
    operate(shared, CommandBody::NewInvite { hash: code.hash(), room, admin, uses, expires }).await?;
    Ok(AdminReply::Link(ServerLink { code: Some(code), ..link }.reveal()))
}

fn users(shared: &Shared) -> Vec<Value> {
    let engine = shared.node.engine.read();
    let users = engine.all_accounts().filter_map(|account| {
        let summary = engine.account_summary(account.id, shared.node.sessions.is_online(account.id))?;
        Some(json!({
            "type": "account", "name": summary.name, "bot": summary.bot, "owner": summary.owner, "admin": summary.admin,
            "suspended": summary.suspended, "online": summary.online, "created_at_ms": summary.created_at,
        }))
    });
    users.collect()
}

fn devices(shared: &Shared, name: &AccountName) -> Result<AdminReply, Refusal> {
    let engine = shared.node.engine.read();
    let account = engine.account_named(name)?;
    let devices = engine.devices(account, |key| shared.node.sessions.is_device_here(account, key));
    let rows = devices.into_iter().map(|device| {
        json!({
            "type": "device", "key": device.key.to_string(), "label": device.label, "added_at_ms": device.added_at,
            "revoked": device.revoked, "online": device.online,
        })
    });
    Ok(AdminReply::Rows(rows.collect()))
}

fn rooms(shared: &Shared) -> Vec<Value> {
    let engine = shared.node.engine.read();
    let rooms = engine.all_rooms().map(|state| {
        json!({
            "type": "room", "name": state.room.name, "private": state.room.kind == quip_protocol::RoomKind::Private,
            "members": state.members(), "events": state.head.cursor.seq, "messages": state.head.ordinal,
            "archived": state.room.archived, "topic": state.room.topic,
        })
    });
    rooms.collect()
}

fn limits(shared: &Shared, set: BTreeMap<String, Option<u32>>) -> Result<AdminReply, Refusal> {
    let refused = |e: LimitsError| Refusal::new(quip_protocol::ErrorCode::BadRequest, e.to_string());
    if !set.is_empty() {
        limits::change(&shared.node, set).map_err(refused)?;
    }
    limits::list(&shared.node).map(AdminReply::Rows).map_err(refused)
}

/// The counts of this node, and of a cluster a row for each node that lives.
fn stats(shared: &Shared) -> Vec<Value> {
    let cluster = shared.node.cluster.as_deref();
    std::iter::once(counts(shared)).chain(cluster.into_iter().flat_map(nodes)).collect()
}

fn nodes(cluster: &Cluster) -> Vec<Value> {
    let roster = cluster.roster.borrow();
    let newest = roster.values().map(|heartbeat| heartbeat.position.offset).max().unwrap_or_default();
    let row = |(name, heartbeat): (&NodeName, &Heartbeat)| {
        json!({
            "type": "node", "name": name, "this": *name == cluster.name, "address": heartbeat.address,
            "fingerprint": heartbeat.fingerprint.to_string(), "connections": heartbeat.connections,
            "position": heartbeat.position.to_string(), "behind": newest - heartbeat.position.offset,
            "draining": heartbeat.draining,
        })
    };
    roster.iter().map(row).collect()
}

fn counts(shared: &Shared) -> Value {
    let node = &shared.node;
    let counts = node.metrics.all().into_iter().chain(node.gauges());
    let mut stats: serde_json::Map<String, Value> =
        counts.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    stats.insert("type".into(), json!("stats"));
    let read_only = node.read_only();
    stats.insert("writable".into(), json!(read_only.is_none()));
    stats.insert("read_only".into(), json!(read_only));
    if let Some(cluster) = &node.cluster {
        stats.insert("node".into(), json!(cluster.name));
        stats.insert("log".into(), json!(cluster.phase.borrow().word()));
    }
    stats.insert("applied".into(), json!(node.store.applied().to_string()));
    Value::Object(stats)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use quip_storage::data_dir::DataDir;

    use super::*;

    #[test]
    fn a_server_that_says_nothing_is_named_with_its_process() {
        let dir = tempfile::tempdir().unwrap();
        let _lock = DataDir::open(dir.path()).unwrap();
        // Nobody takes who comes, as where the process is stopped.
        let _listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        let asked = ask_within(Duration::from_millis(50), dir.path(), &AdminRequest::Stats);
        let why = asked.unwrap_err().to_string();
        assert!(why.contains(&format!("process {}", std::process::id())), "{why}");
        assert!(why.contains("hangs") && why.lines().count() == 1, "{why}");
    }

    #[test]
    fn a_server_that_ends_instead_of_answering_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        let ends = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            io::BufReader::new(stream).read_line(&mut line).unwrap();
        });
        let why = ask(dir.path(), &AdminRequest::Stats).unwrap_err().to_string();
        ends.join().unwrap();
        assert!(why.contains("ended before it answered"), "{why}");
    }
}
