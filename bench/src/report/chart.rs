//! Bar charts as SVG.

use super::median::Median;
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const LABEL: f64 = 200.0;
const VALUE: f64 = 190.0;
const BAR: f64 = 22.0;
const STEP: f64 = 30.0;
const TOP: f64 = 64.0;

/// A bar: what it stands for, and what was measured.
pub struct Bar {
    /// What it stands for.
    pub label: String,
    /// Its length.
    pub value: Median,
}

impl Bar {
    /// The median of `measurements`.
    pub fn of(label: &str, measurements: &[f64]) -> Self {
        Self {
            label: label.to_owned(),
            value: Median::of(measurements.iter().copied()),
        }
    }
}

/// A horizontal bar for each of `bars`, with a whisker from its lowest to its highest measurement.
pub fn bars(title: &str, subtitle: &str, bars: &[Bar]) -> String {
    let highest = bars.iter().map(|bar| bar.value.high).fold(0.0, f64::max);
    let scale = (WIDTH - LABEL - VALUE) / if highest > 0.0 { highest } else { 1.0 };
    let height = TOP + STEP * bars.len() as f64 + 12.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"14\" role=\"img\">\n\
         <title>{title}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"26\" font-size=\"17\" font-weight=\"600\">{title}</text>\n\
         <text x=\"12\" y=\"46\" fill=\"#555555\">{subtitle}</text>\n"
    );
    for (index, Bar { label, value }) in bars.iter().enumerate() {
        let y = TOP + STEP * index as f64;
        let (middle, text) = (y + BAR / 2.0, y + BAR - 6.0);
        let (low, end, high) = (
            LABEL + value.low * scale,
            LABEL + value.median * scale,
            LABEL + value.high * scale,
        );
        let fill = if label.starts_with("extension") {
            "#2f6f9f"
        } else {
            "#a9b4bd"
        };
        // Writing to a String can't fail.
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{label}</text>\n\
             <rect x=\"{LABEL}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{fill}\"/>\n\
             <path d=\"M{low:.1} {middle:.1}H{high:.1}\" stroke=\"#222222\"/>\n\
             <text x=\"{:.1}\" y=\"{text:.1}\">{value}</text>\n",
            LABEL - 8.0,
            end - LABEL,
            high.max(end) + 8.0,
        );
    }
    svg + "</svg>\n"
}
