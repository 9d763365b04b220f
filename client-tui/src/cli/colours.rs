//! The colours of a program's output, which are no text: taken out byte by byte, so that it may come in pieces. PURE;
//! imports nothing.

const ESC: u8 = 0x1b;
/// No colour is longer, in bytes.
const LONGEST: usize = 64;

/// Takes colours out: `ESC [ … m`, and `ESC [ … K`, which compilers write behind each of them. Every other sequence stays,
/// to be made visible.
#[derive(Debug, Default)]
pub struct Colours {
    /// What may be the beginning of one.
    begun: Vec<u8>,
}

impl Colours {
    /// Takes a byte. What is text, up to here, goes to `text`.
    pub fn take(&mut self, byte: u8, mut text: impl FnMut(u8)) {
        match (self.begun.as_slice(), byte) {
            ([], ESC) | ([ESC], b'[') => self.begun.push(byte),
            ([], _) => text(byte),
            ([_, _, ..], b'm' | b'K') => self.begun.clear(),
            ([_, _, rest @ ..], b'0'..=b'9' | b';' | b':') if rest.len() < LONGEST => self.begun.push(byte),
            _ => {
                self.begun.drain(..).for_each(&mut text);
                if byte == ESC { self.begun.push(byte) } else { text(byte) }
            }
        }
    }

    /// The beginning of a colour that has no end yet.
    pub fn begun(&self) -> &[u8] {
        &self.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stripped(input: &[u8]) -> Vec<u8> {
        let (mut colours, mut found) = (Colours::default(), Vec::new());
        input.iter().for_each(|byte| colours.take(*byte, |byte| found.push(byte)));
        found.extend(colours.begun());
        found
    }

    #[test]
    fn colours_go_and_all_else_stays() {
        let table: &[(&[u8], &[u8])] = &[
            (b"plain", b"plain"),
            (b"\x1b[31mred\x1b[0m", b"red"),
            (b"\x1b[mnone\x1b[K", b"none"),
            (b"\x1b[01;31m\x1b[Kerror:\x1b[m\x1b[K it", b"error: it"),
            (b"\x1b[38;5;208mx\x1b[38:2::1:2:3my", b"xy"),
            (b"\x1b[2Jgone", b"\x1b[2Jgone"),
            (b"\x1b]0;title\x07", b"\x1b]0;title\x07"),
            (b"\x1b\x1b[1mbold", b"\x1bbold"),
            (b"\x1b[3\x1b[1mbold", b"\x1b[3bold"),
            (b"[31m", b"[31m"),
            (b"\x1b[31", b"\x1b[31"),
            (b"\x1b", b"\x1b"),
        ];
        for (input, expected) in table {
            assert_eq!(stripped(input), *expected, "{:?}", String::from_utf8_lossy(input));
        }
        let endless = [b"\x1b[".to_vec(), vec![b'1'; 100_000]].concat();
        assert_eq!(stripped(&endless), endless);
    }

    proptest! {
        /// Whatever comes, nothing but whole colours is missing.
        #[test]
        fn nothing_else_is_lost(input in "(\u{1b}|\\[|[0-9;]|m|K|J|x){0,80}") {
            let (mut colours, mut found, mut left) = (Colours::default(), 0, 0);
            for byte in input.bytes() {
                let begun = colours.begun().len();
                let before = found;
                colours.take(byte, |_| found += 1);
                let gone = (before + begun + 1) - (found + colours.begun().len());
                prop_assert!(gone == 0 || (matches!(byte, b'm' | b'K') && gone == begun + 1));
                left += gone;
            }
            prop_assert_eq!(found + colours.begun().len() + left, input.len());
        }
    }
}
