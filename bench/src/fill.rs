//! Fills a contender's tables: equally many sessions, and tokens where it has them.

use crate::contender::{Contender, Held};
use postgres::{Client, Error};
use std::io::Write as _;
use uuid::Uuid;

/// How much is in the tables.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Sessions.
    pub sessions: usize,
    /// Sessions of a user.
    pub per_user: usize,
    /// Tokens of each session, of which the last is live.
    pub family: usize,
}

/// As long as bcrypt's.
const PASSWORD: &str = "$2a$10$abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyza";
const APP_META_DATA: &str = r#"{"provider": "email", "providers": ["email"]}"#;

/// What COPY writes; a failure of the connection comes from `finish`.
#[derive(Default)]
struct Copy {
    columns: Vec<&'static str>,
    rows: String,
}

impl Copy {
    /// Adds a row: the names of columns, the same ones for each row, with their values.
    fn row(&mut self, row: &[(&'static str, &str)]) {
        self.columns = row.iter().map(|(column, _)| *column).collect();
        let values: Vec<_> = row.iter().map(|(_, value)| *value).collect();
        self.rows += &values.join("\t");
        self.rows.push('\n');
    }

    fn send(self, client: &mut Client, table: &str) -> Result<(), Error> {
        let columns = self.columns.join(", ");
        let mut writer = client.copy_in(&format!("COPY {table} ({columns}) FROM STDIN"))?;
        writer
            .write_all(self.rows.as_bytes())
            .expect("the server takes what is copied");
        writer.finish().map(drop)
    }
}

/// Fills the empty tables of `contender` and gives what the clients would hold, in a random order.
///
/// # Errors
/// As the server raises them.
pub fn fill(client: &mut Client, contender: Contender, size: Size) -> Result<Vec<Held>, Error> {
    let owners: Vec<_> = (0..size.sessions.div_ceil(size.per_user))
        .map(|_| Uuid::new_v4())
        .collect();
    let mut held: Vec<_> = (0..size.sessions)
        .map(|number| Held {
            token: String::new(),
            session: Uuid::new_v4(),
            user: owners[number / size.per_user],
        })
        .collect();
    client.batch_execute("BEGIN; SET LOCAL synchronous_commit = off")?;
    if contender.is_supabase() {
        users(client, &held)?;
        identities(client, &held)?;
    }
    sessions(client, contender, &held)?;
    if contender.is_supabase() {
        claims(client, &held)?;
    }
    if contender.has_tokens() {
        tokens(client, contender, &mut held, size.family)?;
    }
    client.batch_execute("COMMIT")?;
    client.batch_execute("VACUUM (ANALYZE)")?;
    fastrand::shuffle(&mut held);
    Ok(held)
}

fn sessions(client: &mut Client, contender: Contender, held: &[Held]) -> Result<(), Error> {
    let key = contender.token().0;
    let mut copy = Copy::default();
    for held in held {
        copy.row(&[
            ("id", &held.session.to_string()),
            ("user_id", &held.user.to_string()),
            ("created_at", "now"),
            ("updated_at", "now"),
            ("refreshed_at", "now"),
            ("refresh_token_counter", "0"),
            ("refresh_token_hmac_key", &key),
            ("user_agent", "Mozilla/5.0"),
            ("ip", "203.0.113.7"),
        ]);
    }
    copy.send(client, "auth.sessions")
}

/// Generation by generation, so that a family is spread over the table, as it is in one that grew.
fn tokens(
    client: &mut Client,
    contender: Contender,
    held: &mut [Held],
    family: usize,
) -> Result<(), Error> {
    let mut parents = vec!["\\N".to_owned(); held.len()];
    for generation in 1..=family {
        let revoked = if generation == family { "f" } else { "t" };
        let mut copy = Copy::default();
        for (held, parent) in held.iter_mut().zip(&mut parents) {
            let (stored, token) = contender.token();
            copy.row(&[
                ("instance_id", &Uuid::nil().to_string()),
                ("token", &stored),
                ("user_id", &held.user.to_string()),
                ("revoked", revoked),
                ("created_at", "now"),
                ("updated_at", "now"),
                ("parent", parent),
                ("session_id", &held.session.to_string()),
            ]);
            *parent = stored;
            held.token = token;
        }
        copy.send(client, "auth.refresh_tokens")?;
    }
    Ok(())
}

fn users(client: &mut Client, held: &[Held]) -> Result<(), Error> {
    let mut copy = Copy::default();
    for held in held {
        let user = held.user.to_string();
        copy.row(&[
            ("instance_id", &Uuid::nil().to_string()),
            ("id", &user),
            ("aud", "authenticated"),
            ("role", "authenticated"),
            ("email", &format!("{user}@example.com")),
            ("encrypted_password", PASSWORD),
            ("email_confirmed_at", "now"),
            ("confirmation_token", ""),
            ("recovery_token", ""),
            ("raw_app_meta_data", APP_META_DATA),
            ("raw_user_meta_data", &user_data(&user)),
            ("created_at", "now"),
            ("updated_at", "now"),
        ]);
    }
    copy.send(client, "auth.users")
}

fn identities(client: &mut Client, held: &[Held]) -> Result<(), Error> {
    let mut copy = Copy::default();
    for held in held {
        let user = held.user.to_string();
        copy.row(&[
            ("provider_id", &user),
            ("user_id", &user),
            ("identity_data", &user_data(&user)),
            ("provider", "email"),
            ("last_sign_in_at", "now"),
            ("created_at", "now"),
            ("updated_at", "now"),
        ]);
    }
    copy.send(client, "auth.identities")
}

fn user_data(user: &str) -> String {
    format!(r#"{{"sub": "{user}", "email": "{user}@example.com"}}"#)
}

fn claims(client: &mut Client, held: &[Held]) -> Result<(), Error> {
    let mut copy = Copy::default();
    for held in held {
        copy.row(&[
            ("session_id", &held.session.to_string()),
            ("created_at", "now"),
            ("updated_at", "now"),
            ("authentication_method", "password"),
            ("id", &Uuid::new_v4().to_string()),
        ]);
    }
    copy.send(client, "auth.mfa_amr_claims")
}

impl Size {
    /// `rows` tokens in families of `family`, each with a user of its own.
    pub fn of(rows: usize, family: usize) -> Self {
        let family = family.clamp(1, rows.max(1));
        Self {
            sessions: (rows / family).max(1),
            per_user: 1,
            family,
        }
    }

    /// As this, with `sessions` of a user.
    pub fn per_user(self, sessions: usize) -> Self {
        Self {
            per_user: sessions.max(1),
            ..self
        }
    }
}
