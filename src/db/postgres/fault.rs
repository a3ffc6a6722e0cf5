//! What PostgreSQL says when something goes wrong, without the values that it likes to repeat.

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::db::{DbError, EngineError};

/// The message and the code of a fault. Its detail is left out: it may quote what is in a row.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Fault {
    message: String,
    code: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nobody answered, or the connection ended.
    Connection,
    /// Two transactions were in each other's way; either may try again.
    Collision,
    Unique,
    Full,
    Other,
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(told) => Self {
                message: told.message().to_owned(),
                code: told.code().code().to_owned(),
                kind: kind(told.code()),
            },
            None if error.is_closed() || is_io(&error) => Self::connection(chain(&error)),
            None => Self { message: chain(&error), code: "client".to_owned(), kind: Kind::Other },
        }
    }
}

impl Fault {
    fn connection(message: String) -> Self {
        Self { message, code: "connection".to_owned(), kind: Kind::Connection }
    }
}

fn kind(code: &SqlState) -> Kind {
    if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code) {
        return Kind::Collision;
    }
    match code.code() {
        "23505" => Kind::Unique,
        "53100" => Kind::Full,
        // a server that stops, starts, changes its part or has no room for one more connection
        code if code.starts_with("57P") || code.starts_with("08") => Kind::Connection,
        // what was the primary takes no more writes
        "25006" | "53300" => Kind::Connection,
        _ => Kind::Other,
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        // What is wrong with a certificate stays so.
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() != std::io::ErrorKind::InvalidData;
        }
        source = error.source();
    }
    false
}

/// The sources behind the first words, which alone say little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl From<PoolError> for DbError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Connect(error.into()),
            PoolError::Closed => Self::Closed,
            error => Self::Connect(Fault::connection(error.to_string())),
        }
    }
}

pub(super) fn execution_error(statement: &'static str, source: tokio_postgres::Error) -> DbError {
    let fault = Fault::from(source);
    match fault.kind {
        Kind::Unique => DbError::Unique { statement },
        Kind::Full => DbError::Full,
        _ => DbError::Execute { statement, source: EngineError::Postgres(fault) },
    }
}

/// What a commit left behind is not known when the connection ended in it.
pub(super) fn commit_error(source: tokio_postgres::Error) -> DbError {
    let fault = Fault::from(source);
    match fault.kind {
        Kind::Full => DbError::Full,
        Kind::Collision => DbError::Execute { statement: "commit", source: EngineError::Postgres(fault) },
        _ => DbError::Commit(fault.to_string()),
    }
}

/// Whether the same may succeed a little later, on this server or on the one that takes its place.
pub(super) fn is_passing(error: &DbError) -> bool {
    let kind = match error {
        DbError::Connect(fault) => fault.kind,
        DbError::Execute { source: EngineError::Postgres(fault), .. } => fault.kind,
        _ => return false,
    };
    matches!(kind, Kind::Connection | Kind::Collision)
}
