//! Bar charts as SVG.

use super::median::Median;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;

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

const WIDTH: u32 = 760;
/// Room for the title, the labels on the left, the longest value on the right.
const TOP: u32 = 60;
const LEFT: u32 = 200;
const RIGHT: u32 = 190;
/// From one bar to the next.
const STEP: u32 = 30;

const OURS: RGBColor = RGBColor(0x2f, 0x6f, 0x9f);
const OTHERS: RGBColor = RGBColor(0xa9, 0xb4, 0xbd);
const GREY: RGBColor = RGBColor(0x55, 0x55, 0x55);

/// A font of some pixels: the crate's sizes count 1.24 to a pixel.
fn font(pixels: f64, style: FontStyle) -> FontDesc<'static> {
    FontDesc::new(
        FontFamily::Name("system-ui, sans-serif"),
        pixels * 1.24,
        style,
    )
}

/// A horizontal bar for each of `bars`, with a whisker from its lowest to its highest measurement.
///
/// # Errors
/// The crate can't draw it.
pub fn bars(title: &str, subtitle: &str, bars: &[Bar]) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    let height = TOP + STEP * u32::try_from(bars.len())? + 12;
    let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw_text(title, &font(17.0, FontStyle::Bold).color(&BLACK), (12, 10))?;
    let text = font(14.0, FontStyle::Normal);
    root.draw_text(subtitle, &text.color(&GREY), (12, 33))?;

    let highest = bars.iter().map(|bar| bar.value.high).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .margin_top(TOP)
        .margin_bottom(12)
        .margin_left(LEFT)
        .margin_right(RIGHT)
        .build_cartesian_2d(0.0..highest.max(f64::MIN_POSITIVE), bars.len() as f64..0.0)?;
    let beside = |side| text.color(&BLACK).pos(Pos::new(side, VPos::Center));
    for (index, Bar { label, value }) in bars.iter().enumerate() {
        let middle = index as f64 + 0.5;
        let fill = if label.starts_with("extension") {
            OURS
        } else {
            OTHERS
        };
        let corners = [(0.0, middle - 0.37), (value.median, middle + 0.37)];
        let whisker = [(value.low, middle), (value.high, middle)];
        chart.draw_series([Rectangle::new(corners, fill.filled())])?;
        chart.draw_series([PathElement::new(whisker, BLACK)])?;
        chart.draw_series([
            EmptyElement::at((0.0, middle))
                + Text::new(label.clone(), (-8, 0), beside(HPos::Right)),
            EmptyElement::at((value.high, middle))
                + Text::new(value.to_string(), (8, 0), beside(HPos::Left)),
        ])?;
    }
    root.present()?;
    drop((chart, root));
    Ok(svg)
}
