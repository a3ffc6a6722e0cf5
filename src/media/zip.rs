//! Files one after the other as one ZIP, made while it is taken: nothing is held whole.
//!
//! Nothing is compressed: objects are large and most of them are already.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use ::zip::write::{SimpleFileOptions, StreamWriter};
use ::zip::{CompressionMethod, ZipWriter};
use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Content = BoxStream<'static, Result<Bytes, BoxError>>;

/// Beyond this an entry needs the 64-bit form.
const SMALL_ENTRY_BYTES: u64 = u32::MAX as u64;

/// One file.
pub struct Entry {
    /// With its folders.
    pub name: String,
    /// Unknown while it is still made.
    pub length: Option<u64>,
    pub content: Content,
}

/// An error of an entry breaks the archive off: it never ends as if it were whole.
pub fn archive<S>(entries: S) -> Content
where
    S: Stream<Item = Result<Entry, BoxError>> + Send + 'static,
{
    let archiving = Archiving::new(entries.boxed());
    let chunks = stream::try_unfold(Some(archiving), |state| async {
        match state {
            Some(archiving) => archiving.step().await.map(Some),
            None => Ok(None),
        }
    });
    chunks.try_filter(|chunk| std::future::ready(!chunk.is_empty())).boxed()
}

/// Where an archive stands.
struct Archiving {
    entries: BoxStream<'static, Result<Entry, BoxError>>,
    zip: ZipWriter<StreamWriter<Buffer>>,
    written: Buffer,
    /// The rest of the entry that is being written.
    entry: Option<Content>,
}

impl Archiving {
    fn new(entries: BoxStream<'static, Result<Entry, BoxError>>) -> Self {
        let written = Buffer::default();
        Self { entries, zip: ZipWriter::new_stream(written.clone()), written, entry: None }
    }

    /// One chunk of an entry, the beginning of the next, or the directory at the end.
    async fn step(mut self) -> Result<(Bytes, Option<Self>), BoxError> {
        if let Some(entry) = &mut self.entry {
            match entry.try_next().await? {
                Some(chunk) => self.zip.write_all(&chunk)?,
                None => self.entry = None,
            }
            return Ok((self.written.take(), Some(self)));
        }
        match self.entries.try_next().await? {
            Some(entry) => {
                self.begin(entry)?;
                Ok((self.written.take(), Some(self)))
            }
            None => {
                drop(self.zip.finish()?);
                Ok((self.written.take(), None))
            }
        }
    }

    fn begin(&mut self, entry: Entry) -> Result<(), BoxError> {
        let large = entry.length.is_none_or(|length| length >= SMALL_ENTRY_BYTES);
        let options =
            SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
        self.zip.start_file(entry.name, options)?;
        self.entry = Some(entry.content);
        Ok(())
    }
}

/// What the ZIP writer has written and nobody has taken yet: less than a chunk.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn take(&self) -> Bytes {
        // Whoever panicked while holding the bytes left them whole.
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn entry(name: &str, chunks: &[&'static [u8]]) -> Result<Entry, BoxError> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        Ok(Entry { name: name.to_owned(), length: None, content: stream::iter(chunks).boxed() })
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_by_its_name() {
        let entries = stream::iter([entry("A/B", &[b"one", b" two"]), entry("DICOMDIR", &[])]);
        let bytes: Vec<Bytes> = archive(entries).try_collect().await.unwrap();
        let mut read = ::zip::ZipArchive::new(io::Cursor::new(bytes.concat())).unwrap();
        let mut text = String::new();
        read.by_name("A/B").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), read.len()), ("one two", 2));
    }

    /// APPNOTE 4.4.1.4: more than the two bytes of the number can say.
    #[tokio::test]
    async fn more_entries_than_the_short_form_can_count_are_all_there() {
        const COUNT: usize = 70_000;
        let entries = stream::iter((0..COUNT).map(|number| entry(&format!("D/{number:06}"), &[b"x"])));
        let bytes: Vec<Bytes> = archive(entries).try_collect().await.unwrap();
        let bytes = bytes.concat();
        assert!(memchr::memmem::rfind(&bytes, b"PK\x06\x06").is_some(), "no ZIP64 end of central directory");
        let mut read = ::zip::ZipArchive::new(io::Cursor::new(bytes)).unwrap();
        let last = read.by_name("D/069999").unwrap().size();
        assert_eq!((read.len(), last), (COUNT, 1));
    }

    #[tokio::test]
    async fn an_entry_that_fails_breaks_the_archive_off() {
        let broken = Err("gone".into());
        let archived = archive(stream::iter([entry("A", &[b"one"]), broken]));
        assert!(archived.try_collect::<Vec<Bytes>>().await.is_err());
    }
}
