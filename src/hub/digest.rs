//! The two digests by which a hub tells files apart.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::ids::hex;

/// Lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Digest {
    /// Of a file in large file storage.
    Sha256(String),
    /// Of a file in the git repository itself: its object id, which has the length in front. Git
    /// leaves nothing stronger.
    GitSha1(String),
}

impl Digest {
    pub(super) fn sha256(text: &str) -> Option<Self> {
        is_hex(text, 64).then(|| Self::Sha256(text.to_owned()))
    }

    pub(super) fn git_sha1(text: &str) -> Option<Self> {
        is_hex(text, 40).then(|| Self::GitSha1(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Sha256(text) | Self::GitSha1(text) => text,
        }
    }

    /// Reads the file once, in blocks. Blocking.
    pub(super) fn is_of(&self, path: &Path, bytes: u64) -> io::Result<bool> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() != bytes {
            return Ok(false);
        }
        let mut hasher = Hasher::new(self, bytes);
        hasher.read(&mut file)?;
        Ok(hasher.finish() == *self)
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A digest while its file comes in.
#[derive(Clone)]
pub(super) enum Hasher {
    Sha256(Box<sha2::Sha256>),
    GitSha1(Box<Context>),
}

impl Hasher {
    /// Of the kind of `like`; git wants to know the length beforehand.
    pub(super) fn new(like: &Digest, bytes: u64) -> Self {
        match like {
            Digest::Sha256(_) => Self::Sha256(Box::default()),
            Digest::GitSha1(_) => {
                let mut context = Box::new(Context::new(&SHA1_FOR_LEGACY_USE_ONLY));
                context.update(format!("blob {bytes}\0").as_bytes());
                Self::GitSha1(context)
            }
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitSha1(context) => context.update(bytes),
        }
    }

    /// Everything that is left of a reader; how much that was.
    pub(super) fn read(&mut self, reader: &mut impl Read) -> io::Result<u64> {
        let (mut total, mut block) = (0, vec![0; 1 << 20]);
        loop {
            match reader.read(&mut block)? {
                0 => return Ok(total),
                read => {
                    self.update(&block[..read]);
                    total += read as u64;
                }
            }
        }
    }

    pub(super) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::Sha256(hex(hasher.finalize().as_slice())),
            Self::GitSha1(context) => Digest::GitSha1(hex(context.finish().as_ref())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(like: &Digest, content: &[u8]) -> Digest {
        let mut hasher = Hasher::new(like, content.len() as u64);
        hasher.update(content);
        hasher.finish()
    }

    #[test]
    fn a_small_file_has_the_object_id_that_git_gives_it() {
        // `printf 'hello\n' | git hash-object --stdin`
        let known = Digest::git_sha1("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        assert_eq!(digest(&known, b"hello\n"), known);
    }

    #[test]
    fn a_large_file_has_its_sha256() {
        let known = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let known = Digest::sha256(known).unwrap();
        assert_eq!(digest(&known, b"hello\n"), known);
        assert!(Digest::sha256("5891").is_none() && Digest::git_sha1(&"G".repeat(40)).is_none());
    }
}
