//! The OAuth endpoints, as PostgREST calls them, and what goes with them.

mod endpoint;
mod introspection_endpoint;
mod issuer;
mod revocation_endpoint;
mod sign_in;
mod signing_keys;
mod token_endpoint;

pgrx::extension_sql_file!(
    "../../../sql/oauth.sql",
    name = "oauth",
    requires = [
        sign_in_response,
        jwks,
        rotate_signing_key,
        is_my_session_live,
    ]
);
