//! Owner groups: who sees which studies, and which studies come to which group.

use serde::Deserialize;

/// Who sees studies that belong to no group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UngroupedStudies {
    Everybody,
    Administrators,
}

/// Whether callers of associations say who uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserIdentity {
    Optional,
    Required,
}

/// A study whose first instance fulfils every condition that is given belongs to the groups.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRule {
    pub groups: Vec<String>,
    #[serde(default)]
    pub calling_aet: Vec<String>,
    /// Issuer of Patient ID (0010,0021).
    #[serde(default)]
    pub issuer: Vec<String>,
    /// Institution Name (0008,0080), a pattern with `*` and `?`.
    #[serde(default)]
    pub institution: Option<String>,
}

/// What is wrong with them.
pub(super) fn check(rules: &[GroupRule]) -> Result<(), String> {
    let is_name = |name: &String| !name.trim().is_empty() && name.len() <= GROUP_NAME_BYTES_MAX;
    match rules.iter().all(|rule| !rule.groups.is_empty() && rule.groups.iter().all(is_name)) {
        true => Ok(()),
        false => {
            Err(format!("auth.group_rules: each names groups, by names of 1 to {GROUP_NAME_BYTES_MAX} bytes"))
        }
    }
}

pub const GROUP_NAME_BYTES_MAX: usize = 64;
