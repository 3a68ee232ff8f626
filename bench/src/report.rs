//! What is written: tables to the terminal, results.json and pictures to a folder.

use crate::Options;
use crate::chart;
use crate::contender::Contender;
use crate::growth::{Family, Memory, Policy, Scale};
use crate::measure::{Cost, Refusal, Run};
use crate::statistics::Median;
use refresh_tokens_tests::Cluster;
use serde_json::{Map, Value, json};
use std::error::Error;
use std::fs;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::path::{Path, PathBuf};

/// The results so far.
pub struct Report {
    folder: PathBuf,
    json: Map<String, Value>,
}

type Done = Result<(), Box<dyn Error>>;

impl Report {
    /// An empty one, to be written to `folder`.
    ///
    /// # Errors
    /// The folder can't be made, or the server doesn't answer.
    pub fn new(
        folder: &Path,
        cluster: &Cluster,
        options: &Options,
    ) -> Result<Self, Box<dyn Error>> {
        fs::create_dir_all(folder)?;
        let mut client = cluster.connect("postgres", "postgres");
        let version: String = client.query_one("SHOW server_version", &[])?.get(0);
        let processors = std::thread::available_parallelism()?.get();
        println!(
            "PostgreSQL {version}, {processors} processors; {} tokens in each table, families of {}; {} rounds of {} s",
            options.rows, options.family, options.rounds, options.seconds
        );
        println!(
            "Each figure is a median of the rounds (lowest to highest). CPU is that of the server's backends."
        );
        let about = json!({
            "postgresql": version,
            "processors": processors,
            "processor": processor(),
            "rows": options.rows,
            "family": options.family,
            "rounds": options.rounds,
            "seconds": options.seconds,
        });
        let mut json = Map::new();
        json.insert("about".to_owned(), about);
        Ok(Self {
            folder: folder.to_owned(),
            json,
        })
    }

    /// Shows what is being done, on a terminal only.
    pub fn progress(&mut self, what: &str) {
        if stderr().is_terminal() {
            // A progress line that can't be shown is no reason to stop.
            let _ = write!(stderr(), "\r\x1b[K{what}");
            let _ = stderr().flush();
        }
    }

    /// Throughput, latency and CPU with `synchronous_commit` as `setting`.
    ///
    /// # Errors
    /// A picture can't be written.
    pub fn throughput(&mut self, setting: &str, runs: &[Run]) -> Done {
        self.title(&format!("Refreshes, synchronous_commit {setting}"));
        println!(
            "{:<13}{:>4}  {:<26}{:>7}{:>8}{:>8}  {:<24}CPU / floor's",
            "", "conn", "per second", "p50 us", "p95", "p99", "CPU us"
        );
        let mut rows = Vec::new();
        for run in runs {
            let floor = find(runs, Contender::Floor, run.connections).unwrap_or(run);
            let measure =
                |of: fn(&crate::load::Sample) -> f64| Median::of(run.samples.iter().map(of));
            let (rate, cpu) = (measure(|s| s.rate), measure(|s| s.cpu));
            let (p50, p95, p99) = (
                measure(|s| s.quantile(0.5)),
                measure(|s| s.quantile(0.95)),
                measure(|s| s.quantile(0.99)),
            );
            let ratio = ratios(
                run.samples.iter().map(|s| s.cpu),
                floor.samples.iter().map(|s| s.cpu),
            );
            println!(
                "{:<13}{:>4}  {rate:<26}{:>7.0}{:>8.0}{:>8.0}  {cpu:<24}{ratio}",
                run.contender.name(),
                run.connections,
                p50.median,
                p95.median,
                p99.median
            );
            rows.push(json!({
                "contender": run.contender.name(),
                "connections": run.connections,
                "refreshes_per_second": rate.json(),
                "p50_us": p50.json(),
                "p95_us": p95.json(),
                "p99_us": p99.json(),
                "cpu_us": cpu.json(),
                "cpu_to_floor": ratio.json(),
            }));
        }
        self.ratios_to_peers(runs);
        self.json
            .insert(format!("synchronous_commit_{setting}"), rows.into());
        self.throughput_charts(setting, runs)
    }

