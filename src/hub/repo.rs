//! Names of repositories and revisions, which become parts of URLs and of paths.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoId(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a repository is OWNER/NAME, as in google/medgemma-1.5-4b-it")]
pub struct NotARepo;

const NAME_BYTES_MAX: usize = 96;

impl RepoId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the name of one folder.
    pub fn folder_name(&self) -> String {
        self.0.replace('/', "--")
    }
}

impl FromStr for RepoId {
    type Err = NotARepo;

    fn from_str(text: &str) -> Result<Self, NotARepo> {
        let (owner, name) = text.split_once('/').ok_or(NotARepo)?;
        if is_name(owner) && is_name(name) { Ok(Self(text.to_owned())) } else { Err(NotARepo) }
    }
}

/// The hub's own rule, so that no name leads out of a folder.
fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(fits)
        && !text.contains("..")
        && !text.contains("--")
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
}

impl TryFrom<String> for RepoId {
    type Error = NotARepo;

    fn try_from(text: String) -> Result<Self, NotARepo> {
        text.parse()
    }
}

impl From<RepoId> for String {
    fn from(repo: RepoId) -> Self {
        repo.0
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A branch, a tag or a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a revision is the name of a branch or a tag, or a commit")]
pub struct NotARevision;

impl Revision {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Revision {
    type Err = NotARevision;

    fn from_str(text: &str) -> Result<Self, NotARevision> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_./+".contains(&b);
        let is_good = (1..=200).contains(&text.len()) && text.bytes().all(fits) && !text.contains("..");
        if is_good { Ok(Self(text.to_owned())) } else { Err(NotARevision) }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_an_owner_and_a_name() {
        let repo: RepoId = "google/medgemma-1.5-4b-it".parse().unwrap();
        assert_eq!(repo.folder_name(), "google--medgemma-1.5-4b-it");
        for bad in ["medgemma", "../x", "a/b/c", "a/..", "a/.b", "a/b c", "a/", "/b", "a/b%2f"] {
            assert_eq!(bad.parse::<RepoId>(), Err(NotARepo), "{bad}");
        }
    }

    #[test]
    fn a_revision_leads_nowhere_else() {
        assert!("refs/pr/1".parse::<Revision>().is_ok() && "v1.0".parse::<Revision>().is_ok());
        assert!("../main".parse::<Revision>().is_err() && "a?b".parse::<Revision>().is_err());
    }
}
