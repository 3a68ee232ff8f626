//! PostgREST, in front of the database: it passes the request, and takes back status and headers of the answer, in
//! settings that last as long as the transaction.

use crate::settings;
use pgrx::pg_sys;
use refresh_tokens_core::oauth::answer::Answer;
use refresh_tokens_core::oauth::claims::Claims;
use refresh_tokens_core::oauth::headers::Headers;
use serde_json::Value;
use std::ffi::{CStr, CString};

/// The claims of the caller's access token.
pub fn claims() -> Claims {
    let json = settings::claims_setting().and_then(|name| option(&name));
    json.map_or(Claims::NONE, |json| Claims::parse(&json))
}

/// The headers of the HTTP request that this call serves, as PostgREST hands them on.
pub fn request_headers() -> Headers {
    option(c"request.headers").map_or_else(Headers::default, |json| Headers::parse(&json))
}

/// Gives PostgREST the status and the headers of an answer, for as long as the transaction lasts. Headers
/// that the application has set stay.
pub fn respond(answer: &Answer) {
    let mut headers: Vec<Value> = option(c"response.headers")
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default();
    headers.extend(answer.headers());
    set_local(c"response.headers", &Value::from(headers).to_string());
    if let Some(status) = answer.status {
        set_local(c"response.status", &status.to_string());
    }
}

/// The value of any setting, by its name; none if there is no such setting.
fn option(name: &CStr) -> Option<String> {
    // SAFETY: the name ends in NUL; a setting that does not exist is NULL, and the value is copied
    // before anything can change it.
    let value = unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        (!value.is_null()).then(|| CStr::from_ptr(value).to_owned())
    };
    value?.into_string().ok()
}

/// Sets a setting till the end of the transaction.
fn set_local(name: &CStr, value: &str) {
    let value = CString::new(value).expect("JSON and numbers have no NUL");
    // SAFETY: both end in NUL, and the value is copied. Anybody may set these.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}
