//! Many connections at the same moment: one child, no escape from a revocation, no deadlock.

use postgres::{Client, Error, GenericClient, IsolationLevel};
use refresh_tokens_tests::format::digest;
use refresh_tokens_tests::random::Random;
use refresh_tokens_tests::{
    Database, Grant, INVARIANTS, Racer, Racers, assert_invariants, broken_invariants, call,
    error_code, explain, in_transaction, issue, miscounted_sessions, pass_time, rotate,
    until_serialized, wait_until, waits,
};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;
use uuid::Uuid;

const CROWD: usize = 20;

/// The levels at which a transaction sees one snapshot throughout.
const SNAPSHOT: [IsolationLevel; 2] =
    [IsolationLevel::RepeatableRead, IsolationLevel::Serializable];

/// A database where an honest retry is one however slow the machine is.
fn database() -> Database {
    let database = Database::create();
    set(&database, "reuse_interval = '1 h'");
    database
}

/// Sets `setting` for all connections to `database` that are made from now on.
fn set(database: &Database, setting: &str) {
    let sql = format!(
        "ALTER DATABASE {} SET refresh_tokens.{setting}",
        database.name
    );
    database.connect().batch_execute(&sql).expect("a setting");
}

/// The family of a login.
#[derive(Clone)]
struct Family {
    user: String,
    session: Uuid,
    token: String,
}

impl Family {
    fn new(client: &mut Client) -> Self {
        let user = Uuid::new_v4().to_string();
        let grant = issue(client, &user);
        Self {
            session: grant.session(),
            token: grant.token().to_owned(),
            user,
        }
    }

    /// Tokens of this family, the oldest first and the live one last.
    fn rotated(&self, client: &mut Client, times: usize) -> Vec<String> {
        let mut tokens = vec![self.token.clone()];
        for _ in 0..times {
            let grant = rotate(client, &tokens[tokens.len() - 1]).expect("a verdict");
            assert_eq!(grant.status, "rotated");
            tokens.push(grant.token().to_owned());
        }
        tokens
    }

    /// Takes the session from the family: rows that another system filled the table with.
    fn without_session(&self, client: &mut Client) {
        let sql = "UPDATE auth.refresh_tokens SET session_id = NULL WHERE session_id = $1";
        let rows = client.execute(sql, &[&self.session]);
        assert!(rows.expect("a superuser may write") > 0);
        let sql = "DELETE FROM auth.sessions WHERE id = $1";
        let rows = client.execute(sql, &[&self.session]);
        assert_eq!(rows.expect("a superuser may write"), 1);
    }

    /// How many rows its session has, and how many of them are live.
    fn rows(&self, client: &mut Client) -> (i64, i64) {
        rows_of(client, self.session)
    }

    /// A statement that locks its session as the functions do.
    fn lock(&self) -> String {
        let session = self.session;
        format!("SELECT FROM auth.sessions WHERE id = '{session}' FOR NO KEY UPDATE")
    }
}

fn rows_of(client: &mut Client, session: Uuid) -> (i64, i64) {
    let sql = "SELECT count(*), count(*) FILTER (WHERE revoked IS FALSE)
                 FROM auth.refresh_tokens WHERE session_id = $1";
    let row = client.query_one(sql, &[&session]);
    let row = row.expect("a superuser may look");
    (row.get(0), row.get(1))
}

/// The ways to revoke a family.
#[derive(Clone, Copy, Debug)]
enum Revocation {
    Token,
    Family,
    Session,
    User,
}

impl Revocation {
    const ALL: [Self; 4] = [Self::Token, Self::Family, Self::Session, Self::User];

    /// The call as text.
    fn sql(self, family: &Family) -> String {
        let Family {
            user,
            session,
            token,
        } = family;
        match self {
            Self::Token => format!("SELECT auth.revoke_refresh_token('{token}')"),
            Self::Family => format!("SELECT auth.revoke_token_family('{}')", digest(token)),
            Self::Session => format!("SELECT auth.revoke_session('{session}')"),
            Self::User => format!("SELECT auth.revoke_user_sessions('{user}')"),
        }
    }

    fn run(self, client: &mut impl GenericClient, family: &Family) -> Result<i64, Error> {
        Ok(client.query_one(&self.sql(family), &[])?.get(0))
    }
}

fn issue_into(client: &mut impl GenericClient, family: &Family) -> Result<Grant, Error> {
    call(
        client,
        "issue_refresh_token($1, $2)",
        &[&family.user, &family.session],
    )
}

fn statuses<'a>(grants: impl IntoIterator<Item = &'a Grant>, status: &str) -> usize {
    grants
        .into_iter()
        .filter(|grant| grant.status == status)
        .count()
}

/// Asserts that one of `grants` is a rotation, the others are retries, and all are the same child.
fn assert_one_child(grants: &[Grant]) {
    let [first, ..] = grants else {
        panic!("an answer");
    };
    assert_eq!(statuses(grants, "rotated"), 1, "{grants:?}");
    for grant in grants {
        let told = (&grant.token, grant.token_id, grant.session_id);
        assert_eq!(told, (&first.token, first.token_id, first.session_id));
        if grant.status != "rotated" {
            let verdict = (grant.status.as_str(), grant.reason.as_deref());
            assert_eq!(verdict, ("retried", Some("concurrent")));
        }
    }
}

