//! What a repository holds at one commit.

use std::path::{Component, Path};

use serde::Deserialize;

use super::digest::Digest;
use super::{HubError, RepoId, Revision};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub repo: RepoId,
    /// What was asked for.
    pub revision: Revision,
    /// What the revision stands for: what is fetched is of one commit, whatever moves meanwhile.
    pub commit: String,
    pub files: Vec<RemoteFile>,
    pub licence: Option<Licence>,
    /// Models that the card says this one was made of.
    pub made_of: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// A path below the folder of the model.
    pub name: String,
    pub bytes: u64,
    pub digest: Digest,
}

/// As the card of the model names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Licence {
    pub name: String,
    pub link: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(rename = "cardData", default)]
    card: Option<Card>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

#[derive(Default, Deserialize)]
struct Card {
    #[serde(default)]
    license: OneOrMany,
    license_name: Option<String>,
    license_link: Option<String>,
    #[serde(default)]
    base_model: OneOrMany,
}

/// People write cards by hand.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
    #[default]
    None,
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
            Self::None => Vec::new(),
        }
    }
}

impl Listing {
    pub(super) fn parse(repo: &RepoId, revision: &Revision, json: &[u8]) -> Result<Self, HubError> {
        let answer: Answer = serde_json::from_slice(json)
            .map_err(|source| HubError::ParseListing { repo: repo.clone(), source })?;
        let problem = |problem: String| HubError::Listing { repo: repo.clone(), problem };
        Digest::git_sha1(&answer.sha).ok_or_else(|| problem("it names no commit".to_owned()))?;
        let files = answer.siblings.into_iter().map(Sibling::file).collect::<Result<_, _>>();
        let card = answer.card.unwrap_or_default();
        Ok(Self {
            repo: repo.clone(),
            revision: revision.clone(),
            commit: answer.sha,
            files: files.map_err(problem)?,
            made_of: card.base_model.into_vec(),
            licence: licence(card.license, card.license_name, card.license_link),
        })
    }
}

fn licence(license: OneOrMany, name: Option<String>, link: Option<String>) -> Option<Licence> {
    let known = license.into_vec().join(", ");
    // "other" is what cards say before they give a name
    let name = name.or_else(|| (!known.is_empty()).then_some(known))?;
    Some(Licence { name: printable(&name), link: link.map(|link| printable(&link)) })
}

/// What strangers wrote, for a terminal: one line without escapes.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

impl Sibling {
    fn file(self) -> Result<RemoteFile, String> {
        let name = self.rfilename;
        if !is_inside(&name) {
            return Err(format!("it names a file {:?}, which is no path inside a folder", printable(&name)));
        }
        let found = match self.lfs {
            Some(lfs) => Digest::sha256(&lfs.sha256).map(|digest| (lfs.size, digest)),
            None => self.size.zip(self.blob_id.as_deref().and_then(Digest::git_sha1)),
        };
        match found {
            Some((bytes, digest)) => Ok(RemoteFile { name, bytes, digest }),
            None => Err(format!("it gives no size or no digest of {name}")),
        }
    }
}

fn is_inside(name: &str) -> bool {
    let plain = |part: Component| matches!(part, Component::Normal(_));
    (1..=512).contains(&name.len())
        && !name.contains('\\')
        && !name.contains("//")
        && !name.ends_with('/')
        && name.chars().all(|c| !c.is_control())
        && Path::new(name).components().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn parse(siblings: &str, card: &str) -> Result<Listing, HubError> {
        let json = format!(r#"{{"sha":"{COMMIT}","siblings":[{siblings}],"cardData":{card}}}"#);
        Listing::parse(&"a/b".parse().unwrap(), &"main".parse().unwrap(), json.as_bytes())
    }

    #[test]
    fn files_have_the_digest_of_their_kind() {
        let small = format!(r#"{{"rfilename":"config.json","size":12,"blobId":"{COMMIT}"}}"#);
        let sha256 = "ab".repeat(32);
        let large = format!(
            r#"{{"rfilename":"m.gguf","size":9,"blobId":"{COMMIT}","lfs":{{"sha256":"{sha256}","size":9,"pointerSize":130}}}}"#
        );
        let listing = parse(&format!("{small},{large}"), "null").unwrap();
        assert_eq!(listing.files[0].digest, Digest::GitSha1(COMMIT.to_owned()));
        assert_eq!(listing.files[1].digest, Digest::Sha256(sha256));
        assert_eq!((listing.commit.as_str(), listing.files[1].bytes), (COMMIT, 9));
    }

    #[test]
    fn a_name_that_leads_out_of_the_folder_is_refused() {
        for name in ["../a", "/etc/passwd", "a/../../b", "a//b", "", "a\\\\b", "a\\u0007"] {
            let sibling = format!(r#"{{"rfilename":"{name}","size":1,"blobId":"{COMMIT}"}}"#);
            assert!(matches!(parse(&sibling, "null"), Err(HubError::Listing { .. })), "{name}");
        }
    }

    #[test]
    fn a_licence_is_what_the_card_calls_it() {
        let licence = |card: &str| parse("", card).unwrap().licence.map(|licence| licence.name);
        assert_eq!(licence(r#"{"license":"mit"}"#).as_deref(), Some("mit"));
        assert_eq!(licence(r#"{"license":"other","license_name":"own"}"#).as_deref(), Some("own"));
        assert_eq!(licence("{}"), None);
    }

    #[test]
    fn a_file_without_a_digest_is_not_taken() {
        let error = parse(r#"{"rfilename":"config.json","size":12}"#, "null").unwrap_err();
        assert!(error.to_string().contains("no digest of config.json"), "{error}");
    }
}
