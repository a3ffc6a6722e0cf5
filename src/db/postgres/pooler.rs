//! Poolers between us and the server. One that gives a client a session of the server for as long as it is
//! connected is as good as the server; one that gives it for a transaction takes away prepared statements,
//! limits and what is told by other instances, and would do so at some later moment.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::connect::Servers;
use crate::db::DbError;

/// Others may be at the pooler, too, and get in between.
const ROUNDS: usize = 5;

const REFUSED: &str = "leads through a pooler that gives out sessions for a transaction at a time; \
     let it do so for a connection (PgBouncer: pool_mode = session), or name the server itself";

/// # Errors
/// [`DbError::Address`] where two connections were seen in one session of the server.
pub(super) async fn refuse_shared_sessions(servers: &Servers, one: &Client) -> Result<(), DbError> {
    let (other, connection) = servers.config.connect(servers.tls.clone()).await.map_err(failed)?;
    let served = tokio::spawn(connection);
    let mut is_shared = false;
    for _ in 0..ROUNDS {
        is_shared = is_shared || shares(one, &other).await.map_err(failed)?;
    }
    drop(other);
    let _ = served.await;
    let refused = || DbError::Address { key: "database.url", reason: REFUSED.to_owned() };
    if is_shared { Err(refused()) } else { Ok(()) }
}

/// Whether the session that was just free is what another gets, or there are none for longer than a statement.
async fn shares(one: &Client, other: &Client) -> Result<bool, tokio_postgres::Error> {
    let before = session(one).await?;
    // One that knows statements alone refuses this.
    if other.batch_execute("begin").await.is_err_and(|error| error.as_db_error().is_some()) {
        return Ok(true);
    }
    let taken = session(other).await;
    other.batch_execute("rollback").await?;
    Ok(taken? == before)
}

/// Nothing is prepared for this.
async fn session(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let messages = client.simple_query("select pg_backend_pid()").await?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

fn failed(error: tokio_postgres::Error) -> DbError {
    DbError::Connect(error.into())
}
