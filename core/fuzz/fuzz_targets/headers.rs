//! Whatever a client sends as headers: what is known is read, and what is read PostgreSQL can hold.

#![no_main]

use libfuzzer_sys::fuzz_target;
use refresh_tokens_core::oauth::headers::{Basic, Headers};

fuzz_target!(|data: &str| {
    let headers = Headers::parse(data);
    assert!(headers.user_agent().is_none_or(|agent| !agent.contains('\0')));
    for trusted in 0..4 {
        let _ = headers.client_address(trusted);
    }
    if let Basic::Credentials(id, secret) = headers.basic() {
        assert!(!id.contains('\0') && !secret.contains('\0'));
    }
    // As the value of each header that is known.
    for name in ["user-agent", "x-forwarded-for", "authorization"] {
        let json = serde_json::json!({ name: data }).to_string();
        let headers = Headers::parse(&json);
        let _ = (headers.user_agent(), headers.client_address(1), headers.basic());
    }
});
