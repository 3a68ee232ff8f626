//! The OAuth 2 endpoints: called in SQL, through the model of PostgREST, and by ordinary OAuth clients over HTTP.

mod endpoints;
mod postgrest_bridge;
mod postgrest_calls;
mod postgrest_clients;
mod postgrest_endpoints;
mod postgrest_example;