    fn ratios_to_peers(&mut self, runs: &[Run]) {
        for run in runs
            .iter()
            .filter(|run| run.contender != Contender::Extension)
        {
            if let Some(ours) = find(runs, Contender::Extension, run.connections) {
                let cpu = ratios(
                    ours.samples.iter().map(|s| s.cpu),
                    run.samples.iter().map(|s| s.cpu),
                );
                let rate = ratios(
                    ours.samples.iter().map(|s| s.rate),
                    run.samples.iter().map(|s| s.rate),
                );
                println!(
                    "extension to {:<12} at {:>2} connections: CPU {cpu:<22} refreshes per second {rate}",
                    run.contender.name(),
                    run.connections
                );
            }
        }
    }

    fn throughput_charts(&self, setting: &str, runs: &[Run]) -> Done {
        let bars = |of: fn(&crate::load::Sample) -> f64| -> Vec<_> {
            runs.iter()
                .map(|run| {
                    let label = format!("{}, {}", run.contender.name(), run.connections);
                    (label, Median::of(run.samples.iter().map(of)))
                })
                .collect()
        };
        self.chart(
            &format!("throughput_{setting}"),
            "Refreshes per second",
            &format!("by contender and connections, synchronous_commit {setting}"),
            &bars(|s| s.rate),
        )?;
        self.chart(
            &format!("cpu_{setting}"),
            "Server CPU per refresh, microseconds",
            &format!("by contender and connections, synchronous_commit {setting}"),
            &bars(|s| s.cpu),
        )
    }

    /// WAL, buffers, growth, HOT updates.
    ///
    /// # Errors
    /// A picture can't be written.
    pub fn costs(&mut self, costs: &[Cost]) -> Done {
        self.title("Each refresh, beside CPU");
        println!(
            "{:<13}{:<22}{:<26}{:<22}{:<22}HOT updates of sessions",
            "", "WAL bytes", "after a checkpoint", "buffers", "growth in bytes"
        );
        let mut rows = Vec::new();
        let mut bars = Vec::new();
        for cost in costs {
            let of = |values: &[f64]| Median::of(values.iter().copied());
            let (wal, full) = (of(&cost.wal), of(&cost.wal_full_pages));
            let (buffers, growth) = (of(&cost.buffers), of(&cost.growth));
            println!(
                "{:<13}{wal:<22}{full:<26}{buffers:<22}{growth:<22}{:.1} %",
                cost.contender.name(),
                cost.hot * 100.0
            );
            rows.push(json!({
                "contender": cost.contender.name(),
                "wal_bytes": wal.json(),
                "wal_bytes_after_checkpoint": full.json(),
                "buffers": buffers.json(),
                "growth_bytes": growth.json(),
                "hot_updates_of_sessions": cost.hot,
            }));
            bars.push((cost.contender.name().to_owned(), wal));
        }
        self.json.insert("costs".to_owned(), rows.into());
        self.chart(
            "wal",
            "WAL bytes per refresh",
            "without full-page images",
            &bars,
        )
    }

    /// Refusals of malformed tokens.
    ///
    /// # Errors
    /// None, so far.
    pub fn refusals(&mut self, refusals: &[Refusal]) -> Done {
        self.title("Malformed tokens, one connection");
        println!(
            "{:<50}{:<28}{:<20}rate of ours to it",
            "", "calls per second", "CPU us"
        );
        let mut rows = Vec::new();
        for refusal in refusals {
            let of = |values: &[f64]| Median::of(values.iter().copied());
            let (rate, cpu) = (of(&refusal.rate), of(&refusal.cpu));
            let ratio = ratios(
                refusals[0].rate.iter().copied(),
                refusal.rate.iter().copied(),
            );
            println!("{:<50}{rate:<28}{cpu:<20}{ratio}", refusal.name);
            rows.push(json!({
                "called": refusal.name,
                "calls_per_second": rate.json(),
                "cpu_us": cpu.json(),
                "rate_of_refusal_to_it": ratio.json(),
            }));
        }
        self.json.insert("malformed".to_owned(), rows.into());
        Ok(())
    }

    /// Reading through a policy.
    pub fn policy(&mut self, policy: &Policy) {
        self.title("is_session_live in a row level security policy, for each row");
        let of = |values: &[f64]| Median::of(values.iter().copied());
        let (with, without) = (of(&policy.with), of(&policy.without));
        println!(
            "CPU us per row of {}: {with} with the policy, {without} without",
            policy.rows
        );
        let json = json!({
            "rows": policy.rows,
            "cpu_us_per_row": with.json(),
            "cpu_us_per_row_without": without.json(),
        });
        self.json.insert("row_level_security".to_owned(), json);
    }

