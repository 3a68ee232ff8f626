//! Whatever is presented as an access token: no key accepts what it has not signed, and no claims break a check.

#![no_main]

use libfuzzer_sys::fuzz_target;
use refresh_tokens_core::oauth::access_token::hooked;
use refresh_tokens_core::oauth::claims::Claims;
use refresh_tokens_core::oauth::signing::{Alg, KeyRing, SigningKey};
use refresh_tokens_core::time::Timestamp;
use std::sync::LazyLock;
use uuid::Uuid;

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    let key = |alg, byte| {
        SigningKey::of(Uuid::from_bytes([byte; 16]), alg, Timestamp(0), vec![byte; 32])
    };
    let keys = [key(Alg::Hs256, 1), key(Alg::Es256, 2), key(Alg::EdDsa, 3)];
    KeyRing::new(keys.to_vec())
});

fuzz_target!(|data: &str| {
    assert!(RING.verify(data, Timestamp(1)).is_none());
    let Ok(serde_json::Value::Object(claims)) = serde_json::from_str(data) else {
        return;
    };
    let _ = Claims::of_token(&claims).bound_to();
    let _ = hooked(&claims, data);
    let key = RING.signing(Timestamp(1)).expect("three keys");
    if let Ok(token) = key.sign(&claims) {
        let _ = RING.verify(&token, Timestamp(1));
    }
});
