//! The local copy of the server that is meant: where it lies, and what commands read of it when the server is away.

use std::path::PathBuf;

use quip_protocol::client::{self, Page};
use quip_protocol::frame::PageFrom;
use quip_protocol::room::RoomSummary;
use quip_protocol::{SafeLine, Target};
use quip_storage::{DataDir, Replica};

use super::connect::{self, Connection, Stay};
use super::env::Env;
use super::exit::CliError;
use super::out::say;

/// Where the copy lies. None for who comes with a token, leaving no files behind, and while the server's key is not
/// known.
///
/// # Errors
/// When no server is known, or this device has no key.
pub fn dir(env: &Env) -> Result<Option<PathBuf>, CliError> {
    if env.token.is_some() {
        return Ok(None);
    }
    let Some(fingerprint) = connect::destination(env)?.fingerprint else { return Ok(None) };
    Ok(Some(env.paths()?.local(&fingerprint, &env.identity()?.device_key())))
}

/// Who answers a command that only reads.
pub enum Source {
    /// The server.
    Server(Connection),
    /// The local copy.
    Copy(Copy),
}

impl Source {
    /// A page of a room; of the copy, what there is in that direction.
    ///
    /// # Errors
    /// What the server or the copy says.
    pub async fn page(&self, target: &Target, from: PageFrom, limit: u32) -> Result<Page, client::Error> {
        match self {
            Source::Server(connection) => connection.handle.page(target, from, limit).await,
            Source::Copy(copy) => copy.page(target, from, limit),
        }
    }

    /// The account's rooms, by name.
    ///
    /// # Errors
    /// What the server or the copy says.
    pub async fn rooms(&self) -> Result<Vec<RoomSummary>, client::Error> {
        let mut rooms = match self {
            Source::Server(connection) => connection.handle.rooms().await?,
            Source::Copy(copy) => copy.rooms()?,
        };
        rooms.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(rooms)
    }

    /// Says goodbye.
    pub async fn close(self) {
        if let Source::Server(connection) = self {
            connection.close().await;
        }
    }
}

/// The local copy, which no other process uses meanwhile.
pub struct Copy {
    /// Who was asked first.
    server: String,
    replica: Replica,
    _lock: DataDir,
}

/// The server, or if it does not answer the local copy, which is said.
///
/// # Errors
/// When neither can be had.
pub async fn source(env: &Env) -> Result<Source, CliError> {
    let error = match connect::connect(env, Stay::Once).await {
        Ok(connection) => return Ok(Source::Server(connection)),
        Err(error @ CliError::Client(client::Error::Unreachable { .. })) => error,
        Err(error) => return Err(error),
    };
    let Some(dir) = dir(env)?.filter(|dir| dir.exists()) else { return Err(error) };
    let server = connect::destination(env)?.address();
    let lock = DataDir::open(&dir).map_err(|why| away(&server, &why.to_string()))?;
    let (replica, _) = Replica::open(dir.join("replica")).map_err(|why| away(&server, &why.to_string()))?;
    say(&format!("{error}; this is from the local copy"));
    Ok(Source::Copy(Copy { server, replica, _lock: lock }))
}

fn away(server: &str, why: &str) -> client::Error {
    let why = SafeLine::new(&format!("it does not answer, and there is no local copy to read: {why}"));
    client::Error::Unreachable { address: server.to_owned(), why }
}

impl Copy {
    fn rooms(&self) -> Result<Vec<RoomSummary>, client::Error> {
        let rooms = self.replica.rooms().map_err(|why| away(&self.server, &why.to_string()))?;
        Ok(rooms.into_iter().map(|room| room.summary).collect())
    }

    /// A page of a room, as the server would send it but for holes.
    ///
    /// # Errors
    /// When the room is not in the copy, or the copy is damaged.
    pub fn page(&self, target: &Target, from: PageFrom, limit: u32) -> Result<Page, client::Error> {
        let unknown = || away(&self.server, &format!("it does not have {target}"));
        let room = self.rooms()?.into_iter().find(|room| room.target == *target).ok_or_else(unknown)?.id;
        let damaged = |why: quip_storage::ReplicaError| away(&self.server, &why.to_string());
        let events = self.replica.page(room, from, limit as usize).map_err(damaged)?;
        let head = self.replica.newest(room).map_err(damaged)?.unwrap_or_default();
        Ok(Page { room, head, events })
    }
}
