//! What handles ask of the driver rather than of the server: what changes which events come.

use tokio::sync::oneshot;

use super::Error;
use crate::cursor::Cursor;
use crate::frame::{Request, Watch, WatchState};
use crate::room::RoomId;

/// A change of what is watched, and who waits for it.
#[derive(Debug)]
pub(super) enum Command {
    Watch(Vec<(RoomId, Option<Cursor>)>, Watch, Answer<Vec<WatchState>>),
    Unwatch(RoomId, Answer<()>),
    WatchInbox(Option<Cursor>, Answer<Cursor>),
    Close,
}

/// Who waits for a command; `None` for the driver's own.
pub(super) type Answer<T> = Option<oneshot::Sender<Result<T, Error>>>;

impl Command {
    /// What the server is asked; nothing for a close.
    pub(super) fn request(&self) -> Option<Request> {
        match self {
            Command::Watch(rooms, watch, _) => Some(watch.request(rooms.clone())),
            Command::Unwatch(room, _) => Some(Request::Unwatch { room: *room }),
            Command::WatchInbox(from, _) => Some(Request::WatchInbox { from: *from }),
            Command::Close => None,
        }
    }
}

/// A watch of the driver's own.
pub(super) fn again(room: RoomId, watch: Watch, cursor: Cursor) -> Command {
    Command::Watch(vec![(room, Some(cursor))], watch, None)
}

/// The same for the inbox.
pub(super) fn inbox_again(cursor: Cursor) -> Command {
    Command::WatchInbox(Some(cursor), None)
}

/// There is no connection to ask on.
pub(super) fn refuse(command: Command) {
    answer_with(command, Error::Disconnected);
}

/// Answers whoever waits with an error.
pub(super) fn answer_with(command: Command, error: Error) {
    match command {
        Command::Watch(_, _, to) => tell(to, Err(error)),
        Command::Unwatch(_, to) => tell(to, Err(error)),
        Command::WatchInbox(_, to) => tell(to, Err(error)),
        Command::Close => {}
    }
}

/// Answers whoever waits.
pub(super) fn tell<T>(to: Answer<T>, result: Result<T, Error>) {
    if let Some(to) = to {
        // Nobody there: the caller has given up.
        let _ = to.send(result);
    }
}
