//! The one place where text reaches ratatui's buffer. It clips, and lets nothing through that is not safe to show.

use std::num::NonZeroU16;
use std::ops::Range;

use quip_protocol::SafeLine;
use quip_protocol::safe_text::is_safe;
use ratatui::buffer::{Buffer, CellDiffOption};
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::link;
use super::look::Look;
use crate::app::panes::Pane;
use crate::app::rows::Span;
use crate::app::text;

/// A buffer to paint on.
pub struct Canvas<'a> {
    buffer: &'a mut Buffer,
    /// How things look.
    pub look: Look,
}

impl Canvas<'_> {
    /// A canvas on `buffer`.
    pub fn new(buffer: &mut Buffer, look: Look) -> Canvas<'_> {
        Canvas { buffer, look }
    }

    /// Paints `words` from `x` on, at most `cells` of them. Returns the column behind.
    pub fn text(&mut self, x: u16, y: u16, cells: u16, words: &str, style: Style) -> u16 {
        let area = self.buffer.area;
        if x >= area.right() || y >= area.bottom() || cells == 0 {
            return x;
        }
        let cells = usize::from(cells.min(area.right() - x));
        // Nothing is left of what was painted there before.
        let style = Style::reset().patch(style);
        let words = text::unturned(words);
        // What comes here is safe already: this is the second lock on the same door.
        if words.chars().all(|c| is_safe(c) && c != '\n' && c != '\t') {
            self.buffer.set_stringn(x, y, words, cells, style).0
        } else {
            self.buffer.set_stringn(x, y, SafeLine::new(&words).as_str(), cells, style).0
        }
    }

    /// Paints `words` so that they end before column `end`; cut if wider than `cells`. Returns where they begin.
    pub fn right(&mut self, end: u16, y: u16, cells: u16, words: &str, style: Style) -> u16 {
        let words = text::ellipsis(words, usize::from(cells));
        let width = u16::try_from(text::width(&words)).unwrap_or(cells);
        let x = end.saturating_sub(width);
        self.text(x, y, width, &words, style);
        x
    }

    /// Paints spans one behind the other.
    pub fn spans(&mut self, x: u16, y: u16, cells: u16, spans: &[Span]) {
        let end = x.saturating_add(cells);
        let mut at = x;
        for span in spans {
            let start = at;
            at = self.text(at, y, end.saturating_sub(at), &span.text, self.look.of(span.ink));
            if let Some(address) = span.link.as_deref().filter(|_| self.look.color) {
                self.link(start..at, y, address);
            }
        }
    }

    /// Links what was painted. The one place where a cell is given anything but the text that is seen.
    fn link(&mut self, columns: Range<u16>, y: u16, address: &str) {
        let mut x = columns.start;
        while x < columns.end {
            let Some(cell) = self.buffer.cell_mut((x, y)) else { return };
            let wide = u16::try_from(text::width(cell.symbol())).ok().and_then(NonZeroU16::new);
            let wide = wide.unwrap_or(NonZeroU16::MIN);
            if let Some(symbol) = link::linked(cell.symbol(), address) {
                cell.set_symbol(&symbol).set_diff_option(CellDiffOption::ForcedWidth(wide));
            }
            x += wide.get();
        }
    }

    /// Paints a line from `x` on.
    pub fn rule(&mut self, x: u16, y: u16, cells: u16) {
        let style = self.look.dim();
        self.text(x, y, cells, &"─".repeat(usize::from(cells)), style);
    }

    /// Adds to the style of `pane`.
    pub fn tint(&mut self, pane: Pane, style: Style) {
        let area = self.clip(pane);
        self.buffer.set_style(area, style);
    }

    /// Empties `pane`.
    pub fn clear(&mut self, pane: Pane) {
        let area = self.clip(pane);
        for position in area.positions() {
            if let Some(cell) = self.buffer.cell_mut(position) {
                cell.reset();
            }
        }
        // A wide character whose right half was emptied is gone as well.
        for y in area.top()..area.bottom() {
            let left = area.left().checked_sub(1).and_then(|x| self.buffer.cell_mut((x, y)));
            if let Some(cell) = left.filter(|cell| text::width(link::visible(cell.symbol())) > 1) {
                cell.reset();
            }
        }
    }

    /// A frame around `pane`, with words in its upper and lower edge. Without `sides` only those two.
    pub fn frame(&mut self, pane: Pane, sides: bool, title: &str, hint: &str) {
        if pane.height < 2 || pane.width < 2 {
            return;
        }
        let (right, bottom) = (pane.x + pane.width - 1, pane.y + pane.height - 1);
        self.rule(pane.x, pane.y, pane.width);
        self.rule(pane.x, bottom, pane.width);
        let dim = self.look.dim();
        if sides {
            for y in pane.y + 1..bottom {
                self.text(pane.x, y, 1, "│", dim);
                self.text(right, y, 1, "│", dim);
            }
            for (x, y, corner) in
                [(pane.x, pane.y, "╭"), (right, pane.y, "╮"), (pane.x, bottom, "╰"), (right, bottom, "╯")]
            {
                self.text(x, y, 1, corner, dim);
            }
        }
        let room = pane.width.saturating_sub(4);
        if !title.is_empty() {
            let title = text::ellipsis(title, usize::from(room.saturating_sub(2))).into_owned();
            let bold = self.look.bold();
            self.text(pane.x + 2, pane.y, room, &format!(" {title} "), bold);
        }
        if !hint.is_empty() && text::width(hint) + 2 <= usize::from(room) {
            self.right(right.saturating_sub(1), bottom, room, &format!(" {hint} "), dim);
        }
    }

    fn clip(&self, pane: Pane) -> Rect {
        Rect::new(pane.x, pane.y, pane.width, pane.height).intersection(self.buffer.area)
    }
}
