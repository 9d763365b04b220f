//! One server's side of the shell: its connection, what asks it, and its files, each with nothing in common with those of
//! another server. Imports the client library and the app's inputs and effects.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use quip_protocol::client::Client;
use quip_protocol::{Event, NodeSummary, RoomId, SafeLine, Seq, Timestamp};
use tokio::task::{JoinHandle, spawn_blocking};

use super::copy::Answer;
use super::local::{self, Local};
use super::network::{self, Network};
use crate::app::{App, Effect, Input, Loaded};
use crate::config::settings::Levels;
use crate::config::{nodes, write_atomically};

/// How long saying goodbye to a server may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long files that are still being opened are waited for at the end, so that what was written meanwhile is kept.
const LAST_FILES: Duration = Duration::from_secs(5);
/// The file with what the server calls itself: it is named by it before it has answered.
const NAME: &str = "name";

/// A server to be opened.
pub struct Joined {
    /// Its client, connected or about to be.
    pub client: Client,
    /// The server's address; best a link with its fingerprint, which invite links are then made of.
    pub server: String,
    /// Where the replica and the outbox lie; `None` keeps nothing.
    pub local: Option<PathBuf>,
    /// Where it is kept which rooms call the user; `None` keeps nothing.
    pub levels: Option<Levels>,
    /// The file where its nodes are remembered; `None` keeps nothing.
    pub nodes: Option<PathBuf>,
}

/// One server.
pub struct Station {
    client: Client,
    network: Network,
    files: Files,
    /// The client library has said its last word.
    over: bool,
    /// Where it is kept which rooms call the user.
    pub levels: Option<Levels>,
    /// Where it is kept what the server calls itself.
    name: Option<PathBuf>,
    /// Where its nodes are remembered.
    nodes: Option<PathBuf>,
}

/// The replica and the outbox.
enum Files {
    /// Nothing is kept.
    None,
    /// They are being opened, which may take long; until then all that is to be done waits.
    Opening(JoinHandle<Opened>, Vec<Effect>),
    Open(Box<Local>),
}

type Opened = Result<(Local, Loaded, Vec<Effect>), String>;

/// What comes from a server or its files.
pub enum News {
    /// The files are open, or cannot be used.
    Opened(Opened),
    /// The server says something.
    Heard(Input),
    /// The replica has found something.
    Found(Answer),
    /// Nothing for the app.
    Nothing,
}

/// What is to be done after an effect was performed.
pub enum After {
    /// Nothing.
    Nothing,
    /// Tell the app.
    Tell(Box<Input>),
    /// This is for the shell.
    Perform(Box<Effect>),
}

impl Station {
    /// Begins to open the files.
    pub fn new(joined: Joined) -> Station {
        let Joined { client, local, levels, nodes, .. } = joined;
        let name = local.as_deref().map(|dir| dir.join(NAME));
        let files = match local {
            Some(dir) => Files::Opening(spawn_blocking(move || Local::open(&dir)), Vec::new()),
            None => Files::None,
        };
        Station { network: Network::new(&client), client, files, over: false, levels, name, nodes }
    }

    /// Whether the files are not open yet.
    pub fn is_opening(&self) -> bool {
        matches!(self.files, Files::Opening(..))
    }

    /// Whether every question was answered. Deliveries are none.
    pub fn is_idle(&self) -> bool {
        !self.is_opening() && self.network.is_idle()
    }

    /// Whether what is written is kept.
    pub fn keeps(&self) -> bool {
        !matches!(self.files, Files::None)
    }

    /// What comes next. Dropping the future loses nothing. What the server says waits for the files.
    pub async fn next(&mut self) -> News {
        if let Files::Opening(opening, _) = &mut self.files {
            return News::Opened(opened(opening).await);
        }
        tokio::select! {
            event = next(&mut self.client, self.over) => {
                self.over = event.is_none();
                event.and_then(network::input).map_or(News::Nothing, News::Heard)
            }
            answer = self.network.next() => News::Heard(answer),
            answer = answer(&mut self.files) => News::Found(answer),
        }
    }

    /// Takes the files. Returns what the app is to be told, and what had to wait.
    pub fn open(&mut self, opened: Opened) -> (Input, Vec<Effect>) {
        let (files, input, deliver) = match opened {
            Ok((local, loaded, deliver)) => (Files::Open(Box::new(local)), Ok(loaded), deliver),
            Err(why) => (Files::None, Err(local::not_kept(&why)), Vec::new()),
        };
        // What was kept was written first.
        deliver.into_iter().for_each(|effect| drop(self.network.perform(effect)));
        let waited = match std::mem::replace(&mut self.files, files) {
            Files::Opening(_, waited) => waited,
            _ => Vec::new(),
        };
        (Input::Local(input), waited)
    }

    /// Writes down what the server said.
    pub fn note(&mut self, input: &Input) {
        match input {
            // Who has no account is told of none.
            Input::Up(welcome) if welcome.account.is_some() => self.keep_nodes(&welcome.nodes),
            Input::Nodes(nodes) => self.keep_nodes(nodes),
            _ => {}
        }
        if let Files::Open(local) = &mut self.files {
            for effect in local.note(input) {
                self.network.perform(effect);
            }
            if let (Input::Up(welcome), Some(path)) = (input, &self.name) {
                keep_name(path, &welcome.server);
            }
        }
    }