/// Splits the answers of calls of which some could not be serialized.
fn serialized<T: std::fmt::Debug>(results: Vec<Result<T, Error>>) -> (Vec<T>, Vec<String>) {
    let (done, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let done = done.into_iter().filter_map(Result::ok);
    (done.collect(), failed.into_iter().map(error_code).collect())
}

/// Asserts what must hold at the end of every test, where nothing was issued into a session.
fn assert_sound(client: &mut Client) {
    assert_invariants(client);
    assert_eq!(miscounted_sessions(client), Vec::<String>::new());
}

#[test]
fn each_invariant_finds_what_breaks_it() {
    let database = database();
    let client = &mut database.connect();
    let breaks = [
        ("a session has at most one live token", "UPDATE auth.refresh_tokens SET revoked = false"),
        (
            "a child's parent is a row, revoked, of the same session",
            "UPDATE auth.refresh_tokens SET parent = 'nobody' WHERE parent IS NOT NULL",
        ),
        (
            "a child's parent is a row, revoked, of the same session",
            "UPDATE auth.refresh_tokens SET revoked = false WHERE parent IS NULL",
        ),
        (
            "a token has one child",
            "INSERT INTO auth.refresh_tokens (token, parent, session_id, revoked)
             SELECT 'branch', parent, session_id, true FROM auth.refresh_tokens WHERE parent IS NOT NULL",
        ),
        (
            "the tokens of a session are one path",
            "INSERT INTO auth.refresh_tokens (token, session_id, revoked)
             SELECT 'root', id, true FROM auth.sessions",
        ),
        (
            "the tokens of a session are one path",
            "INSERT INTO auth.refresh_tokens (token, parent, session_id, revoked)
             SELECT 'cycle', 'cycle', id, true FROM auth.sessions",
        ),
        (
            "a parent was revoked when its child was minted, and not touched since",
            "UPDATE auth.refresh_tokens SET updated_at = clock_timestamp() WHERE parent IS NULL",
        ),
        ("an ended session has no live token", "UPDATE auth.sessions SET not_after = clock_timestamp()"),
        (
            "an ended session gains no token",
            "UPDATE auth.sessions SET not_after = created_at",
        ),
        (
            "a session without a live token has ended",
            "UPDATE auth.refresh_tokens SET revoked = true",
        ),
    ];
    let covered: HashSet<_> = breaks.iter().map(|(invariant, _)| *invariant).collect();
    assert_eq!(covered.len(), INVARIANTS.len());

    Family::new(client).rotated(client, 1);
    assert_sound(client);
    for (invariant, sql) in breaks {
        let mut transaction = client.transaction().expect("a transaction");
        transaction
            .batch_execute(sql)
            .expect("a superuser may write");
        let broken = broken_invariants(&mut transaction);
        let found = broken.iter().any(|(broken, _)| *broken == invariant);
        assert!(found, "{sql} breaks {broken:?}");
    }
    client
        .batch_execute("UPDATE auth.sessions SET refresh_token_counter = 2")
        .expect("a superuser may write");
    assert_eq!(miscounted_sessions(client).len(), 1);
}

#[test]
fn twenty_presentations_of_one_token_have_one_child() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    for _ in 0..40 {
        let family = Family::new(client);
        let grants = crowd.at_once(|_, client| rotate(client, &family.token).expect("a verdict"));
        assert_one_child(&grants);
        assert_eq!(family.rows(client), (2, 1));
        // And the child has one child in its turn, derived with a key that is kept now.
        let child = grants[0].token();
        let grants = crowd.at_once(|_, client| rotate(client, child).expect("a verdict"));
        assert_one_child(&grants);
        assert_eq!(family.rows(client), (3, 1));
    }
    assert_sound(client);
}

#[test]
fn twenty_that_wait_for_the_session_get_one_child() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    for _ in 0..10 {
        let family = Family::new(client);
        let grants = crowd.behind(client, &family.lock(), |_, client| {
            rotate(client, &family.token).expect("a verdict")
        });
        assert_one_child(&grants);
        assert_eq!(family.rows(client), (2, 1));

        // The same where a rotation is under way that they have to wait for.
        let child = grants[0].token();
        let lock = format!("SELECT auth.rotate_refresh_token('{child}')");
        let mut grants = crowd.behind(client, &lock, |_, client| {
            rotate(client, child).expect("a verdict")
        });
        assert_eq!(statuses(&grants, "rotated"), 0);
        grants[0].status = "rotated".into();
        assert_one_child(&grants);
        assert_eq!(family.rows(client), (3, 1));
    }
    assert_sound(client);
}

#[test]
fn a_rotation_that_is_rolled_back_leaves_the_token_to_those_who_wait() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    for _ in 0..5 {
        let family = Family::new(client);
        // The first rotates and rolls back; the others have begun to wait for it meanwhile.
        let lock = family.lock();
        let grants = crowd.behind(client, &lock, |number, client| {
            let mut transaction = client.transaction().expect("a transaction");
            let grant = rotate(&mut transaction, &family.token).expect("a verdict");
            if number % 2 == 0 {
                transaction.rollback().expect("a rollback");
                None
            } else {
                transaction.commit().expect("a commit");
                Some(grant)
            }
        });
        let committed: Vec<_> = grants.into_iter().flatten().collect();
        assert_eq!(committed.len(), CROWD / 2);
        assert_one_child(&committed);
        assert_eq!(family.rows(client), (2, 1));
    }
    assert_sound(client);
}

#[test]
fn losers_under_one_snapshot_get_40001_and_never_a_second_child() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    for level in SNAPSHOT {
        for _ in 0..3 {
            let family = Family::new(client);
            let present = |client: &mut Client| {
                in_transaction(client, level, |transaction| {
                    rotate(transaction, &family.token)
                })
            };
            // All have their snapshot before the first of them rotates.
            let results = crowd.behind(client, &family.lock(), |_, client| present(client));
            let (grants, lost) = serialized(results);
            assert_eq!(statuses(&grants, "rotated"), 1);
            assert_eq!(
                (grants.len(), lost),
                (1, vec!["40001".to_owned(); CROWD - 1])
            );
            assert_eq!(family.rows(client), (2, 1));

            let retries = crowd.at_once(|_, client| present(client).expect("no conflict"));
            assert_eq!(statuses(&retries, "retried"), CROWD);
            assert_one_child(&[grants, retries].concat());
            assert_eq!(family.rows(client), (2, 1));
        }
    }
    assert_sound(client);
}

