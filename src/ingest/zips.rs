//! Entries of a zip, inflated on a thread of their own and streamed to whoever stores them.
//!
//! Names of entries are labels, never paths. What an entry may inflate to is bounded, what all may,
//! how many there are, and how often more comes out than goes in.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;
use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::sniff::{self, Kind};
use crate::telemetry::limits;

const CHUNK_BYTES: usize = 256 * 1024;
/// Between the inflating thread and whoever stores.
const CHUNKS_WAITING: usize = 4;
/// Small zips may inflate to this, however little they are.
const RATIO_FREE_BYTES: u64 = 64 << 20;

/// How much of a zip is taken.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub entries_max: usize,
    pub entry_bytes_max: u64,
    /// Of all entries together.
    pub bytes_max: u64,
    /// Bytes that come out for each that goes in.
    pub ratio_max: u64,
}

/// Why a zip, or the rest of it, is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ZipRefused {
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    #[error("a zip that cannot be read: {0}")]
    Damaged(#[source] ZipError),
    #[error("a zip with more than {0} entries")]
    TooManyEntries(usize),
    #[error("a zip whose entries overlap")]
    Overlapping,
    #[error("a zip that inflates to more than {0} bytes")]
    TooLarge(u64),
    #[error("a zip that inflates to more than {0} times its size")]
    Bomb(u64),
    #[error("the reading of a zip stopped unexpectedly")]
    Stopped,
}

/// One entry, in the order of the directory.
pub enum Entry {
    Object {
        name: String,
        content: Content,
    },
    /// No object, by its first bytes.
    Other {
        name: String,
        kind: Kind,
    },
    Refused {
        name: String,
        reason: String,
    },
}

/// The bytes of an entry. A damaged one shows at its end, when the checksum is compared.
pub struct Content(mpsc::Receiver<Chunk>);

type Chunk = io::Result<Bytes>;

impl Content {
    pub fn into_reader(self) -> impl AsyncRead + Unpin + Send {
        let Self(mut chunks) = self;
        StreamReader::new(futures::stream::poll_fn(move |context| chunks.poll_recv(context)))
    }
}

/// A zip that is being read; it ends early when the entries are let go of.
pub struct Entries {
    entries: mpsc::Receiver<Entry>,
    inflating: tokio::task::JoinHandle<Result<(), ZipRefused>>,
}

impl Entries {
    pub fn of(file: File, limits: Limits) -> Self {
        let (sender, entries) = mpsc::channel(1);
        let inflating = tokio::task::spawn_blocking(move || inflate(file, limits, &sender));
        Self { entries, inflating }
    }

    pub async fn next(&mut self) -> Option<Entry> {
        self.entries.recv().await
    }

    /// Whether the zip came to its end; asked behind its last entry.
    pub async fn ended(self) -> Result<(), ZipRefused> {
        drop(self.entries);
        self.inflating.await.unwrap_or(Err(ZipRefused::Stopped))
    }
}

fn inflate(file: File, limits: Limits, entries: &mpsc::Sender<Entry>) -> Result<(), ZipRefused> {
    let size = file.metadata().map_err(ZipRefused::Read)?.len();
    let mut reader = BufReader::new(file);
    // Before the directory is read: it may be larger than the memory.
    if claimed_entries(&mut reader, size).map_err(ZipRefused::Read)? > limits.entries_max as u64 {
        limits::hit("uploads.files_max");
        return Err(ZipRefused::TooManyEntries(limits.entries_max));
    }
    let mut zip = ZipArchive::new(reader).map_err(ZipRefused::Damaged)?;
    if zip.len() > limits.entries_max {
        limits::hit("uploads.files_max");
        return Err(ZipRefused::TooManyEntries(limits.entries_max));
    }
    if zip.has_overlapping_files().map_err(ZipRefused::Damaged)? {
        return Err(ZipRefused::Overlapping);
    }
    let mut sending = Sending { entries, limits, allowance: Allowance::of(size, limits) };
    for index in 0..zip.len() {
        if !sending.send(&mut zip, index)? {
            break;
        }
    }
    Ok(())
}

