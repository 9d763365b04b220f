//! What a run came to: one JSON object, or a small table.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::disk::Disk;
use crate::latency::millis;
use crate::meter::Measured;

/// The figures of a run; `null` is what does not apply or is not known here.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The subcommand.
    pub scenario: &'static str,
    /// Connections that watch.
    pub receivers: Option<u64>,
    /// Connections that send.
    pub senders: Option<u64>,
    /// Messages acknowledged; pages asked for.
    pub sent: Option<u64>,
    /// Events that reached receivers or came in pages.
    pub delivered: Option<u64>,
    /// Of those a second.
    pub deliveries_per_s: Option<f64>,
    /// Messages acknowledged a second.
    pub durable_per_s: Option<f64>,
    /// Server CPU over everything delivered.
    pub server_cpu_us_per_delivery: Option<f64>,
    /// The same server CPU over everything sent.
    pub server_cpu_us_per_message: Option<f64>,
    /// Of deliveries, where there are receivers; else of receipts, or of pages.
    pub p50_ms: Option<f64>,
    /// The same.
    pub p99_ms: Option<f64>,
    /// Until the last receiver had the message.
    pub last_receiver_p99_ms: Option<f64>,
    /// Resident memory of the server at the end.
    pub server_rss_kib: Option<u64>,
    /// What it grew by with each connection.
    pub server_kib_per_connection: Option<f64>,
    /// CPU of this program.
    pub client_cpu_s: Option<f64>,
    /// What the rates are over.
    pub seconds: f64,
    /// Of receipts.
    pub receipt_p50_ms: Option<f64>,
    /// The same.
    pub receipt_p99_ms: Option<f64>,
    /// Server CPU over the run, in percent of one core.
    pub server_cpu_percent: Option<f64>,
    /// A bare fdatasync in the server's directory, before the run.
    pub disk_p50_ms: Option<f64>,
    /// The same.
    pub disk_p99_ms: Option<f64>,
    /// What only this scenario has.
    #[serde(flatten)]
    pub noted: BTreeMap<&'static str, Value>,
}

impl Report {
    /// A report with what every run has.
    pub fn new(scenario: &'static str, measured: &Measured, disk: Option<Disk>) -> Report {
        Report {
            scenario,
            server_rss_kib: measured.server_rss_kib,
            client_cpu_s: measured.client_cpu.map(|cpu| round(cpu.as_secs_f64())),
            seconds: round(measured.seconds()),
            server_cpu_percent: measured
                .server_cpu
                .map(|cpu| round(100.0 * cpu.as_secs_f64() / measured.seconds())),
            disk_p50_ms: disk.map(|disk| round(disk.p50_ms)),
            disk_p99_ms: disk.map(|disk| round(disk.p99_ms)),
            ..Report::default()
        }
    }

    /// One more figure, which only this scenario has.
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        self.noted.insert(name, value.into());
    }

    /// As lines for people: what applies, one a line.
    pub fn table(&self) -> String {
        let common = Report { noted: BTreeMap::new(), ..self.clone() };
        let json = serde_json::to_string(&common).unwrap_or_default();
        // Neither names nor values of what is common hold a comma or a brace.
        let fields = json.trim_matches(['{', '}']).split(',').filter_map(|field| field.split_once(':'));
        let known = fields.filter(|(_, value)| *value != "null");
        let mut text: String = known.map(|(name, value)| line(name, value)).collect();
        let noted = self.noted.iter().filter(|(_, value)| !value.is_null());
        text.extend(noted.map(|(name, value)| line(name, &value.to_string())));
        if self.server_rss_kib.is_none() {
            text += "server figures are not available: another server, or a system without /proc\n";
        }
        text
    }
}

fn line(name: &str, value: &str) -> String {
    format!("{:<27} {}\n", name.trim_matches('"'), value.trim_matches('"'))
}

/// To three decimals: more would only look exact.
pub fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// `count` over `by`, if there is anything to divide by.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn per(total: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| round(total / count as f64))
}

/// How many a second.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn per_second(count: u64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| (count as f64 / seconds).round())
}

/// A quantile in milliseconds; none of nothing.
pub fn quantile(histogram: &hdrhistogram::Histogram<u64>, quantile: f64) -> Option<f64> {
    (!histogram.is_empty()).then(|| round(millis(histogram.value_at_quantile(quantile))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_apply_is_null_in_json_and_left_out_of_the_table() {
        let report = Report { scenario: "idle", receivers: Some(5), seconds: 1.5, ..Report::default() };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["scenario"], &json["receivers"]), (&"idle".into(), &5.into()));
        assert!(json["durable_per_s"].is_null() && json.as_object().unwrap().contains_key("durable_per_s"));
        let table = report.table();
        assert!(
            table.contains("receivers                   5\n") && !table.contains("durable_per_s"),
            "{table}"
        );
    }

    #[test]
    fn what_only_one_scenario_has_stands_beside_the_rest() {
        let mut report = Report { scenario: "mixed", ..Report::default() };
        report.note("rss", vec![1, 2]);
        report.note("none", None::<u64>);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["rss"][1], json["none"].is_null()), (&2.into(), true));
        let table = report.table();
        assert!(table.contains("rss                         [1,2]\n") && !table.contains("none"), "{table}");
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!((per(5.0, 0), per(5.0, 2)), (None, Some(2.5)));
        assert_eq!((per_second(5, 0.0), per_second(5, 2.0)), (None, Some(3.0)));
    }
}
