//! Keys of devices and programs: shown once, known by their digest.

use std::collections::BTreeSet;

use super::access::API_KEY;
use super::secret::{self, Secret};
use super::{Access, Denied, Permission, Role, trail};
use crate::audit::{Action, Actor, ObjectKind, Outcome};
use crate::clock::Timestamp;
use crate::db::api_keys::{self, ApiKey};
use crate::db::{Batch, DbError, Statement};
use crate::ids::hex;

const NAME_BYTES_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("there is no such key, or it is revoked")]
    Unknown,
    #[error("the name of a key has 1 to {NAME_BYTES_MAX} bytes, and no control characters")]
    Name,
    #[error("the role does not allow {}", .0.as_str())]
    NotOfTheRole(Permission),
    #[error("a key expires in the future")]
    Past,
    #[error(transparent)]
    Denied(#[from] Denied),
}

impl From<DbError> for KeyError {
    fn from(error: DbError) -> Self {
        Self::Denied(error.into())
    }
}

#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: String,
    pub role: Role,
    /// The only permissions of the role that it has.
    pub only: Option<BTreeSet<Permission>>,
    pub expires_at: Option<Timestamp>,
}

impl Access {
    /// With the key itself, which is not seen again.
    pub async fn create_key(&self, new: NewKey, by: &Actor) -> Result<(ApiKey, Secret), KeyError> {
        let now = self.clock.now();
        check(&new, now)?;
        let id = hex(&secret::random::<8>().map_err(Denied::from)?);
        let end = secret::random_text().map_err(Denied::from)?;
        let key = ApiKey {
            id,
            name: new.name,
            role: new.role,
            only: new.only,
            created_by: by.name.clone(),
            created_at: now,
            expires_at: new.expires_at,
            last_used_at: None,
            revoked_at: None,
        };
        let batch = Batch::new().then(api_keys::insert(&key, &secret::digest(&end)));
        let batch = batch.then(of_key(by, Action::CreateApiKey, &key.id, now));
        self.db.run(batch).await?;
        let shown = Secret::new(format!("{API_KEY}{}_{end}", key.id));
        Ok((key, shown))
    }

    pub async fn revoke_key(&self, id: &str, by: &Actor) -> Result<(), KeyError> {
        let now = self.clock.now();
        let batch = Batch::new().then_exactly(1, api_keys::revoke(id, &by.name, now)).then(of_key(
            by,
            Action::RevokeApiKey,
            id,
            now,
        ));
        let written = self.db.run(batch).await;
        self.remembered.forget();
        match written {
            Ok(_) => Ok(()),
            Err(DbError::Affected { .. }) => Err(KeyError::Unknown),
            Err(error) => Err(error.into()),
        }
    }
}

fn of_key(by: &Actor, action: Action, id: &str, now: Timestamp) -> Statement {
    trail::done(by, action, (ObjectKind::ApiKey, id), Outcome::Success, now)
}

fn check(new: &NewKey, now: Timestamp) -> Result<(), KeyError> {
    if !(1..=NAME_BYTES_MAX).contains(&new.name.len()) || new.name.chars().any(char::is_control) {
        return Err(KeyError::Name);
    }
    if new.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(KeyError::Past);
    }
    let beyond = new.only.iter().flatten().find(|permission| !new.role.may(**permission));
    beyond.map_or(Ok(()), |permission| Err(KeyError::NotOfTheRole(*permission)))
}
