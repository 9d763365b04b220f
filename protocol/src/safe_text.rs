//! Text from outside, made safe to show. Imports nothing of Quip.
//!
//! [`SafeText`] (a message's body) and [`SafeLine`] (everything else) are made at decode, once; nothing that is not
//! one of them, or a parsed name, reaches a terminal, a log, a file or a notification. What could move a cursor,
//! set a title, write to a clipboard or reorder what is read is replaced by a mark that is seen.

use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use unicode_width::UnicodeWidthChar;

/// Shown instead of a character that has no picture of its own.
pub const MARK: char = '\u{FFFD}';
/// Most marks on one base character; scripts in use need up to three.
const MAX_COMBINING: usize = 4;
/// Deepest nesting of bidirectional isolates.
const MAX_ISOLATES: usize = 8;

thread_local! {
    static AS_WRITTEN: Cell<bool> = const { Cell::new(false) };
}

/// Decodes what this program wrote, and made safe then: text in it is taken as it is. So what was decided on a text
/// stays decided, whatever a later version takes for safe. Not for bytes from outside, and not for what is shown:
/// whoever shows it decodes it once more.
pub fn as_written<T>(decode: impl FnOnce() -> T) -> T {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            AS_WRITTEN.set(self.0);
        }
    }
    let _reset = Reset(AS_WRITTEN.replace(true));
    decode()
}

/// The body of a message: lines of safe text, separated by `\n`, with tabs.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SafeText(String);

/// One line of safe text: a topic, a reason, a label, an emoji, an error.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SafeLine(String);

impl SafeText {
    /// Makes `text` safe. What was safe already is unchanged.
    pub fn new(text: &str) -> SafeText {
        SafeText(sanitize(text, true))
    }
}

impl SafeLine {
    /// Makes `text` one safe line: tabs and line ends become spaces.
    pub fn new(text: &str) -> SafeLine {
        SafeLine(sanitize(text, false))
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether there is none.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// Its length in bytes.
            pub fn len(&self) -> usize {
                self.0.len()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Ok(if AS_WRITTEN.get() { $name(text) } else { $name::new(&text) })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name::new(text)
            }
        }
    };
}

text_type!(SafeText);
text_type!(SafeLine);

fn sanitize(text: &str, lines: bool) -> String {
    // The common case: printable ASCII is safe as it is.
    if text.bytes().all(|b| matches!(b, b' '..=b'~') || (lines && matches!(b, b'\n' | b'\t'))) {
        return text.to_owned();
    }
    let mut out = Sanitizer { out: String::with_capacity(text.len() + 8), lines, isolates: 0, combining: 0 };
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\r' && chars.peek() == Some(&'\n') {
            continue;
        }
        out.take(c);
    }
    out.finish()
}

struct Sanitizer {
    out: String,
    lines: bool,
    isolates: usize,
    combining: usize,
}

impl Sanitizer {
    fn take(&mut self, c: char) {
        match c {
            '\n' | '\u{2028}' | '\u{2029}' => self.push(if self.lines { '\n' } else { ' ' }),
            '\t' => self.push(if self.lines { '\t' } else { ' ' }),
            // Control pictures: U+2400 shows NUL, U+241B shows ESC.
            '\0'..='\u{1F}' => self.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or(MARK)),
            '\u{7F}' => self.push('\u{2421}'),
            '\u{80}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}' => self.push(MARK),
            // Embeddings and overrides reorder what is read; isolates, balanced, do not reach beyond themselves.
            '\u{202A}'..='\u{202E}' => self.push(MARK),
            '\u{2066}'..='\u{2068}' => self.open(c),
            '\u{2069}' => self.close(),
            '\u{200C}' | '\u{200D}' | '\u{FE00}'..='\u{FE0F}' => self.join(c),
            _ if is_invisible(c) => {}
            _ if c.width() == Some(0) => self.combine(c),
            _ => self.push(c),
        }
    }

    fn push(&mut self, c: char) {
        self.combining = 0;
        self.out.push(c);
    }

    fn open(&mut self, c: char) {
        if self.isolates < MAX_ISOLATES {
            self.isolates += 1;
            self.out.push(c);
        } else {
            self.push(MARK);
        }
    }

    fn close(&mut self) {
        if self.isolates > 0 {
            self.isolates -= 1;
            self.out.push('\u{2069}');
        }
    }

    /// Joiners and variation selectors belong to emoji and to scripts that are not ASCII, and to keycaps.
    fn join(&mut self, c: char) {
        let fits = self
            .out
            .chars()
            .next_back()
            .is_some_and(|last| !last.is_ascii() || "0123456789#*".contains(last));
        if fits {
            self.combine(c);
        }
    }

    fn combine(&mut self, c: char) {
        if self.combining < MAX_COMBINING {
            self.combining += 1;
            self.out.push(c);
        }
    }

    fn finish(mut self) -> String {
        for _ in 0..self.isolates {
            self.out.push('\u{2069}');
        }
        self.out
    }
}

