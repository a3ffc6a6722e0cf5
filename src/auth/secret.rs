//! Secrets: made by the system's generator, kept as digests, never printed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest as _, Sha256};

pub use crate::config::Secret;

#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

/// What a random secret is kept and found as. One that a person chose needs more (`passwords`).
pub(super) type Digest = [u8; 32];

pub(super) fn digest(secret: &str) -> Digest {
    Sha256::digest(secret).into()
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// 256 bits, fit for URLs and headers.
pub(super) fn random_text() -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}

/// So that what is kept says nothing without the secret, which is kept nowhere.
pub(super) fn sealed(content: &Secret, with: &str) -> Result<Vec<u8>, NoRandomness> {
    let nonce = random::<NONCE_LEN>()?;
    let mut sealed = content.reveal().as_bytes().to_vec();
    let key = key_of(with).ok_or(NoRandomness)?;
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
        .map_err(|_| NoRandomness)?;
    Ok([&nonce[..], &sealed].concat())
}

/// Nothing where it was sealed with another secret, or changed.
pub(super) fn opened(sealed: &[u8], with: &str) -> Option<Secret> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut content = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let content = key_of(with)?.open_in_place(nonce, Aad::empty(), &mut content).ok()?;
    std::str::from_utf8(content).ok().map(Secret::new)
}

/// Not the digest by which the secret is found.
fn key_of(secret: &str) -> Option<LessSafeKey> {
    let key = Sha256::new_with_prefix("sealed with ").chain_update(secret).finalize();
    UnboundKey::new(&CHACHA20_POLY1305, &key).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let printed = format!("{:?} {:#?}", Secret::new("hush"), Some(Secret::new("hush")));
        assert!(!printed.contains("hush"), "{printed}");
    }

    #[test]
    fn what_is_sealed_opens_with_its_secret_alone() {
        let kept = sealed(&Secret::new("theirs"), "ours").unwrap();
        assert_eq!(opened(&kept, "ours").unwrap().reveal(), "theirs");
        assert!(!kept.windows(6).any(|part| part == b"theirs"));
        let mut changed = kept.clone();
        changed[NONCE_LEN] ^= 1;
        assert!(
            [opened(&kept, "other"), opened(&changed, "ours"), opened(&kept[..9], "ours")]
                .iter()
                .all(Option::is_none)
        );
    }

    #[test]
    fn no_two_are_alike() {
        let [one, other] = [random_text().unwrap(), random_text().unwrap()];
        assert_ne!(one, other);
        assert_eq!((one.len(), digest(&one) == digest(&other)), (43, false));
    }
}
