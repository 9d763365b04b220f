//! A scene as text: at each size what is read, under it which style each cell has, and at the end what the styles are in
//! each theme.

use std::fmt::Write as _;

use quip::view::{self, Look};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::{DARK, LIGHT, PLAIN, PLAIN_LIGHT, SIZES, Scene, Shown};
use crate::harness::{World, text_of};

/// The looks that are listed; without colours there is no difference between the themes.
const LISTED: [(&str, Look); 3] = [("dark", DARK), ("light", LIGHT), ("NO_COLOR", PLAIN)];

/// What a cell looks like in the listed looks.
type Styles = [String; LISTED.len()];

/// All of a scene.
pub fn sheet(scene: Scene) -> String {
    let mut legend = Legend::default();
    let mut text = String::new();
    for size in SIZES {
        let shown = Shown::at(size, World::new(), scene);
        let screens = LISTED.map(|(_, look)| painted(&shown, size, look));
        let read = text_of(&screens[0]);
        for (screen, (name, _)) in screens.iter().zip(LISTED) {
            assert_eq!(text_of(screen), read, "{name} is read as dark is");
        }
        let plain_light = painted(&shown, size, PLAIN_LIGHT);
        assert_eq!(plain_light.backend().buffer(), screens[2].backend().buffer(), "NO_COLOR has no themes");
        let (columns, rows) = size;
        write!(text, "━━ {columns}×{rows}\n{}── styles\n", numbered(&read)).unwrap();
        text += &legend.map(screens.each_ref().map(|screen| screen.backend().buffer()));
    }
    let told = Shown::at((80, 24), World::new(), scene).told();
    if !told.is_empty() {
        write!(text, "━━ --plain\n{}\n", told.join("\n")).unwrap();
    }
    text + &legend.list()
}

/// Rows with their numbers, so that the styles stand below what they are of.
fn numbered(read: &str) -> String {
    let line = |(y, line): (usize, &str)| match line.strip_prefix("cursor ") {
        Some(place) => format!("cursor {place}\n"),
        None => format!("{y:>5} {line}").trim_end().to_owned() + "\n",
    };
    read.lines().enumerate().map(line).collect()
}

/// A scene in one look.
pub fn painted(shown: &Shown, (columns, rows): (u16, u16), look: Look) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| shown.draw(frame, look)).unwrap();
    terminal
}

/// What a cell looks like, in words; nothing if it looks like nothing.
pub fn style(cell: &Cell) -> String {
    let (seen, marks) = (view::visible(cell.symbol()) != " ", cell.modifier);
    let named = [
        (Modifier::BOLD, "bold"),
        (Modifier::DIM, "dim"),
        (Modifier::ITALIC, "italic"),
        (Modifier::UNDERLINED, "underlined"),
        (Modifier::REVERSED, "reversed"),
    ];
    let colour = |color: Color| (color != Color::Reset).then(|| color.to_string().to_lowercase());
    let mut words: Vec<String> = colour(cell.fg).into_iter().collect();
    words.extend(colour(cell.bg).map(|color| format!("on {color}")));
    words.extend(named.iter().filter(|(mark, _)| marks.contains(*mark)).map(|(_, name)| (*name).to_owned()));
    let lines = cell.bg != Color::Reset || marks.intersects(Modifier::REVERSED | Modifier::UNDERLINED);
    if seen || lines { words.join("+") } else { String::new() }
}

/// A letter for each style, as they come.
#[derive(Default)]
struct Legend {
    known: Vec<Styles>,
}

impl Legend {
    fn letter(&mut self, styles: Styles) -> char {
        if styles.iter().all(String::is_empty) {
            return ' ';
        }
        let at = self.known.iter().position(|known| *known == styles).unwrap_or_else(|| {
            self.known.push(styles);
            self.known.len() - 1
        });
        ('a'..='z').chain('A'..='Z').nth(at).expect("no screen has so many styles")
    }

    /// The rows that have styles; rows that are the same are one line.
    fn map(&mut self, buffers: [&Buffer; LISTED.len()]) -> String {
        let area = buffers[0].area;
        let mut rows: Vec<(u16, u16, String)> = Vec::new();
        for y in 0..area.height {
            let cells = (0..area.width).map(|x| buffers.map(|buffer| style(&buffer[(x, y)])));
            let row: String = cells.map(|styles| self.letter(styles)).collect();
            let row = row.trim_end().to_owned();
            match rows.last_mut() {
                Some((_, last, same)) if *same == row => *last = y,
                _ => rows.push((y, y, row)),
            }
        }
        let styled = rows.into_iter().filter(|(.., row)| !row.is_empty());
        styled
            .map(|(first, last, row)| match first == last {
                true => format!("{first:>5} {row}\n"),
                false => format!("{:>5} {row}\n", format!("{first}-{last}")),
            })
            .collect()
    }

    fn list(&self) -> String {
        let names: Vec<&str> = LISTED.iter().map(|(name, _)| *name).collect();
        let letters = ('a'..='z').chain('A'..='Z').zip(&self.known);
        let line = |(letter, styles): (char, &Styles)| {
            let styles = styles.each_ref().map(|style| if style.is_empty() { "-" } else { style });
            format!("{letter}  {}\n", styles.join(" │ "))
        };
        format!("━━ styles: {}\n", names.join(" │ ")) + &letters.map(line).collect::<String>()
    }
}
