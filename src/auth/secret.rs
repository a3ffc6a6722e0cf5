//! Secrets: made by the system's generator, kept as digests, never printed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let printed = format!("{:?} {:#?}", Secret::new("hush"), Some(Secret::new("hush")));
        assert!(!printed.contains("hush"), "{printed}");
    }

    #[test]
    fn no_two_are_alike() {
        let [one, other] = [random_text().unwrap(), random_text().unwrap()];
        assert_ne!(one, other);
        assert_eq!((one.len(), digest(&one) == digest(&other)), (43, false));
    }
}