    fn keep_nodes(&self, nodes: &[NodeSummary]) {
        if let Some(Err(error)) = self.nodes.as_deref().map(|path| nodes::keep(path, nodes)) {
            tracing::debug!(%error, "the nodes of the server are not remembered");
        }
    }

    /// Writes down what is older than what was there.
    pub fn older(&mut self, room: RoomId, floor: Seq, events: Vec<Event>, head: Seq) -> Option<Input> {
        match &mut self.files {
            Files::Open(local) => local.older(room, floor, events, head),
            _ => None,
        }
    }

    /// Writes down which rooms there are.
    pub fn keep_rooms(&mut self, app: &App) {
        if let Files::Open(local) = &mut self.files {
            local.keep_rooms(app);
        }
    }

    /// Asks the server for what the replica does not have; if that cannot be, the app is told what lies `behind` it.
    pub fn ask_instead(&mut self, asked: Effect, behind: Option<Box<Input>>, app: &App) -> Option<Input> {
        if app.is_up() {
            self.network.perform(asked);
            return None;
        }
        behind.map(|page| *page).or_else(|| local::page_failed(&asked))
    }

    /// Performs what is for the files or the server.
    pub fn perform(&mut self, effect: Effect, app: &App, now: Timestamp) -> After {
        let effect = match &mut self.files {
            Files::Opening(_, waiting) if is_own(&effect) => {
                waiting.push(effect);
                return After::Nothing;
            }
            Files::Open(local) => match local.perform(effect, app, now) {
                Ok(Some(effect)) => effect,
                Ok(None) => return After::Nothing,
                Err(input) => return After::Tell(input),
            },
            _ => effect,
        };
        match self.network.perform(effect) {
            None => After::Nothing,
            Some(Effect::Search { query, .. }) => {
                let why = SafeLine::new("nothing is kept on this disk, so that there is nothing to search");
                After::Tell(Box::new(Input::Found { query, found: Err(why), remaining: 0 }))
            }
            Some(effect) => After::Perform(Box::new(effect)),
        }
    }

    /// Writes everything down and says goodbye.
    pub async fn close(mut self, app: &App, now: Timestamp) {
        if let Files::Opening(opening, _) = &mut self.files {
            if let Ok(opened) = tokio::time::timeout(LAST_FILES, opened(opening)).await {
                // The app was never told of the rooms there: only what is for the outbox is written down.
                let waited = self.open(opened).1;
                waited.into_iter().for_each(|effect| drop(self.perform(effect, app, now)));
            }
        } else if let Files::Open(local) = self.files {
            local.close(app);
        }
        // The server notices by itself if this takes too long.
        let _ = tokio::time::timeout(GOODBYE, self.client.close()).await;
    }
}

/// What the server whose files lie in `dir` called itself the last time.
pub fn kept_name(dir: &Path) -> Option<SafeLine> {
    let name = std::fs::read_to_string(dir.join(NAME)).ok()?;
    Some(SafeLine::new(name.trim())).filter(|name| !name.is_empty())
}

fn keep_name(path: &Path, name: &SafeLine) {
    if path.parent().and_then(kept_name).as_ref() == Some(name) {
        return;
    }
    if let Err(error) = write_atomically(path, name.as_str().as_bytes()) {
        tracing::debug!(%error, "the server is called by its address at the next start");
    }
}

/// Whether it is for the files or the server.
fn is_own(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Deliver(_)
            | Effect::Forget(_)
            | Effect::Ask(_)
            | Effect::FetchPage { .. }
            | Effect::Mark { .. }
            | Effect::Typing(_)
            | Effect::Bring { .. }
            | Effect::FindMentions(_)
            | Effect::Search { .. }
    )
}

async fn opened(opening: &mut JoinHandle<Opened>) -> Opened {
    opening.await.unwrap_or_else(|error| Err(format!("opening them failed: {error}; please report this")))
}

/// What the client library says next; nothing once it is over.
async fn next(
    client: &mut Client,
    over: bool,
) -> Option<Result<quip_protocol::client::Event, quip_protocol::client::Error>> {
    if over { pending().await } else { client.next().await }
}

/// What the replica has found next.
async fn answer(files: &mut Files) -> Answer {
    match files {
        Files::Open(local) => local.next().await,
        _ => pending().await,
    }
}

/// What comes next from any of the stations, and which. None waits for ever because another one always has something:
/// who is asked first goes around with `turn`.
pub async fn any(stations: &mut [Station], turn: usize) -> (usize, News) {
    let mut all: Vec<LocalBoxFuture<'_, (usize, News)>> = stations
        .iter_mut()
        .enumerate()
        .map(|(place, station)| station.next().map(move |news| (place, news)).boxed_local())
        .collect();
    let first = turn % all.len().max(1);
    all.rotate_left(first);
    futures_util::future::select_all(all).await.0
}
