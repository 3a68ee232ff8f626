use crate::api::argument;
use crate::store;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::family_tree::{self, Strokes};

/// The family of a session, drawn as a tree: a line per token, indented by generation, with its id,
/// state and age, and no secret.
///
/// Takes the session's id. Box characters join the lines, ASCII where the client's encoding is not UTF8. Returns no row for NULL and for an unknown session. Works on a standby and
/// in a read-only transaction.
#[pg_extern(security_definer, stable)]
#[search_path(pg_catalog, pg_temp)]
pub fn draw_token_family(
    session_id: Option<pgrx::Uuid>,
) -> Result<SetOfIterator<'static, String>, ErrorReport> {
    let members = match argument::uuid(session_id) {
        Some(id) => store::read(|store| store.members(id))?,
        None => Vec::new(),
    };
    Ok(SetOfIterator::new(family_tree::draw(
        &members,
        store::now(),
        strokes(),
    )))
}

/// What every client's encoding has.
fn strokes() -> Strokes {
    // SAFETY: reads a variable of the backend.
    let encoding = unsafe { pg_sys::pg_get_client_encoding() };
    if encoding == pg_sys::pg_enc::PG_UTF8 as i32 {
        Strokes::Box
    } else {
        Strokes::Ascii
    }
}
