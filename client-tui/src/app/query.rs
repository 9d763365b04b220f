//! What is looked for, as it is written: `deploy "it failed" from:@ann in:#dev after:2d`. Imports the index's query, and
//! durations.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use quip_protocol::{Target, Timestamp};
use quip_storage::search::{Query, Term};

use crate::cli::duration::Seconds;

/// Longer lines are not looked for, in bytes.
const LONGEST: usize = 1_000;

/// Reads a line. With `typing`, its last word may be the beginning of one.
///
/// # Errors
/// One line for the user: what is wrong, and how it is written.
pub fn parse(line: &str, typing: bool, now: Timestamp, zone: &TimeZone) -> Result<Query, String> {
    if line.len() > LONGEST {
        return Err(format!("{} bytes are too long to look for; {LONGEST} are taken", line.len()));
    }
    let mut query = Query::default();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (piece, behind) = cut(rest);
        // A word that is being typed ends the line.
        let open = typing && behind.is_empty() && !line.ends_with(char::is_whitespace);
        if !filter(&mut query, piece, now, zone)? {
            query.terms.extend(term(piece, open));
        }
        rest = behind.trim_start();
    }
    Ok(query)
}

/// The first piece: a phrase with its quotes, or up to the next space.
fn cut(text: &str) -> (&str, &str) {
    let end = match text.strip_prefix('"') {
        Some(phrase) => phrase.find('"').map_or(text.len(), |at| at + 2),
        None => text.find(char::is_whitespace).unwrap_or(text.len()),
    };
    text.split_at(end)
}

/// A phrase that is closed, and a word that is not being typed, are whole; `depl*` is a beginning always.
fn term(piece: &str, open: bool) -> Option<Term> {
    let closed = piece.len() > 1 && piece.starts_with('"') && piece.ends_with('"');
    Term::new(piece, (open && !closed) || piece.ends_with('*'))
}

/// Takes `from:`, `in:`, `before:`, `after:`; `false` for a word.
fn filter(query: &mut Query, piece: &str, now: Timestamp, zone: &TimeZone) -> Result<bool, String> {
    let Some((name, value)) = piece.split_once(':') else { return Ok(false) };
    match name.to_ascii_lowercase().as_str() {
        "from" => {
            let who = value.strip_prefix('@').unwrap_or(value);
            query.from = Some(who.parse().map_err(|_| "from: is followed by a @user".to_owned())?);
        }
        "in" => query.room = Some(room(value)?),
        "before" => query.before = Some(date(value, now, zone)?),
        "after" => query.after = Some(date(value, now, zone)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// `#room`, `@user`, or a room's bare name.
fn room(value: &str) -> Result<Target, String> {
    let named = value.parse().or_else(|_| format!("#{value}").parse());
    named.map_err(|_| "in: is followed by a #room or @user".to_owned())
}

/// `2026-11-20` begins that day, `2026-11-20T14:00:00Z` is a moment, `2d` and `3h` are so long ago.
///
/// # Errors
/// When it is none of them.
pub fn date(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    if let Ok(Seconds(ago)) = text.parse() {
        return Ok(Timestamp(now.0.saturating_sub(u64::from(ago) * 1_000)));
    }
    let moment = match text.parse::<jiff::Timestamp>() {
        Ok(moment) => Some(moment),
        Err(_) => {
            text.parse::<Date>().ok().and_then(|day| Some(day.to_zoned(zone.clone()).ok()?.timestamp()))
        }
    };
    let ms = moment.and_then(|moment| u64::try_from(moment.as_millisecond()).ok());
    ms.map(Timestamp).ok_or_else(|| "a date is 2026-11-20, 2026-11-20T14:00:00Z, 2d or 3h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T14:30:00Z.
    const NOW: Timestamp = Timestamp(1_795_271_400_000);

    fn read(line: &str, typing: bool) -> Result<Query, String> {
        parse(line, typing, NOW, &TimeZone::UTC)
    }

    fn terms(terms: &[(&str, bool)]) -> Query {
        let terms = terms.iter().map(|(text, prefix)| Term::new(text, *prefix).unwrap()).collect();
        Query { terms, ..Query::default() }
    }

    #[test]
    fn words_and_phrases() {
        let table: &[(&str, &[(&str, bool)])] = &[
            ("deploy failed", &[("deploy", false), ("failed", true)]),
            ("deploy failed ", &[("deploy", false), ("failed", false)]),
            ("  \"it failed\" again", &[("it failed", false), ("again", true)]),
            ("\"it failed\"", &[("it failed", false)]),
            ("\"it fai", &[("it fai", true)]),
            ("\"", &[]),
            ("\"\"x", &[("x", true)]),
            ("src/like.rs:42", &[("src/like.rs:42", true)]),
            ("std::fmt x", &[("std::fmt", false), ("x", true)]),
            ("depl* now ", &[("depl", true), ("now", false)]),
            ("--- x", &[("x", true)]),
            ("", &[]),
        ];
        for (line, expected) in table {
            assert_eq!(read(line, true), Ok(terms(expected)), "{line:?}");
            let whole: Vec<(&str, bool)> =
                expected.iter().map(|(text, _)| (*text, line.contains(&format!("{text}*")))).collect();
            assert_eq!(read(line, false), Ok(terms(&whole)), "{line:?}, not being typed");
        }
    }

    #[test]
    fn filters() {
        let table = [
            ("from:@ann x ", Query { from: Some("ann".parse().unwrap()), ..terms(&[("x", false)]) }),
            ("FROM:ann", Query { from: Some("ann".parse().unwrap()), ..Query::default() }),
            ("in:#dev", Query { room: Some("#dev".parse().unwrap()), ..Query::default() }),
            ("in:dev", Query { room: Some("#dev".parse().unwrap()), ..Query::default() }),
            ("in:@bob", Query { room: Some("@bob".parse().unwrap()), ..Query::default() }),
            ("after:2d", Query { after: Some(Timestamp(NOW.0 - 172_800_000)), ..Query::default() }),
            ("before:2026-11-21", Query { before: Some(Timestamp(1_795_219_200_000)), ..Query::default() }),
            ("before:2026-11-21T14:30:00Z", Query { before: Some(NOW), ..Query::default() }),
            ("\"from:@ann\"", terms(&[("from ann", false)])),
        ];
        for (line, expected) in table {
            assert_eq!(read(line, true), Ok(expected), "{line}");
        }
        for wrong in
            ["from:", "from:@", "in:#", "in:", "before:", "after:soon", "before:2026-13-01", "after:2d3"]
        {
            assert!(read(wrong, true).is_err(), "{wrong}");
        }
        assert!(read(&"x".repeat(LONGEST + 1), true).is_err());
    }

    #[test]
    fn a_day_begins_where_the_user_is() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let midnight = Timestamp(1_795_219_200_000 - 2 * 3_600_000);
        assert_eq!(date("2026-11-21", NOW, &zone), Ok(midnight));
    }
}
