//! The scripts that carry out what is asked of the log, each as a whole or not at all; and what they answer.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use quip_protocol::{Epoch, Position};
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use crate::log::shared::contract::{
    Agreed, Answer, Ask, BatchId, CLAIM_MS, Claim, ClusterId, Incarnation, Look, Lost, Stored,
};

/// The keys of all scripts of the log, in the order in which they are told them. Of one slot, by their braces.
pub const KEYS: [&str; 5] = [STREAM, "{quip}:meta", "{quip}:batches", "{quip}:reports", "{quip}:claim"];
/// The entries.
pub const STREAM: &str = "{quip}:log";

/// A script with what it is told.
#[derive(Debug, Clone)]
pub struct Call {
    script: &'static Script,
    keys: &'static [&'static str],
    arguments: Vec<Bytes>,
}

/// Lua, and what Redis knows it by.
#[derive(Debug)]
pub struct Script {
    code: &'static str,
    sha1: String,
}

impl Script {
    /// One that is in the program.
    pub fn new(code: &'static str) -> Script {
        Script { code, sha1: redis::Script::new(code).get_hash().to_owned() }
    }
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => { $(
        static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("scripts/head.lua"), include_str!($file)))
        });
    )* };
}

scripts! {
    LOOK = "scripts/look.lua";
    READ = "scripts/read.lua";
    APPEND = "scripts/append.lua";
    FOUND = "scripts/found.lua";
    REPORT = "scripts/report.lua";
    CLAIM = "scripts/claim.lua";
    RESET = "scripts/reset.lua";
    RESTORE = "scripts/restore.lua";
    RAISE = "scripts/raise.lua";
    TRIM = "scripts/trim.lua";
}

impl Call {
    /// What carries a question out; of a `Read`, without the wait.
    pub fn of(ask: &Ask) -> Call {
        let (script, arguments): (&LazyLock<Script>, Vec<Bytes>) = match ask {
            Ask::Look => (&LOOK, Vec::new()),
            Ask::Read { after, max_bytes, .. } => (&READ, vec![text(after), text(max_bytes)]),
            Ask::Append { epoch, seen, node, batch: BatchId(batch), payload } => {
                (&APPEND, vec![text(epoch), text(seen), text(node), hex(batch), payload.clone()])
            }
            Ask::Found { cluster: ClusterId(cluster), epoch, base } => {
                (&FOUND, vec![hex(cluster), text(epoch), text(base)])
            }
            Ask::Report { node, position } => (&REPORT, vec![text(node), text(position), text(&CLAIM_MS)]),
            Ask::Claim { incarnation, claim } => (&CLAIM, of_holder(claim, [text(&incarnation.0)])),
            Ask::Reset { claim, base } => (&RESET, of_holder(claim, [text(base)])),
            Ask::Restore { claim, entries } => {
                (&RESTORE, of_holder(claim, entries.iter().flat_map(stored_arguments)))
            }
            Ask::Raise { claim, cluster: ClusterId(cluster), entry } => {
                (&RAISE, of_holder(claim, std::iter::once(hex(cluster)).chain(stored_arguments(entry))))
            }
            Ask::Trim { upto } => (&TRIM, vec![text(upto)]),
        };
        Call::new(script, &KEYS, arguments)
    }

    /// A script on these keys.
    pub fn new(script: &'static Script, keys: &'static [&'static str], arguments: Vec<Bytes>) -> Call {
        Call { script, keys, arguments }
    }

    /// As it is sent where Redis knows the script.
    pub fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.sha1)
    }

    /// As it is sent where Redis does not: from then on it does.
    pub fn whole(&self) -> Cmd {
        self.command("EVAL", self.script.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(self.keys);
        for argument in &self.arguments {
            command.arg(&argument[..]);
        }
        command
    }
}

/// Whether Redis does not know the script: it forgets them when it restarts.
pub fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// An argument as text.
pub(crate) fn text(value: &impl ToString) -> Bytes {
    Bytes::from(value.to_string())
}

/// An argument of sixteen bytes.
pub(crate) fn hex(bytes: &[u8; 16]) -> Bytes {
    Bytes::from(format!("{:032x}", u128::from_be_bytes(*bytes)))
}

fn of_holder(Claim(claim): &Claim, rest: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
    [hex(claim), text(&CLAIM_MS)].into_iter().chain(rest).collect()
}

fn stored_arguments(entry: &Stored) -> [Bytes; 3] {
    [text(&entry.before), text(&entry.position), entry.payload.clone()]
}

/// What a script answered.
///
/// # Errors
/// What no script of ours answers.
pub fn answer(value: Value) -> Result<Answer, Lost> {
    let shape = format!("an answer of an unexpected shape: {}", kind(&value));
    let answer = match value {
        Value::BulkString(word) if word == b"done" => Some(Answer::Done),
        Value::BulkString(word) if word == b"fenced" => Some(Answer::Fenced),
        Value::Array(parts) => parts_answer(parts),
        _ => None,
    };
    answer.ok_or(Lost(shape))
}

fn kind(value: &Value) -> String {
    match value {
        Value::Array(parts) => format!("a list of {}", parts.len()),
        Value::BulkString(bytes) => format!("{} bytes", bytes.len()),
        _ => "something else".into(),
    }
}

fn parts_answer(parts: Vec<Value>) -> Option<Answer> {
    let mut parts = parts.into_iter();
    match &bytes(parts.next()?)?[..] {
        b"look" => look(parts).map(Answer::Look),
        b"placed" => position(parts.next()?).map(Answer::Placed),
        b"entries" => entries(parts).map(Answer::Entries),
        _ => None,
    }
}

