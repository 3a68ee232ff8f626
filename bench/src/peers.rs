//! OAuth libraries for Python, each a program of its own (bench/peers/refresh.py) that takes its turn.

use crate::fill::Size;
use crate::load::{Load, Target, Until};
use crate::measure::Rounds;
use crate::report::Report;
use refresh_tokens_tests::Cluster;
use serde_json::Value;
use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

const SCRIPT: &str = include_str!("../peers/refresh.py");
const LIBRARIES: [&str; 2] = ["django-oauth-toolkit", "authlib"];

/// Refreshes of one connection with synchronous_commit off: this extension's, or a library's.
pub struct Peer {
    /// Who.
    pub name: &'static str,
    /// Milliseconds of a refresh, client and server, round by round.
    pub time: Vec<f64>,
    /// Server CPU in microseconds, round by round.
    pub cpu: Vec<f64>,
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

    /// Milliseconds and server CPU microseconds of a refresh.
    fn round(&mut self, seconds: f64) -> Result<(f64, f64), Box<dyn Error>> {
        writeln!(self.input, "{seconds}")?;
        let sample: Value = serde_json::from_str(&self.line()?)?;
        let number = |name: &str| sample[name].as_f64().expect("a number");
        let refreshes = number("refreshes");
        Ok((
            number("seconds") * 1e3 / refreshes,
            number("cpu") * 1e6 / refreshes,
        ))
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
    plan: Rounds,
    report: &mut Report,
) -> Result<Vec<Peer>, Box<dyn Error>> {
    let mut programs = Vec::new();
    for library in LIBRARIES {
        report.progress(&format!("filling the tables of {library}"));
        programs.push(Program::start(cluster, library, size)?);
    }
    ours.open(1)?;
    ours.set("synchronous_commit", "off")?;
    let mut peers: Vec<_> = ["extension"]
        .into_iter()
        .chain(LIBRARIES)
        .map(|name| Peer {
            name,
            time: Vec::new(),
            cpu: Vec::new(),
        })
        .collect();
    // The first round warms up.
    for round in 0..=plan.rounds {
        report.progress(&format!("libraries for Python: round {round}"));
        let sample = ours.run(Load {
            connections: 1,
            until: Until::Elapsed(Duration::from_secs_f64(plan.seconds)),
            rate: None,
        })?;
        let mut samples = vec![(1e3 / sample.rate, sample.cpu)];
        for program in &mut programs {
            samples.push(program.round(plan.seconds)?);
        }
        if round > 0 {
            for (peer, (time, cpu)) in peers.iter_mut().zip(samples) {
                peer.time.push(time);
                peer.cpu.push(cpu);
            }
        }
    }
    Ok(peers)
}
