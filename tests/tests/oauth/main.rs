//! The OAuth 2 endpoints: called in SQL, through the model of PostgREST, and by ordinary OAuth clients over HTTP.

mod check_session;
mod clients;
mod headers;
mod hooks;
mod introspection;
mod keys;
mod postgrest_bridge;
mod postgrest_calls;
mod postgrest_clients;
mod postgrest_endpoints;
mod postgrest_example;
mod request;
mod revocation;
mod token;
