//! The first administrator: made when nobody has an account, with a secret that is shown in one file
//! that its owner alone can read, and that goes once the secret is changed.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::secret::{self, Secret};
use super::users::{NewUser, UserError};
use super::{Access, Role};
use crate::audit::Actor;
use crate::db::users;

const NAME: &str = "admin";
/// In the data folder.
pub const FILE: &str = "first-administrator";

#[derive(Debug, thiserror::Error)]
pub enum FirstError {
    #[error("the first administrator cannot be made")]
    User(#[from] UserError),
    #[error("the secret of the first administrator cannot be written to {file}")]
    File { file: String, source: io::Error },
}

impl Access {
    /// Whether there was nobody.
    pub async fn make_first_administrator(&self) -> Result<bool, FirstError> {
        if !users::is_empty(&self.db).await.map_err(UserError::from)? {
            return Ok(false);
        }
        let secret = Secret::new(secret::random_text().map_err(UserError::from)?);
        let path = self.data_dir.join(FILE);
        // The file first: whoever cannot read his secret cannot come in.
        let failed = |source| FirstError::File { file: path.display().to_string(), source };
        write(&path, &secret).map_err(failed)?;
        let new = NewUser {
            name: NAME.to_owned(),
            display_name: "Administrator".to_owned(),
            email: None,
            roles: BTreeSet::from([Role::Administrator]),
            password: Some(secret),
            provider: None,
        };
        match self.create_user(new, &Actor::program("first start")).await {
            Ok(_) => {
                let file = path.display();
                tracing::warn!(name = NAME, %file, "the first administrator was made: the secret is in the file");
                Ok(true)
            }
            // Another server that shares the database was first.
            Err(UserError::Taken) => fs::remove_file(&path).map(|()| false).map_err(failed),
            Err(error) => Err(error.into()),
        }
    }

    /// A secret that opens nothing any more need not lie about.
    pub(super) fn forget_first_secret(&self, name: &str) {
        let path = self.data_dir.join(FILE);
        if name == NAME && path.exists() {
            match fs::remove_file(&path) {
                Ok(()) => tracing::info!("the file with the secret of the first administrator is gone"),
                Err(error) => tracing::warn!(%error, "the file with the first secret could not be removed"),
            }
        }
    }
}

fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "name: {NAME}\nsecret: {}", secret.reveal())?;
    file.sync_all()
}
