//! A sheet laid over the screen: help, members, an account, a link. Imports the tables it shows.

use super::keymap::Keymap;
use super::rows::{Ink, Row, Span};
use super::{commands, keymap, text};

/// One line of a sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A headline.
    Head(String),
    /// A term and what it means.
    Pair(String, String),
    /// Text.
    Text(String),
    /// Text that is copied: painted from the screen's edge, without a frame beside it.
    Verbatim(String),
}

/// A sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// Its headline.
    pub title: String,
    /// Its lines.
    pub lines: Vec<Line>,
    /// The first row that is seen.
    pub top: usize,
}

/// Widest column of terms.
const TERM: usize = 28;

impl Sheet {
    /// A sheet, seen from its start.
    pub fn new(title: impl Into<String>, lines: Vec<Line>) -> Sheet {
        Sheet { title: title.into(), lines, top: 0 }
    }

    /// Keys and commands, from their tables, and the keys that the user changed.
    pub fn help(keymap: &Keymap) -> Sheet {
        let keys = keymap::TABLE
            .iter()
            .filter(|binding| !binding.help.is_empty())
            .map(|binding| Line::Pair(binding.shown.to_owned(), binding.help.to_owned()));
        let mut lines = vec![Line::Head("Keys".to_owned())];
        lines.extend(keys);
        for (key, does) in keymap.changed() {
            lines.push(Line::Pair(key, format!("{does} (quip.toml)")));
        }
        lines.push(Line::Text(String::new()));
        lines.push(Line::Head("Commands".to_owned()));
        lines.extend(Sheet::commands().lines);
        Sheet::new("Help", lines)
    }

    /// Commands alone, for where there are no keys.
    pub fn commands() -> Sheet {
        let commands = commands::TABLE.iter().map(|entry| {
            let term = format!("/{} {}", entry.name, entry.words);
            Line::Pair(term.trim_end().to_owned(), entry.help.to_owned())
        });
        let mend = Line::Pair("s/old/new/".to_owned(), "mend your last message".to_owned());
        Sheet::new("Commands", commands.chain([mend]).collect())
    }

    /// Whether there is text to be copied in it.
    pub fn is_verbatim(&self) -> bool {
        self.lines.iter().any(|line| matches!(line, Line::Verbatim(_)))
    }

    /// Its rows at `width` cells.
    pub fn rows(&self, width: usize) -> Vec<Row> {
        let terms = self.lines.iter().filter_map(|line| match line {
            Line::Pair(term, _) => Some(text::width(term)),
            _ => None,
        });
        let term = terms.max().unwrap_or(0).min(TERM);
        let mut rows = Vec::new();
        for line in &self.lines {
            match line {
                Line::Head(head) => wrapped(head, " ", Ink::Head, width, &mut rows),
                Line::Text(words) => wrapped(words, " ", Ink::Text, width, &mut rows),
                Line::Verbatim(words) => wrapped(words, "", Ink::Link, width, &mut rows),
                Line::Pair(left, right) => pair(left, right, term, width, &mut rows),
            }
        }
        rows
    }

    /// `by` rows down, or up where it is negative, at `width` cells, `height` rows seen at once.
    pub fn scroll(&mut self, by: isize, width: usize, height: usize) {
        let most = self.rows(width).len().saturating_sub(height);
        self.top = self.top.saturating_add_signed(by).min(most);
    }
}

fn wrapped(words: &str, indent: &str, ink: Ink, width: usize, rows: &mut Vec<Row>) {
    for piece in text::wrap(words, width.saturating_sub(2 * indent.len())) {
        let piece = format!("{indent}{}", text::painted(&words[piece]));
        rows.push(Row::of(vec![Span::new(piece, ink)]));
    }
}

fn pair(left: &str, right: &str, term: usize, width: usize, rows: &mut Vec<Row>) {
    // Too narrow for two columns, or a term that fills its own: what it means stands below.
    let below = width < term + 24 || text::width(left) > term;
    let indent = if below { 5 } else { 3 + term };
    let mut lead = vec![Span::new(format!(" {left}"), Ink::Term)];
    if below {
        rows.push(Row::of(std::mem::take(&mut lead)));
    } else {
        lead.push(Span::new(" ".repeat(indent - 1 - text::width(left)), Ink::Text));
    }
    for piece in text::wrap(right, width.saturating_sub(indent + 1)) {
        let mut spans = std::mem::take(&mut lead);
        if spans.is_empty() {
            spans.push(Span::new(" ".repeat(indent), Ink::Text));
        }
        spans.push(Span::new(&right[piece], Ink::Text));
        rows.push(Row::of(spans));
    }
}
