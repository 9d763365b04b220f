//! The load program runs, checks what it loads, and prints what it says it prints.

use std::process::Command;

use quip_tests::binary;
use serde_json::Value;

/// Fields that scripts read, in every scenario, null or not.
const FIELDS: &str = "scenario receivers senders sent delivered deliveries_per_s durable_per_s \
    server_cpu_us_per_delivery server_cpu_us_per_message p50_ms p99_ms last_receiver_p99_ms server_rss_kib \
    server_kib_per_connection client_cpu_s seconds";

fn load(args: &[&str]) -> Value {
    let output = Command::new(binary("quip-load")).arg("--json").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "no progress without a terminal");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for field in FIELDS.split_whitespace() {
        assert!(report.get(field).is_some(), "{field} in {report}");
    }
    report
}

#[test]
fn every_receiver_gets_every_message() {
    let report = load(&["fanout", "--receivers", "5", "--senders", "2", "--seconds", "1"]);
    let count = |field: &str| report[field].as_u64().unwrap();
    assert!(count("sent") > 0);
    assert_eq!(count("delivered"), 5 * count("sent"));
    assert!(report["p50_ms"].as_f64() <= report["p99_ms"].as_f64());
    assert!(report["p99_ms"].as_f64() <= report["last_receiver_p99_ms"].as_f64());
}

#[test]
fn every_scenario_runs() {
    let durable = load(&["durable", "--senders", "2", "--window", "4", "--seconds", "1"]);
    assert!(durable["durable_per_s"].as_f64() > Some(0.0) && durable["receivers"].is_null());
    let idle = load(&["idle", "--connections", "3", "--seconds", "1"]);
    assert_eq!((idle["receivers"].as_u64(), idle["delivered"].as_u64()), (Some(3), Some(3)));
    let page = load(&["page", "--messages", "200", "--seconds", "1"]);
    assert_eq!(page["delivered"].as_u64(), page["sent"].as_u64().map(|pages| 50 * pages));
    let catchup = load(&["catchup", "--receivers", "3", "--missed", "500"]);
    assert_eq!((catchup["sent"].as_u64(), catchup["delivered"].as_u64()), (Some(500), Some(1_500)));
    let handshake = load(&["handshake", "--clients", "2", "--seconds", "1"]);
    assert!(handshake["sent"].as_u64() > Some(0) && handshake["server_rss_kib"].as_u64() > Some(0));
}

#[test]
fn a_copy_is_indexed_and_searched() {
    let args = ["--json", "search", "--messages", "2000", "--rooms", "10", "--repeat", "2"];
    let output = Command::new(binary("quip-load")).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for field in ["messages", "first_build_s", "index_bytes", "catch_up_100_ms", "rss_kib", "replica_bytes"] {
        assert!(report[field].is_number(), "{field} in {report}");
    }
    let queries = report["queries"].as_array().unwrap();
    assert!(queries.iter().all(|query| query["p99_ms"].as_f64() >= query["p50_ms"].as_f64()), "{report}");
    assert!(queries.iter().any(|query| query["found"] == 200), "{report}");
}

#[test]
fn wrong_flags_are_a_usage_error() {
    for args in
        [&["fanout", "--rate", "fast"][..], &["durable", "--size", "5"], &["idle", "--connections", "0"], &[]]
    {
        let output = Command::new(binary("quip-load")).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}