/// What the end of central directory says (APPNOTE 4.3.14, 4.3.16), or none where there is no zip.
fn claimed_entries(reader: &mut (impl Read + Seek), size: u64) -> io::Result<u64> {
    const END_BYTES: u64 = 22;
    const COMMENT_BYTES_MAX: u64 = 0xFFFF;
    const LOCATOR_BYTES: usize = 20;
    let from = size.saturating_sub(END_BYTES + COMMENT_BYTES_MAX + LOCATOR_BYTES as u64);
    reader.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    reader.take(size - from).read_to_end(&mut tail)?;
    let end = memchr::memmem::rfind(&tail, b"PK\x05\x06");
    let claimed = match end.map(|at| (at, tail.get(at + 10..at + 12))) {
        Some((_, Some(&[low, high]))) if [low, high] != [0xFF; 2] => u16::from_le_bytes([low, high]).into(),
        Some((at, Some(_))) if at >= LOCATOR_BYTES => {
            let locator = &tail[at - LOCATOR_BYTES..at];
            match (locator.starts_with(b"PK\x06\x07"), locator.get(8..16).map(<[u8; 8]>::try_from)) {
                (true, Some(Ok(offset))) => claimed_64(reader, u64::from_le_bytes(offset), size)?,
                _ => COMMENT_BYTES_MAX,
            }
        }
        _ => 0,
    };
    reader.seek(SeekFrom::Start(0))?;
    Ok(claimed)
}

/// APPNOTE 4.3.14: total number of entries, behind the offset of the record.
fn claimed_64(reader: &mut (impl Read + Seek), offset: u64, size: u64) -> io::Result<u64> {
    if offset.saturating_add(40) > size {
        return Ok(u64::MAX);
    }
    reader.seek(SeekFrom::Start(offset + 32))?;
    let mut count = [0; 8];
    reader.read_exact(&mut count)?;
    Ok(u64::from_le_bytes(count))
}

/// What may still come out.
struct Allowance {
    left: u64,
    by_ratio: bool,
}

impl Allowance {
    fn of(size: u64, limits: Limits) -> Self {
        let by_ratio = size.saturating_mul(limits.ratio_max).max(RATIO_FREE_BYTES);
        Self { left: by_ratio.min(limits.bytes_max), by_ratio: by_ratio < limits.bytes_max }
    }
}

struct Sending<'a> {
    entries: &'a mpsc::Sender<Entry>,
    limits: Limits,
    allowance: Allowance,
}

impl Sending<'_> {
    /// Whether anybody still listens.
    fn send(&mut self, zip: &mut ZipArchive<BufReader<File>>, index: usize) -> Result<bool, ZipRefused> {
        match zip.by_index(index) {
            Ok(entry) if entry.is_dir() => Ok(true),
            Ok(entry) => self.send_entry(entry),
            Err(error) => {
                let reason = ZipRefused::Damaged(error).to_string();
                Ok(self.tell(Entry::Refused { name: format!("entry {index}"), reason }))
            }
        }
    }

    fn tell(&self, entry: Entry) -> bool {
        self.entries.blocking_send(entry).is_ok()
    }

    fn send_entry(&mut self, mut entry: ZipFile<'_, BufReader<File>>) -> Result<bool, ZipRefused> {
        let name = entry.name().unwrap_or_default().into_owned();
        let bytes_max = self.limits.entry_bytes_max;
        if entry.size() > bytes_max {
            let reason = format!("the object is larger than {bytes_max} bytes");
            return Ok(self.tell(Entry::Refused { name, reason }));
        }
        let head = match sniff::head(&mut entry) {
            Ok(head) => head,
            Err(error) => {
                let reason = ZipRefused::Read(error).to_string();
                return Ok(self.tell(Entry::Refused { name, reason }));
            }
        };
        match sniff::kind(name.rsplit(['/', '\\']).next().unwrap_or_default(), &head) {
            Kind::Dicom => {}
            kind => return Ok(self.tell(Entry::Other { name, kind })),
        }
        let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING);
        let heard = self.tell(Entry::Object { name, content: Content(receiver) });
        if heard {
            self.pump(head, &mut entry, &chunks)?;
        }
        Ok(heard)
    }

    /// Sends the entry chunk by chunk.
    fn pump(
        &mut self,
        head: Vec<u8>,
        entry: &mut impl Read,
        chunks: &mpsc::Sender<Chunk>,
    ) -> Result<(), ZipRefused> {
        let mut next: Chunk = Ok(head.into());
        loop {
            if let Err(refused) = self.spend(next.as_ref().map_or(0, Bytes::len)) {
                // The object ends here, and is not kept.
                let _ = chunks.blocking_send(Err(io::Error::other(refused.to_string())));
                return Err(refused);
            }
            if chunks.blocking_send(next).is_err() {
                return Ok(());
            }
            next = chunk(entry);
            if next.as_ref().is_ok_and(Bytes::is_empty) {
                return Ok(());
            }
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), ZipRefused> {
        match self.allowance.left.checked_sub(bytes as u64) {
            Some(left) => {
                self.allowance.left = left;
                Ok(())
            }
            None if self.allowance.by_ratio => {
                limits::hit("uploads.zip_ratio_max");
                Err(ZipRefused::Bomb(self.limits.ratio_max))
            }
            None => {
                limits::hit("uploads.bytes_max");
                Err(ZipRefused::TooLarge(self.limits.bytes_max))
            }
        }
    }
}

