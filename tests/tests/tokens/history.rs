//! The history checker (`refresh_tokens_tests::history`) on the extension, and on imitations of its
//! rotation that lock in the right order and in wrong ones.
//!
//! By hand for as long as wanted (`REFRESH_TOKENS_PG_BIN` as `make test` sets it):
//! `HISTORY_SECONDS=600 cargo test -p refresh_tokens_tests --test tokens history::every -- --nocapture`.
//! It runs in rounds of half a minute; `HISTORY_SEED=7` gives the seed of the first one, and a failure
//! names its round's. A seed repeats the choices of each connection, not how they interleave.

use refresh_tokens_tests::Database;
use refresh_tokens_tests::history::{
    Answer, Findings, History, Imitation, Load, LockOrder, Mix, Outcome, Rule, Tables, check,
    report,
};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// The longest round, so that neither memory nor the check's time grow with the time asked for.
const ROUND: u64 = 30;

/// How often a load is repeated that a wrong order of locks must be caught in.
const ROUNDS: u64 = 10;

const STATUSES: [&str; 10] = [
    "issued",
    "rotated",
    "retried",
    "unchanged",
    "malformed",
    "not_found",
    "client_mismatch",
    "expired",
    "revoked",
    "reuse_detected",
];

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a whole number"))
}

/// A seed of the moment, or the one that was asked for.
fn seed() -> u64 {
    number("HISTORY_SEED").unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.expect("a clock after 1970").subsec_micros().into()
    })
}

/// What a load did to a database, and whether that is right.
struct Round {
    history: History,
    tables: Tables,
    findings: Findings,
}

impl Round {
    /// Runs a load in a database that has nothing in it, and leaves it so.
    fn run(load: &Load<'_>) -> Self {
        let history = load.run();
        let mut client = load.database.connect();
        let tables = Tables::read(&mut client, &history);
        let cleared = client.batch_execute("TRUNCATE auth.sessions CASCADE");
        cleared.expect("a superuser may write");
        let findings = check(&history, &tables);
        Self {
            history,
            tables,
            findings,
        }
    }

    /// Asserts that no rule is broken.
    fn assert_right(&self) {
        let violations = &self.findings.violations;
        if let Some(first) = violations.first() {
            let report = report(&self.history, &self.tables, first);
            panic!("{} violations, the first:\n{report}", violations.len());
        }
    }

    /// The first violation of one of `rules`, for people.
    fn report(&self, rules: &[Rule]) -> Option<String> {
        let mut violations = self.findings.violations.iter();
        let first = violations.find(|violation| rules.contains(&violation.rule))?;
        Some(report(&self.history, &self.tables, first))
    }
}

/// How often what happened.
#[derive(Default)]
struct Totals {
    answers: BTreeMap<String, usize>,
    ends: BTreeMap<&'static str, usize>,
    rules: BTreeMap<Rule, usize>,
    decided: usize,
}

impl Totals {
    fn add(&mut self, round: &Round) {
        for call in &round.history.calls {
            let answer = match &call.answer {
                Answer::Count(_) => "a number of tokens".to_owned(),
                Answer::Live(_) => "live or not".to_owned(),
                answer => answer.word(),
            };
            *self.answers.entry(answer).or_default() += 1;
            let end = match (call.undone, call.outcome) {
                (Some(_), _) => "rolled back to a savepoint",
                (None, Outcome::Committed) => "committed",
                (None, Outcome::RolledBack) => "rolled back",
                (None, Outcome::Unknown) => "unknown to the client",
            };
            *self.ends.entry(end).or_default() += 1;
        }
        for (&rule, count) in &round.findings.checked {
            *self.rules.entry(rule).or_default() += count;
        }
        self.decided += round.findings.decided;
    }

    fn print(&self) {
        println!("{:>8} calls, of which", self.ends.values().sum::<usize>());
        for (end, count) in &self.ends {
            println!("{count:>8} {end}");
        }
        println!("         answered");
        for (answer, count) in &self.answers {
            println!("{count:>8} {answer}");
        }
        println!("{:>8} answers were the only one allowed", self.decided);
        println!("         looked at");
        for (rule, count) in &self.rules {
            println!("{count:>8} times: {rule}");
        }
    }
}

#[test]
fn every_history_of_the_extension_keeps_the_rules() {
    let database = Database::create();
    let seconds = number("HISTORY_SECONDS").unwrap_or(10);
    let first = seed();
    let mut totals = Totals::default();
    for (round, begin) in (0..seconds).step_by(ROUND as usize).enumerate() {
        let load = Load {
            database: &database,
            rotate: "auth.rotate_refresh_token",
            mix: Mix::All,
            connections: 10,
            families: 8,
            duration: Duration::from_secs(ROUND.min(seconds - begin)),
            transactions: 2000,
            seed: first + round as u64,
        };
        println!("seed {}", load.seed);
        let round = Round::run(&load);
        totals.add(&round);
        round.assert_right();
    }
    totals.print();
    for answer in STATUSES.into_iter().chain(["lost"]) {
        assert!(totals.answers.contains_key(answer), "never {answer}");
    }
    for end in ["unknown to the client", "rolled back to a savepoint"] {
        assert!(totals.ends.contains_key(end), "never {end}");
    }
    for (rule, count) in &totals.rules {
        assert!(*count > 5, "hardly ever looked at: {rule}");
    }
    assert_eq!(totals.rules.len(), Rule::ALL.len());
}

/// A load on an imitation of the rotation that locks in this order.
fn imitation<'a>(database: &'a Database, order: LockOrder, seed: u64) -> Load<'a> {
    Load {
        database,
        rotate: Imitation::install(database, order),
        mix: Mix::Plain,
        connections: 8,
        families: 3,
        duration: Duration::from_secs(2),
        transactions: 300,
        seed,
    }
}

#[test]
fn an_imitation_that_locks_the_session_first_passes() {
    let database = Database::create();
    let round = Round::run(&imitation(&database, LockOrder::SessionFirst, seed()));
    let mut totals = Totals::default();
    totals.add(&round);
    totals.print();
    round.assert_right();
    for rule in [Rule::OneChild, Rule::SameChild, Rule::NoEscape, Rule::Ended] {
        assert!(totals.rules[&rule] > 5, "hardly ever looked at: {rule}");
    }
}

/// Asserts that the checker sees a token escape from a revocation where the locks let it: in the
/// answers or at the end, and in the tables by themselves.
fn assert_caught(order: LockOrder) {
    let first = seed();
    let caught = (first..first + ROUNDS).any(|seed| {
        let database = Database::create();
        let round = Round::run(&imitation(&database, order, seed));
        let escape = round.report(&[Rule::NoEscape, Rule::Ended]);
        let both = escape.is_some() && round.report(&[Rule::Invariant]).is_some();
        println!(
            "seed {seed}, {} violations",
            round.findings.violations.len()
        );
        println!("{}", escape.unwrap_or_default());
        both
    });
    assert!(caught, "no token escaped in {ROUNDS} rounds");
}

#[test]
fn an_imitation_that_locks_the_token_instead_is_caught() {
    assert_caught(LockOrder::TokenInstead);
}

#[test]
fn an_imitation_that_reads_before_it_locks_is_caught() {
    assert_caught(LockOrder::ReadFirst);
}
