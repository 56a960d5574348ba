//! One page with plots: throughput and latency percentiles over time, and the distribution of all latencies.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::report::{Latency, Report, write_text};

/// Width and height of a plot, in pixels.
const PLOT: (u32, u32) = (900, 320);
const STYLE: &str = "body{font:16px system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}\
    td,th{padding:.2rem 1rem .2rem 0;text-align:left;vertical-align:top}svg{max-width:100%;height:auto}";

/// Writes an HTML file with some text and the plots of reports in it; it needs no other file and no network.
pub(crate) fn write(path: &Path, title: &str, text: &str, reports: &[Report]) -> anyhow::Result<()> {
    let sections = reports.iter().map(section).collect::<anyhow::Result<Vec<_>>>()?;
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style>\
         <h1>{title}</h1>{text}{}</html>",
        sections.concat(),
    );
    write_text(path, &html)
}

/// Text as HTML shows it: ends and messages come from a server.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// One report: its figures, its plots.
fn section(report: &Report) -> anyhow::Result<String> {
    let seconds = || (0_u32..).zip(&report.seconds);
    let throughput: Vec<_> = seconds().map(|(s, second)| (f64::from(s), second.answered as f64)).collect();
    let at = |figure: fn(&Latency) -> f64| -> Vec<(f64, f64)> {
        let answered = seconds().filter(|(_, second)| second.answered > 0);
        answered.map(|(s, second)| (f64::from(s), figure(&second.latency))).collect()
    };
    let over_time = [("p50", at(|of| of.p50_ms)), ("p99", at(|of| of.p99_ms)), ("p99.9", at(|of| of.p999_ms))];
    // Equal steps towards 1 in nines, as latency plots are read.
    let nines = (0_u32..).zip(&report.nines_ms).map(|(tenths, ms)| (f64::from(tenths) / 10.0, *ms)).collect();
    let plots = [
        plot("decisions per second, over the seconds of the run", &[("decisions/s", throughput)])?,
        plot("latency in ms, over the seconds of the run", &over_time)?,
        plot("latency in ms, by nines (1: 90 %, 2: 99 %, 3: 99.9 %)", &[("all decisions", nines)])?,
    ];
    let row = |name: &str, value: String| format!("<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(&value));
    let latencies = report.latency.named().map(|(name, ms)| row(name, format!("{ms:.3} ms")));
    let cost = report.cost.as_ref().map_or_else(String::new, |cost| {
        let memory = cost.resident_bytes_max.map_or_else(|| "not told".into(), |b| format!("{} MB", b / 1_000_000));
        [
            row("syncs", format!("{:.0} /s, {:.0} entries each", cost.syncs_per_second, cost.entries_per_sync)),
            row("memory, at most", memory),
            row("disk", format!("{:.0} B a payment", cost.disk_bytes_per_payment)),
        ]
        .concat()
    });
    let oracle = report.oracle.as_ref().map_or_else(String::new, |checked| row("oracle", checked.clone()));
    let failure = report.failure.as_ref().map_or_else(String::new, |failure| row("failed", failure.clone()));
    let left_out: String = report.left_out().iter().map(|(what, count)| row(what, count.to_string())).collect();
    let ends: String = report.ends.iter().map(|(end, n)| row(end, n.to_string())).collect();
    Ok(format!(
        "<h2>{}</h2><table>{}{}{ends}{left_out}{cost}{oracle}{failure}</table>{}",
        escape(&report.name),
        row("throughput", format!("{:.0} /s", report.per_second())),
        latencies.concat(),
        plots.concat(),
    ))
}

/// One plot as SVG.
fn plot(title: &str, lines: &[(&str, Vec<(f64, f64)>)]) -> anyhow::Result<String> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let x_max = points().map(|point| point.0).fold(1.0, f64::max);
    let y_max = points().map(|point| point.1).fold(1e-3, f64::max) * 1.1;
    let mut svg = String::new();
    draw(&mut svg, title, lines, (x_max, y_max)).map_err(|error| anyhow!("a plot cannot be drawn: {error}"))?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    title: &str,
    lines: &[(&str, Vec<(f64, f64)>)],
    (x_max, y_max): (f64, f64),
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, PLOT).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..x_max, 0.0..y_max)?;
    chart.configure_mesh().light_line_style(WHITE).draw()?;
    for (n, (name, points)) in lines.iter().enumerate() {
        let color = Palette99::pick(n).to_rgba();
        let line = LineSeries::new(points.iter().copied(), color.stroke_width(2));
        chart.draw_series(line)?.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2)).draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_text_on_the_page() {
        assert_eq!(escape("<script>\"a\" & b"), "&lt;script&gt;&quot;a&quot; &amp; b");
    }
}
