//! The schema, brought up to date by whichever instance comes first.

use refinery::embed_migrations;

use super::connect::{PostgresSettings, Servers};
use super::{Fault, Pause};
use crate::db::DbError;

mod embedded {
    super::embed_migrations!("schema/postgres");
}

/// Held while the schema is looked at and changed, so that instances that start together take turns.
const LOCK: i64 = 0x7261_6469_616e_7401;

/// An index that a newer server has brought further is used as it is: what a version adds, the one
/// before can leave alone, so that instances are replaced one by one.
pub(super) async fn run(servers: &Servers, settings: &PostgresSettings) -> Result<(), DbError> {
    let mut pause = Pause::new(settings.patience);
    let (mut client, connection) = loop {
        match servers.config.connect(servers.tls.clone()).await {
            Ok(connected) => break connected,
            Err(error) => {
                let error = DbError::Connect(error.into());
                if !super::is_passing(&error) || !pause.wait().await {
                    return Err(error);
                }
            }
        }
    };
    let served = tokio::spawn(connection);
    let failed = |error: tokio_postgres::Error| DbError::Migrate(Fault::from(error).to_string());
    super::pooler::refuse_shared_sessions(servers, &client).await?;
    client.execute("select pg_advisory_lock($1)", &[&LOCK]).await.map_err(failed)?;
    if let Some(schema) = &settings.create_schema {
        client.batch_execute(&format!("create schema if not exists \"{schema}\"")).await.map_err(failed)?;
    }
    let outcome = embedded::migrations::runner().set_abort_missing(false).run_async(&mut client).await;
    // With the connection goes the lock.
    drop(client);
    let _ = served.await;
    outcome.map(drop).map_err(|error| DbError::Migrate(error.to_string()))
}
