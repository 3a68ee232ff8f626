//! What a presented token is found to be, what its holder is answered, and what is recorded of it.

mod event;
mod grant;
mod log_limit;
mod rules;

pub use event::{Event, Recorded};
pub use grant::{Grant, Status, TokenRow};
pub use log_limit::{LinesPerMinute, RecentTokens};
pub use rules::{Facts, Live, Presented, Retry, Reuse, Verdict, late_for_retry, verdict};
