//! The text of a stream: all of it as long as it fits, else its first lines and its last. PURE; holds a few times the
//! limit of bytes, however much is read.

use std::collections::VecDeque;

use quip_protocol::SafeText;

use crate::cli::colours::Colours;

/// Room for the line that says how many are left out, in bytes.
const MARK: usize = 64;
/// Shown where a line is cut.
const CUT: char = '…';

/// What was read.
#[derive(Debug)]
pub struct Log {
    /// Most bytes of the text.
    limit: usize,
    /// The first lines, as many as fit a quarter.
    head: Lines,
    /// Whether a line was too many for the head: then all that follow go to the tail.
    head_full: bool,
    tail: Lines,
    /// Lines that were taken out of the tail.
    left_out: u64,
    line: Line,
    colours: Colours,
}

/// Lines, and how many bytes they are with their ends.
#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<String>,
    bytes: usize,
}

/// The line that is being read.
#[derive(Debug, Clone, Default)]
struct Line {
    bytes: Vec<u8>,
    /// A carriage return came: what comes next, if it is no line end, is written over the line.
    returned: bool,
    cut: bool,
}

impl Lines {
    fn push(&mut self, line: String) {
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
    }

    fn pop(&mut self) -> bool {
        let Some(line) = self.lines.pop_front() else { return false };
        self.bytes -= line.len() + 1;
        true
    }
}

impl Line {
    fn take(&mut self, byte: u8, most: usize) {
        match byte {
            b'\r' => self.returned = true,
            byte => self.push(byte, most),
        }
    }

    fn push(&mut self, byte: u8, most: usize) {
        if self.returned {
            *self = Line::default();
        }
        if self.bytes.len() < most {
            self.bytes.push(byte);
        } else {
            self.cut = true;
        }
    }

    /// What is not UTF-8, or could not be shown, is made visible: it does not end a build log.
    fn text(&self, most: usize) -> String {
        let text = SafeText::new(&String::from_utf8_lossy(&self.bytes));
        if text.len() <= most && !self.cut {
            return text.as_str().to_owned();
        }
        let mut end = text.len().min(most - CUT.len_utf8());
        while !text.as_str().is_char_boundary(end) {
            end -= 1;
        }
        // Cutting may have left something open.
        let cut = SafeText::new(&text.as_str()[..end]);
        format!("{cut}{CUT}")
    }
}

impl Log {
    /// For a text of at most `limit` bytes.
    pub fn new(limit: usize) -> Log {
        let (head, tail, line) = (Lines::default(), Lines::default(), Line::default());
        Log { limit, head, head_full: false, tail, left_out: 0, line, colours: Colours::default() }
    }

    /// Takes what was read.
    pub fn take(&mut self, bytes: &[u8]) {
        let most = self.longest_line();
        for byte in bytes {
            // No colour holds a line end: it lets go of what was begun.
            self.colours.take(*byte, |byte| match byte {
                b'\n' => {}
                byte => self.line.take(byte, most),
            });
            if *byte == b'\n' {
                self.end_line();
            }
        }
    }

    /// The line that is being read, with what may become a colour.
    fn open_line(&self) -> Option<String> {
        let (mut line, most) = (self.line.clone(), self.longest_line());
        self.colours.begun().iter().for_each(|byte| line.take(*byte, most));
        (!line.bytes.is_empty()).then(|| line.text(most))
    }

    /// The text as it is now, and `last` behind it.
    pub fn text(&self, last: Option<&str>) -> SafeText {
        let open = self.open_line();
        let head = self.head.lines.iter().map(String::as_str);
        let behind = self.tail.lines.iter().map(String::as_str);
        let behind: Vec<&str> = behind.chain(open.as_deref()).chain(last).collect();
        let bytes = self.head.bytes + behind.iter().map(|line| line.len() + 1).sum::<usize>();
        let text = if self.left_out == 0 && bytes <= self.limit {
            head.chain(behind).collect::<Vec<_>>().join("\n")
        } else {
            let shown = last_lines(&behind, self.limit - self.head.bytes - MARK);
            let left_out = self.left_out + (behind.len() - shown.len()) as u64;
            let lines = if left_out == 1 { "line" } else { "lines" };
            let mark = format!("… {left_out} {lines} left out …");
            head.chain([mark.as_str()]).chain(shown.iter().copied()).collect::<Vec<_>>().join("\n")
        };
        SafeText::new(text.trim_end_matches('\n'))
    }

    fn longest_line(&self) -> usize {
        self.limit / 2
    }