#[test]
fn all_who_retry_after_40001_end_with_one_child() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    for level in SNAPSHOT {
        for _ in 0..10 {
            let family = Family::new(client);
            let grants = crowd.at_once(|_, client| {
                until_serialized(client, level, |transaction| {
                    rotate(transaction, &family.token)
                })
            });
            assert_one_child(&grants);
            assert_eq!(family.rows(client), (2, 1));
        }
    }
    assert_sound(client);
}

/// Whatever changed a session since the snapshot, whoever would change it on the ground of that snapshot
/// is told to begin anew; who only locked it stands in nobody's way.
#[test]
fn a_snapshot_older_than_the_change_of_a_session_gets_40001() {
    type Act = fn(&mut dyn FnMut(&str) -> Result<(), Error>, &Family) -> Result<(), Error>;
    let acts: [(&str, Act); 6] = [
        ("rotate", |run, f| {
            run(&format!("SELECT auth.rotate_refresh_token('{}')", f.token))
        }),
        ("issue", |run, f| {
            run(&format!(
                "SELECT auth.issue_refresh_token('{}', '{}')",
                f.user, f.session
            ))
        }),
        ("revoke token", |run, f| run(&Revocation::Token.sql(f))),
        ("revoke family", |run, f| run(&Revocation::Family.sql(f))),
        ("revoke session", |run, f| run(&Revocation::Session.sql(f))),
        ("revoke user", |run, f| run(&Revocation::User.sql(f))),
    ];
    let database = database();
    let client = &mut database.connect();
    let other = &mut database.connect();
    for level in SNAPSHOT {
        for (change, act) in acts {
            for (late, late_act) in acts {
                let family = Family::new(client);
                let mut transaction = client
                    .build_transaction()
                    .isolation_level(level)
                    .start()
                    .expect("a transaction");
                transaction
                    .batch_execute("SELECT FROM auth.sessions")
                    .expect("a snapshot");
                act(&mut |sql| other.batch_execute(sql), &family).expect("no conflict");
                let result = late_act(&mut |sql| transaction.batch_execute(sql), &family);
                assert_eq!(
                    error_code(result),
                    "40001",
                    "{late} after {change} under {level:?}"
                );
            }
        }
        for (late, late_act) in acts {
            let family = Family::new(client);
            let tokens = family.rotated(client, 1);
            let family = Family {
                token: tokens[1].clone(),
                ..family
            };
            let mut transaction = client
                .build_transaction()
                .isolation_level(level)
                .start()
                .expect("a transaction");
            transaction
                .batch_execute("SELECT FROM auth.sessions")
                .expect("a snapshot");
            let retry = rotate(other, &tokens[0]).expect("a verdict");
            assert_eq!(retry.status, "retried");
            late_act(&mut |sql| transaction.batch_execute(sql), &family)
                .and_then(|()| transaction.commit())
                .unwrap_or_else(|error| panic!("{late} after a retry under {level:?}: {error}"));
        }
    }
    assert_invariants(client);
}

/// Twenty present the newest token they know while one revokes after the first `head_start`
/// presentations.
fn revoke_among_presentations(
    crowd: &mut Racers,
    family: &Family,
    revocation: Revocation,
    head_start: usize,
) {
    let presented = AtomicUsize::new(0);
    let revoked = Mutex::new(None);
    let histories = crowd.at_once(|number, client| {
        let mut history = Vec::new();
        if number == 0 {
            wait_until("others have presented", || {
                presented.load(Ordering::Relaxed) >= head_start
            });
            // A failure is told as well: the others wait for the end.
            let tokens = revocation
                .run(client, family)
                .map_err(|error| error.to_string());
            *revoked.lock().expect("no panic while it is held") = Some((tokens, Instant::now()));
            return history;
        }
        let mut token = family.token.clone();
        // Once it is revoked, a few more presentations show what there is to see.
        let mut late = 0;
        while late < 3 {
            late += usize::from(revoked.lock().expect("no panic while it is held").is_some());
            let began = Instant::now();
            let grant = rotate(client, &token).expect("a verdict");
            presented.fetch_add(1, Ordering::Relaxed);
            // Some stay with the token that they have: retries of it go on for long.
            if number % 2 == 0
                && let Some(child) = &grant.token
            {
                token.clone_from(child);
            }
            let ended = grant.token.is_none();
            history.push((began, grant));
            if ended {
                break;
            }
        }
        history
    });
    let revoked = revoked.into_inner().expect("no panic while it was held");
    let (tokens, committed) = revoked.expect("somebody revoked");
    assert_eq!(tokens, Ok(1), "{revocation:?}");
    for (began, grant) in histories.into_iter().flatten() {
        let allowed = ["rotated", "retried", "revoked"];
        assert!(allowed.contains(&grant.status.as_str()), "{grant:?}");
        assert!(
            began < committed || grant.status == "revoked",
            "given after {revocation:?}: {grant:?}"
        );
    }
}

#[test]
fn no_token_outlives_a_revocation_among_twenty_presentations() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD + 1);
    for revocation in Revocation::ALL {
        for head_start in [0, 1, 5, 20, 60] {
            let family = Family::new(client);
            revoke_among_presentations(&mut crowd, &family, revocation, head_start);
            assert_eq!(family.rows(client).1, 0, "{revocation:?}");
        }
    }
    assert_sound(client);
}

