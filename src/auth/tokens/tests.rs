use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::KeyPair;

use super::*;

const NOW: i64 = 1_700_000_000;
const OURS: Parties<'_> = Parties { issuer: "radiant", audience: "api" };

fn pair() -> Ed25519KeyPair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()
}

fn claims() -> Claims {
    Claims {
        iss: "radiant".into(),
        aud: "api".into(),
        sub: "u1".into(),
        exp: NOW + 600,
        nbf: NOW,
        iat: NOW,
        jti: "t1".into(),
        sid: "s1".into(),
        roles: BTreeSet::from([Role::Radiologist]),
        auth_time: NOW,
    }
}

fn checked(token: &str, pair: &Ed25519KeyPair) -> Result<Claims, TokenError> {
    Unverified::parse(token)?.verify(pair.public_key().as_ref(), OURS, NOW)
}

/// A token with any header, signed as it should be.
fn with_header(header: &str, pair: &Ed25519KeyPair) -> String {
    let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims()).unwrap());
    let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header));
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

#[test]
fn what_was_signed_comes_back() {
    let pair = pair();
    let token = sign(&claims(), "k1", &pair).unwrap();
    assert_eq!(Unverified::parse(&token).unwrap().kid(), "k1");
    assert_eq!(checked(&token, &pair), Ok(claims()));
}

#[test]
fn no_other_algorithm_or_form_is_taken_though_the_signature_is_right() {
    let pair = pair();
    assert!(checked(&with_header(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k"}"#, &pair), &pair).is_ok());
    for header in [
        r#"{"alg":"none","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"eddsa","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"EdDSA","typ":"JWT","kid":"k"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","jwk":{}}"#,
        r#"{"alg":"EdDSA","alg":"none","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","crit":["exp"]}"#,
    ] {
        assert_eq!(checked(&with_header(header, &pair), &pair), Err(TokenError::Header), "{header}");
    }
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    let pair = pair();
    let token = sign(&claims(), "k", &pair).unwrap();
    let (signed, _) = token.rsplit_once('.').unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, pair.public_key().as_ref());
    let tag = ring::hmac::sign(&key, signed.as_bytes());
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
    assert_eq!(checked(&forged, &pair), Err(TokenError::Signature));
    assert_eq!(checked(&format!("{signed}."), &pair), Err(TokenError::Signature));
}

#[test]
fn claims_are_held_to_time_issuer_and_audience() {
    let pair = pair();
    let with = |change: fn(&mut Claims)| {
        let mut claims = claims();
        change(&mut claims);
        checked(&sign(&claims, "k", &pair).unwrap(), &pair)
    };
    assert_eq!(with(|claims| claims.exp = NOW), Err(TokenError::Expired));
    assert!(with(|claims| claims.exp = NOW + 1).is_ok());
    assert_eq!(with(|claims| claims.nbf = NOW + 61), Err(TokenError::Early));
    assert_eq!(with(|claims| claims.iat = NOW + 61), Err(TokenError::Early));
    assert_eq!(with(|claims| claims.aud = "other".into()), Err(TokenError::Party));
    assert_eq!(with(|claims| claims.iss = "other".into()), Err(TokenError::Party));
}

proptest! {
    #[test]
    fn no_mutation_of_a_token_verifies(at in any::<prop::sample::Index>(), byte in 0x20_u8..0x7F) {
        let pair = pair();
        let token = sign(&claims(), "k1", &pair).unwrap();
        let at = at.index(token.len());
        let mut bytes = token.clone().into_bytes();
        bytes[at] = byte;
        let mutated = String::from_utf8(bytes).unwrap();
        prop_assume!(mutated != token);
        prop_assert!(checked(&mutated, &pair).is_err(), "{mutated}");
    }

    #[test]
    fn no_cut_or_addition_verifies(at in any::<prop::sample::Index>(), more in "[A-Za-z0-9_=.-]{1,8}") {
        let pair = pair();
        let token = sign(&claims(), "k1", &pair).unwrap();
        let at = at.index(token.len());
        prop_assert!(checked(&token[..at], &pair).is_err());
        let (front, back) = token.split_at(at);
        let [within, behind] = [[front, &more, back].concat(), [&token, more.as_str()].concat()];
        prop_assert!(checked(&within, &pair).is_err());
        prop_assert!(checked(&behind, &pair).is_err());
    }

    #[test]
    fn claims_of_one_signature_do_not_go_with_another(sub in "[a-z]{1,8}") {
        let pair = pair();
        let token = sign(&claims(), "k1", &pair).unwrap();
        let other = sign(&Claims { sub: sub.clone(), ..claims() }, "k1", &pair).unwrap();
        prop_assume!(sub != "u1");
        let (signed, _) = token.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        prop_assert_eq!(checked(&format!("{signed}.{signature}"), &pair), Err(TokenError::Signature));
    }

    #[test]
    fn nothing_strange_makes_it_panic(text in "\\PC{0,200}") {
        let pair = pair();
        prop_assert!(checked(&text, &pair).is_err());
    }

    #[test]
    fn nobody_elses_key_signs(sub in "[a-z]{1,8}") {
        let token = sign(&Claims { sub, ..claims() }, "k1", &pair()).unwrap();
        prop_assert_eq!(checked(&token, &pair()), Err(TokenError::Signature));
    }
}
