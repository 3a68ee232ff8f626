use super::*;
use std::convert::Infallible;

const DAY: i64 = 86_400_000_000;

fn key(alg: Alg, active_at: i64) -> SigningKey {
    let mut byte = 3 * active_at as u8 + alg as u8;
    let random = || {
        byte += 1;
        Ok::<_, Infallible>([byte; SIGNING_SECRET_LEN].into())
    };
    let kid = Uuid::from_u128(active_at as u128);
    SigningKey::generate(kid, alg, Timestamp(active_at), random).unwrap()
}

fn claims(exp: i64) -> Map<String, Value> {
    let claims = serde_json::json!({ "sub": "alice", "exp": exp });
    claims.as_object().unwrap().clone()
}

/// A time in seconds since 1970 as an `exp` that lies `seconds` after it.
fn expiry(now: Timestamp, seconds: i64) -> i64 {
    now.unix_seconds().unwrap() + seconds
}

const ALGS: [Alg; 3] = [Alg::Hs256, Alg::Es256, Alg::EdDsa];

#[test]
fn what_a_key_signs_it_verifies_after_a_way_through_the_table() {
    let now = Timestamp(5);
    for alg in ALGS {
        let key = key(alg, 0);
        let row = SigningKey::from_columns(key.kid, key.alg(), key.active_at, &key.to_column());
        let ring = KeyRing::new(vec![row.unwrap()]);
        let token = key.sign(&claims(expiry(now, 1))).unwrap();
        assert_eq!(ring.verify(&token, now).unwrap()["sub"], "alice", "{alg:?}");
        let later = Timestamp(1_000_005);
        assert_eq!(ring.verify(&token, later), None, "expired, {alg:?}");
    }
}

/// RFC 7519: a NumericDate may have a fraction, and before `nbf` a token is not to be accepted.
#[test]
fn a_token_is_good_between_two_times_of_any_form() {
    let (now, key) = (Timestamp(1_500_000), key(Alg::Hs256, 0));
    let ring = KeyRing::new(vec![key.clone()]);
    let at = now.unix_seconds().unwrap();
    for (exp, nbf, good) in [
        (Value::from(at + 1), None, true),
        ((at as f64 + 0.75).into(), None, true),
        ((at as f64 + 0.25).into(), None, false),
        (1e12.into(), None, true),
        (at.into(), None, false),
        ((-1).into(), None, false),
        ("9999999999".into(), None, false),
        (Value::Null, None, false),
        ((at + 9).into(), Some(Value::from(at)), true),
        ((at + 9).into(), Some((at as f64 + 0.25).into()), true),
        ((at + 9).into(), Some((at as f64 + 0.75).into()), false),
        ((at + 9).into(), Some((at + 1).into()), false),
        ((at + 9).into(), Some((-7).into()), true),
        ((at + 9).into(), Some(Value::Null), false),
        ((at + 9).into(), Some("0".into()), false),
    ] {
        let mut claims = claims(0);
        claims.insert("exp".into(), exp);
        claims.extend(nbf.map(|nbf| ("nbf".into(), nbf)));
        let token = key.sign(&claims).unwrap();
        assert_eq!(ring.verify(&token, now).is_some(), good, "{claims:?}");
    }
    let mut endless = claims(0);
    endless.remove("exp");
    assert_eq!(ring.verify(&key.sign(&endless).unwrap(), now), None);
}

#[test]
fn a_tampered_token_is_none() {
    let now = Timestamp(5);
    for alg in ALGS {
        let key = key(alg, 0);
        let ring = KeyRing::new(vec![key.clone()]);
        let token = key.sign(&claims(expiry(now, 60))).unwrap();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let tampered = String::from_utf8(bytes).unwrap();
            assert_eq!(ring.verify(&tampered, now), None, "{alg:?} at {at}");
        }
    }
}

#[test]
fn the_algorithm_is_the_keys() {
    let now = Timestamp(5);
    let honest = key(Alg::Es256, 0);
    let ring = KeyRing::new(vec![honest.clone()]);
    // HMAC with the public key as the secret: what a verifier that believes the header falls for
    let public = serde_json::to_vec(&honest.public().unwrap()).unwrap();
    for kid in [Some(honest.name()), None] {
        let header = Header {
            kid,
            ..Header::new(Algorithm::HS256)
        };
        let secret = EncodingKey::from_secret(&public);
        let token = jsonwebtoken::encode(&header, &claims(expiry(now, 60)), &secret).unwrap();
        assert_eq!(ring.verify(&token, now), None);
    }
    let encode = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    for alg in ["none", "None", "HS256", "ES256", ""] {
        let header = serde_json::json!({ "alg": alg, "kid": honest.name() });
        let body = Value::from(claims(expiry(now, 60)));
        let token = format!("{}.{}.", encode(header), encode(body));
        assert_eq!(ring.verify(&token, now), None, "{alg}");
    }
}

