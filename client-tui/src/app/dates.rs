//! Times and days as they are shown, in the user's zone. Imports types of the protocol alone; asks no clock.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use quip_protocol::Timestamp;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn zoned(at: Timestamp, zone: &TimeZone) -> jiff::Zoned {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_zoned(zone.clone())
}

/// The day of `at`.
pub fn day(at: Timestamp, zone: &TimeZone) -> Date {
    zoned(at, zone).date()
}

/// `14:02`.
pub fn clock(at: Timestamp, zone: &TimeZone) -> String {
    let time = zoned(at, zone);
    format!("{:02}:{:02}", time.hour(), time.minute())
}

/// `Saturday 21 November`, with the year unless it is this one.
pub fn day_label(day: Date, today: Date) -> String {
    let weekday = match day.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    };
    let month = MONTHS[usize::from(day.month().unsigned_abs()).saturating_sub(1) % MONTHS.len()];
    let year = if day.year() == today.year() { String::new() } else { format!(" {}", day.year()) };
    format!("{weekday} {} {month}{year}", day.day())
}

/// `14:02` today, `20 Nov` this year, else `2025-11-20`; right-aligned in the cells of the longest.
pub fn short(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let (then, today) = (day(at, zone), day(now, zone));
    let month = MONTHS[usize::from(then.month().unsigned_abs()).saturating_sub(1) % MONTHS.len()];
    let short = match then {
        then if then == today => clock(at, zone),
        then if then.year() == today.year() => format!("{} {}", then.day(), &month[..3]),
        then => then.to_string(),
    };
    format!("{short:>10}")
}

/// `21 November 2026, 14:02`.
pub fn date_and_time(at: Timestamp, zone: &TimeZone) -> String {
    let time = zoned(at, zone);
    let month = MONTHS[usize::from(time.month().unsigned_abs()).saturating_sub(1) % MONTHS.len()];
    format!("{} {month} {}, {}", time.day(), time.year(), clock(at, zone))
}