    fn end_line(&mut self) {
        let line = self.line.text(self.longest_line());
        self.line = Line::default();
        self.head_full = self.head_full || self.head.bytes + line.len() >= self.limit / 4;
        if !self.head_full {
            return self.head.push(line);
        }
        self.tail.push(line);
        while self.tail.bytes > self.limit && self.tail.pop() {
            self.left_out += 1;
        }
    }
}

/// As many of the last lines as fit.
fn last_lines<'a, 'b>(lines: &'b [&'a str], most: usize) -> &'b [&'a str] {
    let mut left = most;
    let fit = lines.iter().rev().take_while(|line| {
        let fits = line.len() < left;
        left = left.saturating_sub(line.len() + 1);
        fits
    });
    &lines[lines.len() - fit.count()..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 400;

    fn text(input: &[u8], last: Option<&str>) -> String {
        let mut log = Log::new(LIMIT);
        log.take(input);
        log.text(last).as_str().to_owned()
    }

    #[test]
    fn what_was_read_is_shown() {
        let table: &[(&[u8], Option<&str>, &str)] = &[
            (b"", None, ""),
            (b"", Some("exit 0 after 1 s"), "exit 0 after 1 s"),
            (b"one\ntwo", None, "one\ntwo"),
            (b"one\r\ntwo\r\n", None, "one\ntwo"),
            (b"one\n\n\n", None, "one"),
            (b"one\n\n", Some("exit 0"), "one\n\nexit 0"),
            (b"10 %\r20 %\r100 %\ndone", None, "100 %\ndone"),
            (b"100 %\r5 %", None, "5 %"),
            (b"10 %\r20 %\r", None, "20 %"),
            (b"caf\xff\xc3\xa9", None, "caf\u{fffd}é"),
            (b"\x1b[31mred\x1b[0m\nline\x1b[K", None, "red\nline"),
            (b"\x1b[2Jx\x1b[3", None, "\u{241b}[2Jx\u{241b}[3"),
        ];
        for (input, last, expected) in table {
            assert_eq!(text(input, *last), *expected, "{input:?}");
        }
    }

    #[test]
    fn a_character_may_come_in_parts() {
        let mut log = Log::new(LIMIT);
        log.take(b"gr\xc3");
        assert_eq!(log.text(None).as_str(), "gr\u{fffd}");
        log.take(b"\xbc\xc3\x9f");
        assert_eq!(log.text(None).as_str(), "grüß");
    }

    #[test]
    fn of_too_much_the_beginning_and_the_end_are_kept() {
        let input: String = (1..=1_000).map(|n| format!("line {n}\n")).collect();
        let text = text(input.as_bytes(), Some("exit 2 after 31 s"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[lines.len() - 1]), ("line 1", "exit 2 after 31 s"));
        assert_eq!(lines[lines.len() - 2], "line 1000");
        let mark = lines.iter().position(|line| line.starts_with('…')).unwrap();
        let left_out = 1_000 - (lines.len() - 2);
        assert_eq!(lines[mark], format!("… {left_out} lines left out …"));
        let behind = mark + left_out + 1;
        assert_eq!(
            (lines[mark - 1], lines[mark + 1]),
            (&*format!("line {mark}"), &*format!("line {behind}"))
        );
        assert!(text.len() <= LIMIT && text.len() > LIMIT / 2, "{}", text.len());
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let text = text(&[b'x'; 100_000], Some("exit 0"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[1]), (2, "exit 0"));
        assert!(lines[0].ends_with("xx…") && lines[0].len() == LIMIT / 2, "{}", lines[0].len());
    }

    #[test]
    fn no_more_is_held_than_a_few_times_the_limit() {
        let mut log = Log::new(LIMIT);
        for _ in 0..1_000 {
            log.take(b"some line of a build\n\n\n");
        }
        assert!(log.head.bytes + log.tail.bytes + log.line.bytes.len() <= 2 * LIMIT);
    }

    proptest! {
        /// Any bytes, in any pieces: the text fits, and pieces make no difference.
        #[test]
        fn the_text_fits(pieces in proptest::collection::vec(piece(), 0..30), last in "[a-z ]{0,40}") {
            let (mut log, mut at_once) = (Log::new(LIMIT), Log::new(LIMIT));
            for piece in &pieces {
                log.take(piece);
                prop_assert!(log.text(Some(&last)).len() <= LIMIT);
            }
            at_once.take(&pieces.concat());
            prop_assert_eq!(log.text(Some(&last)), at_once.text(Some(&last)));
            let text = log.text(Some(&last));
            prop_assert!(text.as_str().ends_with(&last), "{text}");
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            "[a-z\n\r\u{1b}\u{202e}\u{2068}\u{301}ü👍]{0,60}".prop_map(String::into_bytes),
        ]
    }
}
