//! The one process that has a local copy open, and what others ask of it: a socket in the copy's directory (0600), one
//! question and one answer a connection, each `length u32 LE` and bincode. Imports the storage and the protocol's types.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quip_protocol::codec::{decode, encode};
use quip_protocol::frame::PageFrom;
use quip_protocol::room::RoomSummary;
use quip_protocol::{Cursor, Event, RoomId, Target};
use quip_storage::search::{Found, Query, Seeker};
use quip_storage::{Replica, ReplicaError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The socket's name in the directory.
const SOCKET: &str = "owner.sock";
/// Longest question, in bytes.
const MAX_QUESTION: u32 = 64 * 1024;
/// Longest answer, in bytes: 500 events of the longest kind.
const MAX_ANSWER: u32 = 32 * 1024 * 1024;
/// Most events or messages in one answer.
const MOST: u32 = 500;
/// How long one side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// Messages that fit, the newest first.
    Search {
        /// What fits.
        query: Query,
        /// How many at most.
        most: u32,
    },
    /// All rooms.
    Rooms,
    /// A page of a room.
    Page {
        /// The room.
        room: Target,
        /// Which events.
        from: PageFrom,
        /// How many at most.
        limit: u32,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// What was found.
    Found {
        /// The newest first.
        found: Vec<Found>,
        /// How many events the index has yet to look at.
        remaining: u64,
    },
    /// All rooms.
    Rooms(Vec<RoomSummary>),
    /// A page, oldest first.
    Page {
        /// The room.
        room: RoomId,
        /// The newest event that is there.
        head: Cursor,
        /// The events.
        events: Vec<Event>,
    },
    /// There is no such room in the copy.
    NoRoom(Target),
    /// It did not work: why.
    Failed(String),
}

/// Answers from the replica; what is searched for from `search`.
pub fn answer(
    replica: &Replica,
    question: &Question,
    search: impl FnOnce(&Query, usize) -> Answer,
) -> Answer {
    let answered = match question {
        Question::Search { query, most } => Ok(search(query, (*most).min(MOST) as usize)),
        Question::Rooms => rooms(replica).map(Answer::Rooms),
        Question::Page { room, from, limit } => page(replica, room, *from, (*limit).min(MOST)),
    };
    answered.unwrap_or_else(|error| Answer::Failed(error.to_string()))
}

fn rooms(replica: &Replica) -> Result<Vec<RoomSummary>, ReplicaError> {
    Ok(replica.rooms()?.into_iter().map(|room| room.summary).collect())
}

fn page(replica: &Replica, target: &Target, from: PageFrom, limit: u32) -> Result<Answer, ReplicaError> {
    let Some(room) = rooms(replica)?.into_iter().find(|room| room.target == *target).map(|room| room.id)
    else {
        return Ok(Answer::NoRoom(target.clone()));
    };
    let events = replica.page(room, from, limit as usize)?;
    let head = replica.newest(room)?.unwrap_or_default();
    Ok(Answer::Page { room, head, events })
}

/// What `seeker` finds, as an answer.
pub fn found(
    seeker: &Seeker,
    replica: &Replica,
    (query, most): (&Query, usize),
    remaining: u64,
) -> Result<Answer, quip_storage::search::SearchError> {
    use quip_storage::search::SearchError;
    match seeker.find(replica, query, most) {
        Ok(found) => Ok(Answer::Found { found, remaining }),
        Err(SearchError::NoRoom(room)) => Ok(Answer::NoRoom(room)),
        Err(error) => Err(error),
    }
}

/// The socket of an owner; other processes do not find it any more once this is dropped.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
}

impl Door {
    /// Answers with `answer`, on a thread, one question after the other. The caller holds the directory's lock.
    ///
    /// # Errors
    /// When there can be no socket: its path is too long, or the thread cannot be started.
    pub fn open(dir: &Path, answer: Arc<dyn Fn(&Question) -> Answer + Send + Sync>) -> io::Result<Door> {
        let path = dir.join(SOCKET);
        // The lock is ours: a socket that is there is a leftover.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let serve = move || {
            for stream in listener.incoming() {
                let served = stream.and_then(|stream| serve(stream, answer.as_ref()));
                if let Err(error) = served {
                    tracing::debug!(%error, "a question was not answered");
                }
            }
        };
        std::thread::Builder::new().name("owner".into()).spawn(serve)?;
        Ok(Door { path })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Left behind, it would be taken for a leftover.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve(mut stream: UnixStream, answer: &(dyn Fn(&Question) -> Answer + Send + Sync)) -> io::Result<()> {
    set_patience(&stream)?;
    let question: Question = read(&mut stream, MAX_QUESTION)?;
    let mut told = answer(&question);
    if encode(&told).len() > MAX_ANSWER as usize {
        told = Answer::Failed("the answer is too long; ask for fewer".to_owned());
    }
    write(&mut stream, &told)
}

/// Asks the process that has the copy in `dir` open; `None` if none listens.
///
/// # Errors
/// When there is one and it does not answer.
pub fn ask(dir: &Path, question: &Question) -> io::Result<Option<Answer>> {
    let mut stream = match UnixStream::connect(dir.join(SOCKET)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    set_patience(&stream)?;
    write(&mut stream, question)?;
    read(&mut stream, MAX_ANSWER).map(Some)
}

fn set_patience(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

fn write<T: Serialize>(stream: &mut UnixStream, value: &T) -> io::Result<()> {
    let body = encode(value);
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(&body)
}

/// Reads what is at most `most` bytes long; sets aside no more than comes.
fn read<T: DeserializeOwned>(stream: &mut UnixStream, most: u32) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > most {
        return Err(io::Error::other(format!("{length} bytes are more than the {most} that are taken")));
    }
    let mut body = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut body)?;
    decode(&body, "message").map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered_and_nonsense_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert!(ask(dir.path(), &Question::Rooms).unwrap().is_none(), "nobody is there");
        let echo = Arc::new(|question: &Question| Answer::Failed(format!("{question:?}")));
        let door = Door::open(dir.path(), echo).unwrap();
        let mode = std::fs::metadata(dir.path().join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for nonsense in [&[][..], &[1, 0, 0, 0, 0xFF], &[0xFF; 4], &[3, 0, 0, 0, 0]] {
            let mut stream = UnixStream::connect(dir.path().join(SOCKET)).unwrap();
            stream.write_all(nonsense).unwrap();
            drop(stream);
            let answer = ask(dir.path(), &Question::Rooms).unwrap();
            assert_eq!(answer, Some(Answer::Failed("Rooms".into())));
        }
        drop(door);
        assert!(ask(dir.path(), &Question::Rooms).unwrap().is_none());
    }
}
