//! Who is calling, whichever way he proved it.

use std::collections::BTreeSet;

use super::{Needs, Permission, Reach, Role};
use crate::clock::Timestamp;

/// One caller, for the length of a request or an association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub subject: Subject,
    pub roles: BTreeSet<Role>,
    /// An API key may be allowed less than its role.
    pub only: Option<BTreeSet<Permission>>,
    pub reach: Reach,
    pub means: Means,
    /// When a secret was last shown: what may be signed for depends on it.
    pub authenticated_at: Option<Timestamp>,
    /// The session of a token, for its end.
    pub session: Option<String>,
}

/// Whom an audit row names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Nobody said who he is.
    Anonymous,
    User {
        id: String,
        /// What he logs in with.
        name: String,
        /// For people and documents.
        display_name: String,
    },
    ApiKey {
        id: String,
        name: String,
    },
}

impl Subject {
    /// Names the owner of what is somebody's own, the same in every session.
    pub fn key(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::User { id, .. } => format!("user:{id}"),
            Self::ApiKey { id, .. } => format!("key:{id}"),
        }
    }
}

/// How a caller proved who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Not needed: access control is off.
    AccessControlOff,
    /// Not at all.
    Nothing,
    AccessToken,
    Basic,
    ApiKey,
    /// User identity of an association.
    UserIdentity,
}

impl Means {
    /// As the audit trail has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessControlOff => "access-control-off",
            Self::Nothing => "none",
            Self::AccessToken => "access-token",
            Self::Basic => "basic",
            Self::ApiKey => "api-key",
            Self::UserIdentity => "user-identity",
        }
    }
}

impl Caller {
    /// Somebody without access control: `auth.mode = "off"`.
    pub fn unrestricted() -> Self {
        Self {
            subject: Subject::Anonymous,
            roles: Role::ALL.into(),
            only: None,
            reach: Reach::Everything,
            means: Means::AccessControlOff,
            authenticated_at: None,
            session: None,
        }
    }

    /// Somebody who did not say who he is.
    pub fn anonymous() -> Self {
        Self {
            roles: BTreeSet::new(),
            reach: Reach::nothing(),
            means: Means::Nothing,
            ..Self::unrestricted()
        }
    }

    pub fn may(&self, permission: Permission) -> bool {
        self.roles.iter().any(|role| role.may(permission))
            && self.only.as_ref().is_none_or(|only| only.contains(&permission))
    }

    pub fn has(&self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Identity => self.means != Means::Nothing,
            Needs::Permission(permission) => self.may(permission),
        }
    }
}