    /// A backend's memory.
    pub fn memory(&mut self, memory: &[Memory]) {
        self.title("Memory of one backend");
        println!("{:<12}{:<22}memory contexts kB", "rotations", "private kB");
        let mut rows = Vec::new();
        for memory in memory {
            println!(
                "{:<12}{:<22}{}",
                memory.calls,
                memory.private / 1024,
                memory.contexts / 1024
            );
            rows.push(json!({
                "rotations": memory.calls,
                "private_bytes": memory.private,
                "memory_contexts_bytes": memory.contexts,
            }));
        }
        self.json.insert("memory".to_owned(), rows.into());
    }

    /// Calls to families of several lengths.
    ///
    /// # Errors
    /// A picture can't be written.
    pub fn families(&mut self, families: &[Family]) -> Done {
        self.title("Families of several lengths, CPU us per call");
        println!("{:<12}{:<26}{:<26}revoke", "tokens", "rotate", "replay");
        let mut rows = Vec::new();
        let mut bars = Vec::new();
        for family in families {
            let of = |values: &[f64]| Median::of(values.iter().copied());
            let (rotate, replay, revoke) =
                (of(&family.rotate), of(&family.replay), of(&family.revoke));
            println!("{:<12}{rotate:<26}{replay:<26}{revoke}", family.length);
            rows.push(json!({
                "family": family.length,
                "rotate_cpu_us": rotate.json(),
                "replay_cpu_us": replay.json(),
                "revoke_cpu_us": revoke.json(),
            }));
            bars.extend(
                [("rotate", rotate), ("replay", replay), ("revoke", revoke)]
                    .map(|(call, cost)| (format!("{call}, {}", family.length), cost)),
            );
        }
        self.json.insert("families".to_owned(), rows.into());
        let (title, subtitle) = (
            "Server CPU per call, microseconds",
            "by length of the family",
        );
        self.chart("families", title, subtitle, &bars)
    }

    /// Rotations in tables of several sizes.
    ///
    /// # Errors
    /// A picture can't be written.
    pub fn scale(&mut self, scales: &[Scale]) -> Done {
        let Some(smallest) = scales.first() else {
            return Ok(());
        };
        self.title("Tables of several sizes, one connection, synchronous_commit off");
        println!(
            "{:<12}{:<8}{:<26}{:<24}rate / the first's",
            "tokens", "MB", "per second", "CPU us"
        );
        let mut rows = Vec::new();
        let mut bars = Vec::new();
        for scale in scales {
            let of = |values: &[f64]| Median::of(values.iter().copied());
            let (rate, cpu) = (of(&scale.rate), of(&scale.cpu));
            let ratio = ratios(scale.rate.iter().copied(), smallest.rate.iter().copied());
            println!(
                "{:<12}{:<8}{rate:<26}{cpu:<24}{ratio}",
                scale.rows,
                scale.bytes >> 20
            );
            rows.push(json!({
                "rows": scale.rows,
                "bytes": scale.bytes,
                "refreshes_per_second": rate.json(),
                "cpu_us": cpu.json(),
                "rate_to_first": ratio.json(),
            }));
            bars.push((format!("{} tokens", scale.rows), cpu));
        }
        self.json.insert("scale".to_owned(), rows.into());
        let (title, subtitle) = (
            "Server CPU per rotation, microseconds",
            "by size of the table",
        );
        self.chart("scale", title, subtitle, &bars)
    }

    /// Writes results.json.
    ///
    /// # Errors
    /// It can't be written.
    pub fn finish(self) -> Done {
        let path = self.folder.join("results.json");
        fs::write(&path, serde_json::to_string_pretty(&self.json)? + "\n")?;
        println!(
            "\nresults.json and pictures are in {}",
            self.folder.display()
        );
        Ok(())
    }

    fn title(&mut self, title: &str) {
        self.progress("");
        println!("\n{title}");
    }

    fn chart(&self, name: &str, title: &str, subtitle: &str, bars: &[(String, Median)]) -> Done {
        let path = self.folder.join(format!("{name}.svg"));
        Ok(fs::write(path, chart::bars(title, subtitle, bars))?)
    }
}

fn find(runs: &[Run], contender: Contender, connections: usize) -> Option<&Run> {
    runs.iter()
        .find(|run| run.contender == contender && run.connections == connections)
}

/// The ratios round by round: what disturbed a round disturbed both sides of it.
fn ratios(ours: impl Iterator<Item = f64>, theirs: impl Iterator<Item = f64>) -> Median {
    Median::of(ours.zip(theirs).map(|(ours, theirs)| ours / theirs))
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(": ")?.1.to_owned())
}
