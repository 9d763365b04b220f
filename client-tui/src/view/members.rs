//! The member list.

use quip_protocol::Role;
use quip_protocol::room::MemberSummary;

use super::canvas::Canvas;
use crate::app::panes::Pane;
use crate::app::{App, text};

/// Paints who is in the room: who is online first.
pub fn draw(canvas: &mut Canvas<'_>, app: &App, pane: Pane) {
    let Some(room) = app.rooms.current() else { return };
    let members = &room.members;
    let look = canvas.look;
    let head = match members.online {
        0 => "Members".to_owned(),
        online => format!("Members · {online} online"),
    };
    canvas.text(pane.x + 1, pane.y, pane.width.saturating_sub(1), &head, look.dim());
    let online = members.list.iter().filter(|member| member.online);
    let offline = members.list.iter().filter(|member| !member.online);
    let rows = usize::from(pane.height.saturating_sub(1));
    let total = usize::try_from(members.total).unwrap_or(usize::MAX);
    let shown = if total > rows { rows.saturating_sub(1) } else { rows };
    let mut y = pane.y + 1;
    for member in online.chain(offline).take(shown) {
        draw_member(canvas, member, pane, y);
        y += 1;
    }
    let rest = total.saturating_sub(shown);
    if rest > 0 && y < pane.y + pane.height {
        canvas.text(pane.x + 3, y, pane.width.saturating_sub(3), &format!("and {rest} more"), look.dim());
    }
}

fn draw_member(canvas: &mut Canvas<'_>, member: &MemberSummary, pane: Pane, y: u16) {
    let look = canvas.look;
    let (sign, sign_style, style) = match member.online {
        true => ("●", look.good(), look.plain()),
        false => ("○", look.dim(), look.dim()),
    };
    canvas.text(pane.x + 1, y, 1, sign, sign_style);
    let about = match (member.bot, member.role) {
        (true, _) => "bot",
        (_, Role::Owner) => "owner",
        (_, Role::Moderator) => "mod",
        (_, Role::Reader) => "reader",
        (_, Role::Member) => "",
    };
    let end = pane.x + pane.width - 1;
    let about_at = canvas.right(end, y, 6, about, look.dim());
    let cells = if about.is_empty() { end } else { about_at - 1 }.saturating_sub(pane.x + 3);
    canvas.text(pane.x + 3, y, cells, &text::ellipsis(member.name.as_str(), usize::from(cells)), style);
}
