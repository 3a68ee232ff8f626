//! The messages of the OAuth endpoints, and the access tokens that they give.

pub mod access_token;
pub mod answer;
pub mod claims;
pub mod headers;
pub mod introspection;
pub mod request;
pub mod scope;
pub mod signing;

#[cfg(test)]
mod tests;
