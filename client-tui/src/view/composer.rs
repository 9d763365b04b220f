//! Where the user writes, and what is offered for it.

use ratatui::layout::Position;

use super::canvas::Canvas;
use crate::app::complete::Candidate;
use crate::app::panes::{PROMPT_WIDTH, Pane, composer_width};
use crate::app::prompt::Kind;
use crate::app::{About, App, Completion, Prompt, Seen, text};

/// Most candidates that are seen at once.
const OFFERED: usize = 8;
/// Cells for what is new in a room, or how a message begins, where names are long.
const HINTS: usize = 14;

/// Paints the text; returns where the cursor is.
pub fn draw(canvas: &mut Canvas<'_>, seen: Seen<'_>, pane: Pane) -> Position {
    let app = seen.app();
    let look = canvas.look;
    let composer = &app.composer;
    let cells = composer_width(pane.width);
    let rows = text::wrap(composer.text(), cells);
    let (row, column) = composer.place(cells);
    let height = usize::from(pane.height);
    let top = (row + 1).saturating_sub(height).min(rows.len().saturating_sub(height));
    // Above what is seen there may be more.
    canvas.text(pane.x, pane.y, 1, if top > 0 { "…" } else { "›" }, look.accent());
    if composer.is_empty() {
        let hint = match app.rooms.current() {
            Some(_) if app.letters_act() => "Selected: Enter y o v z /, or write".to_owned(),
            Some(room) if app.peeking => format!("{} stays unread; Esc reads it", room.summary.target),
            Some(room) if room.summary.archived => "archived; it can be read, not written".to_owned(),
            Some(room) => format!("Message {}", seen.label(&room.summary.target)),
            None => "/join #room".to_owned(),
        };
        let cells = pane.width.saturating_sub(PROMPT_WIDTH);
        canvas.text(
            pane.x + PROMPT_WIDTH,
            pane.y,
            cells,
            &text::ellipsis(&hint, usize::from(cells)),
            look.dim(),
        );
    }
    for (y, range) in (pane.y..pane.y + pane.height).zip(&rows[top..]) {
        let line = text::painted(&composer.text()[range.clone()]);
        canvas.text(pane.x + PROMPT_WIDTH, y, pane.width.saturating_sub(PROMPT_WIDTH), &line, look.plain());
    }
    let x = pane.x + PROMPT_WIDTH + u16::try_from(column).unwrap_or(u16::MAX).min(pane.width);
    let y = pane.y + u16::try_from(row.saturating_sub(top)).unwrap_or(0);
    Position::new(x.min(pane.x + pane.width.saturating_sub(1)), y)
}

/// Says that a message is being answered or edited.
pub fn draw_banner(canvas: &mut Canvas<'_>, app: &App, pane: Pane) {
    let look = canvas.look;
    let said = |seq| app.rooms.current().and_then(|room| room.timeline.message(seq));
    let words = match app.composer.about {
        About::New => return,
        About::Edit(_) => "✎ editing".to_owned(),
        About::Reply(seq) => match said(seq) {
            Some((event, message)) => {
                let first: Vec<&str> = message.text().split_whitespace().take(24).collect();
                format!("↳ {}: {}", event.author, first.join(" "))
            }
            None => "↳ an earlier message".to_owned(),
        },
    };
    let hint = "Esc gives up";
    let hint_at = canvas.right(pane.width.saturating_sub(1), pane.y, pane.width / 3, hint, look.dim());
    let cells = hint_at.saturating_sub(PROMPT_WIDTH + 2);
    let words = text::ellipsis(&words, usize::from(cells)).into_owned();
    canvas.text(pane.x + PROMPT_WIDTH, pane.y, cells, &words, look.waiting());
}

/// Paints a question in the composer's place, and what is offered above it; returns where the cursor is.
pub fn draw_prompt(canvas: &mut Canvas<'_>, prompt: &Prompt, pane: Pane) -> Position {
    let look = canvas.look;
    let end = pane.x + pane.width.saturating_sub(1);
    let cells = match prompt.kind {
        Kind::Sure(..) => pane.width,
        _ => pane.width / 2,
    };
    let label = fitted(&prompt.label(), usize::from(cells));
    let x = canvas.text(pane.x, pane.y, pane.width, &label, look.accent());
    let note = match &prompt.kind {
        // It is said above, where there is room for it.
        Kind::Search(search) if search.wrong.is_some() => String::new(),
        _ => prompt.note(),
    };
    let query = prompt.query.text();
    // Where there is no room for all of it, how much was found.
    let count = note.split(" · ").next().unwrap_or_default();
    let free = usize::from(end.saturating_sub(x)).saturating_sub(text::width(query) + 2);
    let end = match [&note, count].into_iter().find(|note| text::width(note) <= free) {
        Some(note) => canvas.right(end, pane.y, pane.width, note, look.dim()),
        None => end,
    };
    // The end of what is typed is what is being typed.
    let cells = usize::from(end.saturating_sub(x + 1));
    let mut start = 0;
    while text::width(&query[start..prompt.query.cursor()]) > cells {
        start = text::step_right(query, start);
    }
    canvas.text(x, pane.y, end.saturating_sub(x), &query[start..], look.plain());
    if !prompt.items.is_empty() {
        draw_list(canvas, &prompt.items, Some(prompt.selected), (pane, pane.x), HINTS);
    }
    let before = u16::try_from(text::width(&query[start..prompt.query.cursor()])).unwrap_or(0);
    Position::new((x + before).min(end), pane.y)
}

