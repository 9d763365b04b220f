//! What was found, in the place of the messages.

use super::canvas::Canvas;
use crate::app::App;
use crate::app::panes::{Pane, Panes};
use crate::app::prompt::{Kind, Prompt};
use crate::app::search::Search;

/// Paints what was found over the messages, if something is looked for.
pub fn draw(canvas: &mut Canvas<'_>, app: &App, panes: &Panes) {
    let Some(Prompt { kind: Kind::Search(search), selected, .. }) = &app.prompt else { return };
    if search.query.is_empty() && search.found.is_empty() {
        return;
    }
    let pane = panes.timeline;
    canvas.clear(pane);
    draw_rows(canvas, app, search, *selected, pane);
}

fn draw_rows(canvas: &mut Canvas<'_>, app: &App, search: &Search, selected: usize, pane: Pane) {
    let height = usize::from(pane.height);
    let top = (selected + 1).saturating_sub(height);
    let rows = search.rows(usize::from(pane.width), &app.zone, app.now);
    for (y, (index, row)) in (pane.y..pane.y + pane.height).zip(rows.enumerate().skip(top)) {
        canvas.spans(pane.x, y, pane.width, &row.spans);
        if index == selected {
            let accent = canvas.look.accent();
            canvas.text(pane.x, y, 1, "▌", accent);
        }
    }
}
