//! A volume as NIfTI-1, compressed while it is sent.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use futures::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response};
use ndarray::Axis;
use tokio::sync::mpsc;

use super::{Wanted, finished};
use crate::http::body::{self, BoxError};
use crate::http::error::HttpError;
use crate::http::rest::routes::Call;
use crate::http::service::Answer;
use crate::query::volumes::{Described, Loaded};
use crate::volume::nifti::{Affine, Voxels, header};
use crate::volume::series::Issue;

/// Chunks between the thread that compresses and the network.
const CHUNKS_WAITING: usize = 4;
const CHUNK_BYTES: usize = 256 << 10;

/// A series as NIfTI-1
///
/// In the units of the modality (Hounsfield units of CT), 16-bit where the values are whole numbers that fit, else
/// 32-bit floats; qform and sform lead to millimetres in RAS+.
#[utoipa::path(
    get, path = "/studies/{study}/series/{series}/volume.nii.gz", operation_id = "getVolumeNifti", tag = "volumes",
    params(
        ("study" = crate::dicom::uid::StudyUid, Path),
        ("series" = crate::dicom::uid::SeriesUid, Path),
    ),
    responses(
        (status = 200, description = "The volume", content_type = "application/gzip", body = String),
        (status = 304, description = "Known"),
        (status = 409, description = "The series is no evenly spaced volume, or larger than volumes may be"),
        (status = 503, description = "As many volumes are being read as may be"),
    )
)]
pub(super) async fn write(call: Call) -> Answer {
    let wanted = Wanted::of(&call.state, &call.path).await?;
    let etag = wanted.etag("nifti")?;
    if let Some(known) = etag.not_modified(&call.asked.headers) {
        return Ok(known);
    }
    let loaded = call.state.live.volumes.load(&wanted.scope, &wanted.key()).await?;
    if let Some(reason) = refused(&loaded.described) {
        return Err(HttpError::Conflict(reason));
    }
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = compressed(&loaded, &sender) {
            // Nobody may be there any more.
            let _ = sender.blocking_send(Err(error.into()));
        }
    });
    let chunks = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let mut response = Response::new(body::streamed(chunks));
    name(response.headers_mut(), wanted.series.as_str())?;
    finished(&call.state, response, &etag)
}

fn name(headers: &mut HeaderMap, series: &str) -> Result<(), HttpError> {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{series}.nii.gz\""));
    headers.insert(CONTENT_DISPOSITION, disposition.map_err(HttpError::internal("naming a file"))?);
    Ok(())
}

/// An affine says that slices are equally far apart: where they are not, it would lie.
pub(super) fn refused(described: &Described) -> Option<String> {
    described.description.issues.iter().find_map(|issue| match issue {
        Issue::Gap { after, missing, .. } => {
            Some(format!("{missing} slices are missing after slice {}: NIfTI has one spacing", after + 1))
        }
        Issue::IrregularSpacing { least_mm, greatest_mm } => {
            Some(format!("slices are {least_mm:.3} to {greatest_mm:.3} mm apart: NIfTI has one spacing"))
        }
        _ => None,
    })
}

type Chunk = Result<Bytes, BoxError>;

/// The same bytes for the same volume. Blocking.
fn compressed(loaded: &Arc<Loaded>, sender: &mpsc::Sender<Chunk>) -> io::Result<()> {
    let volume = &loaded.volume;
    let voxels = Voxels::of(volume);
    let affine = Affine::of(volume, loaded.described.step_mm);
    let sending = Sending { sender, buffer: Vec::with_capacity(CHUNK_BYTES) };
    let mut gzip = GzBuilder::new().mtime(0).write(sending, Compression::fast());
    gzip.write_all(&header(volume, &affine, voxels).map_err(io::Error::other)?)?;
    for slice in volume.values.axis_iter(Axis(0)) {
        gzip.write_all(&voxels.write(slice))?;
    }
    gzip.finish()?.flush()
}

struct Sending<'a> {
    sender: &'a mpsc::Sender<Chunk>,
    buffer: Vec<u8>,
}

impl Write for Sending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        if chunk.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
