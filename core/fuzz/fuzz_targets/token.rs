//! Whatever is presented as a token: it is read to the letter, or not at all.

#![no_main]

use libfuzzer_sys::fuzz_target;
use refresh_tokens_core::tokens::{DerivationKey, SECRET_LEN, Slot, Token};
use uuid::Uuid;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(token) = Token::parse(text)
    {
        assert_eq!(token.as_str(), text);
    }
    // The same bytes as a secret give a token that is read again.
    if let Some((secret, rest)) = data.split_first_chunk::<SECRET_LEN>()
        && let Some((slot, _)) = rest.split_first_chunk::<16>()
    {
        let token = Token::new(Slot::of(Uuid::from_bytes(*slot)), secret);
        assert_eq!(
            Token::parse(token.as_str()).map(|read| read.digest()),
            Some(token.digest())
        );
        let child = DerivationKey::new((*secret).into()).child_of(&token);
        assert_eq!(child.slot(), token.slot());
    }
});
