//! Why nobody came in.

use std::time::Duration;

use super::secret::NoRandomness;
use crate::db::DbError;

/// Most variants say less than is known: whether a name exists is nobody's business.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Unknown, disabled, or not with this secret.
    #[error("the name or the secret is wrong")]
    Wrong,
    /// Not made by this server, or for something else.
    #[error("the token is not valid")]
    Token,
    #[error("the token has expired")]
    Expired,
    #[error("the session has ended")]
    SessionEnded,
    /// After too many failures, whoever asks and whatever he shows.
    #[error("too many attempts failed; the next may follow in {} s", .0.as_secs().max(1))]
    Backoff(Duration),
    #[error("too many passwords are being verified")]
    Busy,
    /// A secret that somebody else has set opens nothing but its change.
    #[error("the password must be changed first")]
    MustChange,
    /// A key of a device has no password to confirm with.
    #[error("only a person can confirm")]
    NotAPerson,
    #[error("the index cannot say")]
    Index(#[from] DbError),
    #[error("a key could not be made")]
    Randomness(#[from] NoRandomness),
    #[error("{0}")]
    Broken(&'static str),
}
