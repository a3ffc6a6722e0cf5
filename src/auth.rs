//! Who may do what: roles and permissions, and who is calling.

mod access;
mod api_keys;
mod backoff;
mod caller;
mod denied;
mod first;
mod keys;
mod oidc;
mod passwords;
mod permission;
pub mod reach;
mod remembered;
mod secret;
mod sessions;
mod tokens;
mod trail;
pub mod upkeep;
mod users;

#[cfg(test)]
mod tests;

pub use access::{API_KEY, Access, AccessError};
pub use api_keys::{KeyError, NewKey};
pub use caller::{Caller, Means, Subject};
pub use denied::Denied;
pub use first::{FILE as FIRST_SECRET, FirstError};
pub use keys::Jwk;
pub use oidc::{Leaving, OidcError};
pub use passwords::PolicyError;
pub use permission::{Needs, Permission, Role, may};
pub use reach::Reach;
pub use secret::Secret;
pub use sessions::{Client, Granted};
pub use users::{NewUser, UserError};
