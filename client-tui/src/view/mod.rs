//! The screen: paints what is seen of the desk with ratatui, and changes nothing. Imports the app; no terminal, no clock.

mod canvas;
mod composer;
pub mod first_run;
mod link;
mod look;
mod members;
mod rooms;
mod search;
mod sheet;
mod status;
mod timeline;

use ratatui::Frame;

pub use link::visible;
pub use look::Look;

use crate::app::Seen;
use crate::app::panes::{Pane, Panes};
use canvas::Canvas;

/// Paints the client.
pub fn draw<'a>(frame: &mut Frame<'_>, seen: impl Into<Seen<'a>>, look: Look) {
    let seen = seen.into();
    let app = seen.app();
    let area = frame.area();
    if area.is_empty() {
        return;
    }
    let panes = app.panes();
    let mut canvas = Canvas::new(frame.buffer_mut(), look);
    draw_panes(&mut canvas, seen, &panes);
    draw_lines(&mut canvas, &panes);
    timeline::draw_below(&mut canvas, app, panes.timeline, below_row(&panes));
    search::draw(&mut canvas, app, &panes);
    let cursor = match &app.prompt {
        Some(prompt) => composer::draw_prompt(&mut canvas, prompt, panes.composer),
        None => composer::draw(&mut canvas, seen, panes.composer),
    };
    if let (Some(offered), None) = (&app.completion, &app.prompt) {
        composer::draw_offered(&mut canvas, app, panes.composer, offered);
    }
    if let Some(sheet) = &app.sheet {
        sheet::draw(&mut canvas, app, sheet);
    } else if area.contains(cursor) {
        frame.set_cursor_position(cursor);
    }
}

fn draw_panes(canvas: &mut Canvas<'_>, seen: Seen<'_>, panes: &Panes) {
    let app = seen.app();
    if let Some(pane) = panes.top {
        status::draw_top(canvas, seen, panes, pane);
    }
    if let Some(pane) = panes.rooms {
        rooms::draw(canvas, seen, pane);
    }
    timeline::draw(canvas, app, panes.timeline);
    if let Some(pane) = panes.members {
        members::draw(canvas, app, pane);
    }
    if let Some(pane) = panes.banner {
        composer::draw_banner(canvas, app, pane);
    }
    if let Some(pane) = panes.status {
        status::draw_bottom(canvas, seen, pane);
    }
}

/// Where it is said that there is more below: in the line under the timeline, or in its last row.
fn below_row(panes: &Panes) -> u16 {
    let last = panes.timeline.y + panes.timeline.height.saturating_sub(1);
    panes.lower_rule.unwrap_or(last)
}

/// The lines between the panes.
fn draw_lines(canvas: &mut Canvas<'_>, panes: &Panes) {
    let width = panes.composer.width;
    for y in [panes.upper_rule, panes.lower_rule].into_iter().flatten() {
        canvas.rule(0, y, width);
    }
    let left = panes.rooms.map(|pane| pane.x + pane.width);
    let right = panes.members.map(|pane| pane.x.saturating_sub(1));
    let Pane { y, height, .. } = panes.timeline;
    let dim = canvas.look.dim();
    for (x, upper) in [(left, "┼"), (right, "┬")] {
        let Some(x) = x else { continue };
        for y in y..y + height {
            canvas.text(x, y, 1, "│", dim);
        }
        if let Some(y) = panes.upper_rule {
            canvas.text(x, y, 1, upper, dim);
        }
        if let Some(y) = panes.lower_rule {
            canvas.text(x, y, 1, "┴", dim);
        }
    }
    if let (Some(x), Some(top)) = (left, panes.top) {
        canvas.text(x, top.y, 1, "│", dim);
    }
}