#[test]
fn twenty_that_waited_for_a_revocation_get_nothing() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    for revocation in Revocation::ALL {
        let family = Family::new(client);
        let lock = revocation.sql(&family);
        let grants = crowd.behind(client, &lock, |_, client| {
            rotate(client, &family.token).expect("a verdict")
        });
        assert_eq!(statuses(&grants, "revoked"), CROWD, "{revocation:?}");
        assert_eq!(family.rows(client), (1, 0));

        for level in SNAPSHOT {
            let family = Family::new(client);
            let lock = revocation.sql(&family);
            let results = crowd.behind(client, &lock, |_, client| {
                in_transaction(client, level, |transaction| {
                    rotate(transaction, &family.token)
                })
            });
            let (grants, lost) = serialized(results);
            assert_eq!((grants, lost), (vec![], vec!["40001".to_owned(); CROWD]));
            assert_eq!(family.rows(client), (1, 0));
        }
    }
    assert_sound(client);
}

/// The escape that a lock on the token's row leaves open: the revocation has read the tokens before the
/// rotation that it waits for adds one.
#[test]
fn a_revocation_that_waited_for_a_rotation_ends_the_child() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, 6);
    for revocation in Revocation::ALL {
        for place in [0, 3, 5] {
            let family = Family::new(client);
            let lock = format!("SELECT auth.rotate_refresh_token('{}')", family.token);
            let results = crowd.behind(client, &lock, |number, client| {
                if number == place {
                    Err(revocation.run(client, &family).expect("no conflict"))
                } else {
                    Ok(rotate(client, &family.token).expect("a verdict"))
                }
            });
            let (grants, counts): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            let counts: Vec<_> = counts.into_iter().filter_map(Result::err).collect();
            let grants: Vec<_> = grants.into_iter().filter_map(Result::ok).collect();
            assert_eq!(counts, [1], "{revocation:?}");
            let (retried, revoked) = (statuses(&grants, "retried"), statuses(&grants, "revoked"));
            assert_eq!(retried + revoked, 5, "{grants:?}");
            assert_eq!(family.rows(client), (2, 0), "{revocation:?}");
        }

        for level in SNAPSHOT {
            let family = Family::new(client);
            let lock = format!("SELECT auth.rotate_refresh_token('{}')", family.token);
            let results = crowd.behind_some(
                client,
                &lock,
                |number| number == 0,
                |number, client| {
                    if number > 0 {
                        return Ok(0);
                    }
                    in_transaction(client, level, |transaction| {
                        revocation.run(transaction, &family)
                    })
                },
            );
            let (_, lost) = serialized(results);
            assert_eq!(lost, ["40001"], "{revocation:?} {level:?}");
            let revoked = in_transaction(client, level, |transaction| {
                revocation.run(transaction, &family)
            });
            assert_eq!(revoked.expect("no conflict"), 1);
            assert_eq!(family.rows(client), (2, 0));
        }
    }
    assert_sound(client);
}

#[test]
fn reuse_among_twenty_presentations_leaves_no_live_token() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    for round in 0..10 {
        let family = Family::new(client);
        let tokens = family.rotated(client, 1);
        pass_time(client, family.session, "2 h");
        let thief = round * 2;
        let act = |number: usize, client: &mut Client| {
            let token = &tokens[usize::from(number != thief)];
            rotate(client, token).expect("a verdict")
        };
        let grants = if round % 2 == 0 {
            crowd.at_once(act)
        } else {
            crowd.behind(client, &family.lock(), act)
        };
        assert_eq!(grants[thief].status, "reuse_detected");
        assert_eq!(statuses(&grants, "reuse_detected"), 1);
        let (rotated, retried) = (statuses(&grants, "rotated"), statuses(&grants, "retried"));
        assert!(rotated <= 1 && rotated + retried + statuses(&grants, "revoked") == CROWD - 1);
        assert!(rotated == 1 || retried == 0);
        assert_eq!(family.rows(client).1, 0);
    }
    // Those who waited for it get nothing.
    let family = Family::new(client);
    let tokens = family.rotated(client, 1);
    pass_time(client, family.session, "2 h");
    let lock = format!("SELECT auth.rotate_refresh_token('{}')", tokens[0]);
    let grants = crowd.behind(client, &lock, |number, client| {
        rotate(client, &tokens[number % 2]).expect("a verdict")
    });
    assert_eq!(statuses(&grants, "revoked"), CROWD);
    assert_sound(client);
}

#[test]
fn tabs_with_slow_retries_end_with_the_same_live_token() {
    let database = database();
    let client = &mut database.connect();
    let mut tabs = Racers::new(&database, CROWD);
    for round in 0..10 {
        let family = Family::new(client);
        let mut tokens = vec![family.token.clone()];
        for _ in 0..5 {
            tokens = [tokens.clone(), family_child(client, &tokens)].concat();
            pass_time(client, family.session, "5 min");
        }
        let live = &tokens[5];
        let act = |tokens: &[String], number: usize, client: &mut Client| {
            rotate(client, &tokens[number % tokens.len()]).expect("a verdict")
        };

        // Retries alone: parents and their parents, and nothing is minted.
        let grants = tabs.at_once(|number, client| act(&tokens[..5], number, client));
        for grant in &grants {
            assert_eq!(
                (grant.status.as_str(), grant.token()),
                ("retried", live.as_str())
            );
        }
        assert_eq!(family.rows(client), (6, 1));

        // The live token is presented among them.
        let mixed = |number: usize, client: &mut Client| act(&tokens, number, client);
        let grants = if round % 2 == 0 {
            tabs.at_once(mixed)
        } else {
            tabs.behind(client, &family.lock(), mixed)
        };
        assert_eq!(statuses(&grants, "rotated"), 1);
        assert_eq!(statuses(&grants, "retried"), CROWD - 1);
        assert_eq!(family.rows(client), (7, 1));
        let rotated = grants.iter().find(|grant| grant.status == "rotated");
        let child = rotated.expect("counted above").token();
        // Who was answered before the rotation holds its parent, and comes back with it.
        let ends: HashSet<_> = (grants.iter())
            .map(|grant| {
                if grant.token() == live {
                    rotate(client, live).expect("a verdict").token().to_owned()
                } else {
                    grant.token().to_owned()
                }
            })
            .collect();
        assert_eq!(ends, HashSet::from([child.to_owned()]));
        assert_eq!(family.rows(client), (7, 1));
    }
    assert_sound(client);
}

