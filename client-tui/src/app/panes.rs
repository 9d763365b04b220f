//! Where everything is on the screen: the division of the terminal's cells. Imports nothing.

/// A rectangle of cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pane {
    /// Column of its left edge.
    pub x: u16,
    /// Row of its upper edge.
    pub y: u16,
    /// Cells across.
    pub width: u16,
    /// Cells down.
    pub height: u16,
}

/// The division of the screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Panes {
    /// The room list, where the screen is wide enough.
    pub rooms: Option<Pane>,
    /// The member list, where the screen is wide enough and there is one to show.
    pub members: Option<Pane>,
    /// The line with the room's name and topic.
    pub top: Option<Pane>,
    /// The row of the line under `top`.
    pub upper_rule: Option<u16>,
    /// The messages.
    pub timeline: Pane,
    /// The row of the line above `composer`.
    pub lower_rule: Option<u16>,
    /// Says that a message is being edited or answered.
    pub banner: Option<Pane>,
    /// Where the user types.
    pub composer: Pane,
    /// Connection, hints, and what is said to the user.
    pub status: Option<Pane>,
}

/// Columns of the room list.
pub const ROOMS_WIDTH: u16 = 20;
/// Columns of the member list.
pub const MEMBERS_WIDTH: u16 = 22;
/// From here on the room list is shown.
const ROOMS_FROM: u16 = 64;
/// From here on the member list is shown.
const MEMBERS_FROM: u16 = 100;
/// From here on lines separate the panes.
pub const RULES_FROM: u16 = 14;
/// The composer grows up to here, and to a third of the screen.
const COMPOSER_MAX: u16 = 6;

/// Columns of the composer's prompt.
pub const PROMPT_WIDTH: u16 = 2;

/// Cells across that text in the composer has.
pub fn composer_width(columns: u16) -> usize {
    usize::from(columns.saturating_sub(PROMPT_WIDTH + 1)).max(1)
}

/// Cells across that the status has: behind its sign, and one less than the screen.
pub fn status_width(columns: u16) -> usize {
    usize::from(columns.saturating_sub(3)).max(1)
}

/// What the panes would like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Rows of the composer.
    pub composer: u16,
    /// Rows of the status.
    pub status: u16,
    /// Whether there is a banner.
    pub banner: bool,
    /// Whether there are members to show.
    pub members: bool,
}

/// Whether there is room for members.
pub fn shows_members(columns: u16) -> bool {
    columns >= MEMBERS_FROM
}

/// Divides `columns` × `rows`.
pub fn divide(columns: u16, rows: u16, wish: Wish) -> Panes {
    let Wish { composer: composer_rows, status: status_rows, banner, members } = wish;
    let composer_max = (rows / 3).clamp(1, COMPOSER_MAX);
    let composer_rows = composer_rows.clamp(1, composer_max).min(rows);
    let rules = rows >= RULES_FROM;
    let mut free = rows - composer_rows;
    let mut take = |wanted: bool, least: u16| {
        let taken = wanted && free > least;
        free -= u16::from(taken);
        taken
    };
    let status = take(true, 1);
    let top = take(true, 2);
    let banner = take(banner, 2);
    let upper = take(rules && top, 2);
    let lower = take(rules, 2);
    let status_rows = 1 + (1..status_rows).filter(|_| take(status, 3)).count() as u16;

    let body_y = u16::from(top) + u16::from(upper);
    let rooms_width = if columns >= ROOMS_FROM { ROOMS_WIDTH } else { 0 };
    let members_width = if members && shows_members(columns) { MEMBERS_WIDTH } else { 0 };
    let timeline_x = rooms_width + u16::from(rooms_width > 0);
    let timeline_end = columns - members_width - u16::from(members_width > 0);
    let body = |x: u16, width: u16| Pane { x, y: body_y, width, height: free };
    let line = |y: u16| Pane { x: 0, y, width: columns, height: 1 };
    let below = body_y + free + u16::from(lower);
    let composer_y = below + u16::from(banner);
    Panes {
        rooms: (rooms_width > 0).then(|| body(0, rooms_width)),
        members: (members_width > 0).then(|| body(columns - members_width, members_width)),
        top: top.then(|| line(0)),
        upper_rule: upper.then_some(1),
        timeline: body(timeline_x, timeline_end - timeline_x),
        lower_rule: lower.then_some(body_y + free),
        banner: banner.then(|| line(below)),
        composer: Pane { x: 0, y: composer_y, width: columns, height: composer_rows },
        status: status.then(|| Pane { height: status_rows, ..line(composer_y + composer_rows) }),
    }
}

/// Where a sheet of `lines` rows stands. With a frame it has a border on all sides, else above and below alone.
pub fn sheet(columns: u16, rows: u16, lines: usize, framed: bool) -> Pane {
    const WIDEST: u16 = 78;
    // A narrow rest beside it would only look torn.
    let width = if framed && columns > WIDEST + 8 { WIDEST } else { columns };
    let wish = u16::try_from(lines).unwrap_or(u16::MAX).saturating_add(2);
    let height = wish.min(rows.saturating_sub(u16::from(rows > 8) * 2));
    Pane { x: (columns - width) / 2, y: (rows - height) / 2, width, height }
}

/// The columns of a sheet's text.
pub fn sheet_width(columns: u16, framed: bool) -> usize {
    let pane = sheet(columns, 3, 1, framed);
    usize::from(pane.width.saturating_sub(u16::from(framed) * 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panes_fill_the_screen_and_never_leave_it() {
        for columns in 0..130 {
            for rows in 0..45 {
                for composer in [1, 3, 9] {
                    let wish =
                        Wish { composer, status: composer.min(3), banner: composer == 3, members: true };
                    let panes = divide(columns, rows, wish);
                    let lines = panes.status.map_or(0, |pane| pane.height)
                        + [panes.top, panes.banner].into_iter().flatten().count() as u16
                        + [panes.upper_rule, panes.lower_rule].into_iter().flatten().count() as u16;
                    assert_eq!(lines + panes.timeline.height + panes.composer.height, rows);
                    for pane in [Some(panes.timeline), Some(panes.composer), panes.rooms, panes.members] {
                        let pane = pane.unwrap_or_default();
                        assert!(pane.x + pane.width <= columns && pane.y + pane.height <= rows);
                    }
                }
            }
        }
    }
}
