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

fn count(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("{field} in {report}"))
}

#[test]
fn every_receiver_gets_every_message() {
    let report = load(&["fanout", "--receivers", "5", "--senders", "2", "--seconds", "1"]);
    assert!(count(&report, "sent") > 0);
    assert_eq!(count(&report, "delivered"), 5 * count(&report, "sent"));
    assert!(report["p50_ms"].as_f64() <= report["p99_ms"].as_f64());
    assert!(report["p99_ms"].as_f64() <= report["last_receiver_p99_ms"].as_f64());
    assert!(report["server_kib_per_connection"].is_number());
}

#[test]
fn every_scenario_runs() {
    let durable = load(&["durable", "--senders", "2", "--window", "4", "--seconds", "1"]);
    assert!(durable["durable_per_s"].as_f64() > Some(0.0) && durable["receivers"].is_null());
    let idle = load(&["idle", "--connections", "3", "--seconds", "1"]);
    assert_eq!((count(&idle, "receivers"), count(&idle, "delivered")), (3, 3));
    assert!(idle["server_cpu_percent"].is_number());
    let page = load(&["page", "--messages", "200", "--seconds", "1"]);
    assert_eq!(page["delivered"].as_u64(), page["sent"].as_u64().map(|pages| 50 * pages));
}

#[test]
fn who_was_away_catches_up_while_others_go_on() {
    let catchup = load(&["catchup", "--receivers", "3", "--missed", "500"]);
    assert_eq!((count(&catchup, "sent"), count(&catchup, "delivered")), (500, 1_500));
    let args = ["catchup", "--receivers", "2", "--missed", "5000", "--live", "3", "--live-seconds", "1"];
    let beside = load(&[&args[..], &["--live-rate", "100"]].concat());
    assert_eq!((count(&beside, "delivered"), count(&beside, "live_receivers")), (10_000, 3));
    assert!(beside["live_p99_ms_before"].is_number() && beside.get("live_p99_ratio").is_some());
}

#[test]
fn sessions_are_resumed_with_tickets() {
    let full = load(&["handshake", "--clients", "2", "--seconds", "1"]);
    assert!(count(&full, "sent") > 0 && count(&full, "server_rss_kib") > 0);
    assert!(full.get("with_tickets").is_none());
    let resumed = load(&["handshake", "--clients", "2", "--seconds", "1", "--resume"]);
    assert!(count(&resumed, "with_tickets_resumed") > 0);
    assert!(count(&resumed, "with_tickets_resumed") <= count(&resumed, "with_tickets"));
}

#[test]
fn who_stops_reading_catches_up() {
    let args = ["stall", "--receivers", "3", "--rate", "50", "--seconds", "1"];
    let stall = load(&args);
    assert_eq!((count(&stall, "sent"), count(&stall, "delivered")), (150, 450));
    assert!(count(&stall, "unsent_bytes_to_the_stalled") > 0 && stall["p99_ms_before"].is_number());
    // Its window is not full, and that is said rather than measured.
    let output = Command::new(binary("quip-load")).args(args).args(["--window", "500000"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && error.contains("was not full"), "{error}");
}

#[test]
fn every_member_of_a_new_room_is_told() {
    let members = load(&["members", "--accounts", "40"]);
    assert_eq!((count(&members, "receivers"), count(&members, "delivered")), (40, 40));
    assert!(count(&members, "journal_bytes") > 40 && members["created_ms"].as_f64() > Some(0.0));
}

#[test]
fn what_people_do_is_mixed_and_checked() {
    let args =
        ["mixed", "--accounts", "12", "--rooms", "24", "--rate", "300", "--seconds", "4", "--seed", "7"];
    let mixed = load(&args);
    for what in ["posts", "edits", "reactions", "pages", "joins", "leaves", "reconnects"] {
        assert!(count(&mixed, what) > 0, "{what} in {mixed}");
    }
    assert!(count(&mixed, "delivered") > count(&mixed, "posts"));
    assert_eq!((count(&mixed, "log_errors"), count(&mixed, "seed")), (0, 7));
    let memory = mixed["server_rss_kib_by_minute"].as_array().unwrap();
    assert_eq!(memory.len(), 2, "at the begin and at the end");
}

#[test]
fn runs_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs.jsonl");
    let fast = load(&["fanout", "--receivers", "2", "--seconds", "1"]);
    let slow = load(&["fanout", "--receivers", "2", "--rate", "50", "--seconds", "1"]);
    std::fs::write(&runs, format!("{fast}\n{slow}\n")).unwrap();
    let out = dir.path().join("plots");
    let plot = |runs: &std::path::Path| {
        Command::new(binary("quip-load")).args(["plot", "--out"]).arg(&out).arg(runs).output().unwrap()
    };
    assert!(plot(&runs).status.success());
    for name in ["deliveries.svg", "latency.svg"] {
        assert!(std::fs::read_to_string(out.join(name)).unwrap().contains("</svg>"), "{name}");
    }
    assert!(!out.join("memory.svg").exists(), "no run had idle connections");
    std::fs::write(&runs, "nonsense\n").unwrap();
    let failed = plot(&runs);
    assert!(!failed.status.success() && String::from_utf8_lossy(&failed.stderr).contains("line 1"));
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
fn several_nodes_are_measured_beside_one() {
    let args = ["cluster", "--receivers", "2", "--senders", "3", "--window", "8", "--seconds", "1"];
    let cluster = load(&args);
    for what in ["p99_ms", "same_node_p99_ms", "alone_p99_ms", "receipt_p99_ms", "alone_receipt_p99_ms"] {
        assert!(cluster[what].as_f64() > Some(0.0), "{what} in {cluster}");
    }
    assert!(cluster["durable_per_s"].as_f64() > Some(0.0) && cluster["messages_per_entry"].is_number());
    assert_eq!(cluster["node_cpu_us_per_message"].as_array().map(Vec::len), Some(3));
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
