//! What is measured: ways to rotate a refresh token.

mod single;
mod supabase;

use clap::ValueEnum;
use postgres::{Client, Error};
use uuid::Uuid;

/// A way to refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// The least SQL: one prepared statement without a check.
    Floor,
    /// This extension: `auth.rotate_refresh_token`.
    Extension,
    /// This extension with `refresh_tokens.fast_path = off`, so that it writes by statements.
    Statements,
    /// The same semantics in PL/pgSQL with pgcrypto.
    Plpgsql,
    /// The 24 statements of Supabase Auth with version 1 tokens.
    SupabaseV1,
    /// The 18 statements of Supabase Auth with version 2 tokens.
    SupabaseV2,
}

/// What a client remembers of its session.
#[derive(Clone, Debug)]
pub struct Held {
    /// What it presents next.
    pub token: String,
    /// The session.
    pub session: Uuid,
    /// Whose session it is.
    pub user: Uuid,
}

/// One connection's prepared statements.
pub trait Refresher: Send {
    /// Rotates the token of `held`.
    ///
    /// # Errors
    /// As the server raises them.
    ///
    /// # Panics
    /// The server refused the token.
    fn refresh(&mut self, client: &mut Client, held: &mut Held) -> Result<(), Error>;
}

impl Contender {
    /// Its name in tables, files and databases.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Extension => "extension",
            Self::Statements => "statements",
            Self::Plpgsql => "plpgsql",
            Self::SupabaseV1 => "supabase_v1",
            Self::SupabaseV2 => "supabase_v2",
        }
    }

    /// The DDL of its database.
    pub fn schema(self) -> &'static str {
        match self {
            Self::Floor => "CREATE EXTENSION refresh_tokens",
            // The derivation key is replaced at each rotation, as when clients refresh once an hour.
            Self::Extension | Self::Statements => {
                "CREATE EXTENSION refresh_tokens;
                 DO $$ BEGIN EXECUTE format(
                     'ALTER DATABASE %I SET refresh_tokens.reuse_interval = 0', current_database());
                 END $$"
            }
            Self::Plpgsql => {
                concat!(
                    "CREATE EXTENSION refresh_tokens;",
                    include_str!("plpgsql.sql")
                )
            }
            Self::SupabaseV1 | Self::SupabaseV2 => include_str!("supabase.sql"),
        }
    }

    /// Whether its tables are those of Supabase Auth.
    pub fn is_supabase(self) -> bool {
        matches!(self, Self::SupabaseV1 | Self::SupabaseV2)
    }

    /// Whether a session has rows in `auth.refresh_tokens`.
    pub fn has_tokens(self) -> bool {
        self != Self::SupabaseV2
    }

    /// A token as `auth.refresh_tokens` holds it, and as the client does.
    pub fn token(self) -> (String, String) {
        match self {
            Self::Extension | Self::Statements => {
                let token = refresh_tokens_tests::format::unknown_token();
                (refresh_tokens_tests::format::digest(&token), token)
            }
            Self::Plpgsql => {
                let token = format!("pgrt_{}", random_digest());
                (refresh_tokens_tests::format::digest(&token), token)
            }
            Self::Floor => {
                let digest = random_digest();
                (digest.clone(), digest)
            }
            Self::SupabaseV1 | Self::SupabaseV2 => {
                let token = supabase::random_token();
                (token.clone(), token)
            }
        }
    }

    /// Prepares its statements on `client`.
    ///
    /// # Errors
    /// As the server raises them.
    pub fn prepare(self, client: &mut Client) -> Result<Box<dyn Refresher>, Error> {
        Ok(match self {
            Self::Floor => Box::new(single::Floor::prepare(client)?),
            Self::Extension | Self::Statements => Box::new(single::Function::prepare(
                client,
                "auth.rotate_refresh_token($1)",
            )?),
            Self::Plpgsql => Box::new(single::Function::prepare(client, "bench.rotate($1)")?),
            Self::SupabaseV1 => Box::new(supabase::V1::prepare(client)?),
            Self::SupabaseV2 => Box::new(supabase::V2::prepare(client)?),
        })
    }
}

/// 43 characters, like a digest.
fn random_digest() -> String {
    let bytes: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}