fn look(mut parts: impl Iterator<Item = Value>) -> Option<Look> {
    let incarnation = Incarnation(string(parts.next()?)?);
    let (cluster, agreed, epoch) = (string(parts.next()?)?, string(parts.next()?)?, string(parts.next()?)?);
    let agreed = match cluster.is_empty() {
        true => None,
        false => Some(Agreed {
            cluster: ClusterId(u128::from_str_radix(&cluster, 16).ok()?.to_be_bytes()),
            incarnation: Incarnation(agreed),
            epoch: Epoch(epoch.parse().ok()?),
        }),
    };
    let (base, last) = (position(parts.next()?)?, position(parts.next()?)?);
    let reported_for_ms = string(parts.next()?)?.parse().ok()?;
    let mut reports = BTreeMap::new();
    while let Some(node) = parts.next() {
        reports.insert(string(node)?.parse().ok()?, position(parts.next()?)?);
    }
    Some(Look { incarnation, agreed, base, last, reports, reported_for_ms })
}

fn entries(mut parts: impl Iterator<Item = Value>) -> Option<Vec<Stored>> {
    let mut entries = Vec::new();
    while let Some(place) = parts.next() {
        let (position, before) = (position(place)?, position(parts.next()?)?);
        entries.push(Stored { before, position, payload: bytes(parts.next()?)?.into() });
    }
    Some(entries)
}

/// What `XREAD` answers, of one stream.
///
/// # Errors
/// What it does not.
pub fn read_answer(value: Value) -> Result<Answer, Lost> {
    let lost = || Lost("an entry of an unexpected shape".into());
    match value {
        Value::Nil => Ok(Answer::Entries(Vec::new())),
        Value::Array(streams) => streamed(streams).map(Answer::Entries).ok_or_else(lost),
        _ => Err(lost()),
    }
}

fn streamed(streams: Vec<Value>) -> Option<Vec<Stored>> {
    let stream = list(streams.into_iter().next()?)?;
    list(stream.into_iter().nth(1)?)?.into_iter().map(stored).collect()
}

/// `[position, [b, before, p, payload]]`
fn stored(entry: Value) -> Option<Stored> {
    let mut entry = list(entry)?.into_iter();
    let place = position(entry.next()?)?;
    let mut fields = list(entry.next()?)?.into_iter();
    let before = position(fields.nth(1)?)?;
    Some(Stored { before, position: place, payload: bytes(fields.nth(1)?)?.into() })
}

/// The parts of an answer.
pub(crate) fn list(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(list) = value { Some(list) } else { None }
}

/// Part of an answer.
pub(crate) fn bytes(value: Value) -> Option<Vec<u8>> {
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}

/// Part of an answer, as text.
pub(crate) fn string(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

fn position(value: Value) -> Option<Position> {
    let text = string(value)?;
    let (epoch, offset) = text.split_once('-')?;
    Some(Position { epoch: Epoch(epoch.parse().ok()?), offset: offset.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn parts(words: &[&str]) -> Value {
        Value::Array(words.iter().map(|word| text(word)).collect())
    }

    const fn at(epoch: u32, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    #[test]
    fn what_scripts_answer_is_read() {
        let stored = Stored { before: at(1, 4), position: at(2, 5), payload: Bytes::from_static(b"x") };
        let read = Value::Array(vec![Value::Array(vec![
            text(STREAM),
            Value::Array(vec![Value::Array(vec![text("2-5"), parts(&["b", "1-4", "p", "x"])])]),
        ])]);
        assert_eq!(read_answer(read), Ok(Answer::Entries(vec![stored.clone()])));
        assert_eq!(read_answer(Value::Nil), Ok(Answer::Entries(Vec::new())));
        let table = [
            (text("done"), Answer::Done),
            (text("fenced"), Answer::Fenced),
            (parts(&["placed", "3-9"]), Answer::Placed(at(3, 9))),
            (parts(&["entries"]), Answer::Entries(Vec::new())),
            (parts(&["entries", "2-5", "1-4", "x"]), Answer::Entries(vec![stored])),
        ];
        for (value, expected) in table {
            assert_eq!(answer(value), Ok(expected));
        }
        let value = parts(&["look", "r-1", "0a", "r-0", "7", "1-0", "7-3", "12", "a", "6-2"]);
        let Ok(Answer::Look(look)) = answer(value) else { panic!("no look") };
        assert_eq!(look.agreed.map(|agreed| agreed.epoch), Some(Epoch(7)));
        assert_eq!((look.base, look.last, look.reported_for_ms), (at(1, 0), at(7, 3), 12));
        assert_eq!(look.reports, BTreeMap::from([("a".parse().unwrap(), at(6, 2))]));
    }

    #[test]
    fn what_they_do_not_answer_is_lost() {
        let broken = [
            Value::Nil,
            Value::Int(1),
            text("do"),
            parts(&[]),
            parts(&["placed"]),
            parts(&["placed", "9"]),
            parts(&["placed", "1-18446744073709551616"]),
            parts(&["entries", "1-1"]),
            parts(&["look", "r", "zz", "r", "1", "1-0", "1-0", "0"]),
            parts(&["look", "r", "", "", "", "1-0", "1-0", "0", "a"]),
            Value::Array(vec![Value::Int(1)]),
        ];
        for value in broken {
            assert!(answer(value.clone()).is_err(), "{value:?}");
        }
        for value in [Value::Int(0), parts(&["a"]), Value::Array(vec![parts(&["a", "b"])])] {
            assert!(read_answer(value.clone()).is_err(), "{value:?}");
        }
    }
}
