//! The messages of the current room.

use super::canvas::Canvas;
use crate::app::panes::Pane;
use crate::app::scroll::{self, Scroll};
use crate::app::{App, text};

/// Paints the rows that are seen, the newest at the bottom.
pub fn draw(canvas: &mut Canvas<'_>, app: &App, pane: Pane) {
    let Some(layout) = app.layout() else {
        return draw_nothing(canvas, app, pane);
    };
    let rows = scroll::window(&layout, layout.room.scroll, usize::from(pane.height));
    let top = pane.y + pane.height - u16::try_from(rows.len()).unwrap_or(pane.height).min(pane.height);
    for (y, placed) in (top..pane.y + pane.height).zip(&rows) {
        canvas.spans(pane.x, y, pane.width, &placed.row.spans);
        let look = canvas.look;
        if placed.row.selected {
            canvas.text(pane.x, y, 1, "▌", look.accent());
        } else if placed.row.calls {
            canvas.text(pane.x, y, 1, "┃", look.call());
        }
    }
}

fn draw_nothing(canvas: &mut Canvas<'_>, app: &App, pane: Pane) {
    let lines: &[&'static str] = if app.listed_once {
        &[
            "You are in no room yet.",
            "",
            "/rooms lists what is there,",
            "/join #room enters one,",
            "/create #room makes one.",
        ]
    } else if app.is_up() {
        &["Fetching your rooms…"]
    } else {
        &["Your rooms appear here once the server answers."]
    };
    let dim = canvas.look.dim();
    let rows = |line: &&'static str| {
        let line = *line;
        text::wrap(line, usize::from(pane.width)).into_iter().map(move |row| line[row].trim_end())
    };
    let lines: Vec<&str> = lines.iter().flat_map(rows).collect();
    let top = pane.y + pane.height.saturating_sub(u16::try_from(lines.len()).unwrap_or(u16::MAX)) / 2;
    for (y, line) in (top..pane.y + pane.height).zip(lines) {
        let wide = u16::try_from(text::width(line)).unwrap_or(0).min(pane.width);
        canvas.text(pane.x + (pane.width - wide) / 2, y, wide, line, dim);
    }
}

/// Says that there is more below, at the right of row `y`.
pub fn draw_below(canvas: &mut Canvas<'_>, app: &App, pane: Pane, y: u16) {
    let Some(room) = app.rooms.current() else { return };
    if room.scroll == Scroll::Bottom {
        return;
    }
    let look = canvas.look;
    let (words, style) = match room.below {
        0 => (" ↓ newest · Esc ".to_owned(), look.dim()),
        new => (format!(" ↓ {new} new · Esc "), look.call()),
    };
    canvas.right(pane.x + pane.width.saturating_sub(1), y, pane.width.saturating_sub(1), &words, style);
}
