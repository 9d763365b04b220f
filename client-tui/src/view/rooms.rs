//! The room list.

use super::canvas::Canvas;
use crate::app::Seen;
use crate::app::list::{self, Line};
use crate::app::panes::Pane;
use crate::app::room::Room;
use crate::app::status::Mood;
use crate::app::text;

/// Paints the list; the current room is always in sight.
pub fn draw(canvas: &mut Canvas<'_>, seen: Seen<'_>, pane: Pane) {
    let lines = list::lines(seen);
    let top = list::top(&lines, usize::from(pane.height));
    for (y, line) in (pane.y..pane.y + pane.height).zip(&lines[top..]) {
        draw_line(canvas, line, pane, y);
    }
}

fn draw_line(canvas: &mut Canvas<'_>, line: &Line<'_>, pane: Pane, y: u16) {
    let look = canvas.look;
    match line {
        Line::Empty => {}
        Line::Head(head) => {
            canvas.text(pane.x + 1, y, pane.width.saturating_sub(1), head, look.dim());
        }
        Line::Server { name, trouble, current } => {
            let style = if *current { look.accent() } else { look.bold() };
            draw_server(canvas, (name.as_str(), style), *trouble, pane, y);
        }
        Line::Room { place, room, current, .. } => draw_room(canvas, (*place, *current), room, pane, y),
    }
}

/// A server's name, and at the right how its connection is.
fn draw_server(
    canvas: &mut Canvas<'_>,
    (name, style): (&str, ratatui::style::Style),
    trouble: Option<(&str, &str, Mood)>,
    pane: Pane,
    y: u16,
) {
    let (start, end) = (pane.x + 1, pane.x + pane.width.saturating_sub(1));
    let free = end.saturating_sub(start);
    let mut cells = free;
    if let Some((sign, word, mood)) = trouble {
        let both = format!("{sign} {word}");
        // Where there is no room for the word, the sign says it.
        let fits = text::width(name) + text::width(&both) < usize::from(free);
        let style = canvas.look.mood(mood);
        let said_at = canvas.right(end, y, free, if fits { &both } else { sign }, style);
        cells = said_at.saturating_sub(start + 1);
    }
    canvas.text(start, y, cells, &text::ellipsis(name, usize::from(cells)), style);
}

fn draw_room(canvas: &mut Canvas<'_>, (place, current): (usize, bool), room: &Room, pane: Pane, y: u16) {
    let look = canvas.look;
    let style = match (current, room.summary.unread > 0) {
        (true, _) => look.accent(),
        (_, true) => look.bold(),
        _ => look.plain(),
    };
    if current {
        canvas.text(pane.x, y, 1, "▌", look.accent());
    }
    if place < 10 {
        canvas.text(pane.x + 1, y, 1, &((place + 1) % 10).to_string(), look.dim());
    }
    let (count, count_style) = count(room, look);
    let end = pane.x + pane.width - 1;
    let count_at = canvas.right(end, y, 5, &count, count_style);
    let name_at = pane.x + 3;
    let name_cells = if count.is_empty() { end } else { count_at.saturating_sub(1) }.saturating_sub(name_at);
    let name = room.summary.target.to_string();
    canvas.text(name_at, y, name_cells, &text::ellipsis(&name, usize::from(name_cells)), style);
}

/// What is new in a room: mentions if there are any, else unread messages.
fn count(room: &Room, look: super::Look) -> (String, ratatui::style::Style) {
    const SHOWN: u64 = 999;
    let short = |count: u64| if count > SHOWN { format!("{SHOWN}+") } else { count.to_string() };
    match (room.summary.mentions, room.summary.unread) {
        (_, 0) => (String::new(), look.plain()),
        (0, unread) if room.is_direct() => (short(unread), look.call()),
        (0, unread) => (short(unread), look.bold()),
        (mentions, _) => (format!("@{}", short(u64::from(mentions))), look.call()),
    }
}
