//! What is written: tables to the terminal; the same as tables.md, results.json and pictures to a folder.

mod chart;
mod median;
mod refreshes;
mod table;
mod tables;

use crate::progress;
use crate::results::About;
use chart::Bar;
use serde_json::{Map, Value, json};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use table::{Columns, Table};

/// The results so far.
pub struct Report {
    folder: PathBuf,
    json: Map<String, Value>,
    markdown: String,
}

type Done = Result<(), Box<dyn Error>>;

impl Report {
    /// An empty one, to be written to `folder`.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn new(folder: &Path, about: &About) -> Result<Self, Box<dyn Error>> {
        fs::create_dir_all(folder)?;
        println!(
            "PostgreSQL {}, {} processors; {} tokens in each table, families of {}; {} rounds of {} s; --seed {}",
            about.postgresql,
            about.processors,
            about.rows,
            about.family,
            about.rounds,
            about.seconds,
            about.seed
        );
        println!(
            "Each figure is a median of the rounds (lowest to highest). CPU is that of the server's backends."
        );
        let mut report = Self {
            folder: folder.to_owned(),
            json: Map::new(),
            markdown: String::new(),
        };
        report.keep("about", about_json(about));
        Ok(report)
    }

    /// Writes results.json and tables.md.
    ///
    /// # Errors
    /// They can't be written.
    pub fn finish(self) -> Done {
        let json = serde_json::to_string_pretty(&self.json)? + "\n";
        fs::write(self.folder.join("results.json"), json)?;
        fs::write(self.folder.join("tables.md"), &self.markdown)?;
        println!(
            "\nresults.json, tables.md and pictures are in {}",
            self.folder.display()
        );
        Ok(())
    }

    /// A table of `rows`, which stand in results.json as `key`.
    fn section<Row>(&mut self, title: &str, key: &str, rows: &[Row], columns: &Columns<Row>) {
        self.print(&Table::of(title, rows, columns));
        let objects: Vec<_> = rows.iter().map(|row| columns.json(row)).collect();
        self.keep(key, objects.into());
    }

    /// Prints a table, and keeps it for tables.md.
    fn print(&mut self, table: &Table) {
        progress::show("");
        print!("\n{}", table.text());
        self.markdown += &table.markdown();
    }

    /// Keeps what stands in results.json as `key`.
    fn keep(&mut self, key: &str, value: Value) {
        self.json.insert(key.to_owned(), value);
    }

    fn chart(&self, name: &str, title: &str, subtitle: &str, bars: &[Bar]) -> Done {
        let path = self.folder.join(format!("{name}.svg"));
        Ok(fs::write(path, chart::bars(title, subtitle, bars)?)?)
    }
}

fn about_json(about: &About) -> Value {
    json!({
        "postgresql": about.postgresql,
        "processors": about.processors,
        "processor": about.processor,
        "rows": about.rows,
        "family": about.family,
        "rounds": about.rounds,
        "seconds": about.seconds,
        "seed": about.seed,
    })
}
