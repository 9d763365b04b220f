//! What is asked of the server's speed: each command, and the figures of its run with their bounds. PURE.

use serde_json::Value;

/// One run, and what is asked of it.
#[derive(Debug)]
pub struct Figure {
    /// The flags of `quip-load`, apart by single spaces.
    pub command: &'static str,
    /// Its rows of the table.
    pub lines: &'static [Line],
}

/// One row of the table.
#[derive(Debug)]
pub struct Line {
    what: &'static str,
    of: fn(&Value) -> Option<f64>,
    unit: &'static str,
    bound: Bound,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing is asked of it but that it is known.
    Stated,
}

use Bound::{AtLeast, AtMost, Stated};

const fn line(what: &'static str, of: fn(&Value) -> Option<f64>, unit: &'static str, bound: Bound) -> Line {
    Line { what, of, unit, bound }
}

/// All that is asked, in its order; the soak is apart, since it takes as long as all of it twice.
pub const ASKED: &[Figure] = &[
    Figure {
        command: "fanout --receivers 1000",
        lines: &[line(
            "saturated, 1,000 receivers: server CPU a delivery",
            cpu_of_delivery,
            "µs",
            AtMost(2.0),
        )],
    },
    Figure {
        command: "fanout --receivers 1000 --senders 10",
        lines: &[line("the same with 10 senders", cpu_of_delivery, "µs", AtMost(2.0))],
    },
    Figure {
        command: "fanout --receivers 200",
        lines: &[line("the same, 200 receivers, 1 sender", cpu_of_delivery, "µs", AtMost(3.0))],
    },
    Figure {
        command: "fanout --receivers 100 --rate 20",
        lines: &[
            line(
                "100 receivers, 20 messages a second: receipt p50",
                |run| of(run, "receipt_p50_ms"),
                "ms",
                AtMost(2.0),
            ),
            line("receipt p99", |run| of(run, "receipt_p99_ms"), "ms", AtMost(6.0)),
            line("delivery p50", p50, "ms", AtMost(2.0)),
            line("delivery p99", |run| of(run, "p99_ms"), "ms", AtMost(6.0)),
            line("the disk's own fdatasync beside it, p50", disk_p50, "ms", Stated),
            line("the same, p99", |run| of(run, "disk_p99_ms"), "ms", Stated),
        ],
    },
    Figure {
        command: "fanout --receivers 1000 --rate 20",
        lines: &[line(
            "1,000 receivers, 20 messages a second: last receiver p99",
            last_receiver,
            "ms",
            AtMost(40.0),
        )],
    },
    Figure {
        command: "fanout --receivers 5000 --rate 2",
        lines: &[line(
            "5,000 receivers, 2 messages a second: last receiver p99",
            last_receiver,
            "ms",
            AtMost(250.0),
        )],
    },
    Figure {
        command: "idle --connections 10000",
        lines: &[
            line(
                "10,000 idle connections: server memory of each",
                |run| of(run, "server_kib_per_connection"),
                "KiB",
                AtMost(32.0),
            ),
            line(
                "CPU with their keep-alives, of a core",
                |run| of(run, "server_cpu_percent"),
                "%",
                AtMost(3.0),
            ),
            line("whom a message to all of them reaches", |run| of(run, "delivered"), "", AtLeast(10_000.0)),
        ],
    },
    Figure {
        command: "durable --senders 8 --window 512",
        lines: &[
            line("durable messages a second", |run| of(run, "durable_per_s"), "", AtLeast(100_000.0)),
            line("server CPU of each", cpu_of_message, "µs", AtMost(8.0)),
        ],
    },
    Figure {
        command: "durable --senders 1 --window 1 --seconds 5",
        lines: &[line(
            "one sender, one message at a time: receipt p50 beyond the disk's fdatasync",
            |run| Some(p50(run)? - disk_p50(run)?),
            "ms",
            AtMost(1.0),
        )],
    },
    Figure {
        command: "page",
        lines: &[
            line("a page of 50: p50", p50, "ms", AtMost(0.6)),
            line("server CPU of a page", cpu_of_message, "µs", AtMost(60.0)),
        ],
    },
    Figure {
        command: "catchup --live 100",
        lines: &[
            line(
                "10 × 100,000 missed events: events a second",
                |run| of(run, "deliveries_per_s"),
                "",
                AtLeast(250_000.0),
            ),
            line(
                "live messages of others meanwhile, p50 over that of before",
                |run| of(run, "live_p50_ratio"),
                "",
                AtMost(2.0),
            ),
            line("the same, p99", |run| of(run, "live_p99_ratio"), "", AtMost(2.0)),
        ],
    },
    Figure {
        command: "handshake --resume",
        lines: &[
            line("a full handshake: server CPU", |run| Some(cpu_of_message(run)? / 1e3), "ms", AtMost(1.3)),
            line(
                "with a ticket, over a full one",
                |run| Some(of(run, "with_tickets_server_cpu_us")? / cpu_of_message(run)?),
                "",
                AtMost(1.0),
            ),
        ],
    },
    Figure {
        command: "stall --receivers 5000 --rate 2",
        lines: &[
            line(
                "one of 5,000 stops reading: p99 of the others over that of before",
                |run| of(run, "p99_ratio"),
                "",
                AtMost(1.1),
            ),
            line(
                "what the server's memory grows by meanwhile",
                |run| {
                    Some((of(run, "server_rss_kib_stalled")? - of(run, "server_rss_kib_before")?) / 1_024.0)
                },
                "MiB",
                AtMost(5.0),
            ),
            line("until it has caught up, exactly", |run| of(run, "caught_up_ms"), "ms", Stated),
        ],
    },
    Figure {
        command: "members --accounts 10000",
        lines: &[
            line("10,000 members in one command: the reply", |run| of(run, "created_ms"), "ms", Stated),
            line("the last of their inboxes", last_receiver, "ms", Stated),
            line("bytes of journal", |run| of(run, "journal_bytes"), "", Stated),
        ],
    },
    Figure {
        command: "overload --seconds 120",
        lines: &[line(
            "ten times what the disk takes: memory, second half over first",
            |run| Some(100.0 * of(run, "server_rss_growth")?),
            "% more",
            AtMost(5.0),
        )],
    },
];