/// Characters that show nothing and only hide or split words.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2060}'..='\u{2065}' | '\u{206A}'..='\u{206F}' | '\u{3164}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

/// Whether `c` may stand in safe text. For tests of what reaches a terminal.
pub fn is_safe(c: char) -> bool {
    matches!(c, '\n' | '\t')
        || !(c.is_control()
            || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2028}' | '\u{2029}')
            || is_invisible(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_shown() {
        let table = [
            ("plain", "plain"),
            ("a\tb\r\nc", "a\tb\nc"),
            ("\u{1b}[31mred", "␛[31mred"),
            ("\u{1b}]52;c;aGk=\u{7}", "␛]52;c;aGk=␇"),
            ("\u{9b}31m", "\u{FFFD}31m"),
            ("a\u{7f}b", "a␡b"),
            ("abc\u{202e}fed", "abc\u{FFFD}fed"),
            ("x\u{2067}y", "x\u{2067}y\u{2069}"),
            ("x\u{2069}y", "xy"),
            ("zero\u{200b}width\u{feff}", "zerowidth"),
            ("👩\u{200d}💻 ❤\u{fe0f}", "👩\u{200d}💻 ❤\u{fe0f}"),
            ("a\u{200d}b", "ab"),
            ("über 漢字", "über 漢字"),
            ("lone\rreturn", "lone␍return"),
        ];
        for (text, shown) in table {
            assert_eq!(SafeText::new(text).as_str(), shown, "{text:?}");
        }
        let zalgo = format!("a{}b", "\u{301}".repeat(100));
        assert_eq!(SafeText::new(&zalgo).as_str(), format!("a{}b", "\u{301}".repeat(MAX_COMBINING)));
        assert_eq!(SafeLine::new("two\nlines\tand").as_str(), "two lines and");
    }

    #[test]
    fn every_character_alone() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let text = SafeText::new(&c.to_string());
            assert!(text.as_str().chars().all(is_safe), "U+{:04X}", u32::from(c));
            let line = SafeLine::new(&c.to_string());
            assert!(!line.as_str().contains(['\n', '\t']) && line.as_str().chars().all(is_safe));
        }
    }

    #[test]
    fn what_was_written_here_is_taken_as_it_is_and_nothing_else() {
        let hostile = crate::codec::encode(&"a\u{202e}b");
        let decode = || crate::codec::decode::<SafeText>(&hostile, "text").unwrap();
        assert_eq!(as_written(decode).as_str(), "a\u{202e}b");
        assert_eq!(decode().as_str(), "a\u{FFFD}b");
        let panicked = std::panic::catch_unwind(|| as_written(|| panic!("a decoder panics, in a test")));
        assert!(panicked.is_err());
        assert_eq!(decode().as_str(), "a\u{FFFD}b");
    }

    proptest! {
        #[test]
        fn making_safe_twice_changes_nothing(text in any::<String>()) {
            let once = SafeText::new(&text);
            prop_assert_eq!(&SafeText::new(once.as_str()), &once);
            prop_assert!(once.as_str().chars().all(is_safe));
            let line = SafeLine::new(&text);
            prop_assert_eq!(&SafeLine::new(line.as_str()), &line);
        }

        #[test]
        fn isolates_are_balanced(text in "[ab\u{2066}\u{2067}\u{2068}\u{2069}]{0,40}") {
            let safe = SafeText::new(&text);
            let mut depth = 0i32;
            for c in safe.as_str().chars() {
                depth += match c { '\u{2066}'..='\u{2068}' => 1, '\u{2069}' => -1, _ => 0 };
                prop_assert!((0..=MAX_ISOLATES as i32).contains(&depth));
            }
            prop_assert_eq!(depth, 0);
        }
    }
}
