//! Where the user writes, and what is offered for it.

use ratatui::layout::Position;

use super::canvas::Canvas;
use crate::app::complete::Candidate;
use crate::app::panes::{PROMPT_WIDTH, Pane, composer_width};
use crate::app::prompt::Kind;
use crate::app::{About, App, Completion, Prompt, Seen, text};

/// Most candidates that are seen at once.
const OFFERED: usize = 8;

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
    canvas.text(pane.x, pane.y, 1, "›", look.accent());
    if composer.is_empty() {
        let hint = match app.rooms.current() {
            Some(_) if app.letters_act() => "Selected: Enter y o v z /, or write".to_owned(),
            Some(room) if app.peeking => format!("{} stays unread; Esc reads it", room.summary.target),
            Some(room) => format!("Message {}", seen.label(&room.summary.target)),
            None => "/join #room".to_owned(),
        };
        let cells = pane.width.saturating_sub(PROMPT_WIDTH);
        canvas.text(pane.x + PROMPT_WIDTH, pane.y, cells, &text::ellipsis(&hint, usize::from(cells)), look.dim());
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
    let label = prompt.label();
    let label = text::fitting(&label, usize::from(cells));
    let x = canvas.text(pane.x, pane.y, pane.width, label, look.accent());
    let (note, query) = (prompt.note(), prompt.query.text());
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
        draw_list(canvas, &prompt.items, Some(prompt.selected), (pane, pane.x));
    }
    let before = u16::try_from(text::width(&query[start..prompt.query.cursor()])).unwrap_or(0);
    Position::new((x + before).min(end), pane.y)
}

/// Paints what is offered, in a frame above the composer.
pub fn draw_offered(canvas: &mut Canvas<'_>, app: &App, composer: Pane, offered: &Completion) {
    let (_, column) = app.composer.place(composer_width(composer.width));
    let written = text::width(&app.composer.text()[offered.start..app.composer.cursor()]);
    let start = u16::try_from(column.saturating_sub(written)).unwrap_or(0) + PROMPT_WIDTH;
    draw_list(canvas, &offered.items, offered.selected, (composer, start.saturating_sub(2)));
}

/// Paints a list in a frame above `composer`, at column `wish` or left of it.
fn draw_list(
    canvas: &mut Canvas<'_>,
    items: &[Candidate],
    chosen: Option<usize>,
    (composer, wish): (Pane, u16),
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
    let x = wish.min(composer.width - width);
    let pane = Pane { x, y: composer.y - height - 2, width, height: height + 2 };
    canvas.clear(pane);
    canvas.frame(pane, true, "", "");
    let top = (chosen.unwrap_or(0) + 1).saturating_sub(usize::from(height));
    for (y, (index, item)) in (pane.y + 1..).zip(items.iter().enumerate().skip(top).take(most)) {
        let insert = text::padded(first_line(&item.insert), inserts.min(usize::from(width - 4)));
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
