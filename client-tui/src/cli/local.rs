//! The local copy of the server that is meant: where it lies, and what commands read of it when the server is away.

use std::path::{Path, PathBuf};

use quip_protocol::client::{self, Page};
use quip_protocol::frame::PageFrom;
use quip_protocol::room::RoomSummary;
use quip_protocol::{SafeLine, Target};
use quip_storage::search::{Found, Index, Query, SearchError, Seeker};
use quip_storage::{DataDir, DataDirError, Replica};

use super::connect::{self, Connection, Stay};
use super::env::Env;
use super::exit::CliError;
use super::out::say;
use crate::owner::{self, Answer, Question};

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

/// The local copy, which no other process uses meanwhile, or the process that has it open.
pub struct Copy {
    /// Who was asked first.
    server: String,
    dir: PathBuf,
    held: Held,
}

enum Held {
    /// By this process.
    Here(Box<Replica>, DataDir),
    /// By another one, which answers.
    Elsewhere,
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
    let held = hold(&dir).map_err(|why| away(&server, &why))?;
    say(&format!("{error}; this is from the local copy"));
    Ok(Source::Copy(Copy { server, dir, held }))
}

/// Opens the copy, unless another process has it and answers.
fn hold(dir: &Path) -> Result<Held, String> {
    match DataDir::open(dir) {
        Ok(lock) => {
            let (replica, _) = Replica::open(dir.join("replica")).map_err(|why| why.to_string())?;
            Ok(Held::Here(Box::new(replica), lock))
        }
        Err(in_use @ DataDirError::InUse { .. }) => match owner::ask(dir, &Question::Rooms) {
            Ok(Some(_)) => Ok(Held::Elsewhere),
            Ok(None) => Err(in_use.to_string()),
            Err(error) => Err(format!("{in_use}; it was asked, and does not answer: {error}")),
        },
        Err(error) => Err(error.to_string()),
    }
}

fn away(server: &str, why: &str) -> client::Error {
    let why = SafeLine::new(&format!("it does not answer, and there is no local copy to read: {why}"));
    client::Error::Unreachable { address: server.to_owned(), why }
}

impl Copy {
    fn ask(&self, question: &Question) -> Result<Answer, client::Error> {
        let told = match &self.held {
            Held::Here(replica, _) => owner::answer(replica, question, |_, _| Answer::Rooms(Vec::new())),
            Held::Elsewhere => match owner::ask(&self.dir, question) {
                Ok(Some(answer)) => answer,
                Ok(None) => Answer::Failed("the process that had it has ended; run this again".to_owned()),
                Err(error) => Answer::Failed(error.to_string()),
            },
        };
        match told {
            Answer::NoRoom(room) => Err(away(&self.server, &format!("it does not have {room}"))),
            Answer::Failed(why) => Err(away(&self.server, &why)),
            told => Ok(told),
        }
    }

    fn rooms(&self) -> Result<Vec<RoomSummary>, client::Error> {
        match self.ask(&Question::Rooms)? {
            Answer::Rooms(rooms) => Ok(rooms),
            _ => Err(away(&self.server, "the answer is not of this question")),
        }
    }

    /// A page of a room, as the server would send it but for holes.
    ///
    /// # Errors
    /// When the room is not in the copy, or the copy is damaged.
    pub fn page(&self, target: &Target, from: PageFrom, limit: u32) -> Result<Page, client::Error> {
        match self.ask(&Question::Page { room: target.clone(), from, limit })? {
            Answer::Page { room, head, events } => Ok(Page { room, head, events }),
            _ => Err(away(&self.server, "the answer is not of this question")),
        }
    }
}

/// Messages of the local copy that fit, the newest first.
///
/// # Errors
/// When there is no copy, it cannot be read, or does not have the room.
pub fn search(env: &Env, query: Query, most: u32) -> Result<Vec<Found>, CliError> {
    let none = || {
        let why = "nothing is kept on this disk to search in; open `quip` once, or use `quip export`";
        CliError::Unreachable(why.to_owned())
    };
    let dir = dir(env)?.filter(|dir| dir.exists()).ok_or_else(none)?;
    let held = hold(&dir)
        .map_err(|why| CliError::Unreachable(format!("the local copy cannot be searched: {why}")))?;
    let question = Question::Search { query, most };
    let told = match held {
        Held::Here(replica, _lock) => {
            let search = |query: &Query, most: usize| {
                search_here(&dir.join("search"), &replica, query, most)
                    .unwrap_or_else(|error| Answer::Failed(error.to_string()))
            };
            owner::answer(&replica, &question, search)
        }
        Held::Elsewhere => match owner::ask(&dir, &question) {
            Ok(answer) => {
                answer.unwrap_or_else(|| Answer::Failed("the process that has it has ended".to_owned()))
            }
            Err(error) => Answer::Failed(error.to_string()),
        },
    };
    found(told)
}

fn found(told: Answer) -> Result<Vec<Found>, CliError> {
    match told {
        Answer::Found { found, remaining } => {
            if remaining > 0 {
                say(&format!("the index is being made: {remaining} events are yet to be looked at"));
            }
            Ok(found)
        }
        Answer::NoRoom(room) => Err(CliError::Input(SearchError::NoRoom(room).to_string())),
        Answer::Failed(why) => {
            Err(CliError::Unreachable(format!("the local copy cannot be searched: {why}")))
        }
        _ => Err(CliError::Unreachable("the answer is not of this question; run this again".to_owned())),
    }
}

/// Brings the index up to date first, which is said where it takes a while.
fn search_here(dir: &Path, replica: &Replica, query: &Query, most: usize) -> Result<Answer, SearchError> {
    let mut index = Index::open(dir, replica)?;
    let mut said = false;
    loop {
        let remaining = match index.catch_up(replica) {
            Err(SearchError::Damaged { .. }) => {
                index = index.make_again(replica)?;
                continue;
            }
            other => other?,
        };
        if remaining == 0 {
            break;
        }
        if !std::mem::replace(&mut said, true) {
            say(&format!("making the search index: {remaining} events are to be looked at"));
        }
    }
    match owner::found(&Seeker::open(dir)?, replica, (query, most), 0) {
        // Found only while it was read: it is made again, once.
        Err(SearchError::Damaged { .. }) => {
            let mut index = index.make_again(replica)?;
            while index.catch_up(replica)? > 0 {}
            owner::found(&Seeker::open(dir)?, replica, (query, most), 0)
        }
        told => told,
    }
}
