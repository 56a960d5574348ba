//! One page with plots: throughput and latency percentiles over time, and the distribution of all latencies.

use std::path::Path;

use anyhow::{Context, anyhow};
use plotters::prelude::*;

use crate::report::Report;

/// Width and height of a plot, in pixels.
const PLOT: (u32, u32) = (900, 320);

/// Writes an HTML file with the plots in it; it needs no other file and no network.
pub(crate) fn write(path: &Path, report: &Report) -> anyhow::Result<()> {
    let seconds = &report.record.seconds;
    let throughput: Vec<_> = (0_u32..).zip(seconds).map(|(s, second)| (f64::from(s), second.answered as f64)).collect();
    let at = |quantile: f64| -> Vec<(f64, f64)> {
        let answered = (0_u32..).zip(seconds).filter(|(_, second)| second.answered > 0);
        answered.map(|(s, second)| (f64::from(s), second.times.value_at_quantile(quantile) as f64 / 1e3)).collect()
    };
    let over_time = [("p50", at(0.5)), ("p99", at(0.99)), ("p99.9", at(0.999))];
    // Equal steps towards 1 in nines, as latency plots are read.
    let nines: Vec<_> = (0..=40_u32)
        .map(|step| f64::from(step) / 10.0)
        .map(|nines| (nines, report.ms(1.0 - 10_f64.powf(-nines))))
        .collect();
    let plots = [
        plot("answers per second, over the seconds of the run", &[("answers/s", throughput)])?,
        plot("latency in ms, over the seconds of the run", &over_time)?,
        plot("latency in ms, by nines (1: 90 %, 2: 99 %, 3: 99.9 %)", &[("all answers", nines)])?,
    ];
    let ends: String =
        report.record.ends.iter().map(|(end, n)| format!("<tr><td>{end}</td><td>{n}</td></tr>")).collect();
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{name}</title>\
         <style>body{{font:16px system-ui;margin:2rem;max-width:60rem}}td{{padding:.2rem 1rem .2rem 0}}svg{{max-width:100%;height:auto}}</style>\
         <h1>{name}</h1><table><tr><td>throughput</td><td>{:.0} /s</td></tr><tr><td>p50</td><td>{:.3} ms</td></tr>\
         <tr><td>p99</td><td>{:.3} ms</td></tr><tr><td>p99.9</td><td>{:.3} ms</td></tr>{ends}</table>{}</html>",
        report.per_second(),
        report.ms(0.5),
        report.ms(0.99),
        report.ms(0.999),
        plots.concat(),
        name = report.name,
    );
    std::fs::write(path, html).with_context(|| format!("{} cannot be written", path.display()))
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
