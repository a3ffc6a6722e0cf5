//! Entries of a zip, inflated on a thread of their own and streamed into the way in.
//!
//! Entry names are shown, never used as paths. What an entry may inflate to is bounded by the
//! limit on objects, what all may inflate to by the refusal of overlapping entries: deflate
//! alone makes no more than about a thousand bytes of one.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;
use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::sniff;
use super::store::{Chunk, Importer, skip_entry, unreadable};
use super::summary::{Report, Verdict};

const ENTRIES_MAX: usize = 1_000_000;
const CHUNK_BYTES: usize = 256 * 1024;
/// Between the inflating thread and the way in.
const CHUNKS_WAITING: usize = 4;

/// What the inflating thread tells about one entry.
enum Entry {
    Object { name: String, chunks: mpsc::Receiver<Chunk> },
    Told(Report),
}

/// What became of each entry.
pub(super) async fn import(importer: &Importer<'_>, path: &Path, bar: &ProgressBar) -> Vec<Report> {
    let (sender, mut entries) = mpsc::channel(1);
    let (zip, bytes_max) = (path.to_owned(), importer.entry_bytes_max);
    let inflating = tokio::task::spawn_blocking(move || inflate(&zip, bytes_max, &sender));
    let mut reports = Vec::new();
    while let Some(entry) = entries.recv().await {
        reports.push(match entry {
            Entry::Told(report) => report,
            Entry::Object { name, chunks } => Report::new(name, importer.store(reader(chunks)).await),
        });
        bar.set_message(format!("{} entries", reports.len()));
    }
    let ended = inflating.await.unwrap_or_else(|panic| Err(Verdict::Refused(panic.to_string())));
    reports.extend(ended.err().map(|verdict| Report::new(path.display(), verdict)));
    reports
}

fn reader(mut chunks: mpsc::Receiver<Chunk>) -> impl tokio::io::AsyncRead + Unpin + Send {
    StreamReader::new(futures::stream::poll_fn(move |context| chunks.poll_recv(context)))
}

fn inflate(path: &Path, bytes_max: u64, entries: &mpsc::Sender<Entry>) -> Result<(), Verdict> {
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(&error))?;
    if zip.len() > ENTRIES_MAX {
        return Err(Verdict::Refused(format!("a zip with more than {ENTRIES_MAX} entries")));
    }
    if zip.has_overlapping_files().map_err(|error| damaged(&error))? {
        return Err(Verdict::Refused("a zip whose entries overlap".to_owned()));
    }
    for index in 0..zip.len() {
        if !send(path, &mut zip, index, bytes_max, entries) {
            break;
        }
    }
    Ok(())
}

/// Whether anybody still listens.
fn send(
    path: &Path,
    zip: &mut ZipArchive<BufReader<File>>,
    index: usize,
    bytes_max: u64,
    entries: &mpsc::Sender<Entry>,
) -> bool {
    let named = |name: &str| format!("{}: {name}", path.display());
    match zip.by_index(index) {
        Ok(entry) if entry.is_dir() => true,
        Ok(entry) => {
            let name = named(&entry.name().unwrap_or_default());
            send_entry(entry, name, bytes_max, entries)
        }
        Err(error) => tell(entries, named(&format!("entry {index}")), damaged(&error)),
    }
}

fn tell(entries: &mpsc::Sender<Entry>, name: String, verdict: Verdict) -> bool {
    entries.blocking_send(Entry::Told(Report::new(name, verdict))).is_ok()
}

fn send_entry(
    mut entry: ZipFile<'_, BufReader<File>>,
    name: String,
    bytes_max: u64,
    entries: &mpsc::Sender<Entry>,
) -> bool {
    if entry.size() > bytes_max {
        return tell(entries, name, Verdict::Refused(format!("the object is larger than {bytes_max} bytes")));
    }
    let head = match sniff::head(&mut entry) {
        Ok(head) => head,
        Err(error) => return tell(entries, name, unreadable(&error)),
    };
    let file_name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    if let Some(verdict) = skip_entry(sniff::kind(file_name, &head)) {
        return tell(entries, name, verdict);
    }
    let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING);
    let heard = entries.blocking_send(Entry::Object { name, chunks: receiver }).is_ok();
    if heard {
        pump(head, &mut entry, &chunks);
    }
    heard
}

/// Sends the entry chunk by chunk. A damaged entry shows at its end, when the checksum is
/// compared: that error is sent on, so that the object is not kept.
fn pump(head: Vec<u8>, entry: &mut impl Read, chunks: &mpsc::Sender<Chunk>) {
    let mut next: Chunk = Ok(head.into());
    while chunks.blocking_send(next).is_ok() {
        next = chunk(entry);
        if next.as_ref().is_ok_and(Bytes::is_empty) {
            return;
        }
    }
}

fn chunk(entry: &mut impl Read) -> Chunk {
    let mut buffer = Vec::with_capacity(CHUNK_BYTES);
    entry.take(CHUNK_BYTES as u64).read_to_end(&mut buffer)?;
    Ok(Bytes::from(buffer))
}

fn damaged(error: &ZipError) -> Verdict {
    Verdict::Refused(format!("a zip that cannot be read: {error}"))
}
