//! Passwords: argon2id on threads of their own, a bounded number at a time.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, SaltString};
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Denied, secret};
use crate::config;
use crate::telemetry::limits;

#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("a password has at least {0} characters")]
    TooShort(usize),
    #[error("a password has at most {0} bytes")]
    TooLong(usize),
    #[error("a password is not the name that it belongs to")]
    IsTheName,
    #[error("a new password is not the old one")]
    Same,
}

/// Hashes and verifies.
pub(super) struct Passwords {
    argon2: Argon2<'static>,
    /// Computing.
    at_work: Arc<Semaphore>,
    /// Computing or waiting for it.
    let_in: Arc<Semaphore>,
    length_min: usize,
    bytes_max: usize,
}

/// Of what somebody claims to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Wrong,
    Right,
    /// Right, and hashed as the configuration no longer wants it.
    RightButOld,
}

impl Passwords {
    pub(super) fn new(settings: &config::Auth) -> Result<Self, Denied> {
        let params =
            Params::new(settings.argon2_memory_kib, settings.argon2_passes, settings.argon2_lanes, None);
        let params = params.map_err(|_| Denied::Broken("auth.argon2_… are no parameters of argon2"))?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let at_work = if settings.verifications_max == 0 { cores } else { settings.verifications_max };
        Ok(Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            at_work: Arc::new(Semaphore::new(at_work)),
            let_in: Arc::new(Semaphore::new(at_work.saturating_add(settings.verifications_waiting_max))),
            length_min: settings.password_length_min,
            bytes_max: settings.password_bytes_max,
        })
    }

    /// What NIST SP 800-63B 5.1.1.2 asks for: length, and nothing about the kinds of characters.
    pub(super) fn check(&self, name: &str, password: &str) -> Result<(), PolicyError> {
        if password.len() > self.bytes_max {
            limits::hit("auth.password_bytes_max");
            return Err(PolicyError::TooLong(self.bytes_max));
        }
        if password.chars().count() < self.length_min {
            return Err(PolicyError::TooShort(self.length_min));
        }
        if password.to_lowercase() == name.to_lowercase() {
            return Err(PolicyError::IsTheName);
        }
        Ok(())
    }

    pub(super) async fn hash(&self, password: &str) -> Result<String, Denied> {
        let salt = SaltString::encode_b64(&secret::random::<16>()?).map_err(|_| Denied::Broken("a salt"))?;
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        let hash = move || argon2.hash_password(password.as_bytes(), &salt).map(|hash| hash.to_string());
        self.compute(hash).await?.map_err(|_| Denied::Broken("a password cannot be hashed"))
    }

    /// Where there is no hash, as much is computed as if there were one.
    pub(super) async fn verify(&self, hash: Option<&str>, password: &str) -> Result<Verdict, Denied> {
        if password.len() > self.bytes_max {
            return Ok(Verdict::Wrong);
        }
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        let hash = hash.map_or_else(|| decoy(argon2.params()), |hash| Ok(hash.to_owned()))?;
        self.compute(move || verdict(&argon2, &hash, &password)).await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Denied> {
        let turn = self.turn().await?;
        let computed = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        computed.await.map_err(|_| Denied::Broken("a password could not be looked at"))
    }

    async fn turn(&self) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Denied> {
        let Ok(place) = Arc::clone(&self.let_in).try_acquire_owned() else {
            limits::hit("auth.verifications_waiting_max");
            return Err(Denied::Busy);
        };
        let turn = Arc::clone(&self.at_work).acquire_owned().await.map_err(|_| Denied::Busy)?;
        Ok((place, turn))
    }
}

fn verdict(argon2: &Argon2<'_>, hash: &str, password: &str) -> Verdict {
    let Ok(hash) = PasswordHash::new(hash) else { return Verdict::Wrong };
    if argon2.verify_password(password.as_bytes(), &hash).is_err() {
        return Verdict::Wrong;
    }
    let used = Params::try_from(&hash).map(|used| (used.m_cost(), used.t_cost(), used.p_cost()));
    let wanted = argon2.params();
    match used {
        Ok(used) if used == (wanted.m_cost(), wanted.t_cost(), wanted.p_cost()) => Verdict::Right,
        _ => Verdict::RightButOld,
    }
}

/// A hash of nothing: no password leads to it.
fn decoy(params: &Params) -> Result<String, Denied> {
    let (salt, hash) = (secret::random::<16>()?, secret::random::<32>()?);
    let costs = format!("m={},t={},p={}", params.m_cost(), params.t_cost(), params.p_cost());
    let [salt, hash] = [STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash)];
    Ok(format!("$argon2id$v=19${costs}${salt}${hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn with(change: impl FnOnce(&mut config::Auth)) -> Passwords {
        let mut settings = Config::load(&Overrides::default()).unwrap().auth;
        settings.argon2_memory_kib = 64;
        change(&mut settings);
        Passwords::new(&settings).unwrap()
    }

    #[tokio::test]
    async fn only_the_password_itself_is_right() {
        let passwords = with(|_| {});
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,"), "{hash}");
        assert_eq!(passwords.verify(Some(&hash), "correct horse").await.unwrap(), Verdict::Right);
        assert_eq!(passwords.verify(Some(&hash), "Correct horse").await.unwrap(), Verdict::Wrong);
        assert_eq!(passwords.verify(None, "correct horse").await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn a_hash_of_other_costs_is_told() {
        let old = with(|_| {}).hash("correct horse").await.unwrap();
        let passwords = with(|settings| settings.argon2_memory_kib = 128);
        assert_eq!(passwords.verify(Some(&old), "correct horse").await.unwrap(), Verdict::RightButOld);
    }

    #[test]
    fn the_decoy_is_as_much_work_as_a_hash() {
        let passwords = with(|_| {});
        let decoy = decoy(passwords.argon2.params()).unwrap();
        let parsed = PasswordHash::new(&decoy).unwrap();
        assert_eq!(Params::try_from(&parsed).unwrap().m_cost(), 64);
        assert_eq!(parsed.hash.unwrap().len(), 32);
    }

    #[tokio::test]
    async fn who_comes_when_too_many_wait_is_sent_away() {
        let passwords = with(|settings| {
            settings.verifications_max = 1;
            settings.verifications_waiting_max = 1;
        });
        let working = passwords.turn().await.unwrap();
        let waiting = passwords.turn();
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        assert!(matches!(passwords.verify(None, "x").await, Err(Denied::Busy)));
        drop(working);
        assert!(waiting.await.is_ok());
    }

    #[test]
    fn a_password_is_long_and_not_the_name() {
        let passwords = with(|_| {});
        assert!(matches!(passwords.check("eva", "short"), Err(PolicyError::TooShort(12))));
        assert!(matches!(passwords.check("eva", &"x".repeat(2000)), Err(PolicyError::TooLong(_))));
        let of_the_name = passwords.check("Eva.Musterfrau", "eva.musterfrau");
        assert!(matches!(of_the_name, Err(PolicyError::IsTheName)));
        assert!(passwords.check("eva", "twelve chars").is_ok());
    }
}
