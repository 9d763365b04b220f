//! Entries of the log: the commands of one group, the rules by which they were decided, and their bytes. Imports
//! commands and the codec.
//!
//! `format: u8, rules: u16 (little endian), commands`. What is written here is read for ever; `tests/golden` holds
//! journals of every format and all rules.
//!
//! **How to change a rule.** What an accepted command comes to must never change: a journal in which it stands is
//! replayed, and the seqs, roles and codes that follow from it were shown to people. A refusal that is new, a limit that
//! is lower, a notice more or less, another order of changes: all of these are a new rule. So, to change one: add the
//! next number to [`Rules`], make it [`Rules::CURRENT`], and where the rule is decided ask `self.terms.rules`: below
//! that number the command comes to what it always did. Both branches stay. Then add a journal to `tests/golden`.

use quip_protocol::Epoch;
use quip_protocol::codec::{decode, encode};
use quip_protocol::safe_text::as_written;

use super::Command;

/// The layout of entries that this version writes.
const FORMAT: u8 = 1;
/// Format and rules.
const PREFIX_BYTES: usize = 3;

/// The number of the engine's rules: raised whenever a command comes to something else than before. Within a log it never
/// falls: nothing is appended by a version that does not know the rules of the last entry (`pipeline/open.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rules(u16);

impl Rules {
    /// Those of the first version.
    pub const FIRST: Rules = Rules(1);
    /// Those by which this version decides what is new.
    pub const CURRENT: Rules = Rules::FIRST;
}

/// What every command of an entry is decided under. It is in the log with the entry, so that replaying comes to the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The epoch of the entry's position, which its events and notices get.
    pub epoch: Epoch,
    /// The entry's.
    pub rules: Rules,
}

/// One entry of the log. Without commands it only raises the epoch of the log to the one of its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// By which they were decided.
    pub rules: Rules,
    /// In order.
    pub commands: Vec<Command>,
}

impl Default for Entry {
    fn default() -> Self {
        Entry { rules: Rules::CURRENT, commands: Vec::new() }
    }
}

/// Why bytes are no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// This version does not know its format or its rules.
    #[error(
        "it was written by a newer quipd (format {format}, rules {rules}); use that one, or a newer one still"
    )]
    Newer {
        /// Its format.
        format: u8,
        /// Its rules.
        rules: u16,
    },
    /// It is not what was written.
    #[error("it is not an entry: {0}")]
    Malformed(String),
}

impl Entry {
    /// As it is kept in the journal.
    pub fn to_bytes(&self) -> Vec<u8> {
        let [low, high] = self.rules.0.to_le_bytes();
        encode(&([FORMAT, low, high], &self.commands))
    }

    /// From how it is kept. Texts are as they were when it was decided.
    ///
    /// # Errors
    /// See [`EntryError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Entry, EntryError> {
        let Some(([format, rules @ ..], commands)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
            return Err(EntryError::Malformed(format!("it has {} bytes", bytes.len())));
        };
        let rules = Rules(u16::from_le_bytes(*rules));
        if *format > FORMAT || rules > Rules::CURRENT {
            return Err(EntryError::Newer { format: *format, rules: rules.0 });
        }
        if *format < FORMAT || rules < Rules::FIRST {
            return Err(EntryError::Malformed(format!("there is no format {format} with rules {}", rules.0)));
        }
        let commands = as_written(|| decode(commands, "commands"));
        let commands = commands.map_err(|e| EntryError::Malformed(e.to_string()))?;
        Ok(Entry { rules, commands })
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::{DeviceKey, MessageId, MessageKind, SafeText, Timestamp};

    use super::super::{Actor, CommandBody};
    use super::*;

    fn entry() -> Entry {
        let body = CommandBody::Post {
            target: "#ops".parse().unwrap(),
            id: MessageId::from_bytes([7; 16]),
            kind: MessageKind::Plain,
            text: SafeText::new("a???b"),
            reply_to: None,
        };
        let command = Command { at: Timestamp(5), by: Actor::Device(DeviceKey([3; 32])), body };
        Entry { commands: vec![command], ..Entry::default() }
    }

    #[test]
    fn what_was_written_is_read() {
        for entry in [entry(), Entry::default()] {
            assert_eq!(Entry::from_bytes(&entry.to_bytes()), Ok(entry));
        }
        assert_eq!(entry().to_bytes()[..PREFIX_BYTES], [1, 1, 0]);
    }

    #[test]
    fn what_is_newer_or_malformed_is_told_apart() {
        let whole = entry().to_bytes();
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            // What is newer may hold commands that are not known here.
            bytes[PREFIX_BYTES] = 0xFF;
            Entry::from_bytes(&bytes).unwrap_err()
        };
        assert_eq!(with(0, 2), EntryError::Newer { format: 2, rules: 1 });
        assert_eq!(with(1, 2), EntryError::Newer { format: 1, rules: 2 });
        assert_eq!(with(2, 1), EntryError::Newer { format: 1, rules: 257 });
        assert!(with(0, 2).to_string().contains("written by a newer quipd"));
        for malformed in [with(0, 0), with(1, 0), with(2, 0)] {
            assert!(matches!(malformed, EntryError::Malformed(_)), "{malformed}");
        }
        for end in 0..whole.len() {
            let error = Entry::from_bytes(&whole[..end]).unwrap_err();
            assert!(matches!(error, EntryError::Malformed(_)), "cut at {end}: {error}");
        }
    }

    /// As if the tables by which text is made safe had changed since.
    #[test]
    fn a_text_is_what_it_was_when_it_was_decided() {
        let mut bytes = entry().to_bytes();
        let at = bytes.windows(3).position(|three| three == b"???").unwrap();
        bytes[at..at + 3].copy_from_slice("\u{202e}".as_bytes());
        let read = Entry::from_bytes(&bytes).unwrap();
        let CommandBody::Post { text, .. } = &read.commands[0].body else { panic!("{read:?}") };
        assert_eq!(text.as_str(), "a\u{202e}b");
        assert_eq!(read.to_bytes(), bytes);
    }
}
