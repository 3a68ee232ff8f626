//! The history checker (`refresh_tokens_tests::history`) on the extension, and on imitations of its
//! rotation that lock in the right order and in wrong ones.
//!
//! By hand for as long as wanted (`REFRESH_TOKENS_PG_BIN` as `make test` sets it):
//! `HISTORY_SECONDS=600 cargo test -p refresh_tokens_tests --test tokens history::every -- --nocapture`.
//! It runs in rounds of half a minute; `HISTORY_SEED=7` gives the seed of the first one, and a failure
//! names its round's. A seed repeats the choices of each connection, not how they interleave.

use refresh_tokens_tests::history::{
    Answer, Findings, History, Imitation, Load, LockOrder, Mix, Outcome, Rule, Tables, check,
    report,
};
use refresh_tokens_tests::{Database, random};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest round, so that neither memory nor the check's time grow with the time asked for.
const ROUND: u64 = 30;

/// How many seconds more a load goes on where something has not happened yet.
const PATIENCE: u64 = 120;

/// How often a load is repeated that a wrong order of locks must be caught in.
const ROUNDS: u64 = 30;

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

/// How often each rule must have been looked at, so that a load shows something.
const LOOKS: usize = 6;

impl Totals {
    /// What has not happened, or not often enough for the test to show anything, of `rules` and of what else a load does.
    fn missing(&self, rules: &[Rule], answers: &[&str], ends: &[&str]) -> Vec<String> {
        let answers = answers.iter().filter(|&&a| !self.answers.contains_key(a));
        let ends = ends.iter().filter(|&&end| !self.ends.contains_key(end));
        let rules = rules.iter().filter(|&rule| {
            let looks = self.rules.get(rule).copied().unwrap_or_default();
            looks < LOOKS
        });
        let words = answers.chain(ends).map(|&word| word.to_owned());
        words.chain(rules.map(Rule::to_string)).collect()
    }
}

#[test]
fn every_history_of_the_extension_keeps_the_rules() {
    const ENDS: [&str; 2] = ["unknown to the client", "rolled back to a savepoint"];
    let answers: Vec<_> = STATUSES.into_iter().chain(["lost"]).collect();
    let database = Database::create();
    let seconds = random::number("HISTORY_SECONDS").unwrap_or(10);
    let first = random::seed("HISTORY_SEED");
    let mut totals = Totals::default();
    let mut begin = 0;
    for round in 0.. {
        // On a slow machine what is rare may take longer to come.
        let missing = totals.missing(&Rule::ALL, &answers, &ENDS);
        if begin >= seconds && (missing.is_empty() || begin >= seconds + PATIENCE) {
            break;
        }
        let duration = ROUND.min(seconds.saturating_sub(begin).max(5));
        begin += duration;
        let load = Load {
            database: &database,
            rotate: "auth.rotate_refresh_token",
            mix: Mix::All,
            connections: 10,
            families: 8,
            duration: Duration::from_secs(duration),
            transactions: 2000,
            seed: first + round,
        };
        println!("seed {}", load.seed);
        let round = Round::run(&load);
        totals.add(&round);
        round.assert_right();
    }
    totals.print();
    let missing = totals.missing(&Rule::ALL, &answers, &ENDS);
    assert!(missing.is_empty(), "hardly ever met: {missing:?}");
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
    const RULES: [Rule; 4] = [Rule::OneChild, Rule::SameChild, Rule::NoEscape, Rule::Ended];
    let first = random::seed("HISTORY_SEED");
    let mut totals = Totals::default();
    for seed in first..first + ROUNDS {
        let database = Database::create();
        let round = Round::run(&imitation(&database, LockOrder::SessionFirst, seed));
        totals.add(&round);
        round.assert_right();
        if totals.missing(&RULES, &[], &[]).is_empty() {
            break;
        }
    }
    totals.print();
    let missing = totals.missing(&RULES, &[], &[]);
    assert!(missing.is_empty(), "hardly ever met: {missing:?}");
}

/// Asserts that the checker sees a token escape from a revocation where the locks let it: in the
/// answers or at the end, and in the tables by themselves.
fn assert_caught(order: LockOrder) {
    let first = random::seed("HISTORY_SEED");
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
