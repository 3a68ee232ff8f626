//! What is written: tables to the terminal; the same as tables.md, results.json and pictures to a folder.

use crate::Options;
use crate::calls::{Call, User};
use crate::chart;
use crate::contender::Contender;
use crate::growth::{Family, Memory, Policy, Scale};
use crate::load::Sample;
use crate::measure::{Commit, Cost, Refusal, Run};
use crate::peers::Peer;
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
    markdown: String,
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
            markdown: String::new(),
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

    /// Throughput, latency and CPU where a commit waits for `commit`.
    ///
    /// # Errors
    /// A picture can't be written.
    pub fn throughput(&mut self, commit: Commit, runs: &[Run]) -> Done {
        let mut json = Vec::new();
        let mut rows = Vec::new();
        for run in runs {
            let floor = find(runs, Contender::Floor, run.connections).unwrap_or(run);
            let measure = |of: fn(&Sample) -> f64| Median::of(run.samples.iter().map(of));
            let (rate, cpu) = (measure(|s| s.rate), measure(|s| s.cpu));
            let [p50, p95, p99] = [
                measure(|s| s.quantile(0.5)),
                measure(|s| s.quantile(0.95)),
                measure(|s| s.quantile(0.99)),
            ];
            let ratio = run.ratio(floor, |s| s.cpu);
            rows.push(vec![
                run.contender.name().to_owned(),
                run.connections.to_string(),
                rate.to_string(),
                format!(
                    "{:.2} / {:.2} / {:.2}",
                    p50.median / 1e3,
                    p95.median / 1e3,
                    p99.median / 1e3
                ),
                cpu.to_string(),
                ratio.to_string(),
            ]);
            json.push(json!({
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
        self.table(
            &format!("Refreshes, {}", commit.label()),
            &[
                "contender",
                "connections",
                "refreshes per second",
                "p50 / p95 / p99, ms",
                "server CPU, µs",
                "CPU to the floor",
            ],
            rows,
        );
        self.ratios_to_peers(commit, runs);
        self.json
            .insert(commit.label().replace(' ', "_"), json.into());
        self.throughput_charts(commit, runs)
    }

    fn ratios_to_peers(&mut self, commit: Commit, runs: &[Run]) {
        let peers = runs
            .iter()
            .filter(|run| run.contender != Contender::Extension);
        let rows = peers.filter_map(|run| {
            let ours = find(runs, Contender::Extension, run.connections)?;
            Some(vec![
                run.contender.name().to_owned(),
                run.connections.to_string(),
                ours.ratio(run, |s| s.cpu).to_string(),
                ours.ratio(run, |s| s.rate).to_string(),
            ])
        });
        self.table(
            &format!("The extension to each, {}", commit.label()),
            &[
                "contender",
                "connections",
                "server CPU",
                "refreshes per second",
            ],
            rows.collect(),
        );
    }

    fn throughput_charts(&self, commit: Commit, runs: &[Run]) -> Done {
        let bars = |of: fn(&Sample) -> f64| -> Vec<_> {
            runs.iter()
                .map(|run| {
                    let label = format!("{}, {}", run.contender.name(), run.connections);
                    (label, Median::of(run.samples.iter().map(of)))
                })
                .collect()
        };
        let (name, subtitle) = (
            commit.name(),
            format!("by contender and connections, {}", commit.label()),
        );
        self.chart(
            &format!("throughput_{name}"),
            "Refreshes per second",
            &subtitle,
            &bars(|s| s.rate),
        )?;
        self.chart(
            &format!("cpu_{name}"),
            "Server CPU per refresh, microseconds",
            &subtitle,
            &bars(|s| s.cpu),
        )
    }

    /// WAL, buffers, growth, HOT updates.
    ///
    /// # Errors
    /// A picture can't be written.
    pub fn costs(&mut self, costs: &[Cost]) -> Done {
        let mut json = Vec::new();
        let mut rows = Vec::new();
        let mut bars = Vec::new();
        for cost in costs {
            let (wal, full) = (median(&cost.wal), median(&cost.wal_full_pages));
            let (buffers, growth) = (median(&cost.buffers), median(&cost.growth));
            rows.push(vec![
                cost.contender.name().to_owned(),
                wal.to_string(),
                full.to_string(),
                buffers.to_string(),
                growth.to_string(),
                format!("{:.1} %", cost.hot * 100.0),
            ]);
            json.push(json!({
                "contender": cost.contender.name(),
                "wal_bytes": wal.json(),
                "wal_bytes_after_checkpoint": full.json(),
                "buffers": buffers.json(),
                "growth_bytes": growth.json(),
                "hot_updates_of_sessions": cost.hot,
            }));
            bars.push((cost.contender.name().to_owned(), wal));
        }
        self.table(
            "Each refresh, beside CPU",
            &[
                "contender",
                "WAL bytes",
                "WAL right after a checkpoint",
                "buffers",
                "growth, bytes",
                "HOT updates of sessions",
            ],
            rows,
        );
        self.json.insert("costs".to_owned(), json.into());
        self.chart(
            "wal",
            "WAL bytes per refresh",
            "without full-page images",
            &bars,
        )
    }

    /// Refusals of malformed tokens.
    pub fn refusals(&mut self, refusals: &[Refusal]) {
        let mut json = Vec::new();
        let mut rows = Vec::new();
        for refusal in refusals {
            let (rate, cpu) = (median(&refusal.rate), median(&refusal.cpu));
            let ratio = ratios(
                refusals[0].rate.iter().copied(),
                refusal.rate.iter().copied(),
            );
            rows.push(vec![
                refusal.name.to_owned(),
                rate.to_string(),
                cpu.to_string(),
                ratio.to_string(),
            ]);
            json.push(json!({
                "called": refusal.name,
                "calls_per_second": rate.json(),
                "cpu_us": cpu.json(),
                "rate_of_refusal_to_it": ratio.json(),
            }));
        }
        self.table(
            "Malformed tokens, one connection",
            &[
                "called",
                "calls per second",
                "server CPU, µs",
                "rate of the refusal to it",
            ],
            rows,
        );
        self.json.insert("malformed".to_owned(), json.into());
    }

    /// Reading through a policy.
    pub fn policy(&mut self, policy: &Policy) {
        let (with, without) = (median(&policy.with), median(&policy.without));
        self.table(
            "is_session_live in a row level security policy, for each row",
            &["rows", "server CPU a row, µs", "without the policy"],
            vec![vec![
                policy.rows.to_string(),
                with.to_string(),
                without.to_string(),
            ]],
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
        let kilobytes = |bytes: u64| (bytes / 1024).to_string();
        let rows = memory.iter().map(|memory| {
            vec![
                memory.calls.to_string(),
                kilobytes(memory.private),
                kilobytes(memory.contexts.unsigned_abs()),
            ]
        });
        let rows = rows.collect();
        self.table(
            "Memory of one backend",
            &["rotations", "private memory, kB", "memory contexts, kB"],
            rows,
        );
        let json: Vec<_> = memory
            .iter()
            .map(|memory| {
                json!({
                    "rotations": memory.calls,
                    "private_bytes": memory.private,
                    "memory_contexts_bytes": memory.contexts,
                })
            })
            .collect();
        self.json.insert("memory".to_owned(), json.into());
    }

    /// Calls other than a rotation that counts.
    pub fn calls(&mut self, calls: &[Call]) {
        let mut json = Map::new();
        let mut rows = Vec::new();
        for call in calls {
            let cpu = median(&call.cpu);
            rows.push(vec![call.name.to_owned(), cpu.to_string()]);
            json.insert(call.name.to_owned(), cpu.json());
        }
        self.table("Other calls", &["call", "server CPU, µs"], rows);
        self.json.insert("calls_cpu_us".to_owned(), json.into());
    }

    /// Libraries for Python.
    pub fn peers(&mut self, peers: &[Peer]) {
        let mut json = Vec::new();
        let mut rows = Vec::new();
        for peer in peers {
            let (time, cpu) = (median(&peer.time), median(&peer.cpu));
            let ratio = ratios(peer.cpu.iter().copied(), peers[0].cpu.iter().copied());
            rows.push(vec![
                peer.name.to_owned(),
                time.to_string(),
                cpu.to_string(),
                ratio.to_string(),
            ]);
            json.push(json!({
                "library": peer.name,
                "ms": time.json(),
                "cpu_us": cpu.json(),
                "cpu_to_extension": ratio.json(),
            }));
        }
        self.table(
            "Libraries for Python, one connection, synchronous_commit off",
            &[
                "library",
                "a refresh, ms",
                "server CPU, µs",
                "CPU to the extension's",
            ],
            rows,
        );
        self.json.insert("python".to_owned(), json.into());
    }

    /// Calls for users with several numbers of sessions.
    pub fn users(&mut self, users: &[User]) {
        let mut json = Vec::new();
        let mut rows = Vec::new();
        for user in users {
            let [rotate, list, revoke] =
                [&user.rotate, &user.list, &user.revoke].map(|of| median(of));
            rows.push(vec![
                user.sessions.to_string(),
                rotate.to_string(),
                list.to_string(),
                revoke.to_string(),
            ]);
            json.push(json!({
                "sessions": user.sessions,
                "rotate_cpu_us": rotate.json(),
                "list_cpu_us_per_session": list.json(),
                "revoke_cpu_us_per_session": revoke.json(),
            }));
        }
        self.table(
            "Users with many sessions, server CPU in µs",
            &[
                "sessions of a user",
                "rotate",
                "list_sessions, a session",
                "revoke_user_sessions, a session",
            ],
            rows,
        );
        self.json.insert("users".to_owned(), json.into());
    }

    /// Calls to families of several lengths.
    ///
    /// # Errors
    /// A picture can't be written.
    pub fn families(&mut self, families: &[Family]) -> Done {
        let mut json = Vec::new();
        let mut rows = Vec::new();
        let mut bars = Vec::new();
        for family in families {
            let [rotate, retry, revoke] =
                [&family.rotate, &family.retry, &family.revoke].map(|of| median(of));
            rows.push(vec![
                family.length.to_string(),
                rotate.to_string(),
                retry.to_string(),
                revoke.to_string(),
            ]);
            json.push(json!({
                "family": family.length,
                "rotate_cpu_us": rotate.json(),
                "retry_cpu_us": retry.json(),
                "revoke_cpu_us": revoke.json(),
            }));
            bars.extend(
                [("rotate", rotate), ("retry", retry), ("revoke", revoke)]
                    .map(|(call, cost)| (format!("{call}, {}", family.length), cost)),
            );
        }
        self.table(
            "Families of several lengths, server CPU in µs",
            &["tokens in the family", "rotate", "retry", "revoke"],
            rows,
        );
        self.json.insert("families".to_owned(), json.into());
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
        if scales.is_empty() {
            return Ok(());
        }
        let mut json = Vec::new();
        let mut rows = Vec::new();
        let mut bars = Vec::new();
        for scale in scales {
            let is_first = |other: &&Scale| other.contender == scale.contender;
            let smallest = scales.iter().find(is_first).unwrap_or(scale);
            let (rate, cpu) = (median(&scale.rate), median(&scale.cpu));
            let ratio = ratios(scale.rate.iter().copied(), smallest.rate.iter().copied());
            let name = scale.contender.name();
            rows.push(vec![
                name.to_owned(),
                scale.rows.to_string(),
                (scale.bytes >> 20).to_string(),
                rate.to_string(),
                cpu.to_string(),
                ratio.to_string(),
            ]);
            json.push(json!({
                "contender": name,
                "rows": scale.rows,
                "bytes": scale.bytes,
                "refreshes_per_second": rate.json(),
                "cpu_us": cpu.json(),
                "rate_to_first": ratio.json(),
            }));
            bars.push((format!("{name}, {}", scale.rows), cpu));
        }
        self.table(
            "Tables of several sizes, one connection, synchronous_commit off",
            &[
                "contender",
                "tokens",
                "size, MB",
                "refreshes per second",
                "server CPU, µs",
                "rate to the first",
            ],
            rows,
        );
        self.json.insert("scale".to_owned(), json.into());
        let (title, subtitle) = (
            "Server CPU per rotation, microseconds",
            "by contender and tokens in the table",
        );
        self.chart("scale", title, subtitle, &bars)
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

    /// Prints a table, and keeps it for tables.md.
    fn table(&mut self, title: &str, head: &[&str], rows: Vec<Vec<String>>) {
        self.progress("");
        let head = head.iter().map(|&cell| cell.to_owned()).collect();
        let mut lines: Vec<Vec<String>> = vec![head];
        lines.extend(rows);
        println!("\n{title}");
        let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max();
        let widths: Vec<_> = (0..lines[0].len()).filter_map(width).collect();
        for line in &lines {
            let cells = line.iter().zip(&widths);
            let cells: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            println!("{}", cells.join("  ").trim_end());
        }
        let rule = vec!["---".to_owned(); widths.len()];
        lines.insert(1, rule);
        self.markdown += &format!("## {title}\n\n");
        for line in lines {
            self.markdown += &format!("| {} |\n", line.join(" | "));
        }
        self.markdown.push('\n');
    }

    fn chart(&self, name: &str, title: &str, subtitle: &str, bars: &[(String, Median)]) -> Done {
        let path = self.folder.join(format!("{name}.svg"));
        Ok(fs::write(path, chart::bars(title, subtitle, bars))?)
    }
}

impl Run {
    /// What `of` is of this to what it is of `other`.
    fn ratio(&self, other: &Self, of: fn(&Sample) -> f64) -> Median {
        ratios(self.samples.iter().map(of), other.samples.iter().map(of))
    }
}

fn median(values: &[f64]) -> Median {
    Median::of(values.iter().copied())
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
