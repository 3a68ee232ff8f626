//! Tests of refresh_tokens that run outside the server.
