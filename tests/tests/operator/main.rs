//! What an operator does and relies on: installing, upgrading, privileges, purge, events, dump and recovery.

mod catalog;
mod dump;
mod events;
mod monitoring;
mod owner;
mod package;
mod pgbouncer;
mod privileges;
mod purge;
mod recovery;
mod sql;
mod upgrade;
mod upkeep;
