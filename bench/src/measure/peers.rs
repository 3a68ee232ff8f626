//! OAuth libraries for Python, each a program of its own (bench/peers/refresh.py) that takes its turn.

use crate::fill::Size;
use crate::load::{Target, Until};
use crate::plan::Plan;
use crate::progress;
use crate::results::Peer;
use refresh_tokens_tests::Cluster;
use serde_json::Value;
use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const SCRIPT: &str = include_str!("../../peers/refresh.py");
const OURS: &str = "extension";
const LIBRARIES: [&str; 2] = ["django-oauth-toolkit", "authlib"];

/// What a refresh took in one round.
struct Refresh {
    milliseconds: f64,
    /// Microseconds of the server's.
    cpu: f64,
}

/// A running program, whose tables are filled.
struct Program {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(cluster: &Cluster, library: &str, size: Size) -> Result<Self, Box<dyn Error>> {
        let database = cluster.create_database();
        let python = std::env::var("REFRESH_TOKENS_PYTHON")
            .map_err(|_| "REFRESH_TOKENS_PYTHON names the Python to use: run `make bench`")?;
        let mut process = Command::new(python)
            .args(["-c", SCRIPT, library])
            .args([size.sessions.to_string(), size.family.to_string()])
            .arg(fastrand::u64(..).to_string())
            .env("PGHOST", cluster.socket())
            .env("PGDATABASE", &database)
            .env("PGUSER", "postgres")
            .env("PGOPTIONS", "-c synchronous_commit=off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let mut program = Self {
            process,
            input,
            output,
        };
        program.line()?;
        let mut admin = cluster.connect(&database, "postgres");
        admin.batch_execute("VACUUM (ANALYZE)")?;
        Ok(program)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the Python program ended; see above"));
        }
        Ok(line)
    }

    fn round(&mut self, seconds: f64) -> Result<Refresh, Box<dyn Error>> {
        writeln!(self.input, "{seconds}")?;
        let sample: Value = serde_json::from_str(&self.line()?)?;
        let number = |name: &str| sample[name].as_f64().expect("a number");
        let refreshes = number("refreshes");
        Ok(Refresh {
            milliseconds: number("seconds") * 1e3 / refreshes,
            cpu: number("cpu") * 1e6 / refreshes,
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It is this program's child, and has nothing to lose.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Refreshes of `ours` and of the libraries, in turns.
///
/// # Errors
/// As the server raises them, and where a library can't be run.
pub fn peers(
    cluster: &Cluster,
    ours: &mut Target,
    size: Size,
    plan: Plan,
) -> Result<Vec<Peer>, Box<dyn Error>> {
    let mut programs = Vec::new();
    for library in LIBRARIES {
        progress::show(format!("filling the tables of {library}"));
        programs.push(Program::start(cluster, library, size)?);
    }
    ours.open(1)?;
    ours.set("synchronous_commit", "off")?;
    let mut peers: Vec<_> = [OURS].into_iter().chain(LIBRARIES).map(peer).collect();
    for round in plan.with_warm_up() {
        progress::show(format!("libraries for Python: {round}"));
        let sample = ours.run_alone(Until::Elapsed(plan.duration()))?;
        let mut refreshes = vec![Refresh {
            milliseconds: 1e3 / sample.rate,
            cpu: sample.cpu,
        }];
        for program in &mut programs {
            refreshes.push(program.round(plan.seconds)?);
        }
        if round.counts() {
            for (peer, refresh) in peers.iter_mut().zip(refreshes) {
                peer.time.push(refresh.milliseconds);
                peer.cpu.push(refresh.cpu);
            }
        }
    }
    Ok(peers)
}

fn peer(name: &'static str) -> Peer {
    Peer {
        name,
        time: Vec::new(),
        cpu: Vec::new(),
    }
}
