//! Which studies a caller can see: those of the groups that he is a member of.

use std::collections::BTreeSet;

use super::{Permission, Role, Subject};
use crate::config::UngroupedStudies;
use crate::db::groups::{self, MemberKind};
use crate::db::{Db, DbError};

/// Which studies a caller can see. What it means in SQL says `db::groups::condition`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    Everything,
    /// Every study, and of each what was signed.
    Released,
    /// Those of these groups, and those of no group where the configuration says so.
    Groups {
        ids: Vec<i64>,
        ungrouped: bool,
        /// Within a study, what nobody has signed too.
        drafts: bool,
    },
}

impl Reach {
    /// No study at all.
    pub fn nothing() -> Self {
        Self::Groups { ids: Vec::new(), ungrouped: false, drafts: false }
    }

    pub fn is_everything(&self) -> bool {
        *self == Self::Everything
    }

    /// Whether no group bounds it.
    pub fn has_every_study(&self) -> bool {
        matches!(self, Self::Everything | Self::Released)
    }

    /// Whether drafts are seen beside what was signed.
    pub fn has_drafts(&self) -> bool {
        matches!(self, Self::Everything | Self::Groups { drafts: true, .. })
    }
}

impl Role {
    /// Whose reach no group bounds.
    pub fn reaches_everything(self) -> bool {
        self == Self::Administrator
    }
}

/// The reach of somebody by his roles and groups.
pub async fn of(
    db: &Db,
    subject: &Subject,
    roles: &BTreeSet<Role>,
    only: Option<&BTreeSet<Permission>>,
    ungrouped: UngroupedStudies,
) -> Result<Reach, DbError> {
    let drafts = roles.iter().any(|role| role.may(Permission::ReadDrafts))
        && only.is_none_or(|only| only.contains(&Permission::ReadDrafts));
    if roles.iter().any(|role| role.reaches_everything()) {
        return Ok(if drafts { Reach::Everything } else { Reach::Released });
    }
    let ids = match subject {
        Subject::Anonymous => return Ok(Reach::nothing()),
        Subject::User { id, .. } => groups::of_member(db, MemberKind::User, id).await?,
        Subject::ApiKey { id, .. } => groups::of_member(db, MemberKind::ApiKey, id).await?,
    };
    Ok(Reach::Groups { ids, ungrouped: ungrouped == UngroupedStudies::Everybody, drafts })
}