fn chunk(entry: &mut impl Read) -> Chunk {
    let mut buffer = Vec::with_capacity(CHUNK_BYTES);
    entry.take(CHUNK_BYTES as u64).read_to_end(&mut buffer)?;
    Ok(Bytes::from(buffer))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use tokio::io::AsyncReadExt;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const LIMITS: Limits =
        Limits { entries_max: 4, entry_bytes_max: 1 << 30, bytes_max: 1 << 30, ratio_max: 10 };

    fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in entries {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn dicom(bytes: usize) -> Vec<u8> {
        [&[0; 128][..], b"DICM", &vec![0; bytes]].concat()
    }

    async fn read(bytes: &[u8], limits: Limits) -> (Vec<String>, Result<(), ZipRefused>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut entries = Entries::of(file, limits);
        let mut told = Vec::new();
        while let Some(entry) = entries.next().await {
            told.push(match entry {
                Entry::Object { name, content } => {
                    let read = content.into_reader().read_to_end(&mut Vec::new()).await;
                    format!("{name} {}", read.map_or("broken".to_owned(), |bytes| bytes.to_string()))
                }
                Entry::Other { name, kind } => format!("{name} {kind:?}"),
                Entry::Refused { name, .. } => format!("{name} refused"),
            });
        }
        let ended = entries.ended().await;
        (told, ended)
    }

    #[tokio::test]
    async fn entries_come_with_their_names_as_they_are() {
        let (told, ended) =
            read(&zip(&[("../a", &dicom(8)), ("b.txt", b"x"), ("c.zip", b"PK\x03\x04")]), LIMITS).await;
        assert_eq!(told, ["../a 140", "b.txt Other", "c.zip Zip"]);
        assert!(ended.is_ok());
    }

    #[tokio::test]
    async fn more_entries_than_the_short_form_can_count_come_and_are_counted() {
        let names: Vec<String> = (0..70_000).map(|number| format!("{number}")).collect();
        let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
        let bytes = zip(&entries);
        let (told, ended) = read(&bytes, Limits { entries_max: 70_000, ..LIMITS }).await;
        assert!((told.len(), ended.is_ok()) == (70_000, true), "{} {}", told.len(), told[0]);
        let (told, ended) = read(&bytes, Limits { entries_max: 69_999, ..LIMITS }).await;
        assert!(told.is_empty() && matches!(ended, Err(ZipRefused::TooManyEntries(69_999))));
    }

    #[tokio::test]
    async fn too_many_entries_are_refused_by_what_the_end_claims() {
        let entries = ["a", "b", "c", "d", "e"].map(|name| (name, &b"x"[..]));
        let bytes = zip(&entries);
        assert_eq!(claimed_entries(&mut Cursor::new(&bytes), bytes.len() as u64).unwrap(), 5);
        let (told, ended) = read(&bytes, LIMITS).await;
        assert!(told.is_empty() && matches!(ended, Err(ZipRefused::TooManyEntries(4))));
    }

    #[tokio::test]
    async fn what_inflates_to_far_more_than_it_is_ends_in_the_middle() {
        let bomb = zip(&[("a", &dicom(80 << 20)), ("b", &dicom(1))]);
        let (told, ended) = read(&bomb, LIMITS).await;
        assert_eq!(told, ["a broken"]);
        assert!(matches!(ended, Err(ZipRefused::Bomb(10))), "{ended:?}");
        let (_, ended) = read(&bomb, Limits { bytes_max: 1 << 20, ..LIMITS }).await;
        assert!(matches!(ended, Err(ZipRefused::TooLarge(0x10_0000))), "{ended:?}");
    }

    #[tokio::test]
    async fn no_zip_at_all_is_refused() {
        let (_, ended) = read(b"PK\x03\x04 and no end", LIMITS).await;
        assert!(matches!(ended, Err(ZipRefused::Damaged(_))));
    }
}
