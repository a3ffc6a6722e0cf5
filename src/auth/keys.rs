//! The keys that sign access tokens: one signs, the next is published before it does, the last is
//! known until its tokens have expired. They stand in the database, so that every server that uses
//! it knows them.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::Denied;
use super::secret::NoRandomness;
use super::tokens::{self, Claims, Parties, TokenError, Unverified};
use crate::clock::Timestamp;
use crate::db::signing_keys::{self, SigningKey};
use crate::db::{Batch, Db, DbError};
use crate::ids;

/// Whoever names a key that is not known has it looked up, but not more often than this.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How old what is known here may be: keys of other servers are seen before they sign.
const KNOWN_FOR: Duration = Duration::from_secs(600);

pub(super) struct Keys {
    db: Db,
    /// A key signs for so long …
    lifetime: Duration,
    /// … and is published so long before.
    published: Duration,
    ring: RwLock<Arc<Ring>>,
}

/// What the database had at one time, oldest first.
#[derive(Default)]
struct Ring {
    read_at: Option<Timestamp>,
    keys: Vec<Key>,
}

struct Key {
    ordinal: i64,
    kid: String,
    signs_from: Timestamp,
    pair: Ed25519KeyPair,
}

/// One entry of a JWK Set (RFC 7517, RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Jwk {
    pub kty: &'static str,
    pub crv: &'static str,
    #[serde(rename = "use")]
    pub usage: &'static str,
    pub alg: &'static str,
    pub kid: String,
    /// The public key, base64url.
    pub x: String,
}

impl Keys {
    pub(super) fn new(db: Db, lifetime: Duration, published: Duration) -> Self {
        Self { db, lifetime, published, ring: RwLock::default() }
    }

    /// Makes the first key, and the next one when it is time to publish it.
    pub(super) async fn rotate(&self, now: Timestamp) -> Result<(), Denied> {
        let ring = self.read(now).await?;
        let next = match ring.keys.last() {
            None => Some((1, now)),
            Some(last) => {
                let due = last.signs_from.plus(self.lifetime);
                (due.minus(self.published) <= now).then(|| (last.ordinal + 1, due.max(now)))
            }
        };
        if let Some((ordinal, signs_from)) = next {
            self.make(ordinal, signs_from, now).await?;
            self.read(now).await?;
        }
        Ok(())
    }

    async fn make(&self, ordinal: i64, signs_from: Timestamp, now: Timestamp) -> Result<(), Denied> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| NoRandomness)?;
        let (kid, pkcs8) = (ids::row_id(), pkcs8.as_ref().to_vec());
        let key = SigningKey { ordinal, kid, pkcs8, created_at: now, signs_from };
        // Whatever else is older has been silent for a whole lifetime, which is longer than any token's.
        let batch = Batch::new()
            .then(signing_keys::insert(&key))
            .then(signing_keys::forget(ordinal.saturating_sub(2)));
        match self.db.run(batch).await {
            Ok(_) => tracing::info!(kid = key.kid, from = signs_from.rfc3339(), "a key will sign tokens"),
            // Another server was first.
            Err(DbError::Unique { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    pub(super) async fn sign(&self, claims: &Claims, now: Timestamp) -> Result<String, Denied> {
        let mut ring = self.known(now).await?;
        if ring.signing(now).is_none() {
            self.rotate(now).await?;
            ring = self.known(now).await?;
        }
        let key = ring.signing(now).ok_or(Denied::Broken("there is no key that signs"))?;
        tokens::sign(claims, &key.kid, &key.pair).ok_or(Denied::Broken("a token could not be written"))
    }

    pub(super) async fn verify(
        &self,
        token: &str,
        parties: Parties<'_>,
        now: Timestamp,
    ) -> Result<Claims, Denied> {
        let unverified = Unverified::parse(token).map_err(denied)?;
        let mut ring = self.known(now).await?;
        if ring.named(unverified.kid()).is_none() && ring.is_older_than(LOOK_AGAIN_AFTER, now) {
            ring = self.read(now).await?;
        }
        let key = ring.named(unverified.kid()).ok_or(TokenError::UnknownKey).map_err(denied)?;
        let public = key.pair.public_key().as_ref();
        unverified.verify(public, parties, now.0.div_euclid(1_000_000)).map_err(denied)
    }

    /// Of all keys that have signed, sign or will sign.
    pub(super) async fn public(&self, now: Timestamp) -> Result<Vec<Jwk>, Denied> {
        let mut ring = self.known(now).await?;
        if ring.keys.is_empty() {
            self.rotate(now).await?;
            ring = self.known(now).await?;
        }
        Ok(ring.keys.iter().map(Key::public).collect())
    }

    async fn known(&self, now: Timestamp) -> Result<Arc<Ring>, Denied> {
        let ring = Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner));
        match ring.is_older_than(KNOWN_FOR, now) {
            true => self.read(now).await,
            false => Ok(ring),
        }
    }

    async fn read(&self, now: Timestamp) -> Result<Arc<Ring>, Denied> {
        let rows = signing_keys::all(&self.db).await?;
        let keys: Option<Vec<Key>> = rows.into_iter().map(Key::of).collect();
        let keys = keys.ok_or(Denied::Broken("a stored key that signs tokens cannot be read"))?;
        let ring = Arc::new(Ring { read_at: Some(now), keys });
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&ring);
        Ok(ring)
    }
}

impl Ring {
    fn is_older_than(&self, age: Duration, now: Timestamp) -> bool {
        self.read_at.is_none_or(|read_at| now.since(read_at) >= age)
    }

    /// The last whose time has come.
    fn signing(&self, now: Timestamp) -> Option<&Key> {
        self.keys.iter().rfind(|key| key.signs_from <= now)
    }

    fn named(&self, kid: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

impl Key {
    fn of(row: SigningKey) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(&row.pkcs8).ok()?;
        Some(Self { ordinal: row.ordinal, kid: row.kid, signs_from: row.signs_from, pair })
    }

    fn public(&self) -> Jwk {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        Jwk { kty: "OKP", crv: "Ed25519", usage: "sig", alg: "EdDSA", kid: self.kid.clone(), x }
    }
}

/// Why a token is not good is for the log of who asks for it, not for who shows it.
fn denied(error: TokenError) -> Denied {
    tracing::debug!(%error, "a token was refused");
    match error {
        TokenError::Expired => Denied::Expired,
        _ => Denied::Token,
    }
}
