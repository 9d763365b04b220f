//! The figures of a run, for people. PURE.

use std::fmt::Write as _;

use quip_tests::cluster::faults::Figures;

/// A line for each.
pub fn of(figures: &Figures) -> String {
    let Figures { messages, acked, refused, repeats, failovers, seen, resets, reappended, .. } = figures;
    let mut text = format!(
        "messages     {messages} sent, {acked} acknowledged, {refused} refused, {repeats} repeated\n\
         seen         {seen} events, {failovers} connections lost, {resets} times told to fetch again\n\
         reappended   {reappended}\n"
    );
    for (name, count) in &figures.blows {
        // Writing to a string does not fail.
        let _ = writeln!(text, "blow         {count} × {name}");
    }
    for (name, count) in &figures.partitions {
        let _ = writeln!(text, "partition    {count} × {name}");
    }
    if let Some(why) = &figures.partitions_lack {
        let _ = writeln!(text, "partition    of nodes from redis alone, by a gate: {why}");
    }
    let Figures { receipt_p50_ms, receipt_p99_ms, elsewhere_p50_ms, elsewhere_p99_ms, .. } = figures;
    let _ = writeln!(
        text,
        "receipt      p50 {receipt_p50_ms:.1} ms, p99 {receipt_p99_ms:.1} ms, at most {:.0} ms",
        figures.receipt_max_ms
    );
    let _ = writeln!(text, "other node   p50 {elsewhere_p50_ms:.1} ms, p99 {elsewhere_p99_ms:.1} ms");
    let _ = writeln!(text, "silence      {:.0} ms at most without a receipt", figures.longest_silence_ms);
    text
}
