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

/// What COPY writes; a failure of the connection comes from `finish`.
struct Copy(String);

impl Copy {
    fn row(&mut self, columns: &[&str]) {
        self.0 += &columns.join("\t");
        self.0.push('\n');
    }

    fn send(self, client: &mut Client, into: &str) -> Result<(), Error> {
        let mut writer = client.copy_in(&format!("COPY {into} FROM STDIN"))?;
        writer
            .write_all(self.0.as_bytes())
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
    let columns = "auth.sessions (id, user_id, created_at, updated_at, refreshed_at, refresh_token_counter, \
         refresh_token_hmac_key, user_agent, ip)";
    let key = contender.token().0;
    let mut copy = Copy(String::new());
    for held in held {
        let (id, user) = (held.session.to_string(), held.user.to_string());
        copy.row(&[
            &id,
            &user,
            "now",
            "now",
            "now",
            "0",
            &key,
            "Mozilla/5.0",
            "203.0.113.7",
        ]);
    }
    copy.send(client, columns)
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
        let live = generation == family;
        let mut copy = Copy(String::new());
        for (held, parent) in held.iter_mut().zip(&mut parents) {
            let (stored, token) = contender.token();
            copy.row(&[
                &Uuid::nil().to_string(),
                &stored,
                &held.user.to_string(),
                if live { "f" } else { "t" },
                "now",
                "now",
                parent,
                &held.session.to_string(),
            ]);
            *parent = stored;
            held.token = token;
        }
        copy.send(
            client,
            "auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)",
        )?;
    }
    Ok(())
}

fn users(client: &mut Client, held: &[Held]) -> Result<(), Error> {
    let (mut users, mut identities) = (Copy(String::new()), Copy(String::new()));
    for held in held {
        let user = held.user.to_string();
        let email = format!("{user}@example.com");
        let app = r#"{"provider": "email", "providers": ["email"]}"#;
        let data = format!(r#"{{"sub": "{user}", "email": "{email}"}}"#);
        users.row(&[
            &Uuid::nil().to_string(),
            &user,
            "authenticated",
            "authenticated",
            &email,
            "$2a$10$abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyza",
            "now",
            "",
            "",
            app,
            &data,
            "now",
            "now",
        ]);
        identities.row(&[&user, &user, &data, "email", "now", "now", "now"]);
    }
    users.send(
        client,
        "auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, confirmation_token, \
         recovery_token, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)",
    )?;
    identities.send(
        client,
        "auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)",
    )
}

fn claims(client: &mut Client, held: &[Held]) -> Result<(), Error> {
    let mut copy = Copy(String::new());
    for held in held {
        let id = Uuid::new_v4().to_string();
        copy.row(&[&held.session.to_string(), "now", "now", "password", &id]);
    }
    copy.send(
        client,
        "auth.mfa_amr_claims (session_id, created_at, updated_at, authentication_method, id)",
    )
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
