//! What replaces names, the same for the same: keyed digests.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::ids::hex;

/// Days that dates are moved back by, at most.
const DAYS_MAX: u64 = 3650;

/// UIDs of the standard identify nobody (PS3.6 A), some frames of reference among them.
const WELL_KNOWN: &str = "1.2.840.10008.";

/// A secret. With it, equal identifiers get equal replacements; without it, nothing leads back.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// Of a secret of any length.
    pub fn of_secret(secret: &[u8]) -> Self {
        Self(digest(secret, "key", ""))
    }

    pub fn secret(&self) -> &[u8; 32] {
        &self.0
    }

    /// `2.25.` and a UUID, PS3.5 B.2.
    pub(super) fn uid(&self, uid: &str) -> String {
        if uid.starts_with(WELL_KNOWN) {
            return uid.to_owned();
        }
        let digest = digest(&self.0, "uid", uid);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        format!("2.25.{}", uuid::Builder::from_random_bytes(bytes).into_uuid().as_u128())
    }

    pub(super) fn pseudonym(&self, subject: &str) -> String {
        format!("ANON-{}", hex(&digest(&self.0, "subject", subject)[..6]).to_uppercase())
    }

    /// Negative, the same for all dates of a patient, so that intervals stay.
    pub(super) fn days(&self, subject: &str) -> i64 {
        let digest = digest(&self.0, "days", subject);
        let number = digest[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        -1 - (number % DAYS_MAX) as i64
    }
}

fn digest(key: &[u8], purpose: &str, text: &str) -> [u8; 32] {
    // A key of any length is one for HMAC (RFC 2104 2).
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is one");
    mac.update(purpose.as_bytes());
    mac.update(&[0x1F]);
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_the_same_for_the_same_and_another_key_something_else() {
        let (a, b) = (Key::of_secret(b"a"), Key::of_secret(b"b"));
        assert_eq!(a.uid("1.2.3"), a.uid("1.2.3"));
        assert_ne!(a.uid("1.2.3"), b.uid("1.2.3"));
        assert_ne!(a.pseudonym("x"), b.pseudonym("x"));
        assert!(a.uid("1.2.3").parse::<crate::dicom::uid::StudyUid>().is_ok());
    }

    #[test]
    fn uids_of_the_standard_stay() {
        assert_eq!(Key::of_secret(b"a").uid("1.2.840.10008.15.1.1"), "1.2.840.10008.15.1.1");
    }

    #[test]
    fn dates_move_back_by_a_day_at_least() {
        for subject in ["", "a", "b", "c"] {
            assert!((-3650..=-1).contains(&Key::of_secret(b"a").days(subject)));
        }
    }
}