#[test]
fn a_token_names_its_key_where_that_is_published() {
    let now = Timestamp(5);
    let keys = [
        (Alg::Hs256, 1),
        (Alg::Hs256, 2),
        (Alg::Es256, 3),
        (Alg::EdDsa, 4),
    ];
    let ring = KeyRing::new(keys.map(|(alg, active_at)| key(alg, active_at)).to_vec());
    for key in &ring.0 {
        let token = key.sign(&claims(expiry(now, 60))).unwrap();
        let named = jsonwebtoken::decode_header(&token).unwrap().kid;
        assert_eq!(named, (key.alg != Alg::Hs256).then(|| key.name()));
        assert!(
            ring.verify(&token, now).is_some(),
            "each of several secrets is tried"
        );
    }
    let stranger = key(Alg::Hs256, 5).sign(&claims(expiry(now, 60))).unwrap();
    assert_eq!(ring.verify(&stranger, now), None);
}

#[test]
fn garbage_is_no_token() {
    let ring = KeyRing::new(vec![key(Alg::EdDsa, 0)]);
    for text in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        &"a".repeat(1 << 20),
        &".".repeat(9999),
    ] {
        assert_eq!(ring.verify(text, Timestamp(5)), None);
    }
}

#[test]
fn the_newest_active_key_signs() {
    let ring = KeyRing::new([0, 20, 10].map(|at| key(Alg::EdDsa, at)).to_vec());
    let at = |now| ring.signing(Timestamp(now)).map(|key| key.active_at.0);
    assert_eq!(at(-1), None);
    assert_eq!(at(0), Some(0));
    assert_eq!(at(19), Some(10));
    assert_eq!(at(i64::MAX), Some(20));
}

#[test]
fn a_key_verifies_till_what_it_signed_has_expired() {
    let ring = KeyRing::new([0, 10].map(|at| key(Alg::EdDsa, at)).to_vec());
    let at = |now| ring.verifying(Timestamp(now)).count();
    // before it signs, too: verifiers keep key sets for a while
    assert_eq!(at(5), 2);
    assert_eq!(at(9 + DAY), 2);
    assert_eq!(at(10 + DAY), 1);
    let old = &ring.0[1];
    let token = old.sign(&claims(i64::MAX)).unwrap();
    assert!(ring.verify(&token, Timestamp(9 + DAY)).is_some());
    assert!(ring.verify(&token, Timestamp(10 + DAY)).is_none());
}

#[test]
fn a_public_set_has_no_secret() {
    let keys = ALGS.map(|alg| key(alg, 0)).to_vec();
    let secrets: Vec<_> = keys.iter().map(|key| key.to_column().to_string()).collect();
    let set = KeyRing::new(keys).public_set(Timestamp(5)).unwrap();
    assert_eq!(set["keys"].as_array().unwrap().len(), 2);
    for key in set["keys"].as_array().unwrap() {
        assert_eq!(key["use"], "sig");
        assert!(key["kid"].is_string() && key["x"].is_string());
        assert!(key.get("d").is_none() && key.get("k").is_none());
    }
    for secret in secrets {
        assert!(!set.to_string().contains(&secret));
    }
}

#[test]
fn a_row_without_a_key_is_said_to_be_unusable() {
    for (alg, private_key) in [
        ("RS256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ("HS256", "AAAA"),
        ("ES256", "***"),
    ] {
        let key = SigningKey::from_columns(Uuid::nil(), alg, Timestamp(0), private_key);
        assert_eq!(key.err(), Some(UnusableKey), "{alg}");
    }
    let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (alg, private_key) in [("ES256", zero), ("ES256", "AAAA"), ("EdDSA", "AAAA")] {
        let key = SigningKey::from_columns(Uuid::nil(), alg, Timestamp(0), private_key).unwrap();
        assert_eq!(key.sign(&claims(0)), Err(UnusableKey), "{alg}");
        let ring = KeyRing::new(vec![key]);
        assert_eq!(ring.public_set(Timestamp(5)), Err(UnusableKey));
    }
}

#[test]
fn debug_shows_nothing() {
    let key = key(Alg::Es256, 0);
    assert_eq!(
        format!("{key:?}"),
        "SigningKey(00000000-0000-0000-0000-000000000000)"
    );
}
