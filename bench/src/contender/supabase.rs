//! The statements of one successful refresh in Supabase Auth, in their order, from one connection:
//! version 1 tokens (rows of `refresh_tokens`) and version 2 tokens (a counter of the session).
//!
//! Reads are prepared once a connection; each INSERT is prepared anew, as its library does. What the
//! server process computes between the statements (JWT, HMAC) is not imitated: only SQL is measured.

use super::{Held, Refresher};
use postgres::types::ToSql;
use postgres::{Client, Error, Row, Statement};
use serde_json::{Value, json};
use std::time::SystemTime;
use uuid::Uuid;

const TOKEN: &str = "SELECT refresh_tokens.created_at, refresh_tokens.id, refresh_tokens.instance_id, refresh_tokens.parent, refresh_tokens.revoked, refresh_tokens.session_id, refresh_tokens.token, refresh_tokens.updated_at, refresh_tokens.user_id FROM refresh_tokens AS refresh_tokens WHERE token = $1 LIMIT 1";
const TOKEN_LOCKED: &str =
    r#"SELECT * FROM "refresh_tokens" WHERE token = $1 LIMIT 1 FOR UPDATE SKIP LOCKED"#;
const USER: &str = "SELECT users.aud, users.banned_until, users.confirmation_sent_at, users.confirmation_token, users.confirmed_at, users.created_at, users.deleted_at, users.email, users.email_change, users.email_change_confirm_status, users.email_change_sent_at, users.email_change_token_current, users.email_change_token_new, users.email_confirmed_at, users.encrypted_password, users.id, users.instance_id, users.invited_at, users.is_anonymous, users.is_sso_user, users.last_sign_in_at, users.phone, users.phone_change, users.phone_change_sent_at, users.phone_change_token, users.phone_confirmed_at, users.raw_app_meta_data, users.raw_user_meta_data, users.reauthentication_sent_at, users.reauthentication_token, users.recovery_sent_at, users.recovery_token, users.role, users.updated_at FROM users AS users WHERE instance_id = $1 and id = $2 LIMIT 1";
const FACTORS: &str = "SELECT mfa_factors.created_at, mfa_factors.factor_type, mfa_factors.friendly_name, mfa_factors.id, mfa_factors.last_challenged_at, mfa_factors.last_webauthn_challenge_data, mfa_factors.phone, mfa_factors.secret, mfa_factors.status, mfa_factors.updated_at, mfa_factors.user_id, mfa_factors.web_authn_aaguid, mfa_factors.web_authn_credential FROM mfa_factors AS mfa_factors WHERE user_id = $1";
const IDENTITIES: &str = "SELECT identities.created_at, identities.email, identities.id, identities.identity_data, identities.last_sign_in_at, identities.provider, identities.provider_id, identities.updated_at, identities.user_id FROM identities AS identities WHERE user_id = $1";
const SESSION: &str = "SELECT sessions.aal, sessions.created_at, sessions.factor_id, sessions.id, sessions.ip, sessions.not_after, sessions.oauth_client_id, sessions.refresh_token_counter, sessions.refresh_token_hmac_key, sessions.refreshed_at, sessions.scopes, sessions.tag, sessions.updated_at, sessions.user_agent, sessions.user_id FROM sessions AS sessions WHERE id = $1 LIMIT 1";
const SESSION_LOCKED: &str =
    r#"SELECT * FROM "sessions" WHERE id = $1 LIMIT 1 FOR UPDATE SKIP LOCKED"#;
const AMR: &str = "SELECT mfa_amr_claims.authentication_method, mfa_amr_claims.created_at, mfa_amr_claims.id, mfa_amr_claims.session_id, mfa_amr_claims.updated_at FROM mfa_amr_claims AS mfa_amr_claims WHERE session_id = $1";
const AUDIT: &str = r#"INSERT INTO "audit_log_entries" ("created_at", "id", "instance_id", "ip_address", "payload") VALUES ($1, $2, $3, $4, $5)"#;
const REVOKE: &str = r#"UPDATE "refresh_tokens" AS refresh_tokens SET "revoked" = $1, "updated_at" = $2 WHERE refresh_tokens.id = $3"#;
const INSERT: &str = r#"INSERT INTO "refresh_tokens" ("created_at", "instance_id", "parent", "revoked", "session_id", "token", "updated_at", "user_id") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) returning id"#;
const SIGN_IN: &str =
    r#"UPDATE "users" AS users SET "last_sign_in_at" = $1, "updated_at" = $2 WHERE users.id = $3"#;
// The address goes as text here: the driver has no type for it.
const TOUCH: &str = r#"UPDATE "sessions" AS sessions SET "ip" = $1::text::inet, "refreshed_at" = $2, "updated_at" = $3, "user_agent" = $4 WHERE sessions.id = $5"#;
const COUNT: &str = r#"UPDATE "sessions" AS sessions SET "refresh_token_counter" = $1, "updated_at" = $2 WHERE sessions.id = $3"#;

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const ADDRESS: &str = "203.0.113.7";

const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// A version 1 token: 12 of a-z and 0-9.
pub fn random_token() -> String {
    (0..12)
        .map(|_| fastrand::choice(ALPHABET).expect("an alphabet"))
        .map(|&letter| char::from(letter))
        .collect()
}

/// The statements that both versions share.
struct Common {
    user: Statement,
    factors: Statement,
    identities: Statement,
    session: Statement,
    session_locked: Statement,
    amr: Statement,
    touch: Statement,
}

