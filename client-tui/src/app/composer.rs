//! The line being written: text, cursor and what it is about; and the lines written before. Imports `text` alone.
//!
//! Invariant: the text is safe text, and the cursor stands on a grapheme boundary of it.

use std::ops::Range;

use quip_protocol::{SafeText, Seq};

use super::text;

/// More than this is not taken into the composer, in bytes: a message is far shorter, and every key lays it out.
pub const COMPOSER_LIMIT: usize = 256 * 1024;
/// Lines that are remembered.
const HISTORY: usize = 200;

/// What the text will become when it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum About {
    /// A new message, or a command.
    #[default]
    New,
    /// An answer to this message.
    Reply(Seq),
    /// What this message says instead.
    Edit(Seq),
}

/// The text being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Composer {
    text: String,
    cursor: usize,
    /// What it will become.
    pub about: About,
}

/// More than [`COMPOSER_LIMIT`] at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuch;

impl Composer {
    /// What is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The byte before which the cursor stands.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// It is about nothing any more if it was about a message behind `keep`; whether it was.
    pub fn let_go_behind(&mut self, keep: Seq) -> bool {
        let gone = matches!(self.about, About::Reply(seq) | About::Edit(seq) if seq > keep);
        if gone {
            self.about = About::New;
        }
        gone
    }

    /// Writes `text` instead, with the cursor at its end.
    pub fn set(&mut self, text: &str) {
        self.text = SafeText::new(text).as_str().to_owned();
        self.cursor = self.text.len();
    }

    /// Takes the text out and is empty and about nothing.
    pub fn take(&mut self) -> String {
        self.cursor = 0;
        self.about = About::New;
        std::mem::take(&mut self.text)
    }

    /// Writes `piece` at the cursor.
    ///
    /// # Errors
    /// When the text would be longer than [`COMPOSER_LIMIT`]; nothing changes.
    pub fn insert(&mut self, piece: &str) -> Result<(), TooMuch> {
        if self.text.len() + piece.len() > COMPOSER_LIMIT {
            return Err(TooMuch);
        }
        let is_plain = |text: &str| text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\t'));
        if is_plain(piece) && is_plain(&self.text) {
            self.text.insert_str(self.cursor, piece);
            self.cursor += piece.len();
        } else {
            // What is safe depends on what stands before it: joiners and combining marks.
            let left = SafeText::new(&[&self.text[..self.cursor], piece].concat());
            let right = &self.text[self.cursor..];
            self.text = SafeText::new(&[left.as_str(), right].concat()).as_str().to_owned();
            self.cursor = left.len();
        }
        self.cursor = text::snap(&self.text, self.cursor);
        Ok(())
    }

    /// Writes `with` over the bytes of `range`, which lies on grapheme boundaries.
    pub fn replace(&mut self, range: Range<usize>, with: &str) {
        let start = range.start;
        self.text.replace_range(range, with);
        self.text = SafeText::new(&self.text).as_str().to_owned();
        self.cursor = text::snap(&self.text, start + with.len());
    }

    /// One grapheme to the left.
    pub fn left(&mut self) {
        self.cursor = text::step_left(&self.text, self.cursor);
    }

    /// One grapheme to the right.
    pub fn right(&mut self) {
        self.cursor = text::step_right(&self.text, self.cursor);
    }

    /// One word to the left.
    pub fn word_left(&mut self) {
        self.cursor = text::word_left(&self.text, self.cursor);
    }

    /// One word to the right.
    pub fn word_right(&mut self) {
        self.cursor = text::word_right(&self.text, self.cursor);
    }

    /// To the line's start.
    pub fn home(&mut self) {
        self.cursor = self.line().start;
    }

    /// To the line's end.
    pub fn end(&mut self) {
        self.cursor = self.line().end;
    }

    /// The line of the cursor, without its line end.
    fn line(&self) -> Range<usize> {
        let start = self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at);
        start..end
    }

    /// Deletes the grapheme before the cursor.
    pub fn backspace(&mut self) {
        self.cut(text::step_left(&self.text, self.cursor)..self.cursor);
    }

    /// Deletes the grapheme at the cursor.
    pub fn delete(&mut self) {
        self.cut(self.cursor..text::step_right(&self.text, self.cursor));
    }

    /// Cuts to the line's start.
    pub fn cut_to_start(&mut self) -> String {
        self.cut(self.line().start..self.cursor)
    }

    /// Cuts to the line's end, or the line end itself.
    pub fn cut_to_end(&mut self) -> String {
        let end = self.line().end;
        let end = if end == self.cursor { text::step_right(&self.text, end) } else { end };
        self.cut(self.cursor..end)
    }

    /// Cuts the word before the cursor, up to a space.
    pub fn cut_word(&mut self) -> String {
        let left = self.text[..self.cursor].trim_end();
        let start = left.rfind(char::is_whitespace).map_or(0, |at| text::step_right(&self.text, at));
        self.cut(start.min(self.cursor)..self.cursor)
    }

    /// Cuts the word behind the cursor.
    pub fn cut_word_right(&mut self) -> String {
        self.cut(self.cursor..text::word_right(&self.text, self.cursor))
    }

    fn cut(&mut self, range: Range<usize>) -> String {
        let start = range.start;
        let cut: String = self.text.drain(range).collect();
        // Joiners whose left side is gone are not safe any more, and two halves can have become one grapheme.
        if !self.text.is_ascii() {
            self.text = SafeText::new(&self.text).as_str().to_owned();
        }
        self.cursor = text::snap(&self.text, start);
        cut
    }

    /// One row up at `cells` cells a row; `false` if there is none.
    pub fn up(&mut self, cells: usize) -> bool {
        let (row, column) = self.place(cells);
        row > 0 && self.go_to(cells, row - 1, column)
    }

    /// One row down at `cells` cells a row; `false` if there is none.
    pub fn down(&mut self, cells: usize) -> bool {
        let (row, column) = self.place(cells);
        self.go_to(cells, row + 1, column)
    }

    /// The cursor's row and column at `cells` cells a row.
    pub fn place(&self, cells: usize) -> (usize, usize) {
        let rows = text::wrap(&self.text, cells);
        let row = rows.iter().rposition(|row| row.start <= self.cursor).unwrap_or(0);
        let column = text::width(&self.text[rows[row].start..self.cursor]);
        (row, column.min(cells))
    }

    fn go_to(&mut self, cells: usize, row: usize, column: usize) -> bool {
        let Some(range) = text::wrap(&self.text, cells).get(row).cloned() else {
            return false;
        };
        let piece = &self.text[range.clone()];
        // A space that ends a row belongs to it, but the place behind it is the next row's first.
        let most = if self.text[range.end..].starts_with('\n') || range.end == self.text.len() {
            piece
        } else {
            &piece[..text::step_left(piece, piece.len())]
        };
        self.cursor = range.start + text::fitting(most, column).len();
        true
    }
}

