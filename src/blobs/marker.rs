//! Whose objects these are: a small object beside them names the archive, so that no other one takes
//! them for objects that nobody refers to.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path as FilePath;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::away::Operation;
use super::bucket::Bucket;
use super::folder::Folder;
use super::{BlobError, BlobKey, Blobs, Place};

/// Beside the objects.
const MARKER: &str = "archive";
const BYTES_MAX: u64 = 200;

impl Blobs {
    /// The archive whose objects lie here; none where nobody has said so.
    pub async fn owner(&self) -> Result<Option<String>, BlobError> {
        let found = match &self.place {
            Place::Folder(folder) => folder.owner(),
            Place::Bucket(bucket) => bucket.owner().await,
        };
        found.map_err(BlobError::Marker)
    }

    /// Says whose objects these are, where nobody has. Whose they are then.
    pub async fn claim(&self, archive: &str) -> Result<String, BlobError> {
        if let Some(owner) = self.owner().await? {
            return Ok(owner);
        }
        let said = match &self.place {
            Place::Folder(folder) => folder.claim(archive),
            Place::Bucket(bucket) => bucket.claim(archive).await,
        };
        said.map_err(BlobError::Marker)?;
        match self.owner().await? {
            Some(owner) => Ok(owner),
            None => self.hand_over(archive).await.map(|()| archive.to_owned()),
        }
    }

    /// They are those of another archive from now on.
    pub async fn hand_over(&self, archive: &str) -> Result<(), BlobError> {
        let said = match &self.place {
            Place::Folder(folder) => folder.hand_over(archive),
            Place::Bucket(bucket) => bucket.hand_over(archive).await,
        };
        said.map_err(BlobError::Marker)
    }

    /// Whether there is an object, however young.
    pub async fn is_empty(&self) -> Result<bool, BlobError> {
        let first = match &self.place {
            Place::Folder(folder) => folder.listed_before(crate::clock::Timestamp(i64::MAX)).next().await,
            Place::Bucket(bucket) => bucket.listed().next().await,
        };
        first.transpose().map(|first| first.is_none())
    }

    /// How long an object is; none where there is none.
    pub async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        let size = match &self.place {
            Place::Folder(folder) => fs::metadata(folder.path(key)).map(|file| file.len()),
            Place::Bucket(bucket) => bucket.size_of(&super::bucket::path_of(key)).await,
        };
        match size {
            Ok(size) => Ok(Some(size)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(BlobError::Read { key: key.clone(), source }),
        }
    }
}

/// What was cut off names nobody.
fn named(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

impl Folder {
    fn owner(&self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        match File::open(self.beside(MARKER)) {
            Ok(file) => file.take(BYTES_MAX).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(named(&bytes))
    }

    fn claim(&self, archive: &str) -> io::Result<()> {
        let next = self.written(archive)?;
        match fs::hard_link(&next, self.beside(MARKER)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::remove_file(&next)?,
        }
        self.sync()
    }

    fn hand_over(&self, archive: &str) -> io::Result<()> {
        fs::rename(self.written(archive)?, self.beside(MARKER))?;
        self.sync()
    }

    fn written(&self, archive: &str) -> io::Result<std::path::PathBuf> {
        let next = self.beside("archive.next");
        let mut file = File::create(&next)?;
        writeln!(file, "{archive}")?;
        file.sync_all()?;
        Ok(next)
    }

    fn beside(&self, name: &str) -> std::path::PathBuf {
        self.root().join(name)
    }

    fn sync(&self) -> io::Result<()> {
        File::open::<&FilePath>(self.root())?.sync_all()
    }
}

impl Bucket {
    async fn owner(&self) -> io::Result<Option<String>> {
        let path = Path::from(MARKER);
        match self.size_of(&path).await {
            Ok(0) => Ok(None),
            Ok(size) => Ok(named(&self.fetch(&path, 0..size.min(BYTES_MAX)).await?.bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Of two that come at once one is told that it is there. Where the bucket cannot do that the last
    /// one is named, which the other sees when it looks.
    async fn claim(&self, archive: &str) -> io::Result<()> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let path = Path::from(MARKER);
        let put = self.store.put_opts(&path, format!("{archive}\n").into(), options);
        let request = async {
            match put.await {
                Ok(_) | Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Said::ByOne),
                Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => Ok(Said::Not),
                Err(error) if error.to_string().contains("NotImplemented") => Ok(Said::Not),
                Err(error) => Err(error),
            }
        };
        match self.asked(Operation::Write, request).await? {
            Said::ByOne => Ok(()),
            Said::Not => self.hand_over(archive).await,
        }
    }

    async fn hand_over(&self, archive: &str) -> io::Result<()> {
        let path = Path::from(MARKER);
        let put = self.store.put(&path, format!("{archive}\n").into());
        self.asked(Operation::Write, put).await.map(drop)
    }
}

/// What came of a write that is only to be done where nothing lies.
enum Said {
    ByOne,
    /// The bucket knows no such writes.
    Not,
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[track_caller]
    fn check(blobs: &Blobs) {
        let (owner, claim) = (|| wait(blobs.owner()), |archive| wait(blobs.claim(archive)));
        assert_eq!(owner(), None);
        assert_eq!((claim("a"), claim("b"), owner()), ("a".to_owned(), "a".to_owned(), Some("a".to_owned())));
        wait(blobs.hand_over("b"));
        assert_eq!((claim("a"), wait(blobs.is_empty())), ("b".to_owned(), true));
    }

    fn wait<T>(work: impl Future<Output = Result<T, BlobError>>) -> T {
        futures::executor::block_on(work).unwrap()
    }

    #[test]
    fn a_folder_and_a_bucket_belong_to_who_said_so_first() {
        let dir = tempfile::tempdir().unwrap();
        check(&Blobs::open_local(dir.path()).unwrap());
        check(&testing::bucket(dir.path()).0);
    }

    #[test]
    fn an_empty_marker_names_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_local(dir.path()).unwrap();
        fs::write(dir.path().join(MARKER), "").unwrap();
        assert_eq!(wait(blobs.owner()), None);
        assert_eq!(wait(blobs.claim("a")), "a");
    }
}
