//! The lines of the room list, and which of them are seen. Imports the rooms.

use quip_protocol::RoomId;

use super::room::{Room, Rooms};

/// One line of the list.
pub enum Line<'a> {
    /// What the rooms below are.
    Head(&'static str),
    /// Nothing.
    Empty,
    /// A room.
    Room {
        /// Its place.
        place: usize,
        /// Which.
        id: RoomId,
        /// What is known of it.
        room: &'a Room,
        /// Whether it is shown.
        current: bool,
    },
}

/// All lines.
pub fn lines(rooms: &Rooms) -> Vec<Line<'_>> {
    let shown = rooms.current_id();
    let mut lines = Vec::new();
    let mut section = None;
    for (place, (id, room)) in rooms.listed().enumerate() {
        if section != Some(room.is_direct()) {
            if section.is_some() {
                lines.push(Line::Empty);
            }
            lines.push(Line::Head(if room.is_direct() { "Direct" } else { "Rooms" }));
            section = Some(room.is_direct());
        }
        lines.push(Line::Room { place, id, room, current: shown == Some(id) });
    }
    lines
}

/// The first line that is seen where there are `height` rows; the current room always is.
pub fn top(lines: &[Line<'_>], height: usize) -> usize {
    let current = lines.iter().position(|line| matches!(line, Line::Room { current: true, .. })).unwrap_or(0);
    // The head above the first room of a section comes along.
    (current + 2).saturating_sub(height).min(lines.len().saturating_sub(height))
}
