//! Tokens: issued, rotated, explained, introspected, revoked.

mod explain;
mod introspect;
mod issue;
mod revoke;
mod rotate;
mod token_use;

pub(super) use issue::issue;
pub(super) use token_use::{TokenUse, parse, parse_presented};

pgrx::extension_sql_file!(
    "../../../sql/tokens.sql",
    name = "tokens",
    requires = [
        "sessions",
        explain_refresh_token,
        introspect_refresh_token,
        issue_refresh_token,
        revoke_refresh_token,
        revoke_token_family,
        rotate_refresh_token,
    ]
);
