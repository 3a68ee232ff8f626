//! Refreshes by contender and number of connections.

use super::chart::Bar;
use super::median::Median;
use super::table::{Columns, Table};
use super::{Done, Report};
use crate::contender::Contender;
use crate::results::{Commit, Run, Sample};

impl Report {
    /// Throughput, latency and CPU where a commit waits for `commit`.
    ///
    /// # Errors
    /// A picture can't be written.
    pub fn refreshes(&mut self, commit: Commit, runs: &[Run]) -> Done {
        let columns = Columns::default()
            .column("contender", "contender", |run: &Run| {
                run.contender.name().into()
            })
            .column("connections", "connections", |run| run.connections.into())
            .column("refreshes per second", "refreshes_per_second", |run| {
                run.median(|sample| sample.rate).into()
            })
            .printed("p50 / p95 / p99, ms", |run| run.latencies().into())
            .kept("p50_us", |run| run.quantile(0.5).into())
            .kept("p95_us", |run| run.quantile(0.95).into())
            .kept("p99_us", |run| run.quantile(0.99).into())
            .column("server CPU, µs", "cpu_us", |run| {
                run.median(|sample| sample.cpu).into()
            })
            .column("CPU to the floor", "cpu_to_floor", |run| {
                let floor = find(runs, Contender::Floor, run.connections).unwrap_or(run);
                run.ratio(floor, |sample| sample.cpu).into()
            });
        let key = commit.label().replace(' ', "_");
        self.section(
            &format!("Refreshes, {}", commit.label()),
            &key,
            runs,
            &columns,
        );
        self.ratios_to_peers(commit, runs);
        self.charts_of_refreshes(commit, runs)
    }

    fn ratios_to_peers(&mut self, commit: Commit, runs: &[Run]) {
        let pairs: Vec<_> = runs
            .iter()
            .filter(|run| run.contender != Contender::Extension)
            .filter_map(|run| {
                let ours = find(runs, Contender::Extension, run.connections)?;
                Some(Pair { ours, peer: run })
            })
            .collect();
        let columns = Columns::default()
            .printed("contender", |pair: &Pair| pair.peer.contender.name().into())
            .printed("connections", |pair| pair.peer.connections.into())
            .printed("server CPU", |pair| pair.ratio(|sample| sample.cpu).into())
            .printed("refreshes per second", |pair| {
                pair.ratio(|sample| sample.rate).into()
            });
        let title = format!("The extension to each, {}", commit.label());
        self.print(&Table::of(&title, &pairs, &columns));
    }

    fn charts_of_refreshes(&self, commit: Commit, runs: &[Run]) -> Done {
        let bars = |of: fn(&Sample) -> f64| -> Vec<_> {
            let bar = |run: &Run| Bar {
                label: format!("{}, {}", run.contender.name(), run.connections),
                value: run.median(of),
            };
            runs.iter().map(bar).collect()
        };
        let name = commit.name();
        let subtitle = format!("by contender and connections, {}", commit.label());
        self.chart(
            &format!("throughput_{name}"),
            "Refreshes per second",
            &subtitle,
            &bars(|sample| sample.rate),
        )?;
        self.chart(
            &format!("cpu_{name}"),
            "Server CPU per refresh, microseconds",
            &subtitle,
            &bars(|sample| sample.cpu),
        )
    }
}

/// The extension's run, and a peer's with as many connections.
struct Pair<'a> {
    ours: &'a Run,
    peer: &'a Run,
}

impl Pair<'_> {
    fn ratio(&self, of: fn(&Sample) -> f64) -> Median {
        self.ours.ratio(self.peer, of)
    }
}

impl Run {
    fn median(&self, of: impl Fn(&Sample) -> f64) -> Median {
        Median::of(self.samples.iter().map(of))
    }

    /// The median of the latencies that `share` of the refreshes didn't exceed, in microseconds.
    fn quantile(&self, share: f64) -> Median {
        self.median(|sample| sample.quantile(share))
    }

    fn latencies(&self) -> String {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| self.quantile(share).median / 1e3);
        format!("{p50:.2} / {p95:.2} / {p99:.2}")
    }

    /// What `of` is of this to what it is of `other`.
    fn ratio(&self, other: &Self, of: fn(&Sample) -> f64) -> Median {
        Median::of_ratios(self.samples.iter().map(of), other.samples.iter().map(of))
    }
}

fn find(runs: &[Run], contender: Contender, connections: usize) -> Option<&Run> {
    runs.iter()
        .find(|run| run.contender == contender && run.connections == connections)
}
