//! A sheet over everything else.

use super::canvas::Canvas;
use crate::app::{App, Sheet, panes};

/// Paints the sheet.
pub fn draw(canvas: &mut Canvas<'_>, app: &App, sheet: &Sheet) {
    let (columns, rows) = app.size;
    let framed = !sheet.is_verbatim();
    let width = panes::sheet_width(columns, framed);
    let lines = sheet.rows(width);
    let pane = panes::sheet(columns, rows, lines.len(), framed);
    canvas.clear(pane);
    let height = usize::from(pane.height.saturating_sub(2));
    let hint = if lines.len() > height { "↑↓ PgUp PgDn · Esc closes" } else { "Esc closes" };
    canvas.frame(pane, framed, &sheet.title, hint);
    let edge = u16::from(framed);
    let top = sheet.top.min(lines.len().saturating_sub(height));
    for (y, row) in (pane.y + 1..pane.y + 1 + pane.height.saturating_sub(2)).zip(&lines[top..]) {
        canvas.spans(pane.x + edge, y, pane.width.saturating_sub(2 * edge), &row.spans);
    }
}
