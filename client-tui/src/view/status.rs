//! The lines above and below everything: which room, how the connection is, what was said to the user.

use super::canvas::Canvas;
use crate::app::panes::{Pane, Panes};
use crate::app::{App, Connection, text};

/// The server above the room list; room, topic and members above the rest.
pub fn draw_top(canvas: &mut Canvas<'_>, app: &App, panes: &Panes, pane: Pane) {
    let look = canvas.look;
    let mut x = pane.x + 1;
    if let Some(rooms) = panes.rooms {
        let cells = rooms.width.saturating_sub(2);
        let server = text::ellipsis(app.server.as_str(), usize::from(cells)).into_owned();
        canvas.text(x, pane.y, cells, &server, look.bold());
        x = rooms.x + rooms.width + 2;
    }
    let Some(room) = app.rooms.current() else { return };
    let end = pane.x + pane.width.saturating_sub(1);
    let name = room.summary.target.to_string();
    x = canvas.text(x, pane.y, end.saturating_sub(x), &name, look.accent());
    let members = match room.summary.members {
        _ if room.is_direct() || pane.width < 36 => String::new(),
        1 => "1 member".to_owned(),
        count => format!("{count} members"),
    };
    let free = end.saturating_sub(x + 1);
    let members_at = match usize::from(free) > text::width(&members) {
        true => canvas.right(end, pane.y, free, &members, look.dim()),
        false => end,
    };
    let cells = members_at.saturating_sub(x + 4);
    let about = if room.summary.archived { "archived" } else { room.summary.topic.as_str() };
    canvas.text(x + 2, pane.y, cells, &text::ellipsis(about, usize::from(cells)), look.dim());
}

/// How the connection is, what was said to the user, and hints.
pub fn draw_bottom(canvas: &mut Canvas<'_>, app: &App, pane: Pane) {
    let look = canvas.look;
    let end = pane.x + pane.width.saturating_sub(1);
    let (sign, words, style) = connection(app, look);
    canvas.text(pane.x, pane.y, 1, sign, style);
    let x = pane.x + 2;
    if let Some(said) = &app.said {
        let style = if said.is_error { look.bad() } else { look.plain() };
        let cells = end.saturating_sub(x);
        canvas.text(x, pane.y, cells, &text::ellipsis(&said.text, usize::from(cells)), style);
        return;
    }
    let cells = end.saturating_sub(x);
    let words = text::ellipsis(&words, usize::from(cells)).into_owned();
    let x = canvas.text(x, pane.y, cells, &words, look.plain());
    let free = usize::from(end.saturating_sub(x + 2));
    if let Some((hint, calls)) = hints(app).into_iter().find(|(hint, _)| text::width(hint) <= free) {
        let style = if calls { look.call() } else { look.dim() };
        canvas.right(end, pane.y, pane.width, &hint, style);
    }
}

/// Fewer events than this are there before they could be read about.
const WORTH_SAYING: u64 = 100;

fn connection(app: &App, look: super::Look) -> (&'static str, String, ratatui::style::Style) {
    let waiting = match app.outbox.waiting() {
        0 => String::new(),
        1 => " · 1 to deliver".to_owned(),
        count => format!(" · {count} to deliver"),
    };
    match &app.connection {
        Connection::Up if app.behind() >= WORTH_SAYING => {
            ("●", format!("catching up: {} more to come", app.behind()), look.waiting())
        }
        Connection::Up => ("●", format!("connected to {}", app.server), look.good()),
        Connection::Connecting => ("◌", format!("connecting to {}…{waiting}", app.server), look.waiting()),
        Connection::Down { retry_at: Some(at), .. } => {
            let seconds = at.0.saturating_sub(app.now.0).div_ceil(1000);
            let again = if seconds == 0 { "retrying".to_owned() } else { format!("retrying in {seconds} s") };
            ("○", format!("offline, {again} — messages are kept{waiting}"), look.bad())
        }
        Connection::Down { why, retry_at: None } => ("○", format!("offline: {why}{waiting}"), look.bad()),
    }
}

/// What could stand at the right, best first, and whether it calls the user.
fn hints(app: &App) -> Vec<(String, bool)> {
    let mut hints = Vec::new();
    if app.prompt.is_none() && app.rooms.current().is_some_and(|room| room.selected.is_some()) {
        hints.push((
            "Enter thread · y copy · o open · v versions · /reply /react /edit /delete".to_owned(),
            false,
        ));
        hints.push(("Enter y o v /reply /react".to_owned(), false));
    }
    match app.rooms.needy() {
        0 => {}
        1 => hints.push(("1 room needs you: Alt+A".to_owned(), true)),
        count => hints.push((format!("{count} rooms need you: Alt+A"), true)),
    }
    hints.push(("Tab completes · F1 help".to_owned(), false));
    hints.push(("F1 help".to_owned(), false));
    hints
}