/// Lines written before, newest last.
#[derive(Debug, Clone, Default)]
pub struct History {
    lines: Vec<String>,
    /// Which line is shown, and what was being written before.
    at: Option<(usize, String)>,
}

impl History {
    /// Remembers `line`.
    pub fn push(&mut self, line: &str) {
        self.at = None;
        if line.trim().is_empty() || self.lines.last().is_some_and(|last| last == line) {
            return;
        }
        self.lines.push(line.to_owned());
        if self.lines.len() > HISTORY {
            self.lines.remove(0);
        }
    }

    /// All lines, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// The line before the one shown; `current` is kept for the way back.
    pub fn older(&mut self, current: &str) -> Option<&str> {
        let (at, stash) = match self.at.take() {
            Some((at, stash)) => (at, stash),
            None => (self.lines.len(), current.to_owned()),
        };
        let next = at.checked_sub(1);
        self.at = Some((next.unwrap_or(0), stash)).filter(|_| !self.lines.is_empty());
        next.map(|at| self.lines[at].as_str())
    }

    /// The line behind the one shown, in the end what was being written.
    pub fn newer(&mut self) -> Option<String> {
        let (at, stash) = self.at.take()?;
        if at + 1 < self.lines.len() {
            self.at = Some((at + 1, stash));
            return Some(self.lines[at + 1].clone());
        }
        Some(stash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Composer {
        let cursor = text.find('|').expect("the table marks the cursor");
        let mut composer = Composer::default();
        composer.set(&text.replace('|', ""));
        composer.cursor = cursor;
        composer
    }

    fn show(composer: &Composer) -> String {
        format!("{}|{}", &composer.text[..composer.cursor], &composer.text[composer.cursor..])
    }

    /// A name, the text before, the step, the text after; `|` is the cursor.
    type Step = (&'static str, fn(&mut Composer), &'static str);

    #[test]
    fn editing() {
        let table: &[Step] = &[
            ("ab|c", Composer::left, "a|bc"),
            ("|", Composer::left, "|"),
            ("a|👩\u{200d}💻b", Composer::right, "a👩\u{200d}💻|b"),
            ("one two|", Composer::word_left, "one |two"),
            ("|one two", Composer::word_right, "one| two"),
            ("a\nb|c\nd", Composer::home, "a\n|bc\nd"),
            ("a\nb|c\nd", Composer::end, "a\nbc|\nd"),
            ("ae\u{301}|", Composer::backspace, "a|"),
            ("|e\u{301}a", Composer::delete, "|a"),
            ("one |two\nx", |c| drop(c.cut_to_start()), "|two\nx"),
            ("one |two\nx", |c| drop(c.cut_to_end()), "one |\nx"),
            ("one|\nx", |c| drop(c.cut_to_end()), "one|x"),
            ("say one-two |x", |c| drop(c.cut_word()), "say |x"),
            ("say| one two", |c| drop(c.cut_word_right()), "say| two"),
            ("abc\nd|ef", |c| assert!(c.up(10)), "a|bc\ndef"),
            ("ab|c\nd", |c| assert!(c.down(10)), "abc\nd|"),
            ("one two th|ree", |c| assert!(c.up(8)), "on|e two three"),
            ("a|", |c| c.insert("\u{1b}[2J").unwrap(), "a␛[2J|"),
            ("👩|", |c| c.insert("\u{200d}").and_then(|()| c.insert("💻")).unwrap(), "👩\u{200d}💻|"),
            ("a|b", |c| c.insert("x\r\ny").unwrap(), "ax\ny|b"),
        ];
        for (before, step, after) in table {
            let mut composer = at(before);
            step(&mut composer);
            assert_eq!(show(&composer), *after, "from {before:?}");
        }
    }

    #[test]
    fn history_goes_back_and_returns() {
        let mut history = History::default();
        for line in ["one", "two", "two", " "] {
            history.push(line);
        }
        assert_eq!(history.older("draft"), Some("two"));
        assert_eq!(history.older("two"), Some("one"));
        assert_eq!(history.older("one"), None);
        assert_eq!(history.newer().as_deref(), Some("two"));
        assert_eq!(history.newer().as_deref(), Some("draft"));
        assert_eq!(history.newer(), None);
    }

    #[test]
    fn a_text_beyond_the_limit_changes_nothing() {
        let mut composer = at("kept|");
        assert_eq!(composer.insert(&"x".repeat(COMPOSER_LIMIT)), Err(TooMuch));
        assert_eq!(composer.text(), "kept");
    }
}
