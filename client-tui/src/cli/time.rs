//! Times as they are printed: RFC 3339 in UTC for programs, the local clock for people.

use jiff::tz::TimeZone;
use quip_protocol::Timestamp;

/// A time that no calendar has is shown as the last one that it has.
fn instant(at: Timestamp) -> jiff::Timestamp {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX)
}

/// `2026-11-20T23:16:00.123Z`.
pub fn rfc3339(at: Timestamp) -> String {
    format!("{:.3}", instant(at))
}

/// `2026-11-21 00:16`, by the clock of `zone`.
pub fn minute(at: Timestamp, zone: &TimeZone) -> String {
    instant(at).to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_216_560_123, "2026-11-20T23:16:00.123Z"),
            (1_795_216_560_100, "2026-11-20T23:16:00.100Z"),
            (u64::MAX, "9999-12-30T22:00:00.999Z"),
        ];
        for (ms, text) in table {
            assert_eq!(rfc3339(Timestamp(ms)), text);
        }
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(minute(Timestamp(1_795_216_560_123), &zone), "2026-11-21 00:16");
        assert_eq!(minute(Timestamp(u64::MAX), &zone).len(), "9999-12-30 23:00".len());
    }
}
