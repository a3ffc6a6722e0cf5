//! Ranges of one stored file. What the system holds in memory is copied at once; only what has to
//! come from the disk is left to a blocking thread.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream};

use super::buffers::{Buffer, Buffers};

/// An open file that never changes.
#[derive(Clone)]
pub(super) struct Reader {
    file: Arc<File>,
    buffers: Buffers,
}

impl Reader {
    /// Opening reads no content.
    pub(super) fn open(path: &Path, buffers: Buffers) -> io::Result<Self> {
        Ok(Self { file: Arc::new(File::open(path)?), buffers })
    }

    /// The range of all of it, which the system is asked to have ready: nothing is lost when it
    /// does not.
    pub(super) fn everything(&self) -> io::Result<Range<u64>> {
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&*self.file, 0, None, rustix::fs::Advice::WillNeed);
        Ok(0..self.file.metadata()?.len())
    }

    /// The whole range in memory.
    ///
    /// # Errors
    /// The range ends behind the file.
    pub(super) async fn bytes(self, range: Range<u64>) -> io::Result<Bytes> {
        let wanted = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
        let mut at = range.start;
        let first = self.chunk(at..range.end).await?;
        if first.len() == wanted {
            return Ok(first);
        }
        let mut all = BytesMut::with_capacity(wanted);
        all.extend_from_slice(&first);
        while all.len() < wanted {
            at = range.start + all.len() as u64;
            all.extend_from_slice(&self.chunk(at..range.end).await?);
        }
        Ok(all.freeze())
    }

    /// The range in chunks, each read when it is asked for.
    pub(super) fn chunks(self, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::unfold((self, range), |(reader, range)| async move {
            if range.is_empty() {
                return None;
            }
            let chunk = reader.chunk(range.clone()).await;
            let next = match &chunk {
                Ok(bytes) => range.start + bytes.len() as u64..range.end,
                Err(_) => range.end..range.end,
            };
            Some((chunk, (reader, next)))
        })
    }

    /// The beginning of a range, at least one byte of it.
    async fn chunk(&self, range: Range<u64>) -> io::Result<Bytes> {
        let mut buffer = self.buffers.take();
        let wanted = range.end - range.start;
        let at_hand = read_at_hand(&self.file, buffer.room(wanted), range.start);
        buffer.fill(at_hand);
        if at_hand > 0 {
            return Ok(buffer.freeze());
        }
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || fill_from_disk(&file, buffer, &range));
        read.await.map_err(io::Error::other)?.map(Buffer::freeze)
    }
}

fn fill_from_disk(file: &File, mut buffer: Buffer, range: &Range<u64>) -> io::Result<Buffer> {
    loop {
        let at = range.start + buffer.len();
        let room = buffer.room(range.end - at);
        if room.is_empty() {
            return Ok(buffer);
        }
        match file.read_at(room, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => buffer.fill(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What can be had without waiting; nothing where the system cannot tell.
#[cfg(target_os = "linux")]
fn read_at_hand(file: &File, room: &mut [u8], at: u64) -> usize {
    use rustix::io::ReadWriteFlags;
    let mut slices = [io::IoSliceMut::new(room)];
    rustix::io::preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT).unwrap_or(0)
}

#[cfg(not(target_os = "linux"))]
fn read_at_hand(_: &File, _: &mut [u8], _: u64) -> usize {
    0
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::super::buffers::BUFFER_BYTES;
    use super::*;

    fn reader(content: &[u8]) -> (tempfile::TempDir, Reader) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, content).unwrap();
        let reader = Reader::open(&path, Buffers::default()).unwrap();
        (dir, reader)
    }

    fn content() -> Vec<u8> {
        (0..BUFFER_BYTES * 2 + 5).map(|n| (n % 251) as u8).collect()
    }

    #[tokio::test]
    async fn a_range_is_given_whole_and_in_chunks() {
        let (content, range) = (content(), 3..BUFFER_BYTES + 9);
        let (_dir, reader) = reader(&content);
        let wide = range.start as u64..range.end as u64;
        assert_eq!(reader.clone().bytes(wide.clone()).await.unwrap(), content[range.clone()]);
        let chunks: Vec<Bytes> = reader.chunks(wide).try_collect().await.unwrap();
        assert_eq!(chunks.concat(), content[range]);
    }

    #[tokio::test]
    async fn a_range_behind_the_end_is_an_error() {
        let (_dir, reader) = reader(b"short");
        assert!(reader.clone().bytes(3..9).await.is_err());
        let chunks: Result<Vec<Bytes>, _> = reader.chunks(3..9).try_collect().await;
        assert_eq!(chunks.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_disk_gives_what_memory_gives() {
        let content = content();
        let (_dir, reader) = reader(&content);
        let buffer = fill_from_disk(&reader.file, reader.buffers.take(), &(1..7)).unwrap();
        assert_eq!(buffer.as_ref(), &content[1..7]);
    }
}
