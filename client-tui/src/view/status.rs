//! The lines above and below everything: which room, how the connection is, what was said to the user.

use super::canvas::Canvas;
use crate::app::panes::{Pane, Panes, status_width};
use crate::app::{Seen, text};

/// The server above the room list; room, topic and members above the rest.
pub fn draw_top(canvas: &mut Canvas<'_>, seen: Seen<'_>, panes: &Panes, pane: Pane) {
    let (app, server) = (seen.app(), seen.name(seen.current()));
    let look = canvas.look;
    let mut x = pane.x + 1;
    if let Some(rooms) = panes.rooms {
        let cells = rooms.width.saturating_sub(2);
        let server = text::ellipsis(server.as_str(), usize::from(cells)).into_owned();
        canvas.text(x, pane.y, cells, &server, look.bold());
        x = rooms.x + rooms.width + 2;
    }
    let Some(room) = app.rooms.current() else { return };
    let end = pane.x + pane.width.saturating_sub(1);
    let mut name = room.summary.target.to_string();
    if panes.rooms.is_none() && !seen.is_alone() {
        name = format!("{name} ({server})");
    }
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
    let other = room.other().filter(|_| app.is_up());
    let about = match other {
        _ if room.summary.archived => "archived".into(),
        Some(presence) => format!("{} {}", presence.sign(), presence.words()).into(),
        None => std::borrow::Cow::from(room.summary.topic.as_str()),
    };
    canvas.text(x + 2, pane.y, cells, &text::ellipsis(&about, usize::from(cells)), look.dim());
}

/// How the connection is, what was said to the user, and hints.
pub fn draw_bottom(canvas: &mut Canvas<'_>, seen: Seen<'_>, pane: Pane) {
    let look = canvas.look;
    let status = seen.app().status();
    let end = pane.x + pane.width.saturating_sub(1);
    canvas.text(pane.x, pane.y, 1, status.sign, look.mood(status.sign_mood));
    let (style, cells) = (look.mood(status.mood), end.saturating_sub(pane.x + 2));
    let words = status.text.as_str();
    let rows = text::wrap(words, status_width(pane.width));
    let mut x = pane.x + 2;
    for (y, (index, row)) in (pane.y..pane.y + pane.height).zip(rows.iter().enumerate()) {
        // What does not fit any more is cut in the last row, and it is seen that it is.
        let is_last = y + 1 == pane.y + pane.height;
        let row = if is_last && index + 1 < rows.len() { row.start..words.len() } else { row.clone() };
        // The blank at which a row was broken takes no place.
        let row = text::ellipsis(words[row].trim_end(), usize::from(cells));
        x = canvas.text(pane.x + 2, y, cells, &row, style);
    }
    let free = usize::from(end.saturating_sub(x + 2));
    let hint = hints(seen).into_iter().find(|(hint, _)| text::width(hint) <= free);
    if let (Some((hint, calls)), true) = (hint, status.takes_hints && pane.height == 1) {
        let style = if calls { look.call() } else { look.dim() };
        canvas.right(end, pane.y, pane.width, &hint, style);
    }
}

/// What could stand at the right, best first, and whether it calls the user.
fn hints(seen: Seen<'_>) -> Vec<(String, bool)> {
    let app = seen.app();
    let mut hints = Vec::new();
    if let Some((length, limit)) = app.length() {
        hints.push((format!("{length} of {limit} bytes"), true));
        hints.push((format!("{length}/{limit}"), true));
    }
    let selected = app.rooms.current().filter(|room| app.prompt.is_none() && room.selected.is_some());
    if selected.is_some_and(|room| room.selected_hole().is_some()) {
        hints.push(("Enter fetches what is missing here".to_owned(), false));
    } else if selected.is_some() {
        hints.push((
            "Enter thread · y copy · o open · v versions · /reply /react /edit /delete".to_owned(),
            false,
        ));
        hints.push(("Enter thread · y copy · o open · v versions".to_owned(), false));
        hints.push(("Enter y o v /reply /react".to_owned(), false));
    }
    if app.is_refused_selected() {
        hints.push(("r sends it again · e edits it · d drops it".to_owned(), false));
    }
    match seen.needy() {
        0 => {}
        1 => hints.push(("1 room needs you: Alt+A".to_owned(), true)),
        count => {
            hints.push((format!("{count} rooms need you: Alt+A"), true));
            hints.push((format!("{count} need you: Alt+A"), true));
        }
    }
    hints.push(("Tab completes · F1 help".to_owned(), false));
    hints.push(("F1 help".to_owned(), false));
    hints
}
