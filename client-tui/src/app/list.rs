//! The lines of the room list, and which of them are seen. Imports the desk and the rooms.

use quip_protocol::{RoomId, SafeLine};

use super::desk::{Seen, Server};
use super::room::Room;
use super::status::Mood;

/// One line of the list.
pub enum Line<'a> {
    /// What the rooms below are.
    Head(&'static str),
    /// The server that the rooms below are of, where there are several.
    Server {
        /// What it is called.
        name: SafeLine,
        /// How its connection is if it is not there: a sign, a word, and how that is meant.
        trouble: Option<(&'static str, &'static str, Mood)>,
        /// Whether the user is there.
        current: bool,
    },
    /// Nothing.
    Empty,
    /// A room.
    Room {
        /// Its place among the rooms of all servers.
        place: usize,
        /// Of which server.
        server: Server,
        /// Which.
        id: RoomId,
        /// What is known of it.
        room: &'a Room,
        /// Whether it is shown.
        current: bool,
    },
}

/// All lines.
pub fn lines(seen: Seen<'_>) -> Vec<Line<'_>> {
    let shown = seen.room();
    let mut lines = Vec::new();
    let mut place = 0;
    for (server, app) in seen.servers() {
        if !seen.is_alone() {
            lines.extend((server.0 > 0).then_some(Line::Empty));
            lines.push(heading(seen, server));
        }
        let mut section = None;
        for (id, room) in app.rooms.listed() {
            if seen.is_alone() && section != Some(room.is_direct()) {
                lines.extend(section.is_some().then_some(Line::Empty));
                lines.push(Line::Head(if room.is_direct() { "Direct" } else { "Rooms" }));
                section = Some(room.is_direct());
            }
            lines.push(Line::Room { place, server, id, room, current: shown == Some((server, id)) });
            place += 1;
        }
    }
    lines
}

fn heading(seen: Seen<'_>, server: Server) -> Line<'static> {
    let trouble = seen.trouble(server);
    Line::Server { name: seen.name(server), trouble, current: server == seen.current() }
}

/// The first line that is seen where there are `height` rows; the current room always is.
pub fn top(lines: &[Line<'_>], height: usize) -> usize {
    let room = lines.iter().position(|line| matches!(line, Line::Room { current: true, .. }));
    // A server may have no room yet.
    let server = || lines.iter().position(|line| matches!(line, Line::Server { current: true, .. }));
    let current = room.or_else(server).unwrap_or(0);
    // The head above the first room of a section comes along.
    (current + 2).saturating_sub(height).min(lines.len().saturating_sub(height))
}
