//! A history checker: many connections do random things to one database, every call is recorded, and
//! afterwards the record and the tables are compared with the rules of the design.
//!
//! One run's data flows one way: `load` (through `connection`) records a [`History`]; `tables` reads
//! what is left; `family` sorts both by family and says what was before what; `verdict` says from that
//! what a call may have been answered; `check` compares, and `report` shows what broke a rule. From
//! `family` on all is pure.
//!
//! Which of two overlapping calls came first nobody can know. So every fact that an answer depends on
//! is [`Sure::Yes`], [`Sure::No`] or [`Sure::Maybe`], and an answer is wrong if no way to settle the
//! doubts explains it.

mod call;
mod check;
mod connection;
mod family;
mod imitation;
mod load;
mod report;
mod tables;
mod verdict;

pub use call::{Action, Answer, Call, Clock, History, Moment, Outcome, Settings};
pub use check::{Findings, Rule, Violation, check};
pub use family::Sure;
pub use imitation::{Imitation, LockOrder};
pub use load::{Load, Mix};
pub use report::report;
pub use tables::{Row, Tables};
