//! Where the user writes, and what is offered for it.

use ratatui::layout::Position;

use super::canvas::Canvas;
use crate::app::panes::{PROMPT_WIDTH, Pane, composer_width};
use crate::app::{About, App, Completion, text};

/// Most candidates that are seen at once.
const OFFERED: usize = 8;

/// Paints the text; returns where the cursor is.
pub fn draw(canvas: &mut Canvas<'_>, app: &App, pane: Pane) -> Position {
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
            Some(room) => format!("Message {}", room.summary.target),
            None => "/join #room".to_owned(),
        };
        canvas.text(
            pane.x + PROMPT_WIDTH,
            pane.y,
            pane.width.saturating_sub(PROMPT_WIDTH),
            &hint,
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

/// Paints what is offered, in a frame above the composer.
pub fn draw_offered(canvas: &mut Canvas<'_>, app: &App, composer: Pane, offered: &Completion) {
    let look = canvas.look;
    let widest = |of: fn(&crate::app::complete::Candidate) -> &str| {
        offered.items.iter().map(|item| text::width(of(item))).max().unwrap_or(0)
    };
    let (inserts, hints) = (widest(|item| &item.insert), widest(|item| &item.hint));
    let wish = 4 + inserts + if hints > 0 { 2 + hints } else { 0 };
    let width = u16::try_from(wish).unwrap_or(u16::MAX).min(composer.width);
    let most = usize::from(composer.y.saturating_sub(2)).min(OFFERED);
    let height = u16::try_from(offered.items.len().min(most)).unwrap_or(0);
    if height == 0 || width < 6 {
        return;
    }
    let (_, column) = app.composer.place(composer_width(composer.width));
    let written = text::width(&app.composer.text()[offered.start..app.composer.cursor()]);
    let start = u16::try_from(column.saturating_sub(written)).unwrap_or(0) + PROMPT_WIDTH;
    let x = start.saturating_sub(2).min(composer.width - width);
    let pane = Pane { x, y: composer.y - height - 2, width, height: height + 2 };
    canvas.clear(pane);
    canvas.frame(pane, true, "", "");
    let selected = offered.selected.unwrap_or(0);
    let top = (selected + 1).saturating_sub(usize::from(height));
    for (y, (index, item)) in (pane.y + 1..).zip(offered.items.iter().enumerate().skip(top).take(most)) {
        let insert = text::padded(&item.insert, inserts.min(usize::from(width - 4)));
        let at = canvas.text(x + 2, y, width - 4, &insert, look.plain());
        let cells = (x + width - 2).saturating_sub(at + 2);
        let hint = text::ellipsis(&item.hint, usize::from(cells)).into_owned();
        canvas.text(at + 2, y, cells, &hint, look.dim());
        if offered.selected == Some(index) {
            canvas.tint(Pane { x: x + 1, y, width: width - 2, height: 1 }, look.chosen());
        }
    }
}
