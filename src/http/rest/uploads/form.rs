//! The parts of one form, one after the other.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::OnceLock;

use bytes::Bytes;
use futures::stream::{Stream, StreamExt, TryStreamExt};
use percent_encoding::percent_decode_str;

use crate::blobs::Blobs;
use crate::http::body::BodyStopped;
use crate::http::error::HttpError;
use crate::http::limit_hit;
use crate::http::multipart::{Content, PartHead, Parts, PartsError};
use crate::http::negotiation::MediaType;
use crate::ingest::sniff::Kind;
use crate::uploads::receive::{Opened, open};
use crate::uploads::{Recorder, Uploads};

pub(super) struct Form<'a> {
    pub(super) uploads: &'a Uploads,
    pub(super) blobs: &'a Blobs,
    pub(super) id: &'a str,
    pub(super) recorder: Recorder<'a>,
}

impl Form<'_> {
    /// Every file that came whole has its end, whatever comes behind it.
    ///
    /// # Errors
    /// The body is no form at all, has no file, or came to nothing before its first one.
    pub(super) async fn receive(mut self, mut parts: Parts) -> Result<(), HttpError> {
        let ended = self.receive_parts(&mut parts).await;
        let files = self.recorder.files();
        let reason = ended.as_ref().err().map(ToString::to_string);
        let state = if reason.is_some() { "failed" } else { "done" };
        self.recorder.finish(state, reason.as_deref()).await?;
        match ended {
            Err(error) if files == 0 => Err(error),
            Err(HttpError::Internal { step, source }) => Err(HttpError::Internal { step, source }),
            _ => Ok(()),
        }
    }

    async fn receive_parts(&mut self, parts: &mut Parts) -> Result<(), HttpError> {
        let files_max = self.uploads.parts.settings.files_max;
        while let Some(head) = parts.next().await.map_err(broken)? {
            // A field of the form that is no file.
            let Some(name) = file_name(&head) else { continue };
            if self.recorder.files() >= files_max {
                limit_hit("uploads.files_max");
                return Err(HttpError::TooManyParts { parts_max: files_max });
            }
            self.receive_file(&name, parts.content()).await?;
        }
        match self.recorder.files() {
            0 => Err(HttpError::bad_request("no part of the form has a filename: there is no file in it")),
            _ => Ok(()),
        }
    }

    async fn receive_file(&mut self, name: &str, content: Content<'_>) -> Result<(), HttpError> {
        if name.len() > self.uploads.parts.settings.path_bytes_max {
            limit_hit("uploads.path_bytes_max");
            let reason = "the name is longer than names may be".to_owned();
            return Ok(self.recorder.refused(name, reason).await?);
        }
        let opened = open(name, content).await.map_err(|error| stopped(&error))?;
        match opened.kind {
            Kind::Dicom => {
                let broke_off = OnceLock::new();
                let chunks = opened.whole().inspect_err(|error| {
                    let _ = broke_off.set(stopped(error));
                });
                self.uploads.store_chunks(&mut self.recorder, self.id, name, chunks).await?;
                broke_off.into_inner().map_or(Ok(()), Err)?;
            }
            Kind::Zip => {
                let file = self.spooled(opened).await?;
                self.uploads.store_zip(&mut self.recorder, self.id, name, file).await?;
            }
            kind => self.recorder.other(name, kind).await?,
        }
        Ok(())
    }

    /// The directory of a zip stands at its end: it is written to staging first, and gone with this
    /// file.
    async fn spooled<S>(&self, opened: Opened<S>) -> Result<File, HttpError>
    where
        S: Stream<Item = io::Result<Bytes>> + Unpin + Send,
    {
        let spooling = HttpError::internal("spooling a zip");
        let blobs = self.blobs.clone();
        let staged = tokio::task::spawn_blocking(move || blobs.stage()).await;
        let staged = staged.map_err(io::Error::other).flatten().map_err(spooling)?;
        let mut chunks = opened.whole();
        let mut file = staged.file.try_clone().map_err(HttpError::internal("spooling a zip"))?;
        // The name goes, the file stays until it is closed.
        drop(staged);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| stopped(&error))?;
            let written = tokio::task::spawn_blocking(move || file.write_all(&chunk).map(|()| file)).await;
            file =
                written.map_err(io::Error::other).flatten().map_err(HttpError::internal("spooling a zip"))?;
        }
        file.seek(SeekFrom::Start(0)).map_err(HttpError::internal("spooling a zip"))?;
        Ok(file)
    }
}

fn broken(error: PartsError) -> HttpError {
    match BodyStopped::find(&error) {
        Some(stopped) => stopped.into(),
        None => HttpError::bad_request(error),
    }
}

fn stopped(error: &io::Error) -> HttpError {
    match BodyStopped::find(error) {
        Some(stopped) => stopped.into(),
        None => HttpError::bad_request("the body broke off within a file"),
    }
}

/// `filename` of the Content-Disposition of a part (RFC 7578 4.2), as browsers write it: quotes and
/// line ends percent-encoded (HTML 4.10.21.8). `filename*` is not of forms, and read all the same.
fn file_name(head: &PartHead) -> Option<String> {
    let disposition = MediaType::parse(&format!("x/{}", head.content_disposition.as_deref()?))?;
    let extended = disposition.parameter("filename*").and_then(|value| {
        let encoded = value.split_once("''").filter(|(charset, _)| charset.eq_ignore_ascii_case("utf-8"))?.1;
        Some(percent_decode_str(encoded).decode_utf8_lossy().into_owned())
    });
    let plain = disposition
        .parameter("filename")
        .map(|name| name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"));
    extended.or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(disposition: &str) -> Option<String> {
        file_name(&PartHead { content_disposition: Some(disposition.to_owned()), ..PartHead::default() })
    }

    #[test]
    fn names_are_read_as_browsers_write_them() {
        let of = |text: &str| name(text).unwrap();
        assert_eq!(of(r#"form-data; name="f"; filename="a/b c.dcm""#), "a/b c.dcm");
        assert_eq!(of(r#"form-data; name="f"; filename="say %22hi%22""#), "say \"hi\"");
        assert_eq!(of(r#"form-data; name="f"; filename="../../x""#), "../../x");
        assert_eq!(of("form-data; name=f; filename*=UTF-8''%C3%A4.dcm"), "ä.dcm");
    }

    #[test]
    fn a_field_without_a_file_has_no_name() {
        assert_eq!(name(r#"form-data; name="comment""#), None);
        assert_eq!(file_name(&PartHead::default()), None);
    }
}
