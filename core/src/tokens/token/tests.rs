use super::*;
use crate::tokens::{DERIVATION_KEY_LEN, DIGEST_LEN, DerivationKey};
use proptest::prelude::*;

fn id(slot: [u8; 2]) -> Uuid {
    Slot(slot).stamp(Uuid::nil())
}

fn derivation_key(byte: u8) -> DerivationKey {
    DerivationKey::new([byte; DERIVATION_KEY_LEN].into())
}

fn any_token() -> impl Strategy<Value = Token> {
    (any::<[u8; 2]>(), any::<[u8; SECRET_LEN]>())
        .prop_map(|(slot, secret)| Token::new(Slot(slot), &secret))
}

/// A slot, a secret and a derivation key; then the token, its digest, its child, the child's digest, and
/// the grandchild under the same key.
type Vector<'a> = ([u8; 2], [u8; 32], [u8; 32], [&'a str; 5]);

/// Computed by an independent implementation: Python's base64, zlib, hashlib and hmac.
#[test]
fn known_vectors() {
    let counting = |from: u8| std::array::from_fn(|at| from + at as u8);
    let vectors: [Vector<'_>; 3] = [
        (
            [0, 0],
            [0; 32],
            [0; 32],
            [
                "pgrt_aeaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaawjgmcq",
                "f1yzSNuhNBGoYOTLvR9fY61bvhpHiBJh3byk6MEX6EA",
                "pgrt_aeaaak4gvnd5xolu3nygvutsttulz5g4w6n4ivuoizxqg2llfeq5i7l6t76xsua",
                "zEIQFifhpJCnAC-CRcZlMPTnPgVZ5fIj0xBYwwUqBm8",
                "pgrt_aeaabwtv5to2bwam2lpqj7iuokmh7wjgkcejlk4hn72kgod76gqwiyour64ulii",
            ],
        ),
        (
            [0xab, 0xcd],
            counting(0),
            counting(32),
            [
                "pgrt_agv42aabaibqibiga4eascqlbqgq4dyqcejbgfavcylrqgi2dmob2hq7riejxya",
                "zidW8FoGgHdCEaQau1uq8YdbFGUvGnjqyRMgvr8DC1g",
                "pgrt_agv42jw7ruw4r47y6vjcqcaz3ofhia6isxqvfqmerjl5ul6nwqthlehtwtkjnma",
                "8-o59zhoBr2emfVvaobqwYLe9tOE5VjUGk-_nLOQZHA",
                "pgrt_agv42akdouisemzszxrvoysv3o7d4h4savvcwr4kxsmd2ovs3vjje22jqghahhi",
            ],
        ),
        (
            [0xff, 0xff],
            [0xff; 32],
            [0xff; 32],
            [
                "pgrt_ah777777777777777777777777777777777777777777777777777777dhwfnzy",
                "VR6X2NUSpSDeblDDlqBgy9y215MOtSbpRgxDlRkEr0w",
                "pgrt_ah777s3jycnotk3t2osvcenr3h5ptfpsr3rltd7cwbtjhrymtyqlgf6ikdhahoq",
                "jEnloHSXh3dAaeqBcVCQzgeKFo_aM48bZ3dN7BnZkMQ",
                "pgrt_ah776y33lkvgekpmjl4vpeday6sdtjpy3uw57lgc7otkyvjftlvsf2dlcmhsmwi",
            ],
        ),
    ];
    for (slot, secret, key, [token, digest, child, child_digest, grandchild]) in vectors {
        let key = DerivationKey::from_column(&data_encoding::BASE64URL_NOPAD.encode(&key)).unwrap();
        let first = Token::new(Slot::of(id(slot)), &secret);
        assert_eq!(first.as_str(), token);
        assert_eq!(first.digest().as_str(), digest);
        assert_eq!(key.child_of(&first).as_str(), child);
        assert_eq!(key.child_of(&first).digest().as_str(), child_digest);
        assert_eq!(key.child_of(&key.child_of(&first)).as_str(), grandchild);
    }
}

