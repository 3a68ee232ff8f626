//! What an operator does and relies on: installing, upgrading, privileges, purge, events, dump and recovery.

mod catalog;
mod doctor;
mod dump;
mod events;
mod kept;
mod limits;
mod monitoring;
mod owner;
mod package;
mod pgbouncer;
mod privileges;
mod purge;
mod recovery;
mod revoke_all;
mod sql;
mod upgrade;
mod upkeep;
