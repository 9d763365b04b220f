//! Subcommands that talk to the running server over its socket, or open the data directory themselves when no
//! server runs; which one, they say.

use std::io::Write as _;
use std::path::Path;

use quip_protocol::{ErrorCode, RoomName};
use quip_storage::data_dir::holder_of;

use crate::cluster::realign::is_unfinished;
use crate::config::Config;
use crate::link::{self, FOR_OTHERS, is_local};
use crate::ops::admin::{AdminReply, AdminRequest, answer, ask};
use crate::start::open_offline;

use super::serve::merge;
use super::{DENIED, FAILED, Failure, PlaceArgs, REFUSED, RoomVerb, ServeArgs, TRY_AGAIN, UserVerb, print};

/// Which server, running or not: its place, and the configuration that it is started with.
pub struct Of<'a> {
    /// The flags and environment of `serve`.
    pub serve: &'a ServeArgs,
    /// Where it keeps everything.
    pub place: &'a PlaceArgs,
}

pub fn invite(
    of: &Of<'_>,
    owner: bool,
    room: Option<RoomName>,
    uses: u32,
    ttl_s: u64,
) -> Result<(), Failure> {
    run(of, AdminRequest::Invite { owner, room, uses, ttl_s })
}

pub fn user(of: &Of<'_>, verb: UserVerb) -> Result<(), Failure> {
    let request = match verb {
        UserVerb::List => AdminRequest::Users,
        UserVerb::Suspend { name } => AdminRequest::Suspend(name),
        UserVerb::Resume { name } => AdminRequest::Resume(name),
        UserVerb::Devices { name } => AdminRequest::Devices(name),
        UserVerb::RevokeDevice { key } => AdminRequest::RevokeDevice(key),
    };
    run(of, request)
}

pub fn room(of: &Of<'_>, verb: RoomVerb) -> Result<(), Failure> {
    let request = match verb {
        RoomVerb::List => AdminRequest::Rooms,
        RoomVerb::Archive { room } => AdminRequest::Archive(room),
        RoomVerb::Restore { room } => AdminRequest::Restore(room),
    };
    run(of, request)
}

pub fn limits(of: &Of<'_>, set: Vec<(String, Option<u32>)>) -> Result<(), Failure> {
    run(of, AdminRequest::Limits(set.into_iter().collect()))
}

pub fn stats(of: &Of<'_>) -> Result<(), Failure> {
    run(of, AdminRequest::Stats)
}

fn run(of: &Of<'_>, request: AdminRequest) -> Result<(), Failure> {
    let config = merge(of.serve, of.place)?;
    let asked = ask(&config.data_dir, &request).map_err(|e| Failure::new(FAILED, e))?;
    let reply = match asked {
        Some(reply) => {
            say(&format!("asked the server that runs on {}", config.data_dir.display()));
            reply
        }
        None => offline(&config, request)?,
    };
    match reply {
        AdminReply::Link(link) => {
            print(&format!("{link}\n"))?;
            hint(&link);
            Ok(())
        }
        AdminReply::Rows(rows) => print(&rows.iter().map(|row| format!("{row}\n")).collect::<String>()),
        AdminReply::Refused(refusal) => Err(Failure::new(of_code(refusal.code), refusal.text)),
    }
}

/// The exit code for a refusal. No name is a secret from who runs the server: one that is not there is a wrong name.
fn of_code(code: ErrorCode) -> u8 {
    match code {
        ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Degraded => TRY_AGAIN,
        ErrorCode::Forbidden | ErrorCode::Archived => DENIED,
        ErrorCode::Internal => FAILED,
        _ => REFUSED,
    }
}

fn offline(config: &Config, request: AdminRequest) -> Result<AdminReply, Failure> {
    let dir = Path::new(&config.data_dir);
    if !dir.join("journal").exists() && !is_unfinished(dir) {
        let text = format!(
            "{} is no data directory of quipd; say which with --data-dir DIR",
            config.data_dir.display()
        );
        return Err(Failure::new(super::USAGE, text));
    }
    if let Some(pid) = holder_of(dir) {
        return Err(Failure::new(FAILED, held(dir, &pid)));
    }
    say(&format!("no server runs on {}: opening it directly", config.data_dir.display()));
    let runtime =
        tokio::runtime::Runtime::new().map_err(|e| Failure::new(FAILED, format!("cannot start: {e}")))?;
    let failed = |e| Failure::new(FAILED, e);
    // Only a link needs to know where the server will be found; and then nothing is done without it.
    let link = match request {
        AdminRequest::Invite { .. } => Some(link::kept(config).map_err(failed)?),
        _ => None,
    };
    runtime.block_on(async {
        let core = open_offline(config, link, request.writes()).await.map_err(failed)?;
        let reply = answer(&core.shared, request).await;
        core.close().await;
        Ok(reply)
    })
}

/// Somebody has the directory and no socket in it.
fn held(dir: &Path, pid: &str) -> String {
    format!(
        "{} is in use by process {pid}, which answers nobody now (it starts, and a node of a cluster waits for Redis or for other nodes; or it stops, or has no admin socket): its log says why",
        dir.display()
    )
}

/// A link that nobody else can use looks like any other.
fn hint(link: &str) {
    if link.parse().as_ref().is_ok_and(is_local) {
        say(FOR_OTHERS);
    }
}

fn say(text: &str) {
    // Where the answer comes from is a diagnostic; without a stderr it is not missed.
    let _ = writeln!(std::io::stderr(), "quipd: {text}");
}
