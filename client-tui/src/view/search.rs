//! What was found, in the place of the messages.

use super::canvas::Canvas;
use crate::app::panes::{Pane, Panes};
use crate::app::prompt::{Kind, Prompt};
use crate::app::search::Search;
use crate::app::{App, text};

/// Paints what was found over the messages, if something is looked for.
pub fn draw(canvas: &mut Canvas<'_>, app: &App, panes: &Panes) {
    let Some(Prompt { kind: Kind::Search(search), selected, .. }) = &app.prompt else { return };
    if let Some(wrong) = &search.wrong {
        return draw_wrong(canvas, wrong, panes.timeline);
    }
    if search.query.is_empty() && search.found.is_empty() {
        return;
    }
    let pane = panes.timeline;
    canvas.clear(pane);
    draw_rows(canvas, app, search, *selected, pane);
}

/// What is wrong with what is looked for, right above where that is written.
fn draw_wrong(canvas: &mut Canvas<'_>, wrong: &str, pane: Pane) {
    let rows = text::wrap(wrong, usize::from(pane.width.saturating_sub(2)));
    let height = u16::try_from(rows.len()).unwrap_or(u16::MAX).min(pane.height);
    let place = Pane { y: pane.y + pane.height - height, height, ..pane };
    canvas.clear(place);
    let bad = canvas.look.bad();
    for (y, row) in (place.y..place.y + height).zip(rows) {
        canvas.text(place.x + 1, y, place.width.saturating_sub(1), &wrong[row], bad);
    }
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