/// The child of the last of `tokens`.
fn family_child(client: &mut Client, tokens: &[String]) -> Vec<String> {
    let grant = rotate(client, &tokens[tokens.len() - 1]).expect("a verdict");
    assert_eq!(grant.status, "rotated");
    vec![grant.token().to_owned()]
}

#[test]
fn twenty_presentations_without_rotation_change_no_token() {
    let database = database();
    set(&database, "rotation = off");
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    let family = Family::new(client);
    let grants = crowd.at_once(|_, client| rotate(client, &family.token).expect("a verdict"));
    for grant in &grants {
        assert_eq!(
            (grant.status.as_str(), grant.token()),
            ("unchanged", family.token.as_str())
        );
    }
    assert_eq!(family.rows(client), (1, 1));
    assert_sound(client);
}

/// A token that was live when they came, and not any more when they got the lock, is no token to keep.
#[test]
fn twenty_that_waited_for_an_issue_do_not_keep_the_token_that_it_replaced() {
    let database = database();
    set(&database, "rotation = off");
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    let family = Family::new(client);
    let Family { user, session, .. } = &family;
    let lock = format!("SELECT auth.issue_refresh_token('{user}', '{session}')");
    let grants = crowd.behind(client, &lock, |_, client| {
        rotate(client, &family.token).expect("a verdict")
    });
    assert_eq!(statuses(&grants, "revoked"), CROWD);
    assert_eq!(family.rows(client), (2, 1));
    assert_invariants(client);
}

/// The number of sessions in the database.
fn sessions(client: &mut Client) -> i64 {
    let row = client.query_one("SELECT count(*) FROM auth.sessions", &[]);
    row.expect("a superuser may look").get(0)
}

/// Locks the row of `token`, as the functions do where there is no session to lock.
fn lock_row(token: &str) -> String {
    format!(
        "SELECT FROM auth.refresh_tokens WHERE token = '{}' FOR NO KEY UPDATE",
        digest(token)
    )
}

#[test]
fn twenty_first_rotations_of_a_token_without_a_session_open_one_session() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    for round in 0..12 {
        let family = Family::new(client);
        family.without_session(client);
        let before = sessions(client);
        let act = |_: usize, client: &mut Client| rotate(client, &family.token).expect("a verdict");
        let grants = if round % 2 == 0 {
            crowd.at_once(act)
        } else {
            crowd.behind(client, &lock_row(&family.token), act)
        };
        assert_one_child(&grants);
        assert_eq!(sessions(client), before + 1);
        let session = grants[0].session();
        assert_eq!(rows_of(client, session), (2, 1));
        let slot = |id: Uuid| id.into_bytes()[14..].to_vec();
        assert_eq!(slot(session), slot(family.session));
        assert_eq!(grants[0].user_id.as_deref(), Some(family.user.as_str()));
    }
    for level in SNAPSHOT {
        let family = Family::new(client);
        family.without_session(client);
        let before = sessions(client);
        let results = crowd.behind(client, &lock_row(&family.token), |_, client| {
            in_transaction(client, level, |transaction| {
                rotate(transaction, &family.token)
            })
        });
        let (grants, lost) = serialized(results);
        assert_eq!(statuses(&grants, "rotated"), 1);
        assert_eq!(
            (grants.len(), lost),
            (1, vec!["40001".to_owned(); CROWD - 1])
        );
        let retries = crowd.at_once(|_, client| {
            until_serialized(client, level, |transaction| {
                rotate(transaction, &family.token)
            })
        });
        assert_one_child(&[grants, retries].concat());
        assert_eq!(sessions(client), before + 1);
    }
    assert_sound(client);
}

#[test]
fn a_chain_without_a_session_is_adopted_as_a_whole_by_whoever_comes_first() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    for round in 0..8 {
        let family = Family::new(client);
        let tokens = family.rotated(client, 3);
        family.without_session(client);
        let before = sessions(client);
        let act = |number: usize, client: &mut Client| {
            rotate(client, &tokens[number % tokens.len()]).expect("a verdict")
        };
        let grants = if round % 2 == 0 {
            crowd.at_once(act)
        } else {
            crowd.behind(client, &lock_row(&tokens[0]), act)
        };
        let (live, old): (Vec<_>, Vec<_>) =
            (grants.into_iter().enumerate()).partition(|(number, _)| number % tokens.len() == 3);
        let live: Vec<_> = live.into_iter().map(|(_, grant)| grant).collect();
        assert_one_child(&live);
        // The key that would lead from them to the live token was not there when they were rotated.
        assert_eq!(
            statuses(old.iter().map(|(_, grant)| grant), "revoked"),
            old.len()
        );
        assert_eq!(rows_of(client, live[0].session()), (5, 1));
        assert_eq!(sessions(client), before + 1);
    }
    assert_invariants(client);
}

