//! What an app leaves to the desk, because it may be about other servers: going to a room, lists of all. Imports the app.

use std::fmt::Display;

use quip_protocol::{RoomId, SafeLine, Seq, Target, Timestamp};
use quip_storage::search::Query;

use super::{Desk, Done, Server};
use crate::app::keymap::Action;
use crate::app::keys::led;
use crate::app::sheet::Line;
use crate::app::{Sheet, words};

/// Another server than the current one, as it is named to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// Which.
    pub server: Server,
    /// What it is called.
    pub name: SafeLine,
}

impl Elsewhere {
    /// A room there, with the server's name.
    pub fn label(&self, room: &impl Display) -> String {
        format!("{room} ({})", self.name)
    }
}

/// What is for the desk.
#[derive(Debug, Clone, PartialEq)]
pub enum Beside {
    /// Go to the room where this key leads.
    Move(Action),
    /// Look at a room that the current server does not have.
    Peek(Target),
    /// Show all rooms.
    List,
    /// Go to the server that this means.
    Server(String),
    /// Show all servers.
    Servers,
    /// Go to a room, and to a message of it, which was looked for.
    Visit {
        /// Of this server.
        server: Server,
        /// The room.
        room: RoomId,
        /// The message.
        seq: Option<Seq>,
        /// What was looked for.
        query: Option<Query>,
    },
    /// Go back to where one was on this server.
    Back(Server),
}

impl Desk {
    pub(super) fn beside(&mut self, what: Beside, now: Timestamp) -> Done {
        match what {
            Beside::Move(action) => self.step(action, now),
            Beside::Peek(target) => self.peek(&target, now),
            Beside::List => self.show_sheet(Sheet::new("Your rooms", self.room_lines())),
            Beside::Servers => self.show_sheet(Sheet::new("Your servers", self.server_lines())),
            Beside::Server(word) => match self.seen().find(&word) {
                Ok(server) => self.go(server, now, |_| {}),
                Err(why) => self.complain(why),
            },
            Beside::Visit { server, room, seq, query } => {
                let from = self.current();
                self.go(server, now, |app| match (seq, query) {
                    (Some(seq), Some(query)) => app.jump_to(query, (room, seq), Some(from)),
                    (Some(seq), None) => app.visit(room, seq),
                    (None, _) => app.show(room),
                })
            }
            Beside::Back(server) => self.go(server, now, |_| {}),
        }
    }

    fn step(&mut self, action: Action, now: Timestamp) -> Done {
        let seen = self.seen();
        let to = if action == Action::RoomNeedy {
            seen.next_needy()
        } else {
            let rooms: Vec<(Server, RoomId)> = seen.rooms().map(|(place, _)| place).collect();
            let place = seen.room().and_then(|here| rooms.iter().position(|place| *place == here));
            led(action, rooms.len(), place).and_then(|at| rooms.get(at).copied())
        };
        match (to, action) {
            (None, Action::RoomNeedy) => {
                self.apps[self.current].say("nothing is waiting for you");
                Vec::new()
            }
            (None, _) => Vec::new(),
            (Some(to), Action::Peek(_) | Action::PeekUp | Action::PeekDown) => self.peek_at(to, now),
            (Some((server, room)), _) => self.go(server, now, |app| app.show(room)),
        }
    }

    fn peek(&mut self, target: &Target, now: Timestamp) -> Done {
        let has = |server: &Server| self.apps[server.0].rooms.find(target).map(|room| (*server, room));
        let found = self.others().find_map(|server| has(&server));
        match found {
            Some(to) => self.peek_at(to, now),
            None => self.complain(format!("you are not in {target}")),
        }
    }

    fn peek_at(&mut self, (server, room): (Server, RoomId), now: Timestamp) -> Done {
        let comes = server != self.current();
        self.go(server, now, |app| {
            app.peek(room);
            // It may be the one that was seen there last.
            app.peeking |= comes;
        })
    }

    fn complain(&mut self, why: String) -> Done {
        self.apps[self.current].complain(why);
        Vec::new()
    }

    fn show_sheet(&mut self, sheet: Sheet) -> Done {
        self.apps[self.current].sheet = Some(sheet);
        Vec::new()
    }

    fn room_lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for server in self.servers() {
            lines.push(Line::Head(self.seen().name(server).as_str().to_owned()));
            lines.extend(self.app(server).room_lines());
            lines.push(Line::Text(String::new()));
        }
        lines.push(Line::Text(
            "/join #room or /msg @user goes there, on this server; /server NAME to another one".to_owned(),
        ));
        lines
    }

    fn server_lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = self.servers().map(|server| self.server_line(server)).collect();
        lines.push(Line::Text(String::new()));
        lines.push(Line::Text("/server NAME goes to one; leave_out in quip.toml leaves one out".to_owned()));
        lines
    }

    fn server_line(&self, server: Server) -> Line {
        let (seen, app) = (self.seen(), self.app(server));
        let rooms = words::counted(app.rooms.listed().len() as u64, "room");
        let unread: u64 = app.rooms.listed().map(|(_, room)| room.summary.unread).sum();
        let unread = if unread > 0 { format!(", {unread} unread") } else { String::new() };
        let here = if server == self.current() { " · you are here" } else { "" };
        let term = format!("{} {}", server.0 + 1, seen.name(server));
        Line::Pair(term, format!("{}{} · {rooms}{unread}{here}", app.link_state().2, app.node_words()))
    }
}
