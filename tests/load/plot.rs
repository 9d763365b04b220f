//! `quip-load plot`: what runs came to, as SVG. What is drawn follows from the runs alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use plotters::coord::Shift;
use plotters::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::PlotArgs;

const SIZE: (u32, u32) = (800, 480);
const FONT: &str = "sans-serif";
/// Told apart by everyone (Okabe and Ito), and dark enough on white.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// What is drawn of a run's object.
#[derive(Debug, Clone, Deserialize)]
struct Ran {
    scenario: String,
    receivers: Option<f64>,
    senders: Option<f64>,
    deliveries_per_s: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    last_receiver_p99_ms: Option<f64>,
    server_rss_kib: Option<f64>,
    #[serde(default)]
    rate: Value,
}

/// One picture. Both axes are logarithmic.
#[derive(Debug)]
struct Chart {
    file: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    /// Where lines rarely are.
    names: SeriesLabelPosition,
    /// By name; of several runs at one x the median.
    lines: BTreeMap<String, Vec<(f64, f64)>>,
}

/// Draws them.
///
/// # Errors
/// When what is read is not what runs print, nothing of it can be drawn, or a file cannot be written.
pub fn draw(args: &PlotArgs) -> Result<()> {
    let mut text = String::new();
    for path in &args.runs {
        text += &fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        text.push('\n');
    }
    if args.runs.is_empty() {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    }
    let charts = charts(&runs(&text)?);
    ensure!(!charts.is_empty(), "nothing to draw: give it what fanout and idle print with --json");
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    charts.iter().try_for_each(|chart| chart.write(&args.out))
}

fn runs(text: &str) -> Result<Vec<Ran>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let run = |(at, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("line {} is not what a run prints", at + 1))
    };
    lines.map(run).collect()
}

/// All pictures for which there is something.
fn charts(runs: &[Ran]) -> Vec<Chart> {
    let of = |scenario: &'static str| runs.iter().filter(move |run| run.scenario == scenario);
    let deliveries = of("fanout").filter(|run| run.rate == "max").filter_map(|run| {
        let senders = run.senders?;
        let name = if senders == 1.0 { "1 sender".to_owned() } else { format!("{senders} senders") };
        Some((name, run.receivers?, run.deliveries_per_s?))
    });
    let latency = of("fanout").flat_map(|run| {
        let load = || Some((run.receivers?, run.rate.as_f64()? * run.receivers?));
        let line = |name: &str, ms: Option<f64>| {
            let (receivers, load) = load()?;
            Some((format!("{} receivers, {name}", short(receivers)), load, ms?))
        };
        let last = line("p99 of the last", run.last_receiver_p99_ms);
        [line("p50", run.p50_ms), line("p99", run.p99_ms), last].into_iter().flatten()
    });
    let memory = of("idle")
        .filter_map(|run| Some(("server".to_owned(), run.receivers?, run.server_rss_kib? / 1_024.0)));
    let charts = [
        Chart {
            file: "deliveries.svg",
            title: "Deliveries a second, as fast as they are acknowledged",
            x: "members who watch the room",
            y: "deliveries a second",
            names: SeriesLabelPosition::LowerRight,
            lines: lines(deliveries),
        },
        Chart {
            file: "latency.svg",
            title: "Latency over load",
            x: "deliveries a second",
            y: "milliseconds",
            names: SeriesLabelPosition::UpperLeft,
            lines: lines(latency),
        },
        Chart {
            file: "memory.svg",
            title: "Memory over connections",
            x: "idle connections",
            y: "resident memory of the server, MiB",
            names: SeriesLabelPosition::UpperLeft,
            lines: lines(memory),
        },
    ];
    charts.into_iter().filter(|chart| !chart.lines.is_empty()).collect()
}

fn lines(points: impl Iterator<Item = (String, f64, f64)>) -> BTreeMap<String, Vec<(f64, f64)>> {
    let mut all: BTreeMap<String, BTreeMap<u64, Vec<f64>>> = BTreeMap::new();
    // Positive numbers are in the order of their bits.
    for (name, x, y) in points.filter(|(_, x, y)| *x > 0.0 && *y > 0.0) {
        all.entry(name).or_default().entry(x.to_bits()).or_default().push(y);
    }
    let median = |(x, mut ys): (u64, Vec<f64>)| {
        ys.sort_by(f64::total_cmp);
        (f64::from_bits(x), ys[ys.len() / 2])
    };
    all.into_iter().map(|(name, points)| (name, points.into_iter().map(median).collect())).collect()
}

