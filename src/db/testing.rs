//! An index for each test: SQLite in its folder, or a schema of its own in the PostgreSQL that
//! `RADIANT_TEST_POSTGRES` names. The same tests so judge both engines.

use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Db, PostgresSettings, SqliteSettings, Statement};

pub(crate) mod faults;

const ADDRESS: &str = "RADIANT_TEST_POSTGRES";

impl Db {
    /// The index of the folder; what was written is there again when it is opened again.
    pub(crate) fn for_test(folder: &Path) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the whole suite runs again on the database it names")]
        match std::env::var(ADDRESS) {
            Ok(address) => Self::open_postgres(in_own_schema(&address, folder)).unwrap(),
            Err(_) => Self::sqlite_for_test(folder),
        }
    }

    /// For what only one engine has: its plans, its files.
    pub(crate) fn sqlite_for_test(folder: &Path) -> Self {
        let settings = SqliteSettings { readers: 2, group_max: 64 };
        Self::open_sqlite(&folder.join("index.sqlite"), settings).unwrap()
    }
}

impl Statement {
    /// Rows that a test begins with; bytes are written as SQLite has them, `x'00'`.
    pub(crate) fn fixture(sql: &str) -> Self {
        let on_postgres = [" ", "("].iter().fold(sql.replace(" as blob", " as bytea"), |sql, before| {
            sql.replace(&format!("{before}x'"), &format!("{before}'\\x"))
        });
        Self { sql_of_postgres: Some(on_postgres.into()), ..Self::named("fixture", sql.to_owned()) }
    }
}

fn in_own_schema(address: &str, folder: &Path) -> PostgresSettings {
    let digest = Sha256::digest(folder.as_os_str().as_encoded_bytes());
    let schema: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let separator = if address.contains('?') { '&' } else { '?' };
    let url = format!("{address}{separator}options=-csearch_path%3Dt{schema}");
    PostgresSettings { create_schema: Some(format!("t{schema}")), ..PostgresSettings::for_test(url) }
}

impl PostgresSettings {
    pub(super) fn for_test(primary: String) -> Self {
        Self {
            primary,
            replica: None,
            password_file: None,
            ca_file: None,
            connections: 4,
            group_max: 64,
            patience: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            replica_timeout: Duration::from_secs(2),
            replica_pause: Duration::from_secs(5),
            create_schema: None,
        }
    }
}