/// Asked with `--soak` only.
pub const SOAK: Figure = Figure {
    command: "mixed --seconds 1200",
    lines: &[
        line(
            "a soak of 20 minutes: what memory grows by in the last ten",
            growth_at_the_end,
            "MiB a minute",
            AtMost(0.5),
        ),
        line("errors in its log", |run| of(run, "log_errors"), "", AtMost(0.0)),
    ],
};

/// Runs for the pictures, beside those that are asked for.
pub const DRAWN: &[&str] = &[
    "fanout --receivers 10 --seconds 5",
    "fanout --receivers 30 --seconds 5",
    "fanout --receivers 100 --seconds 5",
    "fanout --receivers 3000 --seconds 5",
    "fanout --receivers 100 --rate 1 --seconds 5",
    "fanout --receivers 100 --rate 5 --seconds 5",
    "fanout --receivers 100 --rate 50 --seconds 5",
    "fanout --receivers 100 --rate 100 --seconds 5",
    "fanout --receivers 100 --rate 200 --seconds 5",
    "idle --connections 100 --seconds 3",
    "idle --connections 300 --seconds 3",
    "idle --connections 1000 --seconds 3",
    "idle --connections 3000 --seconds 3",
];

/// What stands above the rows.
pub const HEAD: &str = "| what | asked | measured | | command |\n|---|---|---|---|---|\n";

impl Figure {
    /// The rows of a run that printed this; of one that failed there is nothing.
    pub fn rows(&self, run: Option<&Value>) -> String {
        self.lines.iter().map(|line| line.row(self.command, run)).collect()
    }
}

impl Line {
    fn row(&self, command: &str, run: Option<&Value>) -> String {
        let (measured, verdict) = match run.map(self.of) {
            None => ("the run failed".to_owned(), "no"),
            Some(None) => ("not known".to_owned(), "no"),
            Some(Some(value)) => (self.with_unit(value), self.bound.verdict(value)),
        };
        let asked = match self.bound {
            AtMost(most) => format!("≤ {}", self.with_unit(most)),
            AtLeast(least) => format!("≥ {}", self.with_unit(least)),
            Stated => "stated".to_owned(),
        };
        format!("| {} | {asked} | {measured} | {verdict} | `quip-load {command}` |\n", self.what)
    }

