//! The member list.

use quip_protocol::Role;
use quip_protocol::room::MemberSummary;

use super::canvas::Canvas;
use crate::app::panes::Pane;
use crate::app::presence::Presence;
use crate::app::{App, text};

/// Paints who is in the room: who is online first, then who is away.
pub fn draw(canvas: &mut Canvas<'_>, app: &App, pane: Pane) {
    let Some(room) = app.rooms.current() else { return };
    let members = &room.members;
    let look = canvas.look;
    let head = match members.online {
        0 => "Members".to_owned(),
        online => format!("Members · {online} online"),
    };
    canvas.text(pane.x + 1, pane.y, pane.width.saturating_sub(1), &head, look.dim());
    let presence = |member: &&MemberSummary| room.presence(member);
    let online = members.list.iter().filter(|member| presence(member) == Presence::Online);
    let away = members.list.iter().filter(|member| matches!(presence(member), Presence::Away(_)));
    let offline = members.list.iter().filter(|member| presence(member) == Presence::Offline);
    let rows = usize::from(pane.height.saturating_sub(1));
    let total = usize::try_from(members.total).unwrap_or(usize::MAX);
    let shown = if total > rows { rows.saturating_sub(1) } else { rows };
    let mut y = pane.y + 1;
    for member in online.chain(away).chain(offline).take(shown) {
        draw_member(canvas, member, room.presence(member), pane, y);
        y += 1;
    }
    let rest = total.saturating_sub(shown);
    if rest > 0 && y < pane.y + pane.height {
        canvas.text(pane.x + 3, y, pane.width.saturating_sub(3), &format!("and {rest} more"), look.dim());
    }
}

fn draw_member(canvas: &mut Canvas<'_>, member: &MemberSummary, presence: Presence<'_>, pane: Pane, y: u16) {
    let look = canvas.look;
    let (sign_style, style) = match presence {
        Presence::Online => (look.good(), look.plain()),
        Presence::Away(_) => (look.waiting(), look.dim()),
        Presence::Offline => (look.dim(), look.dim()),
    };
    canvas.text(pane.x + 1, y, 1, presence.sign(), sign_style);
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