#[test]
fn no_other_spelling() {
    let token = Token::new(Slot([1, 2]), &[3; SECRET_LEN]);
    let text = token.as_str();
    let version_2 = {
        let mut body = BASE32.decode(&text.as_bytes()[PREFIX.len()..]).unwrap();
        body[0] = 2;
        let crc = checksum(&body[..CRC_AT]);
        body[CRC_AT..].copy_from_slice(&crc);
        format!("{PREFIX}{}", BASE32.encode(&body))
    };
    let refused = [
        String::new(),
        PREFIX.into(),
        text.to_uppercase(),
        text[PREFIX.len()..].into(),
        format!("{text}="),
        format!("{text} "),
        format!(" {text}"),
        format!("{text}\0"),
        format!("{}\n", &text[..TOKEN_LEN - 1]),
        format!("{}é", &text[..TOKEN_LEN - 2]),
        token.digest().as_str().into(),
        "é".repeat(TOKEN_LEN / 2),
        "a".repeat(1 << 20),
        text.repeat(1 << 14),
        version_2,
    ];
    for text in refused {
        assert!(
            Token::parse(&text).is_none(),
            "{:?}",
            &text[..text.len().min(80)]
        );
    }
}

#[test]
fn debug_shows_nothing() {
    let token = Token::new(Slot([1, 2]), &[3; SECRET_LEN]);
    assert_eq!(format!("{token:?}"), "Token(..)");
}

#[test]
fn a_slot_is_the_end_of_the_id() {
    let session = Uuid::from_u128(0x1234_5678);
    assert_eq!(Slot::of(session), Slot([0x56, 0x78]));
    assert_eq!(Slot([9, 8]).stamp(session), Uuid::from_u128(0x1234_0908));
}

proptest! {
    #[test]
    fn round_trip(token in any_token()) {
        let parsed = Token::parse(token.as_str()).expect("a token parses");
        prop_assert_eq!(parsed.as_str(), token.as_str());
        prop_assert_eq!(parsed.slot(), token.slot());
        prop_assert_eq!(token.as_str().len(), TOKEN_LEN);
        prop_assert_eq!(token.digest().as_str().len(), DIGEST_LEN);
    }

    /// All changes of one character at all places, to all ASCII characters and some others.
    #[test]
    fn every_changed_character_is_noticed(token in any_token()) {
        for at in 0..TOKEN_LEN {
            let (before, rest) = token.as_str().split_at(at);
            let (own, after) = rest.split_at(1);
            let others = (0..=127u8).map(char::from).chain(['é', '\u{212a}', '\u{1f512}']);
            for other in others.filter(|c| !own.starts_with(*c)) {
                let changed = format!("{before}{other}{after}");
                prop_assert!(Token::parse(&changed).is_none(), "{at} {other:?}");
            }
        }
    }

    #[test]
    fn exchanged_neighbours_are_noticed(token in any_token(), at in 0..TOKEN_LEN - 1) {
        let mut bytes = token.as_str().as_bytes().to_vec();
        bytes.swap(at, at + 1);
        let changed = String::from_utf8(bytes).unwrap();
        prop_assume!(changed != token.as_str());
        prop_assert!(Token::parse(&changed).is_none());
    }

    #[test]
    fn no_string_panics(text in any::<String>()) {
        prop_assert!(Token::parse(&text).is_none());
    }

    #[test]
    fn nothing_of_the_right_length_panics(text in "pgrt_[ -~]{63}|\\PC{34,68}") {
        let _ = Token::parse(&text);
    }

    #[test]
    fn derivation_is_deterministic(token in any_token()) {
        let (key, other) = (derivation_key(1), derivation_key(2));
        let child = key.child_of(&token);
        let again = key.child_of(&Token::parse(token.as_str()).unwrap());
        prop_assert_eq!(child.as_str(), again.as_str());
        prop_assert_eq!(child.slot(), token.slot());
        prop_assert_ne!(child.as_str(), token.as_str());
        let stranger = other.child_of(&token);
        prop_assert_ne!(child.as_str(), stranger.as_str());
    }
}
