//! What is seen of a desk: one server, or several with the one where the user is. Imports the app.

use quip_protocol::{RoomId, SafeLine, Target};

use crate::app::desk::{Elsewhere, Server};
use crate::app::list;
use crate::app::prompt::Choice;
use crate::app::room::{Room, next_needy};
use crate::app::status::Mood;
use crate::app::{App, Connection, mouse};

/// The servers, and where the user is.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    apps: &'a [App],
    current: usize,
}

impl<'a> From<&'a App> for Seen<'a> {
    fn from(app: &'a App) -> Seen<'a> {
        Seen { apps: std::slice::from_ref(app), current: 0 }
    }
}

impl<'a> Seen<'a> {
    pub(super) fn of(apps: &'a [App], current: usize) -> Seen<'a> {
        Seen { apps, current }
    }

    /// The server where the user is.
    pub fn app(self) -> &'a App {
        &self.apps[self.current]
    }

    /// Where the user is.
    pub fn current(self) -> Server {
        Server(self.current)
    }

    /// Whether there is one server only.
    pub fn is_alone(self) -> bool {
        self.apps.len() == 1
    }

    /// All servers.
    pub fn servers(self) -> impl Iterator<Item = (Server, &'a App)> {
        self.apps.iter().enumerate().map(|(place, app)| (Server(place), app))
    }

    /// What a server is called; by its address where another one is called the same.
    pub fn name(self, server: Server) -> SafeLine {
        let app = &self.apps[server.0];
        let same = |other: &&App| other.server == app.server;
        match &app.link {
            Some(link) if self.apps.iter().filter(same).count() > 1 => {
                let address = link.address();
                SafeLine::new(address.strip_prefix("quip://").unwrap_or(&address))
            }
            _ => app.server.clone(),
        }
    }

    /// All rooms, as they are listed.
    pub fn rooms(self) -> impl Iterator<Item = ((Server, RoomId), &'a Room)> {
        self.servers()
            .flat_map(|(server, app)| app.rooms.listed().map(move |(id, room)| ((server, id), room)))
    }

    /// The room that is seen.
    pub fn room(self) -> Option<(Server, RoomId)> {
        self.app().rooms.current_id().map(|id| (self.current(), id))
    }

    /// The next room that needs the user.
    pub fn next_needy(self) -> Option<(Server, RoomId)> {
        next_needy(&self.rooms().collect::<Vec<_>>(), self.room())
    }

    /// How many rooms beside the one that is seen need the user.
    pub fn needy(self) -> usize {
        self.rooms().filter(|(place, room)| Some(*place) != self.room() && room.needs_me()).count()
    }

    /// What a room of the current server is called: with its server, where another one has a room of this name.
    pub fn label(self, target: &Target) -> String {
        let other =
            |(server, app): (Server, &App)| server != self.current() && app.rooms.find(target).is_some();
        match self.servers().any(other) {
            true => self.elsewhere(self.current()).label(target),
            false => target.to_string(),
        }
    }

    /// The room that is listed at this cell.
    pub fn at(self, x: u16, y: u16) -> Option<(Server, RoomId)> {
        let pane = self.app().panes().rooms.filter(|pane| mouse::holds(*pane, x, y))?;
        let lines = list::lines(self);
        let at = list::top(&lines, usize::from(pane.height)) + usize::from(y - pane.y);
        match lines.get(at)? {
            list::Line::Room { server, id, .. } => Some((*server, *id)),
            _ => None,
        }
    }

    /// The rooms of another server, to be gone to.
    pub(super) fn choices(self, server: Server) -> Vec<Choice> {
        let from = self.elsewhere(server);
        let rooms = self.apps[server.0].rooms.listed();
        rooms.map(|(id, room)| Choice::of(id, room, false).from(from.clone())).collect()
    }

    /// The server that a word means: its number, its name or address, or how one of these begins.
    ///
    /// # Errors
    /// One line, when it means none or several.
    pub(super) fn find(self, word: &str) -> Result<Server, String> {
        let word = word.trim().to_lowercase();
        let names = |server: Server| {
            let address = self.apps[server.0].link.as_ref().map(|link| link.address()).unwrap_or_default();
            let short = address.strip_prefix("quip://").unwrap_or_default().to_owned();
            [(server.0 + 1).to_string(), self.name(server).as_str().to_lowercase(), short, address]
        };
        let all = || self.servers().map(|(server, _)| server);
        if let Some(server) = all().find(|server| names(*server).contains(&word)) {
            return Ok(server);
        }
        let begins = |server: &Server| names(*server).iter().any(|name| name.starts_with(&word));
        let found: Vec<Server> = all().filter(begins).collect();
        match found[..] {
            [server] => Ok(server),
            [] => Err(format!("{word} is none of your servers; /servers lists them")),
            _ => Err(format!("{word} may be one of {}; /servers lists them", found.len())),
        }
    }

    /// How the connection of a server is if it is not there: a sign, a word, and how that is meant.
    pub fn trouble(self, server: Server) -> Option<(&'static str, &'static str, Mood)> {
        let app = &self.apps[server.0];
        let (sign, mood, _) = app.link_state();
        match app.connection {
            Connection::Up => None,
            Connection::Connecting => Some((sign, "connecting", mood)),
            Connection::Down { .. } => Some((sign, "offline", mood)),
        }
    }

    fn elsewhere(self, server: Server) -> Elsewhere {
        Elsewhere { server, name: self.name(server) }
    }
}
