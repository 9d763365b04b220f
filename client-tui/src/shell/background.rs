//! Whether the terminal's background is light, as the terminal says itself: it is asked by OSC 11 after the first
//! paint, and its answer, which comes among the keys, is taken out of them. Imports the app's keys.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::{Code, Key};

/// The question.
pub const QUESTION: &[u8] = b"\x1b]11;?\x07";
/// An answer that begins later is not waited for. Until then a slow line may bring it.
const WITHIN: Duration = Duration::from_secs(5);
/// How each answer begins, behind the Alt+] as which `ESC ]` comes.
const START: &str = "11;rgb";
/// No answer is longer.
const LONGEST: usize = 40;

/// Waits for the answer.
#[derive(Debug)]
pub struct Background {
    until: Instant,
    /// What may be the beginning of the answer.
    held: Vec<Key>,
    text: String,
}

/// What a key was.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// What the user typed.
    Typed(Vec<Key>),
    /// Part of the answer.
    Part,
    /// Its end, and whether the background is light, if that can be told.
    Answer(Option<bool>),
}

impl Background {
    /// It was asked at `now`.
    pub fn asked(now: Instant) -> Background {
        Background { until: now + WITHIN, held: Vec::new(), text: String::new() }
    }

    /// Whether nothing is expected any more.
    pub fn is_over(&self, now: Instant) -> bool {
        self.held.is_empty() && now > self.until
    }

    /// Takes a key.
    pub fn take(&mut self, key: Key) -> Heard {
        let begins = key == Key::alt(Code::Char(']'));
        if self.held.is_empty() && !begins {
            return Heard::Typed(vec![key]);
        }
        let ends = key == Key::ctrl(Code::Char('g')) || key == Key::alt(Code::Char('\\'));
        if ends && self.text.starts_with(START) {
            self.held.clear();
            return Heard::Answer(is_light(&std::mem::take(&mut self.text)));
        }
        match key {
            Key { code: Code::Char(c), ctrl: false, alt: false } if !self.held.is_empty() => {
                self.text.push(c)
            }
            _ if self.held.is_empty() => {}
            _ => return self.release(key),
        }
        self.held.push(key);
        let common = self.text.len().min(START.len());
        match self.text.get(..common) == Some(&START[..common]) && self.text.len() <= LONGEST {
            true => Heard::Part,
            false => self.release_all(),
        }
    }

    /// It was the user after all.
    fn release(&mut self, key: Key) -> Heard {
        self.held.push(key);
        self.release_all()
    }

    fn release_all(&mut self) -> Heard {
        self.text.clear();
        Heard::Typed(std::mem::take(&mut self.held))
    }
}

/// Of `11;rgb:ffff/ffff/ffff`; each colour has one to four hexadecimal digits.
fn is_light(answer: &str) -> Option<bool> {
    let colours = answer.split_once(':')?.1;
    let mut part = colours.split('/').map(|digits| {
        let most =
            16_u32.checked_pow(u32::try_from(digits.len()).ok()?)?.checked_sub(1).filter(|m| *m > 0)?;
        Some(f64::from(u32::from_str_radix(digits, 16).ok()?) / f64::from(most))
    });
    let mut next = || part.next().flatten();
    // How bright the eye takes it to be (ITU-R BT.601).
    Some(0.299 * next()? + 0.587 * next()? + 0.114 * next()? > 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ESC ]` as Alt+], `ESC \` as Alt+\, BEL as Ctrl+G: as they come out of crossterm.
    fn keys(bytes: &str) -> Vec<Key> {
        let mut chars = bytes.chars();
        let mut keys = Vec::new();
        while let Some(c) = chars.next() {
            keys.push(match c {
                '\u{1b}' => Key::alt(Code::Char(chars.next().unwrap())),
                '\u{7}' => Key::ctrl(Code::Char('g')),
                c => Key::plain(Code::Char(c)),
            });
        }
        keys
    }

    fn heard(bytes: &str) -> (Vec<Key>, Option<Option<bool>>) {
        let mut background = Background::asked(Instant::now());
        let (mut typed, mut answer) = (Vec::new(), None);
        for key in keys(bytes) {
            match background.take(key) {
                Heard::Typed(keys) => typed.extend(keys),
                Heard::Part => {}
                Heard::Answer(light) => answer = Some(light),
            }
        }
        (typed, answer)
    }

    #[test]
    fn an_answer_is_taken_out_of_what_is_typed() {
        let table = [
            ("\u{1b}]11;rgb:ffff/ffff/ffff\u{7}", "", Some(Some(true))),
            ("\u{1b}]11;rgb:0000/0000/0000\u{1b}\\", "", Some(Some(false))),
            ("ab\u{1b}]11;rgb:fd/f6/e3\u{1b}\\cd", "abcd", Some(Some(true))),
            ("\u{1b}]11;rgba:1c/1c/1c/ff\u{7}x", "x", Some(Some(false))),
            ("\u{1b}]11;rgb:zz/0/0\u{7}x", "x", Some(None)),
            ("\u{1b}]hello", "\u{1b}]hello", None),
            ("\u{1b}]11 men\u{7}", "\u{1b}]11 men\u{7}", None),
            ("\u{1b}b1\u{7}", "\u{1b}b1\u{7}", None),
        ];
        for (bytes, typed, answer) in table {
            assert_eq!(heard(bytes), (keys(typed), answer), "{bytes:?}");
        }
        let endless = format!("\u{1b}]11;rgb:{}", "f".repeat(100));
        assert_eq!(heard(&endless), (keys(&endless), None));
    }

    #[test]
    fn it_is_expected_for_a_while_only() {
        let now = Instant::now();
        let mut background = Background::asked(now);
        assert!(!background.is_over(now) && background.is_over(now + WITHIN * 2));
        background.take(Key::alt(Code::Char(']')));
        assert!(!background.is_over(now + WITHIN * 2), "what is held is not forgotten");
    }
}
