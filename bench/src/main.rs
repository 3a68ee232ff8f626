//! Measures the extension against what people would use instead, each on an equally filled table of
//! its own, on a throw-away cluster. Rounds of the contenders interleave: what disturbs the machine
//! disturbs all of them, and only ratios inside one run are compared.

mod calls;
mod chart;
mod contender;
mod fill;
mod growth;
mod load;
mod measure;
mod peers;
mod report;
mod server;
mod statistics;

use clap::{Parser, ValueEnum as _};
use contender::Contender;
use fill::Size;
use measure::Commit;
use refresh_tokens_tests::Cluster;
use report::Report;
use std::error::Error;
use std::path::PathBuf;

/// Measures refresh_tokens against its peers.
#[derive(Parser)]
#[command(name = "make bench", about)]
struct Options {
    /// Who is measured
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Contender::value_variants().to_vec())]
    contenders: Vec<Contender>,
    /// Tokens in the table of each
    #[arg(long, default_value_t = 100_000)]
    rows: usize,
    /// Tokens of a session
    #[arg(long, default_value_t = 10)]
    family: usize,
    /// Rounds, of which medians are taken
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in a round, for each contender and number of connections
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16])]
    connections: Vec<usize>,
    /// What a commit waits for
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Commit::value_variants().to_vec())]
    commit: Vec<Commit>,
    /// Refreshes per second over all connections (open loop) instead of as fast as answers come
    #[arg(long)]
    rate: Option<f64>,
    /// Sizes of the extension's table to compare, in tokens; 0 leaves it out, 10000000 takes 7 minutes and 15 GB more
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000])]
    scale: Vec<usize>,
    /// Lengths of a family to compare, in tokens
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 100_000])]
    families: Vec<usize>,
    /// Numbers of sessions of a user to compare
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10_000])]
    users: Vec<usize>,
    /// Leave out the libraries for Python
    #[arg(long)]
    no_python: bool,
    /// Calls of one backend, after which its memory is looked at
    #[arg(long, default_value_t = 100_000)]
    calls: usize,
    /// The server's shared_buffers: what a table of ten million tokens takes is 6GB
    #[arg(long, default_value = "1GB")]
    shared_buffers: String,
    /// The folder for results.json and the pictures
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// Durable, and no checkpoint inside a round.
const SERVER: [&str; 4] = [
    "fsync = on",
    "max_wal_size = '8GB'",
    "checkpoint_timeout = '1h'",
    "jit = off",
];

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let buffers = format!("shared_buffers = '{}'", options.shared_buffers);
    let cluster = Cluster::start(&[&SERVER, &[buffers.as_str()][..]].concat());
    let mut report = Report::new(&options.out, &cluster, &options)?;
    let size = Size::of(options.rows, options.family);

    let mut targets = Vec::new();
    for contender in &options.contenders {
        report.progress(&format!("filling {}", contender.name()));
        targets.push(load::Target::create(&cluster, *contender, size)?);
    }
    let plan = measure::Rounds {
        rounds: options.rounds,
        seconds: options.seconds,
        rate: options.rate,
    };
    for &commit in &options.commit {
        let runs = measure::throughput(
            &mut targets,
            &options.connections,
            commit,
            plan,
            &mut report,
        )?;
        report.throughput(commit, &runs)?;
    }
    let costs = measure::costs(&mut targets, plan, &mut report)?;
    report.costs(&costs)?;
    if let Some(target) = targets
        .iter_mut()
        .find(|target| target.contender == Contender::Extension)
    {
        let refusals = measure::refusals(target, plan, &mut report)?;
        report.refusals(&refusals);
        let policy = growth::policy(target, plan, &mut report)?;
        report.policy(&policy);
        let memory = growth::memory(target, options.calls, &mut report)?;
        report.memory(&memory);
        let calls = calls::calls(target, plan, &mut report)?;
        report.calls(&calls);
        if !options.no_python {
            let peers = peers::peers(&cluster, target, size, plan, &mut report)?;
            report.peers(&peers);
        }
    }
    let users = calls::users(&cluster, &options.users, plan, &mut report)?;
    report.users(&users);
    let families = growth::families(&cluster, &options.families, plan, &mut report)?;
    report.families(&families)?;
    let sizes: Vec<_> = options
        .scale
        .iter()
        .copied()
        .filter(|&rows| rows > 0)
        .collect();
    let scales = growth::scale(&cluster, &sizes, options.family, plan, &mut report)?;
    report.scale(&scales)?;
    report.finish()
}
