//! Entries of the log: the commands of one group, the rules by which they are decided, and their bytes. Imports
//! commands, the codec, and what a batch of a shared log is named by.
//!
//! Format 1, *decided*: `format: u8, rules: u16 (little endian), commands`. A single node decides its commands before it
//! writes them: what it refused is not in the entry, and whoever replays it accepts all of them.
//! Format 2, *undecided*: `format: u8, rules: u16, batch: 16 bytes, commands`. In a shared log commands get their place
//! before anybody decides them. Every node decides them when it applies the entry, and comes to the same; a refused one changes nothing, and
//! stays where it is. What is written here is read for ever; `tests/golden` holds journals of every format and all rules.
//!
//! **How to change a rule.** What an accepted command comes to must never change: a journal in which it stands is
//! replayed, and the seqs, roles and codes that follow from it were shown to people. A refusal that is new, a limit that
//! is lower, a notice more or less, another order of changes: all of these are a new rule. Where entries are undecided so is
//! what is no longer refused: a refusal is a result as any other. So, to change one: add the
//! next number to [`Rules`], make it [`Rules::CURRENT`], and where the rule is decided ask `self.terms.rules`: below
//! that number the command comes to what it always did. Both branches stay. Then add a journal to `tests/golden`.

use quip_protocol::Epoch;
use quip_protocol::codec::{decode, encode};
use quip_protocol::safe_text::as_written;

use crate::log::shared::contract::BatchId;

use super::Command;

/// The layout of what was decided before it was written.
const DECIDED: u8 = 1;
/// The layout of what is decided when it is applied.
const UNDECIDED: u8 = 2;
/// Format and rules.
const PREFIX_BYTES: usize = 3;
/// What a batch is named by stands behind them.
const BATCH_BYTES: usize = 16;

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
    /// By which they are decided.
    pub rules: Rules,
    /// What a node appended it to a shared log as: its commands were not decided before, and may be refused. None where they
    /// were.
    pub batch: Option<BatchId>,
    /// In order.
    pub commands: Vec<Command>,
}

impl Default for Entry {
    fn default() -> Self {
        Entry { rules: Rules::CURRENT, batch: None, commands: Vec::new() }
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
    /// One for a shared log, to be decided where it will stand.
    pub fn undecided(batch: BatchId, commands: Vec<Command>) -> Entry {
        Entry { batch: Some(batch), commands, ..Entry::default() }
    }

    /// As it is kept in the journal.
    pub fn to_bytes(&self) -> Vec<u8> {
        let [low, high] = self.rules.0.to_le_bytes();
        match self.batch {
            None => encode(&([DECIDED, low, high], &self.commands)),
            Some(BatchId(batch)) => encode(&([UNDECIDED, low, high], batch, &self.commands)),
        }
    }

    /// What the entry of these bytes was appended as, without decoding it; nothing of one that was decided before.
    pub fn batch_of(bytes: &[u8]) -> Option<BatchId> {
        let ([UNDECIDED, ..], rest) = bytes.split_first_chunk::<PREFIX_BYTES>()? else { return None };
        rest.first_chunk::<BATCH_BYTES>().map(|batch| BatchId(*batch))
    }

    /// From how it is kept. Texts are as they were when it was written.
    ///
    /// # Errors
    /// See [`EntryError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Entry, EntryError> {
        let malformed = || EntryError::Malformed(format!("it has {} bytes", bytes.len()));
        let ([format, rules @ ..], rest) = bytes.split_first_chunk::<PREFIX_BYTES>().ok_or_else(malformed)?;
        let rules = Rules(u16::from_le_bytes(*rules));
        if *format > UNDECIDED || rules > Rules::CURRENT {
            return Err(EntryError::Newer { format: *format, rules: rules.0 });
        }
        if *format < DECIDED || rules < Rules::FIRST {
            return Err(EntryError::Malformed(format!("there is no format {format} with rules {}", rules.0)));
        }
        let batch = Entry::batch_of(bytes);
        let commands = match *format {
            UNDECIDED => rest.get(BATCH_BYTES..).ok_or_else(malformed)?,
            _ => rest,
        };
        let commands = as_written(|| decode(commands, "commands"));
        let commands = commands.map_err(|e| EntryError::Malformed(e.to_string()))?;
        Ok(Entry { rules, batch, commands })
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
        let undecided = Entry { batch: Some(BatchId([9; 16])), ..entry() };
        for entry in
            [entry(), Entry::default(), undecided.clone(), Entry::undecided(BatchId([0; 16]), vec![])]
        {
            assert_eq!(Entry::batch_of(&entry.to_bytes()), entry.batch);
            assert_eq!(Entry::from_bytes(&entry.to_bytes()), Ok(entry));
        }
        assert_eq!(entry().to_bytes()[..PREFIX_BYTES], [1, 1, 0]);
        let bytes = undecided.to_bytes();
        assert_eq!(bytes[..PREFIX_BYTES + BATCH_BYTES], [[2, 1, 0].as_slice(), &[9; 16]].concat());
        assert_eq!(bytes[PREFIX_BYTES + BATCH_BYTES..], entry().to_bytes()[PREFIX_BYTES..]);
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
        assert_eq!(with(0, 3), EntryError::Newer { format: 3, rules: 1 });
        assert_eq!(with(1, 2), EntryError::Newer { format: 1, rules: 2 });
        assert_eq!(with(2, 1), EntryError::Newer { format: 1, rules: 257 });
        assert!(with(0, 3).to_string().contains("written by a newer quipd"));
        for malformed in [with(0, 0), with(1, 0), with(2, 0)] {
            assert!(matches!(malformed, EntryError::Malformed(_)), "{malformed}");
        }
        let undecided = Entry { batch: Some(BatchId([9; 16])), ..entry() }.to_bytes();
        for whole in [whole, undecided] {
            for end in 0..whole.len() {
                let error = Entry::from_bytes(&whole[..end]).unwrap_err();
                assert!(matches!(error, EntryError::Malformed(_)), "cut at {end}: {error}");
            }
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
