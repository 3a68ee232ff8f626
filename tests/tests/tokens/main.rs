//! Refresh tokens: what each answer means, and that it holds whatever happens at the same time. `make test` runs these
//! tests twice: as an application has it, and with `refresh_tokens.fast_path` off.

mod bounds;
mod concurrency;
mod durable;
mod faults;
mod fuzz;
mod history;
mod input;
mod interrupted;
mod isolation;
mod leaks;
mod read_only;
mod scenarios;
mod states;
mod statuses;
