//! The rules of refresh_tokens: what a token is, and what is to be done with one.
//!
//! Everything here is a pure function of what it is given: no PostgreSQL, no clock, no randomness, no I/O. The
//! extension reads the tables and the clock, asks these rules, and writes what they say.
//!
//! The rooms, each of which knows only those above it:
//!
//! | room | what it holds |
//! |---|---|
//! | [`time`] | points in time, as PostgreSQL counts them |
//! | [`label`] | how an enum's value is spelled in SQL and JSON |
//! | [`tokens`] | the token, its digest, and the derivation of its child |
//! | [`sessions`] | a session and when it ends; the settings; how long what is over is kept |
//! | [`verdict`] | the verdict about a presented token, the answer to it, and what is recorded |
//! | [`oauth`] | requests and answers of the OAuth endpoints; access tokens and their keys |
//! | [`family_tree`] | a family drawn for people who look at it |

#![forbid(unsafe_code)]

pub mod family_tree;
pub mod label;
pub mod oauth;
pub mod sessions;
pub mod time;
pub mod tokens;
pub mod verdict;
