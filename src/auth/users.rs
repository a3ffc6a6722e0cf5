//! What is done about accounts, and who may do it to himself.

use std::collections::BTreeSet;

use super::access::Shown;
use super::passwords::PolicyError;
use super::secret::{self, Secret};
use super::sessions::Client;
use super::{Access, Caller, Denied, Role, Subject, trail};
use crate::audit::{Action, Actor, ObjectKind, Outcome};
use crate::clock::Timestamp;
use crate::db::users::{self, Profile, User};
use crate::db::{Batch, DbError, Statement, sessions};
use crate::ids;

const NAME_BYTES_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 200;

#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("there is no such user")]
    Unknown,
    #[error(
        "a name has 1 to {NAME_BYTES_MAX} letters, digits or . _ @ + -, and begins with a letter or digit"
    )]
    Name,
    #[error("{0} has at most {TEXT_BYTES_MAX} bytes, and no control characters")]
    Text(&'static str),
    #[error("a user has one role at least")]
    NoRole,
    #[error("the name is taken, or was once")]
    Taken,
    #[error("the user has changed since it was read")]
    Changed,
    #[error("somebody has to stay who can let others in: this is the last administrator")]
    LastAdministrator,
    #[error("an identity provider keeps the password of this user")]
    NoPassword,
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Denied(#[from] Denied),
}

impl From<DbError> for UserError {
    fn from(error: DbError) -> Self {
        Self::Denied(error.into())
    }
}

impl From<secret::NoRandomness> for UserError {
    fn from(error: secret::NoRandomness) -> Self {
        Self::Denied(error.into())
    }
}

/// Somebody who is to come in.
#[derive(Debug, Clone)]
pub struct NewUser {
    pub name: String,
    pub display_name: String,
    pub email: Option<String>,
    pub roles: BTreeSet<Role>,
    /// The first one, to be changed at the first log-in; made here where there is none.
    pub password: Option<Secret>,
    /// The identity provider that knows him, and his subject there: no password.
    pub provider: Option<(String, String)>,
}

impl Access {
    /// The first password comes back where it was made here.
    pub async fn create_user(&self, new: NewUser, by: &Actor) -> Result<(User, Option<Secret>), UserError> {
        check_profile(&new.display_name, new.email.as_deref(), &new.roles)?;
        if !is_name(&new.name) {
            return Err(UserError::Name);
        }
        let first = match (&new.password, &new.provider) {
            (_, Some(_)) => None,
            (Some(given), None) => Some(given.clone()),
            (None, None) => Some(Secret::new(secret::random_text()?)),
        };
        let hash = match &first {
            Some(first) => Some(self.checked_hash(&new.name, first).await?),
            None => None,
        };
        let now = self.clock.now();
        let made = first.filter(|_| new.password.is_none());
        let user = new_row(new, hash.is_some(), now);
        let batch = Batch::new().then(users::insert(&user, hash.as_deref()));
        let batch = batch.then(of_user(by, Action::CreateUser, &user.id, now));
        self.db.run(batch).await.map_err(of_insert)?;
        Ok((user, made))
    }

    /// Whoever is changed begins anew: his sessions end where his rights did.
    pub async fn change_user(&self, before: &User, to: &Profile, by: &Actor) -> Result<User, UserError> {
        check_profile(&to.display_name, to.email.as_deref(), &to.roles)?;
        let now = self.clock.now();
        let mut batch = users::change(&before.id, before.version, to, now);
        if is_active_administrator(before) {
            batch = users::and_some_administrator(batch);
        }
        if to.disabled {
            batch.push(sessions::end_all(&before.id, None, "account-changed", now));
        }
        let action = match (to.disabled == before.disabled, to.roles == before.roles) {
            (false, _) if to.disabled => Action::LockAccount,
            (false, _) => Action::UnlockAccount,
            (true, false) => Action::ChangeRoles,
            (true, true) => Action::ChangeUser,
        };
        batch.push(of_user(by, action, &before.id, now));
        self.write(batch).await?;
        self.user(&before.id).await
    }

    /// No password of ours lets him in any more; whoever came in by it is out.
    pub(super) async fn link_user(
        &self,
        before: &User,
        provider: (&str, &str),
        by: &Actor,
    ) -> Result<User, UserError> {
        let now = self.clock.now();
        let mut batch = users::link(&before.id, before.version, provider, now);
        batch.push(sessions::end_all(&before.id, None, "account-changed", now));
        batch.push(of_user(by, Action::ChangeUser, &before.id, now));
        self.write(batch).await?;
        self.user(&before.id).await
    }

    pub async fn delete_user(&self, before: &User, by: &Actor) -> Result<(), UserError> {
        let now = self.clock.now();
        let mut batch = users::delete(&before.id, before.version, now);
        if is_active_administrator(before) {
            batch = users::and_some_administrator(batch);
        }
        batch.push(sessions::end_all(&before.id, None, "account-changed", now));
        batch.push(of_user(by, Action::DeleteUser, &before.id, now));
        self.write(batch).await
    }

    /// By somebody else: good for one log-in, at which it is changed. Made here where none is given.
    pub async fn reset_password(
        &self,
        user: &User,
        given: Option<Secret>,
        by: &Actor,
    ) -> Result<Option<Secret>, UserError> {
        if user.provider.is_some() {
            return Err(UserError::NoPassword);
        }
        let made = given.is_none();
        let password = given.map_or_else(|| secret::random_text().map(Secret::new), Ok)?;
        let hash = self.checked_hash(&user.name, &password).await?;
        let now = self.clock.now();
        let batch = Batch::new()
            .then_exactly(1, users::set_password(&user.id, &hash, true, now))
            .then(sessions::end_all(&user.id, None, "password-changed", now))
            .then(of_user(by, Action::ChangePassword, &user.id, now));
        self.write(batch).await?;
        Ok(made.then_some(password))
    }

    /// By himself, who shows the old one. His other sessions end.
    pub async fn change_password(
        &self,
        caller: &Caller,
        old: &str,
        new: &Secret,
        by: &Actor,
    ) -> Result<(), UserError> {
        let Subject::User { id, name, .. } = &caller.subject else {
            return Err(Denied::NotAPerson.into());
        };
        let known = users::credentials_of(&self.db, id).await?;
        if known.as_ref().is_some_and(|known| known.password.is_none()) {
            return Err(UserError::NoPassword);
        }
        let attempt = Shown { name, known, password: old, action: Action::ChangePassword };
        self.check_password(attempt, &Client::default()).await?;
        if new.reveal() == old {
            return Err(PolicyError::Same.into());
        }
        let hash = self.checked_hash(name, new).await?;
        let now = self.clock.now();
        let batch = Batch::new()
            .then_exactly(1, users::set_password(id, &hash, false, now))
            .then(sessions::end_all(id, caller.session.as_deref(), "password-changed", now))
            .then(of_user(by, Action::ChangePassword, id, now));
        self.write(batch).await?;
        self.forget_first_secret(name);
        Ok(())
    }

    pub async fn user(&self, id: &str) -> Result<User, UserError> {
        users::one(&self.db, id).await?.ok_or(UserError::Unknown)
    }

    /// By the name that he logs in with.
    pub async fn user_named(&self, name: &str) -> Result<User, UserError> {
        let known = users::credentials(&self.db, name).await?;
        known.map(|known| known.user).ok_or(UserError::Unknown)
    }

    async fn checked_hash(&self, name: &str, password: &Secret) -> Result<String, UserError> {
        self.passwords.check(name, password.reveal())?;
        Ok(self.passwords.hash(password.reveal()).await?)
    }

    /// What is remembered may be no longer so.
    async fn write(&self, batch: Batch) -> Result<(), UserError> {
        let written = self.db.run(batch).await;
        self.remembered.forget();
        match written {
            Ok(_) => Ok(()),
            Err(DbError::Affected { statement: users::SOME_ADMINISTRATOR, .. }) => {
                Err(UserError::LastAdministrator)
            }
            Err(DbError::Affected { .. }) => Err(UserError::Changed),
            Err(error) => Err(error.into()),
        }
    }
}

fn of_user(by: &Actor, action: Action, id: &str, now: Timestamp) -> Statement {
    trail::done(by, action, (ObjectKind::User, id), Outcome::Success, now)
}

fn new_row(new: NewUser, has_password: bool, now: Timestamp) -> User {
    User {
        id: ids::row_id(),
        name: new.name,
        display_name: new.display_name,
        email: new.email,
        roles: new.roles,
        must_change: has_password,
        disabled: false,
        provider: new.provider,
        created_at: now,
        updated_at: now,
        last_login_at: None,
        version: 1,
    }
}

fn of_insert(error: DbError) -> UserError {
    match error {
        DbError::Unique { .. } => UserError::Taken,
        error => error.into(),
    }
}

fn is_active_administrator(user: &User) -> bool {
    !user.disabled && user.roles.contains(&Role::Administrator)
}

/// Fit for headers, logs and the audit.
fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.chars().next().is_some_and(char::is_alphanumeric)
        && name.chars().all(|c| c.is_alphanumeric() || "._@+-".contains(c))
}

fn check_profile(display_name: &str, email: Option<&str>, roles: &BTreeSet<Role>) -> Result<(), UserError> {
    let is_fine = |text: &str| text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control);
    if !is_fine(display_name) || display_name.trim().is_empty() {
        return Err(UserError::Text("display_name"));
    }
    if email.is_some_and(|email| !is_fine(email) || !email.contains('@')) {
        return Err(UserError::Text("email"));
    }
    if roles.is_empty() { Err(UserError::NoRole) } else { Ok(()) }
}
