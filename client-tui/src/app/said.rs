//! The rows of what someone says: time and nick before it, code in blocks, what is long folded. Imports `rows`.

use std::ops::Range;

use quip_protocol::{AccountName, MessageKind, Seq};

use super::blocks::{self, Block};
use super::highlights::{self, Highlights, Syntax};
use super::rows::{Ink, Layout, Row, Span};
use super::text;
use super::words::{self, Marks};

/// Below this width nicks stand on a line of their own.
const COLUMNS_FROM: usize = 48;
/// A message of more rows is folded.
const FOLD_FROM: usize = 20;
/// To this many.
const FOLD_TO: usize = 10;

/// What one row group says.
pub(super) struct Said<'a> {
    pub author: Option<&'a AccountName>,
    pub time: Option<String>,
    pub grouped: bool,
    pub kind: MessageKind,
    pub reply_to: Option<Seq>,
    pub text: &'a str,
    pub ink: Ink,
    pub suffix: &'static str,
    /// Whether it is folded if it is long.
    pub folds: bool,
}

/// How a row is divided.
pub(super) struct Columns {
    /// Whether time and nick stand before the text, or on a line of their own.
    pub inline: bool,
    pub nick: usize,
    pub text: usize,
}

impl Columns {
    pub fn at(width: usize) -> Columns {
        if width < COLUMNS_FROM {
            return Columns {
                inline: false,
                nick: width.saturating_sub(8),
                text: width.saturating_sub(4).max(1),
            };
        }
        let nick = match width {
            0..64 => 10,
            64..90 => 12,
            _ => 14,
        };
        // A space, the time, a space, the nick, two spaces, the text, a space.
        Columns { inline: true, nick, text: width - (1 + 5 + 1 + nick + 2 + 1) }
    }

    pub fn indent(&self) -> Span {
        let cells = if self.inline { 1 + 5 + 1 + self.nick + 2 } else { 3 };
        Span::new(" ".repeat(cells), Ink::Text)
    }

    fn lead(&self, said: &Said<'_>) -> Vec<Span> {
        let time = said.time.as_deref().unwrap_or_default();
        let name = said.author.map_or("you", AccountName::as_str);
        let colour = said.author.map_or(0, words::nick_colour);
        let (name, ink) = match (said.grouped, said.kind) {
            (true, _) if self.inline => ("", Ink::Text),
            (_, MessageKind::Action) if self.inline => ("*", Ink::Nick(colour)),
            _ => (name, Ink::Nick(colour)),
        };
        if self.inline {
            let nick = text::right_aligned(name, self.nick);
            vec![Span::new(format!(" {time:5} "), Ink::Dim), Span::new(nick, ink), Span::new("  ", Ink::Text)]
        } else if said.grouped {
            vec![self.indent()]
        } else {
            let nick = text::ellipsis(name, self.nick).into_owned();
            vec![Span::new(" ", Ink::Text), Span::new(nick, ink), Span::new(format!(" {time}"), Ink::Dim)]
        }
    }
}

impl Layout<'_> {
    pub(super) fn said_rows(&self, said: &Said<'_>, rows: &mut Vec<Row>) {
        let columns = Columns::at(self.width);
        let mut lead = Some(columns.lead(said));
        if !columns.inline && !said.grouped {
            rows.push(Row::of(lead.take().unwrap_or_default()));
        }
        let mut start = |rows: &mut Vec<Row>, mut rest: Vec<Span>| {
            let mut spans = lead.take().unwrap_or_else(|| vec![columns.indent()]);
            spans.append(&mut rest);
            rows.push(Row::of(spans));
        };
        if let Some(quote) = said.reply_to.map(|seq| self.quote(seq)) {
            let quote = text::ellipsis(&quote, columns.text).into_owned();
            start(rows, vec![Span::new(quote, Ink::Dim)]);
        }
        for spans in self.lines(said, columns.text) {
            start(rows, spans);
        }
    }

    /// Whether the message is so long that it is folded.
    pub fn is_long(&self, text: &str) -> bool {
        let cells = Columns::at(self.width).text;
        text.len() > FOLD_FROM
            && block_rows(text, &Vec::new(), Ink::Dim, cells, self.highlights).len() > FOLD_FROM
    }

    fn quote(&self, seq: Seq) -> String {
        match self.room.timeline.at(seq) {
            Some(event) => match event.message() {
                Some(message) if !message.deleted => {
                    let words: Vec<&str> = message.text().split_whitespace().take(24).collect();
                    format!("↳ {}: {}", event.author, words.join(" "))
                }
                _ => "↳ a deleted message".to_owned(),
            },
            None => "↳ an earlier message".to_owned(),
        }
    }

    /// The text in rows, its words in their inks, the suffix behind it.
    fn lines(&self, said: &Said<'_>, cells: usize) -> Vec<Vec<Span>> {
        let action = said.author.filter(|_| said.kind == MessageKind::Action);
        let prefix = action.map(|author| format!("{author} ")).unwrap_or_default();
        let whole = [&prefix, said.text].concat();
        let mut marks = match said.ink {
            Ink::Text | Ink::Action => words::marked_words(&whole, self.me),
            _ => Marks::new(),
        };
        if let Some(author) = action {
            marks.insert(0, (0..prefix.len(), Ink::Nick(words::nick_colour(author))));
        }
        let found = self.find.map(|query| query.found(&whole)).unwrap_or_default();
        let found: Marks = found.into_iter().map(|range| (range, Ink::Found)).collect();
        // What was found is seen.
        let folds = said.folds && found.is_empty();
        let mut rows = block_rows(&whole, &words::overlaid(marks, found), said.ink, cells, self.highlights);
        if folds && rows.len() > FOLD_FROM {
            fold(&mut rows, cells);
        }
        if !said.suffix.is_empty() {
            add_suffix(&mut rows, said.suffix, cells);
        }
        rows
    }
}