    fn with_unit(&self, value: f64) -> String {
        format!("{} {}", short(value), self.unit).trim_end().to_owned()
    }
}

impl Bound {
    fn verdict(self, value: f64) -> &'static str {
        match self {
            Stated => "",
            AtMost(most) if value <= most => "met",
            AtLeast(least) if value >= least => "met",
            AtMost(_) | AtLeast(_) => "**not met**",
        }
    }
}

fn of(run: &Value, name: &str) -> Option<f64> {
    run.get(name)?.as_f64()
}

fn cpu_of_delivery(run: &Value) -> Option<f64> {
    of(run, "server_cpu_us_per_delivery")
}

fn cpu_of_message(run: &Value) -> Option<f64> {
    of(run, "server_cpu_us_per_message")
}

fn p50(run: &Value) -> Option<f64> {
    of(run, "p50_ms")
}

fn disk_p50(run: &Value) -> Option<f64> {
    of(run, "disk_p50_ms")
}

fn last_receiver(run: &Value) -> Option<f64> {
    of(run, "last_receiver_p99_ms")
}

/// MiB a minute over the last ten, or as many as there are.
#[allow(clippy::cast_precision_loss, reason = "minutes of a run")]
fn growth_at_the_end(run: &Value) -> Option<f64> {
    let minutes = run.get("server_rss_kib_by_minute")?.as_array()?;
    let from = minutes.len().saturating_sub(11);
    let (first, last) = (minutes.get(from)?.as_f64()?, minutes.last()?.as_f64()?);
    let count = minutes.len() - 1 - from;
    (count > 0).then(|| (last - first) / 1_024.0 / count as f64)
}

/// Three digits or so: 0.62, 27.3, 281,000.
fn short(value: f64) -> String {
    match value.abs() {
        1_000.0.. => thousands(&format!("{value:.0}")),
        100.0.. => format!("{value:.0}"),
        10.0.. => trimmed(&format!("{value:.1}")),
        _ => trimmed(&format!("{value:.2}")),
    }
}

fn trimmed(text: &str) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn thousands(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        let left = digits.len() - at;
        if at > 0 && left.is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_is_one() {
        let asked = ASKED.iter().chain([&SOAK]).map(|figure| figure.command);
        for command in asked.chain(DRAWN.iter().copied()) {
            let parsed = Cli::try_parse_from(["quip-load"].into_iter().chain(command.split(' ')));
            assert!(parsed.is_ok(), "{command}: {parsed:?}");
        }
    }

    #[test]
    fn a_run_becomes_rows() {
        const LINES: &[Line] = &[
            line("p50", p50, "ms", AtMost(0.6)),
            line("pages", |run| of(run, "sent"), "", AtLeast(10_000.0)),
            line("disk", disk_p50, "ms", Stated),
        ];
        let figure = Figure { command: "page", lines: LINES };
        let run = json!({"p50_ms": 0.154, "sent": 9_999, "disk_p50_ms": null});
        let rows = [
            "| p50 | ≤ 0.6 ms | 0.15 ms | met | `quip-load page` |",
            "| pages | ≥ 10,000 | 9,999 | **not met** | `quip-load page` |",
            "| disk | stated | not known | no | `quip-load page` |",
        ];
        assert_eq!(figure.rows(Some(&run)).lines().collect::<Vec<_>>(), rows);
        assert!(figure.rows(None).lines().all(|row| row.contains("| the run failed | no |")));
    }

    #[test]
    fn growth_is_over_the_last_ten_minutes() {
        let minutes: Vec<u64> =
            (0..=20).map(|minute| if minute < 10 { minute * 99_999 } else { minute * 512 }).collect();
        let table = [
            (json!(minutes), Some(0.5)),
            (json!([1_024, 4_096]), Some(3.0)),
            (json!([7]), None),
            (json!([]), None),
        ];
        for (minutes, growth) in table {
            assert_eq!(growth_at_the_end(&json!({"server_rss_kib_by_minute": minutes})), growth, "{minutes}");
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.617, "0.62"),
            (2.0, "2"),
            (27.28, "27.3"),
            (139.4, "139"),
            (1e3, "1,000"),
            (281_499.6, "281,500"),
            (-1_234.0, "-1,234"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