#[test]
fn no_token_without_a_session_outlives_a_revocation() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD + 1);
    let live = |client: &mut Client, user: &str| -> i64 {
        let sql =
            "SELECT count(*) FROM auth.refresh_tokens WHERE user_id = $1 AND revoked IS FALSE";
        client
            .query_one(sql, &[&user])
            .expect("a superuser may look")
            .get(0)
    };
    for revocation in [Revocation::Token, Revocation::Family] {
        for head_start in [0, 0, 1, 1, 5, 40] {
            let family = Family::new(client);
            family.without_session(client);
            revoke_among_presentations(&mut crowd, &family, revocation, head_start);
            assert_eq!(live(client, &family.user), 0, "{revocation:?}");
        }
        for place in [0, 1, 10, CROWD] {
            let family = Family::new(client);
            family.without_session(client);
            let grants = crowd.behind(client, &lock_row(&family.token), |number, client| {
                if number == place {
                    assert_eq!(revocation.run(client, &family).expect("no conflict"), 1);
                    return None;
                }
                Some(rotate(client, &family.token).expect("a verdict"))
            });
            let grants: Vec<_> = grants.into_iter().flatten().collect();
            let [rotated, retried, revoked] =
                ["rotated", "retried", "revoked"].map(|status| statuses(&grants, status));
            assert!(
                rotated <= 1 && rotated + retried + revoked == CROWD,
                "{grants:?}"
            );
            assert!(rotated == 1 || retried == 0, "{grants:?}");
            assert_eq!(live(client, &family.user), 0, "{revocation:?}");
        }
        // In the two orders that matter, for certain.
        let family = Family::new(client);
        family.without_session(client);
        let lock = revocation.sql(&family);
        let grants = crowd.behind(client, &lock, |_, client| {
            rotate(client, &family.token).expect("a verdict")
        });
        assert_eq!(statuses(&grants, "revoked"), CROWD + 1);

        let family = Family::new(client);
        family.without_session(client);
        let lock = format!("SELECT auth.rotate_refresh_token('{}')", family.token);
        let counts = crowd.behind(client, &lock, |_, client| {
            revocation.run(client, &family).expect("no conflict")
        });
        assert_eq!(counts.iter().sum::<i64>(), 1, "the child, once");
        assert_eq!(live(client, &family.user), 0);
    }
    assert_sound(client);
}

#[test]
fn twenty_tokens_issued_into_one_session_are_one_path() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    for round in 0..4 {
        let family = Family::new(client);
        let act = |_: usize, client: &mut Client| issue_into(client, &family).expect("no conflict");
        let grants = if round % 2 == 0 {
            crowd.at_once(act)
        } else {
            crowd.behind(client, &family.lock(), act)
        };
        assert_eq!(statuses(&grants, "issued"), CROWD);
        let tokens: HashSet<_> = grants.iter().map(Grant::token).collect();
        assert_eq!(tokens.len(), CROWD);
        assert_eq!(family.rows(client), (1 + CROWD as i64, 1));
        let last = grants
            .iter()
            .max_by_key(|grant| grant.token_id)
            .expect("an answer");
        for grant in &grants {
            let expected = if grant.token_id == last.token_id {
                "rotated"
            } else {
                "revoked"
            };
            assert_eq!(explain(client, grant.token()).status, expected);
        }
        assert_eq!(explain(client, &family.token).status, "revoked");
    }
    for level in SNAPSHOT {
        let family = Family::new(client);
        let results = crowd.behind(client, &family.lock(), |_, client| {
            in_transaction(client, level, |transaction| {
                issue_into(transaction, &family)
            })
        });
        let (grants, lost) = serialized(results);
        assert_eq!(
            (grants.len(), lost),
            (1, vec!["40001".to_owned(); CROWD - 1])
        );
        assert_eq!(family.rows(client), (2, 1));
    }
    assert_invariants(client);
}

#[test]
fn issuing_and_rotating_at_once_keeps_one_path() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    for round in 0..10 {
        let family = Family::new(client);
        let act = |number: usize, client: &mut Client| {
            if number < 4 {
                issue_into(client, &family).expect("no conflict")
            } else {
                rotate(client, &family.token).expect("a verdict")
            }
        };
        let grants = if round % 2 == 0 {
            crowd.at_once(act)
        } else {
            crowd.behind(client, &family.lock(), act)
        };
        assert_eq!(statuses(&grants, "issued"), 4);
        let [rotated, retried, revoked] =
            ["rotated", "retried", "revoked"].map(|status| statuses(&grants, status));
        assert!(
            rotated <= 1 && rotated + retried + revoked == 16,
            "{grants:?}"
        );
        assert!(rotated == 1 || retried == 0, "{grants:?}");
        assert_eq!(family.rows(client), (5 + rotated as i64, 1));
    }
    assert_invariants(client);
}

#[test]
fn nothing_is_issued_into_a_session_that_is_revoked_meanwhile() {
    let database = database();
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    for revocation in Revocation::ALL {
        let family = Family::new(client);
        let lock = revocation.sql(&family);
        let results = crowd.behind(client, &lock, |_, client| issue_into(client, &family));
        for result in results {
            assert_eq!(error_code(result), "55000", "{revocation:?}");
        }
        assert_eq!(family.rows(client), (1, 0));
    }
    assert_invariants(client);
}