/// Text and code in rows.
fn block_rows(whole: &str, marks: &Marks, ink: Ink, cells: usize, highlights: &Highlights) -> Vec<Vec<Span>> {
    let mut rows = Vec::new();
    for block in blocks::split(whole) {
        match block {
            Block::Text(range) => {
                let pieces = text::wrap(&whole[range.clone()], cells).into_iter();
                let piece = |piece: Range<usize>| range.start + piece.start..range.start + piece.end;
                rows.extend(pieces.map(|row| words::inked(whole, piece(row), marks, ink)));
            }
            Block::Code { name, code } => {
                let known = (ink == Ink::Text).then(|| highlights.of(&whole[name.start..code.end])).flatten();
                code_rows(whole, name, code, &Inks { marks, ink, known }, cells, &mut rows);
            }
        }
    }
    rows
}

/// The inks of code.
struct Inks<'a> {
    marks: &'a Marks,
    ink: Ink,
    /// The words of its language, as bytes of the block.
    known: Option<&'a [(Range<usize>, Syntax)]>,
}

impl Inks<'_> {
    /// The marks of a row of a block that starts at `block`: its words, and over them what is looked for. Mentions and
    /// links are words of a sentence, not of code.
    fn of_row(&self, block: usize, row: &Range<usize>) -> Marks {
        let words = highlights::within(self.known.unwrap_or_default(), row.start - block..row.end - block);
        let word = |(word, syntax): &(Range<usize>, Syntax)| {
            (block + word.start..block + word.end, Ink::Syntax(*syntax))
        };
        let found = self.marks.iter().filter(|(_, ink)| *ink == Ink::Found).cloned().collect();
        words::overlaid(words.iter().map(word).collect(), found)
    }

    fn rest(&self) -> Ink {
        if self.ink == Ink::Text && self.known.is_none() { Ink::Code } else { self.ink }
    }
}

/// Code behind a line at its left; above it what it is.
fn code_rows(
    whole: &str,
    name: Range<usize>,
    code: Range<usize>,
    inks: &Inks<'_>,
    cells: usize,
    rows: &mut Vec<Vec<Span>>,
) {
    let block = name.start;
    // Two blocks that follow one another are two.
    let follows = rows.last().is_some_and(|row| row.first().is_some_and(|span| span.text == "│ "));
    if !name.is_empty() || follows {
        let name = text::ellipsis(&whole[name], cells.saturating_sub(2)).into_owned();
        rows.push(vec![Span::new(format!("┌ {name}").trim_end(), Ink::Dim)]);
    }
    for row in text::wrap(&whole[code.clone()], cells.saturating_sub(2)) {
        let mut spans = vec![Span::new("│ ", Ink::Dim)];
        let row = code.start + row.start..code.start + row.end;
        spans.extend(words::inked(whole, row.clone(), &inks.of_row(block, &row), inks.rest()));
        rows.push(spans);
    }
}

fn fold(rows: &mut Vec<Vec<Span>>, cells: usize) {
    let rest = rows.len() - FOLD_TO;
    rows.truncate(FOLD_TO);
    let line = format!("… {rest} more lines · Alt+K, then Enter");
    rows.push(vec![Span::new(text::ellipsis(&line, cells), Ink::Dim)]);
}

fn add_suffix(rows: &mut Vec<Vec<Span>>, suffix: &'static str, cells: usize) {
    let used = |row: &[Span]| row.iter().map(|span| text::width(&span.text)).sum::<usize>();
    match rows.last_mut() {
        Some(last) if used(last) == 0 => *last = vec![Span::new(suffix, Ink::Dim)],
        Some(last) if used(last) + 1 + text::width(suffix) <= cells => {
            last.push(Span::new(format!(" {suffix}"), Ink::Dim));
        }
        _ => rows.push(vec![Span::new(suffix, Ink::Dim)]),
    }
}
