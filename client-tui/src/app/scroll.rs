//! Which part of a timeline is seen. A position is a row of an event, not a count of lines, so that what arrives,
//! above or below, does not move what is being read. Imports `rows`.

use std::ops::RangeInclusive;

use quip_protocol::Seq;

use super::rows::{Layout, Row};

/// Where the lowest row that is seen belongs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scroll {
    /// To the newest, and on to whatever comes.
    #[default]
    Bottom,
    /// To row `line` of what has this key.
    At {
        /// See [`Layout`].
        key: u64,
        /// Its row.
        line: usize,
    },
}

/// A row, and where it belongs.
pub struct Placed {
    /// See [`Layout`].
    pub key: u64,
    /// Its row.
    pub line: usize,
    /// The row.
    pub row: Row,
}

/// Rows from the lowest seen upward, at most `most`.
pub fn upward(layout: &Layout<'_>, scroll: Scroll, most: usize) -> Vec<Placed> {
    let (mut key, mut lines) = match scroll {
        Scroll::Bottom => (layout.tail(), usize::MAX),
        Scroll::At { key, .. } if key > layout.tail() => (layout.tail(), usize::MAX),
        Scroll::At { key, line } => (key.max(layout.head()), line + 1),
    };
    let mut found = Vec::new();
    loop {
        let rows = layout.rows(key).into_iter().take(lines).enumerate();
        for (line, row) in rows.collect::<Vec<_>>().into_iter().rev() {
            if found.len() < most {
                found.push(Placed { key, line, row });
            }
        }
        match layout.before(key).filter(|_| found.len() < most) {
            Some(before) => (key, lines) = (before, usize::MAX),
            None => return found,
        }
    }
}

/// Rows behind the lowest seen, downward, at most `most`.
pub fn downward(layout: &Layout<'_>, key: u64, line: usize, most: usize) -> Vec<Placed> {
    from(layout, key, line + 1, most)
}

/// Rows from a key on, at most `most`, without the first ones.
fn from(layout: &Layout<'_>, key: u64, mut skip: usize, most: usize) -> Vec<Placed> {
    let mut found = Vec::new();
    let mut next = Some(key.max(layout.head()));
    while let Some(key) = next {
        for (line, row) in layout.rows(key).into_iter().enumerate().skip(skip) {
            if found.len() < most {
                found.push(Placed { key, line, row });
            }
        }
        if found.len() >= most {
            break;
        }
        skip = 0;
        next = layout.after(key);
    }
    found
}

/// The rows that are seen, from the top; fewer than `height` only if there are no more.
pub fn window(layout: &Layout<'_>, scroll: Scroll, height: usize) -> Vec<Placed> {
    let mut rows = upward(layout, scroll, height);
    rows.reverse();
    if let (Scroll::At { key, line }, true) = (scroll, rows.len() < height) {
        let more = downward(layout, key, line, height - rows.len());
        rows.extend(more);
    }
    if let Some(top) = rows.first_mut().filter(|top| top.line == 0)
        && let Some(led) = layout.led_row(top.key)
    {
        top.row = led;
    }
    rows
}

/// What is seen, from the top to the lowest; none where the newest is.
pub fn seen(layout: &Layout<'_>, height: usize) -> Option<RangeInclusive<u64>> {
    let Scroll::At { .. } = layout.room.scroll else { return None };
    let rows = window(layout, layout.room.scroll, height);
    Some(rows.first()?.key..=rows.last()?.key)
}

/// `lines` up, but not above the head.
pub fn up(layout: &Layout<'_>, scroll: Scroll, height: usize, lines: usize) -> Scroll {
    let rows = upward(layout, scroll, height + lines);
    let most = rows.len().saturating_sub(height);
    match rows.get(lines.min(most)) {
        Some(row) if most > 0 => Scroll::At { key: row.key, line: row.line },
        _ => scroll,
    }
}

/// `lines` down; at the newest it stays there.
pub fn down(layout: &Layout<'_>, scroll: Scroll, lines: usize) -> Scroll {
    let Scroll::At { key, line } = scroll else { return Scroll::Bottom };
    let rows = downward(layout, key, line, lines + 1);
    match rows.get(lines.saturating_sub(1)) {
        Some(row) if rows.len() > lines => Scroll::At { key: row.key, line: row.line },
        _ => Scroll::Bottom,
    }
}

/// So that the first row of `seq` is the window's highest, if there is enough below; whether there is, or no more comes.
pub fn to_top(layout: &Layout<'_>, seq: Seq, height: usize) -> (Scroll, bool) {
    let rows = from(layout, seq.0, 0, height + 1);
    let stay = Scroll::At { key: seq.0, line: 0 };
    if layout.hole(seq.0).is_some() {
        at(&rows, height, stay)
    } else {
        before_hole(layout, rows, height, stay)
    }
}

/// So that a row is the window's middle one, if there is enough below; whether there is, or no more comes.
pub fn to_middle(layout: &Layout<'_>, (key, line): (u64, usize), height: usize) -> (Scroll, bool) {
    let below = height / 2;
    before_hole(layout, downward(layout, key, line, below + 1), below, Scroll::At { key, line })
}

/// The last of `count` rows, if there are more.
fn at(rows: &[Placed], count: usize, stay: Scroll) -> (Scroll, bool) {
    if rows.len() <= count {
        return (Scroll::Bottom, true);
    }
    let row = count.checked_sub(1).and_then(|last| rows.get(last));
    (row.map_or(stay, |row| Scroll::At { key: row.key, line: row.line }), true)
}

/// The same, but no row behind a hole: what comes there would move all above it out of sight.
fn before_hole(layout: &Layout<'_>, mut rows: Vec<Placed>, count: usize, stay: Scroll) -> (Scroll, bool) {
    match rows.iter().position(|row| layout.hole(row.key).is_some()) {
        Some(hole) if hole < count => {
            rows.truncate(hole + 1);
            (at(&rows, hole, stay).0, false)
        }
        _ => at(&rows, count, stay),
    }
}

/// So that `seq` is seen; unchanged if it is.
pub fn reveal(layout: &Layout<'_>, scroll: Scroll, height: usize, seq: Seq) -> Scroll {
    let seen = window(layout, scroll, height);
    let whole = layout.rows(seq.0).len().min(height);
    if seen.iter().filter(|row| row.key == seq.0).count() >= whole {
        return scroll;
    }
    if seen.first().is_some_and(|row| row.key >= seq.0) {
        return to_top(layout, seq, height).0;
    }
    Scroll::At { key: seq.0, line: whole.saturating_sub(1) }
}
