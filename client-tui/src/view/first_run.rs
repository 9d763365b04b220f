//! The first screen of all.

use ratatui::Frame;
use ratatui::layout::Position;

use super::Look;
use super::canvas::Canvas;
use crate::app::first_run::{CHOICES, FirstRunScreen, Step};
use crate::app::panes::{Pane, composer_width};
use crate::app::text;

const WIDTH: u16 = 72;
const HEIGHT: u16 = 12;
/// From here on there is room for more than what is asked.
const ROOMY: u16 = 6;

/// Paints the screen.
pub fn draw(frame: &mut Frame<'_>, screen: &FirstRunScreen, look: Look) {
    let area = frame.area();
    let (width, height) = (WIDTH.min(area.width), HEIGHT.min(area.height));
    let pane = Pane { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    let mut canvas = Canvas::new(frame.buffer_mut(), look);
    let cursor = draw_in(&mut canvas, screen, pane);
    if let Some(cursor) = cursor.filter(|cursor| area.contains(*cursor)) {
        frame.set_cursor_position(cursor);
    }
}

fn draw_in(canvas: &mut Canvas<'_>, screen: &FirstRunScreen, pane: Pane) -> Option<Position> {
    let look = canvas.look;
    let mut body = pane;
    if pane.height >= ROOMY {
        canvas.text(pane.x + 2, pane.y, pane.width.saturating_sub(2), "quip", look.accent());
        canvas.text(pane.x + 8, pane.y, pane.width.saturating_sub(8), "chat in the terminal", look.dim());
        body = Pane { y: pane.y + 2, height: pane.height - 2, ..pane };
    }
    let (words, style) = match (&screen.error, screen.step) {
        (Some(error), _) => (error.as_str(), look.bad()),
        (None, Step::Choose) => ("↑↓ Enter", look.dim()),
        (None, _) => ("Enter goes on · Esc goes back", look.dim()),
    };
    let cells = usize::from(pane.width.saturating_sub(3));
    let below = text::wrap(words, cells);
    let taken = u16::try_from(below.len()).unwrap_or(u16::MAX);
    // Where there is no room for both, what is asked and answered stands there.
    let above = body.height.saturating_sub(taken + 1);
    let top = if above >= 3 { above } else { body.height };
    let cursor = match screen.step {
        Step::Choose => {
            draw_choices(canvas, screen, body);
            None
        }
        step => {
            let question = question(step, screen, top < body.height);
            Some(draw_field(canvas, screen, Pane { height: top, ..body }, question))
        }
    };
    if top < body.height {
        for (y, row) in (pane.y + pane.height - taken..).zip(below) {
            canvas.text(pane.x + 2, y, pane.width.saturating_sub(2), &words[row], style);
        }
    }
    cursor
}

/// What is asked; or what was wrong, if there is no other place for it.
fn question(step: Step, screen: &FirstRunScreen, has_place: bool) -> &str {
    match (&screen.error, step) {
        (Some(error), _) if !has_place => error,
        (_, Step::Name) if screen.has_link() => "Your name there (empty: the link adds a device of yours):",
        (_, Step::Name) => "Your name (a–z, 0–9, - _ .):",
        _ => "Paste the link that you were sent:",
    }
}

fn draw_choices(canvas: &mut Canvas<'_>, screen: &FirstRunScreen, pane: Pane) {
    let look = canvas.look;
    // Explanations only where there is room for them.
    let step = if pane.height >= 10 { 3 } else { 1 };
    for (index, (choice, about)) in CHOICES.iter().enumerate() {
        let y = pane.y + u16::try_from(index).unwrap_or(0) * step;
        let chosen = index == screen.choice;
        let (sign, style) = if chosen { ("›", look.accent()) } else { (" ", look.plain()) };
        canvas.text(pane.x + 2, y, 1, sign, look.accent());
        canvas.text(pane.x + 4, y, pane.width.saturating_sub(4), choice, style);
        if step > 1 {
            let cells = pane.width.saturating_sub(5);
            canvas.text(pane.x + 4, y + 1, cells, &text::ellipsis(about, usize::from(cells)), look.dim());
        }
    }
}

fn draw_field(canvas: &mut Canvas<'_>, screen: &FirstRunScreen, pane: Pane, question: &str) -> Position {
    let look = canvas.look;
    let mut asked = text::wrap(question, usize::from(pane.width.saturating_sub(3)));
    // The field itself, and the row above it.
    asked.truncate(usize::from(pane.height.saturating_sub(2).max(1)));
    let gap = u16::from(usize::from(pane.height) > asked.len() + 1);
    let mut y = pane.y;
    for row in asked {
        canvas.text(pane.x + 2, y, pane.width.saturating_sub(2), &question[row], look.plain());
        y += 1;
    }
    y += gap;
    let cells = composer_width(pane.width.saturating_sub(2));
    let (row, column) = screen.field.place(cells);
    let x = pane.x + 4;
    canvas.text(pane.x + 2, y, 1, "›", look.accent());
    let height = (pane.y + pane.height).saturating_sub(y).max(1);
    let top = (row + 1).saturating_sub(usize::from(height));
    let rows = text::wrap(screen.field.text(), cells);
    for (y, range) in (y..y + height).zip(rows.iter().skip(top)) {
        let line = text::painted(&screen.field.text()[range.clone()]);
        canvas.text(x, y, pane.width.saturating_sub(4), &line, look.plain());
    }
    if screen.chosen {
        let width = u16::try_from(text::width(screen.field.text())).unwrap_or(0).min(pane.width);
        canvas.tint(Pane { x, y, width, height: 1 }, look.chosen());
    }
    let row = u16::try_from(row.saturating_sub(top)).unwrap_or(0);
    Position::new(x + u16::try_from(column).unwrap_or(0), y + row)
}
