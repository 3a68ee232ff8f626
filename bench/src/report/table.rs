//! Tables whose columns are said once: the head on paper, the key in JSON, and the value.

use super::median::Median;
use serde_json::{Map, Value};
use std::fmt;

/// What stands in a column of a row.
pub enum Cell {
    /// A name, or figures put together.
    Text(String),
    /// A number of something.
    Count(i64),
    /// A part of one: a percentage on paper.
    Share(f64),
    /// What was measured.
    Median(Median),
}

/// The columns of a table of `Row`s.
pub struct Columns<'a, Row>(Vec<Column<'a, Row>>);

struct Column<'a, Row> {
    head: Option<&'static str>,
    key: Option<&'static str>,
    value: Box<dyn Fn(&Row) -> Cell + 'a>,
}

/// A table as it is printed.
pub struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl<Row> Default for Columns<'_, Row> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, Row> Columns<'a, Row> {
    /// A column with `head` on paper and `key` in JSON.
    pub fn column(
        self,
        head: &'static str,
        key: &'static str,
        value: impl Fn(&Row) -> Cell + 'a,
    ) -> Self {
        self.and(Some(head), Some(key), value)
    }

    /// A column on paper alone.
    pub fn printed(self, head: &'static str, value: impl Fn(&Row) -> Cell + 'a) -> Self {
        self.and(Some(head), None, value)
    }

    /// A column in JSON alone.
    pub fn kept(self, key: &'static str, value: impl Fn(&Row) -> Cell + 'a) -> Self {
        self.and(None, Some(key), value)
    }

    fn and(
        mut self,
        head: Option<&'static str>,
        key: Option<&'static str>,
        value: impl Fn(&Row) -> Cell + 'a,
    ) -> Self {
        let value = Box::new(value);
        self.0.push(Column { head, key, value });
        self
    }

    /// A row as a JSON object.
    pub fn json(&self, row: &Row) -> Value {
        let members = self.0.iter().filter_map(|column| {
            let value = (column.value)(row).json();
            Some((column.key?.to_owned(), value))
        });
        Value::Object(members.collect::<Map<_, _>>())
    }

    fn head(&self) -> Vec<String> {
        let heads = self.0.iter().filter_map(|column| column.head);
        heads.map(str::to_owned).collect()
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let printed = self.0.iter().filter(|column| column.head.is_some());
        printed
            .map(|column| (column.value)(row).to_string())
            .collect()
    }
}

impl Table {
    /// `rows` under `title`.
    pub fn of<Row>(title: &str, rows: &[Row], columns: &Columns<Row>) -> Self {
        Self {
            title: title.to_owned(),
            head: columns.head(),
            rows: rows.iter().map(|row| columns.cells(row)).collect(),
        }
    }

    /// For a terminal: aligned with spaces.
    pub fn text(&self) -> String {
        let lines = || [&self.head].into_iter().chain(&self.rows);
        let width = |at: usize| lines().map(move |line| line[at].chars().count()).max();
        let widths: Vec<_> = (0..self.head.len()).filter_map(width).collect();
        let mut text = format!("{}\n", self.title);
        for line in lines() {
            let cells = line.iter().zip(&widths);
            let cells: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            text += cells.join("  ").trim_end();
            text.push('\n');
        }
        text
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let rule = vec!["---".to_owned(); self.head.len()];
        let mut text = format!("## {}\n\n", self.title);
        for line in [&self.head, &rule].into_iter().chain(&self.rows) {
            text += &format!("| {} |\n", line.join(" | "));
        }
        text.push('\n');
        text
    }
}

impl Cell {
    fn json(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Count(count) => (*count).into(),
            Self::Share(share) => (*share).into(),
            Self::Median(median) => median.json(),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.pad(text),
            Self::Count(count) => count.fmt(f),
            Self::Share(share) => write!(f, "{:.1} %", share * 100.0),
            Self::Median(median) => median.fmt(f),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Count(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Cell {
    fn from(count: i64) -> Self {
        Self::Count(count)
    }
}

impl From<Median> for Cell {
    fn from(median: Median) -> Self {
        Self::Median(median)
    }
}

/// A column of measurements: their median.
impl From<&Vec<f64>> for Cell {
    fn from(measurements: &Vec<f64>) -> Self {
        Self::Median(Median::of(measurements.iter().copied()))
    }
}
