//! What was fetched, kept in the folder: so that the files can be held against it for as long as they
//! are used.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::{HubError, RemoteFile, RepoId, Revision};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub repository: RepoId,
    pub endpoint: String,
    /// What was asked for …
    pub revision: Revision,
    /// … and what it stood for.
    pub commit: String,
    /// RFC 3339.
    pub fetched_at: String,
    pub files: Vec<FetchedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedFile {
    pub name: String,
    pub bytes: u64,
    #[serde(flatten)]
    pub digest: Digest,
}

impl From<&RemoteFile> for FetchedFile {
    fn from(file: &RemoteFile) -> Self {
        Self { name: file.name.clone(), bytes: file.bytes, digest: file.digest.clone() }
    }
}

impl Manifest {
    /// What is no longer as it was fetched, one sentence each. `known` are SHA-256 digests that
    /// somebody has taken of files of the folder already. Blocking.
    pub fn differences(
        &self,
        folder: &Path,
        known: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<String>, HubError> {
        let mut found = Vec::new();
        for file in &self.files {
            found.extend(file.difference(folder, known(&file.name))?);
        }
        Ok(found)
    }
}

impl FetchedFile {
    fn difference(&self, folder: &Path, known: Option<String>) -> Result<Option<String>, HubError> {
        let path = folder.join(&self.name);
        let failed = |source| HubError::Read { path: path.clone(), source };
        let bytes = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Some(format!("{} is gone", self.name)));
            }
            Err(error) => return Err(failed(error)),
        };
        if bytes != self.bytes {
            return Ok(Some(format!("{} has {bytes} bytes, {} were fetched", self.name, self.bytes)));
        }
        let is_same = match known.map(Digest::Sha256) {
            Some(known @ Digest::Sha256(_)) if matches!(self.digest, Digest::Sha256(_)) => {
                known == self.digest
            }
            _ => self.digest.is_of(&path, bytes).map_err(failed)?,
        };
        Ok((!is_same).then(|| format!("{} has another digest than what was fetched", self.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let digest = Digest::git_sha1("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        Manifest {
            repository: "a/b".parse().unwrap(),
            endpoint: "https://hub".to_owned(),
            revision: "main".parse().unwrap(),
            commit: "0".repeat(40),
            fetched_at: "2026-01-01T00:00:00.000Z".to_owned(),
            files: vec![FetchedFile { name: "hello".to_owned(), bytes: 6, digest }],
        }
    }

    #[test]
    fn a_changed_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let differences = || manifest().differences(dir.path(), |_| None).unwrap();
        assert_eq!(differences(), ["hello is gone"]);
        std::fs::write(dir.path().join("hello"), "hello\n").unwrap();
        assert!(differences().is_empty());
        std::fs::write(dir.path().join("hello"), "HELLO\n").unwrap();
        assert_eq!(differences(), ["hello has another digest than what was fetched"]);
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let json = serde_json::to_string(&manifest()).unwrap();
        assert!(json.contains(r#""git_sha1":"ce01"#), "{json}");
        assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest());
    }
}
