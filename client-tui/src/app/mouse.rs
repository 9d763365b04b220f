//! What the mouse does, where the user wants it to do something.

use super::desk::Seen;
use super::input::Mouse;
use super::panes::Pane;
use super::{App, Effect, panes, scroll};

/// Rows that one step of the wheel is.
const STEP: usize = 3;

impl App {
    pub(super) fn switch_mouse(&mut self) {
        self.preferences.mouse = !self.preferences.mouse;
        self.say(if self.preferences.mouse {
            "the mouse scrolls, and a click goes to a room; hold Shift to select text"
        } else {
            "the mouse is the terminal's again"
        });
        self.effects.push(Effect::Mouse(self.preferences.mouse));
    }

    pub(super) fn mouse(&mut self, what: Mouse, x: u16, y: u16) {
        let height = self.height();
        match what {
            Mouse::WheelUp | Mouse::WheelDown if self.sheet.is_some() => self.turn_sheet(what),
            Mouse::WheelUp => self.scroll_by(|layout, at| scroll::up(layout, at, height, STEP)),
            Mouse::WheelDown => self.scroll_by(|layout, at| scroll::down(layout, at, STEP)),
            Mouse::Click if self.sheet.take().is_some() => {}
            Mouse::Click => self.click(x, y),
        }
    }

    fn turn_sheet(&mut self, what: Mouse) {
        let (columns, rows) = self.size;
        let Some(sheet) = &mut self.sheet else { return };
        let framed = !sheet.is_verbatim();
        let width = panes::sheet_width(columns, framed);
        let height = panes::sheet(columns, rows, sheet.rows(width).len(), framed).height.saturating_sub(2);
        let by = if what == Mouse::WheelUp { -1 } else { 1 };
        sheet.scroll(by * STEP.cast_signed(), width, usize::from(height));
    }

    fn click(&mut self, x: u16, y: u16) {
        if let Some((_, id)) = Seen::from(&*self).at(x, y) {
            self.prompt = None;
            self.show(id);
        }
    }
}

/// Whether the cell lies in `pane`.
pub(super) fn holds(pane: Pane, x: u16, y: u16) -> bool {
    (pane.x..pane.x + pane.width).contains(&x) && (pane.y..pane.y + pane.height).contains(&y)
}
