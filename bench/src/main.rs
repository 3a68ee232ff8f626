//! Measures the extension against what people would use instead, each on an equally filled table of
//! its own, on a throw-away cluster. Rounds of the contenders interleave: what disturbs the machine
//! disturbs all of them, and only ratios inside one run are compared.

mod contender;
mod fill;
mod load;
mod measure;
mod plan;
mod progress;
mod report;
mod results;
mod server;

use clap::{Parser, ValueEnum as _};
use contender::Contender;
use fill::Size;
use load::Target;
use plan::Plan;
use refresh_tokens_tests::Cluster;
use report::Report;
use results::{About, Commit};
use std::error::Error;
use std::fs;
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
    /// Repeats the choices of another run: which session is refreshed, and when
    #[arg(long, default_value_t = fastrand::u64(..1_000_000_000), hide_default_value = true)]
    seed: u64,
    /// The folder for results.json and the pictures
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

type Done = Result<(), Box<dyn Error>>;

/// Durable, and no checkpoint inside a round.
const SERVER: [&str; 4] = [
    "fsync = on",
    "max_wal_size = '8GB'",
    "checkpoint_timeout = '1h'",
    "jit = off",
];

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    fastrand::seed(options.seed);
    let buffers = format!("shared_buffers = '{}'", options.shared_buffers);
    let cluster = Cluster::start(&[&SERVER, &[buffers.as_str()][..]].concat());
    let mut report = Report::new(&options.out, &about(&options, &cluster)?)?;
    let mut targets = fill(&options, &cluster)?;
    contenders(&options, &mut targets, &mut report)?;
    let mut targets = targets.iter_mut();
    if let Some(ours) = targets.find(|target| target.contender == Contender::Extension) {
        extension(&options, &cluster, ours, &mut report)?;
    }
    growth(&options, &cluster, &mut report)?;
    report.finish()
}

fn about(options: &Options, cluster: &Cluster) -> Result<About, Box<dyn Error>> {
    let mut client = cluster.connect("postgres", "postgres");
    let version = client.query_one("SHOW server_version", &[])?;
    Ok(About {
        postgresql: version.get("server_version"),
        processors: std::thread::available_parallelism()?.get(),
        processor: processor(),
        rows: options.rows,
        family: options.family,
        rounds: options.rounds,
        seconds: options.seconds,
        seed: options.seed,
    })
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(": ")?.1.to_owned())
}

fn fill(options: &Options, cluster: &Cluster) -> Result<Vec<Target>, postgres::Error> {
    let create = |&contender: &Contender| {
        progress::show(format!("filling {}", contender.name()));
        Target::create(cluster, contender, options.size())
    };
    options.contenders.iter().map(create).collect()
}

/// What is measured of all contenders.
fn contenders(options: &Options, targets: &mut [Target], report: &mut Report) -> Done {
    let plan = options.plan();
    for &commit in &options.commit {
        let runs = measure::throughput(targets, &options.connections, commit, plan)?;
        report.refreshes(commit, &runs)?;
    }
    report.costs(&measure::costs(targets, plan)?)
}

/// What is measured of the extension in the table that the contenders have.
fn extension(options: &Options, cluster: &Cluster, ours: &mut Target, report: &mut Report) -> Done {
    let plan = options.plan();
    report.refusals(&measure::refusals(ours, plan)?);
    report.policy(&measure::policy(ours, plan)?);
    report.memory(&measure::memory(ours, options.calls)?);
    report.calls(&measure::calls(ours, plan)?);
    if !options.no_python {
        report.peers(&measure::peers(cluster, ours, options.size(), plan)?);
    }
    Ok(())
}

/// What must not grow, in tables made for it.
fn growth(options: &Options, cluster: &Cluster, report: &mut Report) -> Done {
    let plan = options.plan();
    report.users(&measure::users(cluster, &options.users, plan)?);
    report.families(&measure::families(cluster, &options.families, plan)?)?;
    let sizes = options.scale.iter().copied().filter(|&rows| rows > 0);
    let sizes: Vec<_> = sizes.collect();
    let scales = measure::scale(cluster, &sizes, options.family, plan)?;
    report.scale(&scales)
}

impl Options {
    fn size(&self) -> Size {
        Size::of(self.rows, self.family)
    }

    fn plan(&self) -> Plan {
        Plan {
            rounds: self.rounds,
            seconds: self.seconds,
            rate: self.rate,
        }
    }
}
