//! What is being done, shown on a terminal only.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _, stderr};

/// Shows it in the place of what was shown before.
pub fn show(what: impl Display) {
    if stderr().is_terminal() {
        // A progress line that can't be shown is no reason to stop.
        let _ = write!(stderr(), "\r\x1b[K{what}");
        let _ = stderr().flush();
    }
}