impl Common {
    fn prepare(client: &mut Client) -> Result<Self, Error> {
        Ok(Self {
            user: client.prepare(USER)?,
            factors: client.prepare(FACTORS)?,
            identities: client.prepare(IDENTITIES)?,
            session: client.prepare(SESSION)?,
            session_locked: client.prepare(SESSION_LOCKED)?,
            amr: client.prepare(AMR)?,
            touch: client.prepare(TOUCH)?,
        })
    }

    fn read_user(&self, client: &mut Client, user: Uuid) -> Result<(), Error> {
        client.query_one(&self.user, &[&Uuid::nil(), &user])?;
        client.query(&self.factors, &[&user])?;
        client.query(&self.identities, &[&user])?;
        Ok(())
    }

    fn read_session(&self, client: &mut Client, session: Uuid) -> Result<Row, Error> {
        let row = client.query_one(&self.session, &[&session])?;
        client.query(&self.amr, &[&session])?;
        Ok(row)
    }

    fn lock_session(&self, client: &mut Client, session: Uuid) -> Result<(), Error> {
        client
            .query_one(&self.session_locked, &[&session])
            .map(drop)
    }

    fn touch(&self, client: &mut Client, session: Uuid) -> Result<(), Error> {
        let now = SystemTime::now();
        client.execute(&self.touch, &[&ADDRESS, &now, &now, &AGENT, &session])?;
        Ok(())
    }
}

/// An INSERT, prepared for this once.
fn insert(client: &mut Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<(), Error> {
    let statement = client.prepare(sql)?;
    client.query(&statement, parameters).map(drop)
}

fn audit(client: &mut Client, user: Uuid, action: &str) -> Result<(), Error> {
    let payload: Value = json!({
        "action": action,
        "actor_id": user.to_string(),
        "actor_username": "someone@example.com",
        "actor_via_sso": false,
        "log_type": "token",
    });
    let (now, id) = (SystemTime::now(), Uuid::new_v4());
    insert(client, AUDIT, &[&now, &id, &Uuid::nil(), &"", &payload])
}

/// 24 statements.
pub struct V1 {
    common: Common,
    token: Statement,
    token_locked: Statement,
    revoke: Statement,
    sign_in: Statement,
}

impl V1 {
    /// Prepares what is prepared once.
    pub fn prepare(client: &mut Client) -> Result<Self, Error> {
        Ok(Self {
            common: Common::prepare(client)?,
            token: client.prepare(TOKEN)?,
            token_locked: client.prepare(TOKEN_LOCKED)?,
            revoke: client.prepare(REVOKE)?,
            sign_in: client.prepare(SIGN_IN)?,
        })
    }

    /// Statements 1 to 6, and again 9 to 12, 14 and 15: a lock in between each.
    fn read_token(&self, client: &mut Client, held: &Held) -> Result<i64, Error> {
        let row = client.query_one(&self.token, &[&held.token])?;
        assert!(!row.get::<_, bool>("revoked"), "the token is live");
        self.common.read_user(client, held.user)?;
        Ok(row.get("id"))
    }
}

impl Refresher for V1 {
    fn refresh(&mut self, client: &mut Client, held: &mut Held) -> Result<(), Error> {
        self.read_token(client, held)?;
        self.common.read_session(client, held.session)?;
        client.batch_execute("begin")?;
        client.query_one(&self.token_locked, &[&held.token])?;
        let id = self.read_token(client, held)?;
        self.common.lock_session(client, held.session)?;
        self.common.read_session(client, held.session)?;
        audit(client, held.user, "token_refreshed")?;
        audit(client, held.user, "token_revoked")?;
        let now = SystemTime::now();
        client.execute(&self.revoke, &[&true, &now, &id])?;
        let child = random_token();
        insert(
            client,
            INSERT,
            &[
                &now,
                &Uuid::nil(),
                &held.token,
                &false,
                &held.session,
                &child,
                &now,
                &held.user.to_string(),
            ],
        )?;
        client.execute(&self.sign_in, &[&now, &now, &held.user])?;
        self.common.read_session(client, held.session)?;
        self.common.touch(client, held.session)?;
        client.batch_execute("commit")?;
        held.token = child;
        Ok(())
    }
}

/// 18 statements.
pub struct V2 {
    common: Common,
    count: Statement,
}

impl V2 {
    /// Prepares what is prepared once.
    pub fn prepare(client: &mut Client) -> Result<Self, Error> {
        Ok(Self {
            common: Common::prepare(client)?,
            count: client.prepare(COUNT)?,
        })
    }
}

impl Refresher for V2 {
    fn refresh(&mut self, client: &mut Client, held: &mut Held) -> Result<(), Error> {
        self.common.read_session(client, held.session)?;
        self.common.read_user(client, held.user)?;
        client.batch_execute("begin")?;
        self.common.lock_session(client, held.session)?;
        let session = self.common.read_session(client, held.session)?;
        self.common.read_user(client, held.user)?;
        let counter: i64 = session.get("refresh_token_counter");
        let now = SystemTime::now();
        client.execute(&self.count, &[&(counter + 1), &now, &held.session])?;
        audit(client, held.user, "token_refreshed")?;
        self.common.read_session(client, held.session)?;
        self.common.touch(client, held.session)?;
        client.batch_execute("commit")
    }
}