/// The words before what is typed, in at most `cells`, with a space behind.
fn fitted(label: &str, cells: usize) -> String {
    const LEAST: usize = 8;
    match cells {
        _ if text::width(label) <= cells => label.to_owned(),
        0..LEAST => "› ".to_owned(),
        _ => text::ellipsis(label.trim_end_matches([':', ' ']), cells - 2).into_owned() + ": ",
    }
}

/// Paints what is offered, in a frame above the composer.
pub fn draw_offered(canvas: &mut Canvas<'_>, app: &App, composer: Pane, offered: &Completion) {
    let (_, column) = app.composer.place(composer_width(composer.width));
    let written = text::width(&app.composer.text()[offered.start..app.composer.cursor()]);
    let start = u16::try_from(column.saturating_sub(written)).unwrap_or(0) + PROMPT_WIDTH;
    let at = (composer, start.saturating_sub(2));
    match (&offered.items[..], offered.selected) {
        // How a command is written is read to its end.
        ([usage], None) => draw_list(canvas, &usage_rows(usage, composer.width), None, at, 0),
        _ => draw_list(canvas, &offered.items, offered.selected, at, 0),
    }
}

/// One candidate, on as many rows as it takes.
fn usage_rows(usage: &Candidate, width: u16) -> Vec<Candidate> {
    let cells = usize::from(width.saturating_sub(4));
    if text::width(&usage.insert) + 2 + text::width(&usage.hint) <= cells {
        return vec![usage.clone()];
    }
    let row = |line: &str| Candidate { insert: line.to_owned(), hint: String::new() };
    let of = |line: &str| text::wrap(line, cells).into_iter().map(|at| row(&line[at])).collect::<Vec<_>>();
    [of(&usage.insert), of(&usage.hint)].concat()
}

/// Paints a list in a frame above `composer`, at column `wish` or left of it. Of its width at least `least` cells are for
/// the hints, as far as they need them.
fn draw_list(
    canvas: &mut Canvas<'_>,
    items: &[Candidate],
    chosen: Option<usize>,
    (composer, wish): (Pane, u16),
    least: usize,
) {
    let look = canvas.look;
    let widest = |of: fn(&Candidate) -> &str| {
        items.iter().map(|item| text::width(first_line(of(item)))).max().unwrap_or(0)
    };
    let (inserts, hints) = (widest(|item| &item.insert), widest(|item| &item.hint));
    let cells = 4 + inserts + if hints > 0 { 2 + hints } else { 0 };
    let width = u16::try_from(cells).unwrap_or(u16::MAX).min(composer.width);
    let most = usize::from(composer.y.saturating_sub(2)).min(OFFERED);
    let height = u16::try_from(items.len().min(most)).unwrap_or(0);
    if height == 0 || width < 6 {
        return;
    }
    let for_hints = if hints > 0 { hints.min(least) + 2 } else { 0 };
    let inserts = inserts.min(usize::from(width - 4).saturating_sub(for_hints).max(1));
    let x = wish.min(composer.width - width);
    let pane = Pane { x, y: composer.y - height - 2, width, height: height + 2 };
    canvas.clear(pane);
    canvas.frame(pane, true, "", "");
    let top = (chosen.unwrap_or(0) + 1).saturating_sub(usize::from(height));
    for (y, (index, item)) in (pane.y + 1..).zip(items.iter().enumerate().skip(top).take(most)) {
        let insert = text::padded(first_line(&item.insert), inserts);
        let at = canvas.text(x + 2, y, width - 4, &insert, look.plain());
        let cells = (x + width - 2).saturating_sub(at + 2);
        let hint = text::ellipsis(&item.hint, usize::from(cells)).into_owned();
        canvas.text(at + 2, y, cells, &hint, look.dim());
        if chosen == Some(index) {
            canvas.tint(Pane { x: x + 1, y, width: width - 2, height: 1 }, look.chosen());
        }
    }
}

fn first_line(text: &str) -> &str {
    text.split(['\n', '\t']).next().unwrap_or(text)
}
