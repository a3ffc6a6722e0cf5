//! Uploads that wait for their rest, or to be stored. Where instances share an index their bytes lie among the
//! objects, in pieces; alone, in a file of the data folder.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use super::{Migrate, MigrateError};
use crate::blobs::Blobs;
use crate::db::uploads::{self, Part};

impl Migrate {
    /// Where the archive is to be one server's, the pieces of each upload become its file. How many files.
    pub(super) async fn put_pieces_together(&self) -> Result<u64, MigrateError> {
        if self.to.db.is_shared() {
            return Ok(0);
        }
        let (mut after, mut files) = (String::new(), 0);
        while let Some(upload) = uploads::next_in_pieces(&self.to.db, &after).await? {
            let parts = uploads::parts(&self.to.db, &upload).await?;
            let (blobs, target) = (self.to.blobs.clone(), self.to.blobs.spool().folder().join(&upload));
            let written = tokio::task::spawn_blocking(move || {
                write(&blobs, &parts, &target).map_err(|error| MigrateError::File(target, error))
            });
            written.await??;
            (after, files) = (upload, files + 1);
        }
        Ok(files)
    }
}

/// Blocking, on a thread of the runtime.
fn write(blobs: &Blobs, parts: &[Part], target: &PathBuf) -> io::Result<()> {
    let folder = target.parent().unwrap_or(target);
    fs::create_dir_all(folder)?;
    let next = folder.join(format!("{}.next", crate::ids::row_id()));
    let mut file = File::create(&next)?;
    // What was there before there were pieces.
    let before = parts.first().map_or(0, |part| part.bytes.start);
    if before > 0 && io::copy(&mut File::open(target)?.take(before), &mut file)? != before {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    for part in parts {
        let length = part.bytes.end - part.bytes.start;
        let piece = blobs.open_on_disk(&part.key).map_err(io::Error::other)?;
        if io::copy(&mut piece.take(length), &mut file)? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    file.sync_all()?;
    fs::rename(&next, target)?;
    File::open(folder)?.sync_all()
}
