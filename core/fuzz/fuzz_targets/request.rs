//! Whatever a client sends as a body: a request or a refusal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use refresh_tokens_core::oauth::answer::Answer;
use refresh_tokens_core::oauth::claims::Claims;
use refresh_tokens_core::oauth::headers::Headers;
use refresh_tokens_core::oauth::request::Request;
use refresh_tokens_core::oauth::scope;

fuzz_target!(|data: &str| {
    match Request::parse(data) {
        Ok(request) => {
            let _ = (request.refresh(), request.token());
            let _ = request.client(&Headers::default());
        }
        Err(refusal) => assert_eq!(Answer::from(refusal).status, Some(400)),
    }
    let claims = Claims::parse(data);
    assert!(claims.user_id().is_none_or(|user| !user.is_empty()));
    if scope::is_well_formed(data) {
        assert!(scope::is_within(data, data));
    }
});
