//! A scope as one ZIP file, `application/zip`: written while it is sent.
//!
//! A folder per series, and file names as PS3.10 8.2 has them, so that the files can go onto any
//! medium. Objects are not compressed again.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use http::Response;
use http::header::{CONTENT_DISPOSITION, HeaderValue};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use super::Content;
use super::instances::{self, Outgoing, Wanted, log_broken, set_content_type};
use crate::dicom::uid::SeriesUid;
use crate::http::State;
use crate::http::body::{self, BoxError};
use crate::http::service::Answer;
use crate::query::Scope;
use crate::query::retrieve::StoredInstance;

pub(super) const ZIP: &str = "application/zip";

/// Beyond this an entry needs the 64-bit form.
const SMALL_ENTRY_BYTES: u64 = u32::MAX as u64;

pub(super) async fn response(state: Arc<State>, scope: Scope, wanted: Wanted) -> Answer {
    let name = format!("attachment; filename=\"{}.zip\"", last_uid(&scope));
    let mut response = Response::new(body::streamed(archive(state, scope, wanted)));
    set_content_type(&mut response, ZIP);
    if let Ok(value) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

fn last_uid(scope: &Scope) -> &str {
    match scope {
        Scope::Study(study) => study.as_str(),
        Scope::Series(_, series) => series.as_str(),
        Scope::Instance(_, _, instance) => instance.as_str(),
    }
}

fn archive(state: Arc<State>, scope: Scope, wanted: Wanted) -> Content {
    let archiving = Archiving::new(state, scope, wanted);
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
    state: Arc<State>,
    wanted: Wanted,
    instances: BoxStream<'static, Result<StoredInstance, BoxError>>,
    names: Names,
    zip: ZipWriter<StreamWriter<Buffer>>,
    written: Buffer,
    /// The rest of the entry that is being written.
    entry: Option<Content>,
}

impl Archiving {
    fn new(state: Arc<State>, scope: Scope, wanted: Wanted) -> Self {
        let written = Buffer::default();
        Self {
            instances: instances::all(Arc::clone(&state), scope).boxed(),
            zip: ZipWriter::new_stream(written.clone()),
            names: Names::default(),
            entry: None,
            state,
            wanted,
            written,
        }
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
        match self.instances.try_next().await? {
            Some(instance) => {
                self.begin(instance).await?;
                Ok((self.written.take(), Some(self)))
            }
            None => {
                drop(self.zip.finish()?);
                Ok((self.written.take(), None))
            }
        }
    }

    async fn begin(&mut self, instance: StoredInstance) -> Result<(), BoxError> {
        let outgoing = Outgoing::open(&self.state, instance.clone(), &self.wanted).await;
        let outgoing = outgoing.inspect_err(|error| log_broken(&instance, error))?;
        let large = outgoing.length.is_none_or(|length| length >= SMALL_ENTRY_BYTES);
        let options =
            SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
        self.zip.start_file(self.names.next(&instance.series), options)?;
        self.entry = Some(outgoing.content);
        Ok(())
    }
}

/// Folders and files by number: at most eight characters each (PS3.10 8.2).
#[derive(Default)]
struct Names {
    series: HashMap<SeriesUid, (usize, usize)>,
}

impl Names {
    fn next(&mut self, series: &SeriesUid) -> String {
        let folder = self.series.len() + 1;
        let (folder, files) = self.series.entry(series.clone()).or_insert((folder, 0));
        *files += 1;
        format!("SE{folder:06}/IM{files:06}")
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
    use super::*;

    #[test]
    fn names_are_short_and_sorted_by_series_w36() {
        let (a, b): (SeriesUid, SeriesUid) = ("1.2".parse().unwrap(), "1.3".parse().unwrap());
        let mut names = Names::default();
        let given: Vec<String> = [&a, &b, &a].into_iter().map(|series| names.next(series)).collect();
        assert_eq!(given, ["SE000001/IM000001", "SE000002/IM000001", "SE000001/IM000002"]);
    }
}
