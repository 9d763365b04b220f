//! Durations as a user types them: `90s`, `10m`, `24h`, `7d`. Imports nothing of Quip.

use std::str::FromStr;

/// A whole number of seconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub u32);

impl FromStr for Seconds {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text)
            .filter(|s| *s > 0)
            .map(Seconds)
            .ok_or("a duration is a number and s, m, h or d, such as 24h")
    }
}

fn parse(text: &str) -> Option<u32> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let table = [
            ("90s", Some(90)),
            ("10m", Some(600)),
            ("24h", Some(86_400)),
            ("7d", Some(604_800)),
            ("0s", None),
            ("24", None),
            ("h", None),
            ("", None),
            ("-1h", None),
            ("1h30m", None),
            ("1 h", None),
            ("4294967296s", None),
            ("50000d", None),
            ("1é", None),
        ];
        for (text, seconds) in table {
            assert_eq!(text.parse::<Seconds>().ok().map(|s| s.0), seconds, "{text:?}");
        }
    }
}
