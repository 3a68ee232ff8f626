//! The memory of a backend with its calls: it must not grow.

use crate::load::Target;
use crate::progress;
use crate::results::Memory;
use crate::server::{self, Backend};
use postgres::Error;

/// The memory of one backend after a hundredth of `calls`, a tenth and all of them.
///
/// # Errors
/// As the server raises them.
pub fn memory(target: &mut Target, calls: usize) -> Result<Vec<Memory>, Error> {
    let mut client = target.connect()?;
    client.batch_execute("SET synchronous_commit = off")?;
    let mut refresher = target.contender.prepare(&mut client)?;
    let backend = Backend::of(&mut client)?;
    let mut memory = Vec::new();
    let mut done = 0;
    for until in [calls / 100, calls / 10, calls] {
        progress::show(format!("memory: {until} calls"));
        while done < until {
            refresher.refresh(&mut client, target.any_held())?;
            done += 1;
        }
        memory.push(Memory {
            calls: done,
            contexts: server::memory_contexts(&mut client)?,
            private: backend.private_memory(),
        });
    }
    Ok(memory)
}
