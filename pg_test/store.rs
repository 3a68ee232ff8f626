//! The store's statements, one by one.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::error::Error;
    use crate::random::random;
    use crate::store::{self, Caller, Family, Lookup, NewSession, Store};
    use pgrx::prelude::*;
    use refresh_tokens_core::tokens::{DerivationKey, Descent, Digest, Slot, Token, descend};
    use refresh_tokens_core::verdict::Presented;
    use uuid::Uuid;

    const NOBODY: Caller<'_> = Caller {
        user_agent: None,
        ip: None,
    };
    const SESSION: Uuid = Uuid::from_u128(0x1234);

    fn login(store: &Store<'_>) -> Token {
        let token = Token::new(Slot::of(SESSION), &[7; 32]);
        let new = NewSession::default();
        store
            .issue(SESSION, "alice", &token.digest(), new, store::now())
            .unwrap();
        token
    }

    fn fresh_key() -> DerivationKey {
        random().map(DerivationKey::new).unwrap()
    }

    fn lock(store: &Store<'_>, token: &Token) -> Box<Family> {
        match store.lock(&token.digest()).unwrap() {
            Lookup::LockedFamily(family) | Lookup::LockedLive(family) => family,
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
            let lookup = store.lock(&Digest::of("nobody's")).unwrap();
            assert!(matches!(lookup, Lookup::NotFound));
        });
    }

    #[pg_test]
    fn a_lookup_shows_the_family() {
        with_store(|store| {
            let first = login(store);
            let family = lock(store, &first);
            assert_eq!(family.facts.presented, Presented::Live);
            assert_eq!(family.facts.session.id, Some(SESSION));
            assert_eq!(family.facts.live, None);
            assert!(family.key.is_none() && family.orphans.is_none());

            let key = fresh_key();
            let child = key.child_of(&first);
            store
                .rotate(&family, &child.digest(), &key, &NOBODY)
                .unwrap()
                .unwrap();
            let family = lock(store, &first);
            assert!(matches!(
                family.facts.presented,
                Presented::Revoked(Some(_))
            ));
            assert!(family.facts.live.unwrap().replaced_presented);
            assert_eq!(family.live.unwrap().1, child.digest().as_str());
            assert_eq!((family.key, family.rotations), (Some(key), 1));
        });
    }

    /// The write tests and sets: whoever changes a row without the session's lock makes it miss, and then
    /// nothing is changed.
    #[pg_test]
    fn a_token_is_rotated_once() {
        assert_missed("UPDATE auth.refresh_tokens SET revoked = true");
    }

    #[pg_test]
    fn a_token_is_rotated_in_the_locked_session_alone() {
        assert_missed("UPDATE auth.refresh_tokens SET session_id = NULL");
    }

    /// Locks a token, runs `change`, and expects the write to find nothing and to change nothing.
    fn assert_missed(change: &str) {
        with_store(|store| {
            // Only another transaction can come between, where no statement is run (tests/tests/store/fast_path.rs).
            Spi::run("SET LOCAL refresh_tokens.fast_path = off").unwrap();
            let family = {
                let first = login(store);
                lock(store, &first)
            };
            Spi::run(change).unwrap();
            let key = fresh_key();
            let missed = store
                .rotate(&family, &Digest::of("child"), &key, &NOBODY)
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
            let key = fresh_key();
            let (child, grandchild) = (key.child_of(&first), key.child_of(&key.child_of(&first)));
            let way = |live: &Token| -> Descent {
                descend(&first, &key, live.digest().as_str(), 2).unwrap()
            };
            store
                .rotate(&lock(store, &first), &child.digest(), &key, &NOBODY)
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