/// A user's sessions that have not ended, by their tag.
fn live_by_tag(client: &mut Client, user: &str) -> Vec<(Option<String>, i64)> {
    let sql = "SELECT tag, count(*) FROM auth.sessions
                WHERE user_id = $1 AND (not_after IS NULL OR not_after > clock_timestamp())
                GROUP BY tag ORDER BY tag NULLS FIRST";
    let rows = client.query(sql, &[&user]).expect("a superuser may look");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn login(client: &mut impl GenericClient, user: &str, tag: Option<&str>) -> Result<Grant, Error> {
    call(client, "issue_refresh_token($1, tag => $2)", &[&user, &tag])
}

#[test]
fn twenty_logins_at_once_leave_as_many_sessions_as_the_cap_allows() {
    let database = database();
    set(&database, "max_sessions_per_user = 3");
    let client = &mut database.connect();
    let mut crowd = Racers::new(&database, CROWD);
    let levels = [
        IsolationLevel::ReadCommitted,
        IsolationLevel::RepeatableRead,
        IsolationLevel::Serializable,
    ];
    for level in levels {
        for (round, tags) in [
            [None, None],
            [None, Some("web")],
            [Some("app"), Some("web")],
        ]
        .into_iter()
        .enumerate()
        {
            let user = Uuid::new_v4().to_string();
            let lock = if round == 1 {
                // A login that is under way keeps the others waiting.
                format!("SELECT auth.issue_refresh_token('{user}', tag => 'web')")
            } else {
                "SELECT".to_owned()
            };
            let act = |number: usize, client: &mut Client| {
                until_serialized(client, level, |transaction| {
                    login(transaction, &user, tags[number % 2])
                })
            };
            let grants = if round == 1 {
                crowd.behind_some(client, &lock, |number| number % 2 == 1, act)
            } else {
                crowd.at_once(act)
            };
            assert_eq!(statuses(&grants, "issued"), CROWD);
            let tag = |at: usize| tags[at].map(str::to_owned);
            let expected = if tags[0] == tags[1] {
                vec![(tag(0), 3)]
            } else {
                vec![(tag(0), 3), (tag(1), 3)]
            };
            assert_eq!(live_by_tag(client, &user), expected, "{level:?}");
            let verdicts: Vec<_> = grants
                .iter()
                .map(|grant| explain(client, grant.token()))
                .collect();
            let live: i64 = expected.iter().map(|(_, number)| number).sum();
            assert_eq!(statuses(&verdicts, "rotated") as i64, live);
            assert_eq!(statuses(&verdicts, "revoked") as i64, CROWD as i64 - live);
        }
    }
    assert_sound(client);
}

/// Under one snapshot a login can't count the sessions that were opened since: it says so instead of
/// going over the cap.
#[test]
fn a_login_that_can_not_see_the_others_gets_40001() {
    let database = database();
    set(&database, "max_sessions_per_user = 1");
    let client = &mut database.connect();
    let other = &mut database.connect();
    for level in SNAPSHOT {
        let user = Uuid::new_v4().to_string();
        let mut transaction = client
            .build_transaction()
            .isolation_level(level)
            .start()
            .expect("a transaction");
        transaction
            .batch_execute("SELECT FROM auth.sessions")
            .expect("a snapshot");
        login(other, &user, None).expect("a login");
        // Another tag and another user are nobody's business.
        login(&mut transaction, &user, Some("web")).expect("a login");
        login(&mut transaction, &Uuid::new_v4().to_string(), None).expect("a login");
        let result = login(&mut transaction, &user, None);
        assert_eq!(error_code(result), "40001", "{level:?}");
        transaction.rollback().expect("a rollback");
        assert_eq!(live_by_tag(client, &user), [(None, 1)]);
    }
    assert_sound(client);
}

/// Whoever waits for the lock of a session holds those of lower ids only: then nobody waits in a circle.
#[test]
fn sessions_are_locked_in_the_order_of_their_ids() {
    let database = database();
    let client = &mut database.connect();
    let other = &mut database.connect();
    let mut racer = Racer::new(&database);
    let pid = racer.pid;
    for name in [
        "revoke_user_sessions",
        "revoke_token_family",
        "issue over the cap",
    ] {
        let user = Uuid::new_v4().to_string();
        let mut sessions: Vec<_> = (0..9).map(|_| issue(client, &user).session()).collect();
        sessions.sort_unstable();
        let sql = match name {
            "revoke_user_sessions" => format!("SELECT auth.revoke_user_sessions('{user}')"),
            "revoke_token_family" => {
                // A value that many rows show as their parent, as no table of ours would.
                let sql = "UPDATE auth.refresh_tokens SET parent = $1 WHERE user_id = $1";
                client
                    .execute(sql, &[&user])
                    .expect("a superuser may write");
                format!("SELECT auth.revoke_token_family('{user}')")
            }
            _ => format!(
                "SET LOCAL refresh_tokens.max_sessions_per_user = 1; SELECT auth.issue_refresh_token('{user}')"
            ),
        };
        let free = thread::scope(|scope| {
            let mut gate = client.transaction().expect("a transaction");
            let lock = "SELECT FROM auth.sessions WHERE id = $1 FOR NO KEY UPDATE";
            gate.execute(lock, &[&sessions[4]]).expect("a free lock");
            let call = scope.spawn(|| racer.client.batch_execute(&sql));
            wait_until("the call waits", || {
                call.is_finished() || waits(&mut gate, pid)
            });
            let free = "SELECT id FROM auth.sessions WHERE user_id = $1 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED";
            let free = other.query(free, &[&user]).expect("nothing to wait for");
            gate.commit().expect("the gate opens");
            call.join()
                .expect("the racer comes home")
                .expect("no conflict");
            free
        });
        let free: Vec<Uuid> = free.iter().map(|row| row.get(0)).collect();
        assert_eq!(free, sessions[5..], "{name}");
        let ended = "SELECT count(*) FROM auth.sessions WHERE user_id = $1 AND not_after <= clock_timestamp()";
        let row = client
            .query_one(ended, &[&user])
            .expect("a superuser may look");
        assert_eq!(row.get::<_, i64>(0), 9, "{name}");
    }
}

/// A call's time is not when it came but when it held the lock: what it writes is never older than what
/// was written while it waited, and no verdict is about a time that has passed.
#[test]
fn the_time_is_taken_once_the_lock_is_held() {
    let database = database();
    let client = &mut database.connect();
    let mut racer = Racer::new(&database);
    let pid = racer.pid;
    for name in [
        "rotate", "reuse", "issue", "token", "family", "session", "user", "row", "chain",
    ] {
        let family = Family::new(client);
        let mut lock = family.lock();
        let sql = match name {
            "rotate" => format!("SELECT auth.rotate_refresh_token('{}')", family.token),
            "reuse" => {
                family.rotated(client, 1);
                pass_time(client, family.session, "2 h");
                format!("SELECT auth.rotate_refresh_token('{}')", family.token)
            }
            "issue" => format!(
                "SELECT auth.issue_refresh_token('{}', '{}')",
                family.user, family.session
            ),
            "token" => Revocation::Token.sql(&family),
            "family" => Revocation::Family.sql(&family),
            "session" => Revocation::Session.sql(&family),
            "user" => Revocation::User.sql(&family),
            _ => {
                family.without_session(client);
                lock = lock_row(&family.token);
                if name == "row" {
                    format!("SELECT auth.rotate_refresh_token('{}')", family.token)
                } else {
                    Revocation::Family.sql(&family)
                }
            }
        };
        let opened: String = thread::scope(|scope| {
            let mut gate = client.transaction().expect("a transaction");
            gate.batch_execute(&lock).expect("a free lock");
            let call = scope.spawn(|| racer.client.batch_execute(&sql));
            wait_until("the call waits", || {
                call.is_finished() || waits(&mut gate, pid)
            });
            let row = gate.query_one("SELECT clock_timestamp()::text", &[]);
            let opened = row.expect("a time").get(0);
            gate.commit().expect("the gate opens");
            call.join()
                .expect("the racer comes home")
                .expect("no conflict");
            opened
        });
        let sql = "SELECT max(t.updated_at) >= $2::text::timestamptz
                      AND coalesce(max(s.updated_at) >= $2::text::timestamptz, true)
                      AND coalesce(max(s.not_after) >= $2::text::timestamptz, true)
                     FROM auth.refresh_tokens AS t LEFT JOIN auth.sessions AS s ON s.id = t.session_id
                    WHERE t.user_id = $1";
        let row = client.query_one(sql, &[&family.user, &opened]);
        assert!(row.expect("rows").get::<_, bool>(0), "{name}");
    }
    assert_invariants(client);
}

/// Everything at once, in single calls, on the sessions of two users: whatever the functions wait for,
/// they wait in one order.
#[test]
fn the_functions_never_wait_for_each_other_in_a_circle() {
    const CALLS: usize = 80;
    let database = database();
    set(&database, "max_sessions_per_user = 3");
    let client = &mut database.connect();
    let users = ["alice", "bob"];
    let families: Vec<_> = (0..8)
        .map(|number| {
            let user = users[number % 2];
            let grant = login(client, user, None).expect("a login");
            (user, grant.session(), grant.token().to_owned())
        })
        .collect();
    let known = Mutex::new(families);
    let mut crowd = Racers::new(&database, CROWD);
    crowd.at_once(|number, client| {
        let levels = [
            IsolationLevel::ReadCommitted,
            IsolationLevel::ReadCommitted,
            IsolationLevel::RepeatableRead,
            IsolationLevel::Serializable,
        ];
        let level = levels[number % 4];
        if number % 3 == 0 {
            let sql = "SET refresh_tokens.reuse_interval = 0";
            client.batch_execute(sql).expect("a setting");
        }
        if number % 5 == 0 {
            // A login of these ends several sessions.
            let sql = "SET refresh_tokens.max_sessions_per_user = 1";
            client.batch_execute(sql).expect("a setting");
        }
        let mut random = Random::new(0, number);
        for _ in 0..CALLS {
            let (call, place) = (random.below(64), random.below(8));
            let (user, session, token) = {
                let known = known.lock().expect("no panic while it is held");
                // Mostly one of the newest, so that there is something to rotate and to end.
                let newest = known.len().min(8);
                known[known.len() - 1 - place % newest].clone()
            };
            let family = Family {
                user: user.to_owned(),
                session,
                token,
            };
            let result = in_transaction(client, level, |transaction| match call {
                0..30 => rotate(transaction, &family.token).map(Some),
                30..44 => login(transaction, user, None).map(Some),
                44..50 => issue_into(transaction, &family).map(Some),
                50..55 => Ok(Some(explain(transaction, &family.token))),
                55..57 => Revocation::User.run(transaction, &family).map(|_| None),
                57..60 => Revocation::Family.run(transaction, &family).map(|_| None),
                60..62 => Revocation::Token.run(transaction, &family).map(|_| None),
                _ => Revocation::Session.run(transaction, &family).map(|_| None),
            });
            match result {
                Ok(None) => {}
                Ok(Some(grant)) => {
                    let allowed = [
                        "issued",
                        "rotated",
                        "retried",
                        "revoked",
                        "reuse_detected",
                        "expired",
                    ];
                    assert!(allowed.contains(&grant.status.as_str()), "{grant:?}");
                    if let (Some(token), Some(session)) = (grant.token, grant.session_id) {
                        known
                            .lock()
                            .expect("no panic while it is held")
                            .push((user, session, token));
                    }
                }
                Err(error) => {
                    let code = error_code(Err::<(), _>(error));
                    let ended = code == "55000" && (44..50).contains(&call);
                    let lost = code == "40001" && !matches!(level, IsolationLevel::ReadCommitted);
                    assert!(ended || lost, "{code} of {call} under {level:?}");
                }
            }
            thread::yield_now();
        }
    });
    assert_invariants(client);
    for user in users {
        let live = live_by_tag(client, user);
        assert!(
            live.iter().all(|(_, number)| *number <= 3),
            "{user}: {live:?}"
        );
    }
}
