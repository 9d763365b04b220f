//! The admin socket: what an operator asks a server that runs, one JSON object a line. Whoever may open the socket
//! (0600, in the data directory) is an operator.

use std::io::{self, BufRead as _, Write as _};
use std::path::Path;

use quip_protocol::{AccountName, DeviceKey, InviteCode, Refusal, RoomName, ServerLink, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::engine::{Actor, Command, CommandBody};
use crate::node::{Shared, submit};

/// The socket's name in the data directory.
pub const SOCKET: &str = "admin.sock";
/// Longest request, in bytes.
const MAX_LINE: u64 = 64 * 1024;

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
    /// Counts.
    Stats,
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
    Refused(String),
}

/// Serves the socket until told to stop. A path too long for a socket is a warning: the server serves without.
///
/// # Errors
/// When the socket cannot be made private.
pub fn listen(
    tasks: &mut JoinSet<()>,
    data_dir: &Path,
    shared: Shared,
    link: ServerLink,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let path = data_dir.join(SOCKET);
    // The lock of the data directory is ours: a socket that is there is a leftover.
    let _ = std::fs::remove_file(&path);
    let listener = match UnixListener::bind(&path) {
        Ok(listener) => listener,
        Err(e) => {
            warn!(error = %e, socket = %path.display(), "no admin socket: use a shorter --data-dir to have one");
            return Ok(());
        }
    };
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    tasks.spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            if let Ok((stream, _)) = accepted
                && let Err(e) = serve(stream, &shared, &link).await
            {
                debug!(error = %e, "admin connection ended");
            }
        }
        let _ = std::fs::remove_file(&path);
    });
    Ok(())
}

async fn serve(stream: UnixStream, shared: &Shared, link: &ServerLink) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(MAX_LINE));
    tokio::time::timeout(std::time::Duration::from_secs(5), read.read_line(&mut line))
        .await
        .map_err(io::Error::other)??;
    let reply = match serde_json::from_str(&line) {
        Ok(request) => answer(shared, link, request).await,
        Err(e) => AdminReply::Refused(format!("not a request: {e}")),
    };
    let mut text = serde_json::to_string(&reply)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
}

/// Asks the server that runs on this data directory; `None` if none does.
///
/// # Errors
/// When there is one and it does not answer.
pub fn ask(data_dir: &Path, request: &AdminRequest) -> io::Result<Option<AdminReply>> {
    let mut stream = match std::os::unix::net::UnixStream::connect(data_dir.join(SOCKET)) {
        Ok(stream) => stream,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    stream.write_all((serde_json::to_string(request)? + "\n").as_bytes())?;
    let mut line = String::new();
    io::BufReader::new(stream).read_line(&mut line)?;
    Ok(Some(serde_json::from_str(&line)?))
}

/// Answers one request.
pub async fn answer(shared: &Shared, link: &ServerLink, request: AdminRequest) -> AdminReply {
    match reply(shared, link, request).await {
        Ok(reply) => reply,
        Err(refusal) => AdminReply::Refused(refusal.text.to_string()),
    }
}

async fn reply(shared: &Shared, link: &ServerLink, request: AdminRequest) -> Result<AdminReply, Refusal> {
    let body = match request {
        AdminRequest::Invite { owner, room, uses, ttl_s } => {
            return invite(shared, link, owner, room, uses, ttl_s).await;
        }
        AdminRequest::Users => return Ok(AdminReply::Rows(users(shared))),
        AdminRequest::Devices(name) => return devices(shared, &name),
        AdminRequest::Rooms => return Ok(AdminReply::Rows(rooms(shared))),
        AdminRequest::Stats => return Ok(AdminReply::Rows(vec![stats(shared)])),
        AdminRequest::Suspend(name) => CommandBody::Suspend { name, on: true },
        AdminRequest::Resume(name) => CommandBody::Suspend { name, on: false },
        AdminRequest::RevokeDevice(key) => CommandBody::RevokeDevice { key: device_key(&key)? },
        AdminRequest::Archive(room) => CommandBody::Archive { room },
    };
    operate(shared, body).await?;
    Ok(AdminReply::Rows(Vec::new()))
}

async fn operate(shared: &Shared, body: CommandBody) -> Result<(), Refusal> {
    submit(&shared.log, Command { at: Timestamp::now(), by: Actor::Operator, body }).await.map(|_| ())
}

fn device_key(text: &str) -> Result<DeviceKey, Refusal> {
    text.parse().map_err(|e: quip_protocol::identity::KeyError| {
        Refusal::new(quip_protocol::ErrorCode::BadRequest, e.to_string())
    })
}

async fn invite(
    shared: &Shared,
    link: &ServerLink,
    admin: bool,
    room: Option<RoomName>,
    uses: u32,
    ttl_s: u64,
) -> Result<AdminReply, Refusal> {
    let code = InviteCode::generate()
        .map_err(|e| Refusal::new(quip_protocol::ErrorCode::Internal, format!("no randomness: {e}")))?;
    let expires = Timestamp::now().plus_ms(ttl_s.saturating_mul(1_000));
    operate(shared, CommandBody::NewInvite { hash: code.hash(), room, admin, uses, expires }).await?;
    Ok(AdminReply::Link(ServerLink { code: Some(code), ..link.clone() }.reveal()))
}

fn users(shared: &Shared) -> Vec<Value> {
    let engine = shared.node.engine.read();
    let users = engine.all_accounts().filter_map(|account| {
        let summary = engine.account_summary(account.id, shared.node.sessions.is_online(account.id))?;
        Some(json!({
            "name": summary.name, "bot": summary.bot, "owner": summary.owner, "admin": summary.admin,
            "suspended": summary.suspended, "online": summary.online, "created_at_ms": summary.created_at,
        }))
    });
    users.collect()
}

fn devices(shared: &Shared, name: &AccountName) -> Result<AdminReply, Refusal> {
    let engine = shared.node.engine.read();
    let account = engine.account_named(name)?;
    let devices = engine.devices(account, |key| shared.node.sessions.is_device_online(account, key));
    let rows = devices.into_iter().map(|device| {
        json!({
            "key": device.key.to_string(), "label": device.label, "added_at_ms": device.added_at,
            "revoked": device.revoked, "online": device.online,
        })
    });
    Ok(AdminReply::Rows(rows.collect()))
}

fn rooms(shared: &Shared) -> Vec<Value> {
    let engine = shared.node.engine.read();
    let rooms = engine.all_rooms().map(|state| {
        json!({
            "name": state.room.name, "private": state.room.kind == quip_protocol::RoomKind::Private,
            "members": state.members, "events": state.head.cursor.seq, "messages": state.head.ordinal,
            "archived": state.room.archived, "topic": state.room.topic,
        })
    });
    rooms.collect()
}

fn stats(shared: &Shared) -> Value {
    let node = &shared.node;
    let counts = node.metrics.all().into_iter().chain(node.gauges());
    let mut stats: serde_json::Map<String, Value> =
        counts.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    stats.insert("writable".into(), json!(node.is_ready()));
    stats.insert("applied".into(), json!(node.store.applied().to_string()));
    Value::Object(stats)
}
