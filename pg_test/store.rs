//! The store's statements, one by one.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::error::Error;
    use crate::store::{self, Caller, Claim, Held, NewSession, Store};
    use pgrx::prelude::*;
    use refresh_tokens_core::tokens::Digest;
    use refresh_tokens_core::tokens::{DerivationKey, Descent, descend};
    use refresh_tokens_core::tokens::{Slot, Token};
    use refresh_tokens_core::verdict::Presented;
    use uuid::Uuid;

    const NOBODY: Caller<'_> = Caller {
        user_agent: None,
        ip: None,
    };
    const SESSION: Uuid = Uuid::from_u128(0x1234);

    fn login(store: &Store<'_>) -> Token {
        let token = Token::first(Slot::of(SESSION), &[7; 32]);
        let new = NewSession::default();
        store
            .issue(SESSION, "alice", &token.digest(), new, store::now())
            .unwrap();
        token
    }

    fn claim(store: &Store<'_>, token: &Token) -> Box<Held> {
        match store.claim(&token.digest()).unwrap() {
            Claim::Held(held) | Claim::Found(held) => held,
            _ => panic!("the token is there"),
        }
    }

    fn with_store(f: impl FnOnce(&Store<'_>)) {
        store::write(|store| {
            f(store);
            Ok(())
        })
        .unwrap();
    }

    #[pg_test]
    fn an_unknown_digest_is_not_found() {
        with_store(|store| {
            let claim = store.claim(&Digest::of("nobody's")).unwrap();
            assert!(matches!(claim, Claim::NotFound));
        });
    }

    #[pg_test]
    fn a_claim_shows_the_family() {
        with_store(|store| {
            let first = login(store);
            let held = claim(store, &first);
            assert_eq!(held.facts.presented, Presented::Live);
            assert_eq!(held.facts.session.id, Some(SESSION));
            assert_eq!(held.facts.live, None);
            assert!(held.key.is_none() && held.chain.is_none());

            let key = DerivationKey::generate().unwrap();
            let child = first.child(&key);
            store
                .rotate(&held, &child.digest(), &key, &NOBODY)
                .unwrap()
                .unwrap();
            let held = claim(store, &first);
            assert!(matches!(held.facts.presented, Presented::Revoked(Some(_))));
            assert!(held.facts.live.unwrap().replaced_presented);
            assert_eq!(held.live.unwrap().1, child.digest().as_str());
            assert_eq!((held.key, held.rotations), (Some(key), 1));
        });
    }

    /// The write tests and sets: who changes a row without the session's lock makes it miss, and then
    /// nothing is changed.
    #[pg_test]
    fn a_token_is_swapped_once() {
        assert_missed("UPDATE auth.refresh_tokens SET revoked = true");
    }

    #[pg_test]
    fn a_token_is_swapped_in_the_locked_session_alone() {
        assert_missed("UPDATE auth.refresh_tokens SET session_id = NULL");
    }

    /// Claims a token, runs `change`, and expects the write to find nothing and to change nothing.
    fn assert_missed(change: &str) {
        with_store(|store| {
            // Only another transaction can come between, where no statement is run (tests/tests/store/fast_path.rs).
            Spi::run("SET LOCAL refresh_tokens.fast_path = off").unwrap();
            let held = {
                let first = login(store);
                claim(store, &first)
            };
            Spi::run(change).unwrap();
            let key = DerivationKey::generate().unwrap();
            let missed = store
                .rotate(&held, &Digest::of("child"), &key, &NOBODY)
                .unwrap();
            assert_eq!(missed, None);
            let changed = Spi::get_one::<bool>(
                "SELECT (SELECT count(*) FROM auth.refresh_tokens) <> 1
                        OR (SELECT bool_or(refreshed_at IS NOT NULL) FROM auth.sessions)",
            );
            assert_eq!(changed, Ok(Some(false)));
        });
    }

    #[pg_test]
    fn a_descent_needs_its_rows() {
        with_store(|store| {
            let first = login(store);
            let key = DerivationKey::generate().unwrap();
            let (child, grandchild) = (first.child(&key), first.child(&key).child(&key));
            let way = |live: &Token| -> Descent {
                descend(&first, &key, live.digest().as_str(), 2).unwrap()
            };
            store
                .rotate(&claim(store, &first), &child.digest(), &key, &NOBODY)
                .unwrap();
            assert!(store.descends(SESSION, &way(&child)).unwrap());
            assert!(!store.descends(Uuid::nil(), &way(&child)).unwrap());
            assert!(!store.descends(SESSION, &way(&grandchild)).unwrap());
        });
    }

    #[pg_test]
    fn nothing_is_written_read_only() {
        Spi::run("SET LOCAL transaction_read_only = on").unwrap();
        let refused = store::write(|_| Ok(()));
        assert!(matches!(refused, Err(Error::ReadOnly)));
        assert!(
            store::read(|store| store.session(SESSION))
                .unwrap()
                .is_none()
        );
    }
}