impl Chart {
    fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(self.file);
        fs::write(&path, self.svg()?).with_context(|| format!("cannot write {}", path.display()))
    }

    fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            self.paint(&area).map_err(|error| anyhow::anyhow!("cannot draw {}: {error}", self.file))?;
        }
        Ok(svg)
    }

    fn paint(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
    ) -> Result<(), Box<dyn std::error::Error + '_>> {
        area.fill(&WHITE)?;
        let points = || self.lines.values().flatten();
        let (x, y) = (decades(points().map(|point| point.0)), decades(points().map(|point| point.1)));
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, (FONT, 20))
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(x.log_scale(), y.log_scale())?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .axis_desc_style((FONT, 15))
            .label_style((FONT, 13))
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .bold_line_style(RGBColor(200, 200, 200))
            .light_line_style(RGBColor(238, 238, 238))
            .draw()?;
        for ((name, points), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
            chart
                .draw_series(line)?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        if self.lines.len() > 1 {
            let mut labels = chart.configure_series_labels();
            labels
                .label_font((FONT, 13))
                .background_style(WHITE.mix(0.8))
                .border_style(RGBColor(200, 200, 200));
            labels.position(self.names.clone()).draw()?;
        }
        Ok(area.present()?)
    }
}

/// From the power of ten below the least to the one above the most.
fn decades(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), v| (least.min(v), most.max(v)));
    let (from, to) = (least.log10().floor(), most.log10().ceil());
    10f64.powf(from)..10f64.powf(if to > from { to } else { from + 1.0 })
}

/// 0.5, 20, 1 k, 250 k, 1.5 M.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, " M"),
        1e3.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let text = format!("{value:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: &str = r#"
        {"scenario":"fanout","rate":"max","senders":1,"receivers":10,"deliveries_per_s":300000}
        {"scenario":"fanout","rate":"max","senders":1,"receivers":1000,"deliveries_per_s":700000}
        {"scenario":"fanout","rate":"max","senders":1,"receivers":1000,"deliveries_per_s":900000}
        {"scenario":"fanout","rate":"max","senders":1,"receivers":1000,"deliveries_per_s":100000}
        {"scenario":"fanout","rate":20.0,"senders":1,"receivers":100,"deliveries_per_s":1999,
         "p50_ms":2.0,"p99_ms":5.0,"last_receiver_p99_ms":6.0}
        {"scenario":"idle","receivers":5000,"server_rss_kib":204800}
        {"scenario":"page","receivers":1}
    "#;

    fn read() -> Vec<Ran> {
        // One of them is on two lines for the reader.
        runs(&RUNS.replace(",\n         ", ",")).unwrap()
    }

    #[test]
    fn runs_become_lines() {
        let charts = charts(&read());
        let files: Vec<&str> = charts.iter().map(|chart| chart.file).collect();
        assert_eq!(files, ["deliveries.svg", "latency.svg", "memory.svg"]);
        assert_eq!(charts[0].lines["1 sender"], [(10.0, 300_000.0), (1_000.0, 700_000.0)]);
        let names: Vec<&str> = charts[1].lines.keys().map(String::as_str).collect();
        assert_eq!(names, ["100 receivers, p50", "100 receivers, p99", "100 receivers, p99 of the last"]);
        assert_eq!(charts[1].lines["100 receivers, p99"], [(2_000.0, 5.0)]);
        assert_eq!(charts[2].lines["server"], [(5_000.0, 200.0)]);
    }

    #[test]
    fn lines_become_pictures_with_words_and_units() {
        for chart in charts(&read()) {
            let svg = chart.svg().unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            for words in [chart.title, chart.x, chart.y] {
                assert!(svg.contains(words), "{words}: {svg}");
            }
        }
    }

    #[test]
    fn what_is_no_run_is_named() {
        assert!(runs("{}\nx").unwrap_err().to_string().contains("line 1"));
        assert!(charts(&runs(r#"{"scenario":"page"}"#).unwrap()).is_empty());
    }

    #[test]
    fn axes_and_numbers() {
        assert_eq!(decades([20.0, 900.0].into_iter()), 10.0..1_000.0);
        assert_eq!(decades([100.0].into_iter()), 100.0..1_000.0);
        for (value, text) in
            [(0.5, "0.5"), (20.0, "20"), (1e3, "1 k"), (250_000.0, "250 k"), (1.5e6, "1.5 M")]
        {
            assert_eq!(short(value), text);
        }
    }
}
