//! What the index holds of a parsed object beside its columns: metadata and layout.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{Parsed, Prepared, text};
use crate::dicom::header::{self, Header, PixelData};
use crate::dicom::json;
use crate::dicom::packed;
use crate::dicom::uid::TransferSyntaxUid;
use crate::ingest::layout::{self, FrameShape, Layout, PixelDataLayout};
use crate::ingest::{InstanceIdentity, Refusal};

/// Float Pixel Data and Double Float Pixel Data.
const FLOAT_PIXELS: [&str; 2] = ["7FE00008", "7FE00009"];

pub(super) fn describe(parsed: Parsed, identity: InstanceIdentity) -> Result<Prepared, Refusal> {
    let Parsed { spooled, header, deflated, dataset_length } = parsed;
    let Header { elements, bulk, pixel_data, padding_bytes } = header;
    let mut bulk_paths: Vec<&str> = bulk.iter().map(|bulk| bulk.path.as_str()).collect();
    if pixel_data.is_some() {
        bulk_paths.push("7FE00010");
    }
    let mut json = json::object(&elements, &bulk_paths);
    json.insert(
        header::hex(tags::AVAILABLE_TRANSFER_SYNTAX_UID),
        stored_syntax(&spooled.meta.transfer_syntax),
    );
    // In ascending order, PS3.18 F.2.2.
    json.sort_keys();
    let unwritable = |error: serde_json::Error| Refusal::Unparsable(error.to_string());
    let metadata = serde_json::to_vec(&json).map_err(unwritable)?;
    let bulk: Vec<layout::Bulk> = bulk.into_iter().map(layout::Bulk::from).collect();
    let mut layout = Layout {
        dataset_offset: spooled.meta.dataset_offset,
        deflated,
        dataset_length: Some(dataset_length),
        pixel_data: pixel_data_layout(pixel_data, &bulk, frame_shape(&elements)),
        bulk,
    };
    Ok(Prepared {
        frame_chunks: layout.take_frame_chunks(),
        layout: layout.encode().map_err(unwritable)?,
        metadata: packed::pack(&metadata).map_err(Refusal::Storage)?,
        staged: spooled.staged,
        identity,
        transfer_syntax: spooled.meta.transfer_syntax,
        size_bytes: spooled.size_bytes,
        sha256: spooled.sha256,
        dataset_sha256: spooled.dataset_sha256,
        made_from: None,
        rebuilt_meta: spooled.rebuilt_meta,
        padded: padding_bytes > 0,
        json,
        elements,
    })
}

/// What the metadata tells about the stored object beside its attributes (PS3.18 10.4.1.1.2).
fn stored_syntax(transfer_syntax: &TransferSyntaxUid) -> serde_json::Value {
    serde_json::json!({ "vr": "UI", "Value": [transfer_syntax.as_str()] })
}

fn pixel_data_layout(
    pixel_data: Option<PixelData>,
    bulk: &[layout::Bulk],
    shape: FrameShape,
) -> Option<PixelDataLayout> {
    let is_float = |bulk: &&layout::Bulk| FLOAT_PIXELS.contains(&bulk.path.as_str());
    match pixel_data {
        Some(data) => Some(PixelDataLayout::new(data, shape)),
        None => bulk.iter().find(is_float).map(|bulk| PixelDataLayout::float(bulk, shape)),
    }
}

fn frame_shape(elements: &InMemDicomObject) -> FrameShape {
    let number = |tag| text(elements, tag).parse::<u64>().ok();
    // Two pixels share their colour differences (PS3.3 C.7.6.3.1.2).
    let subsampled = text(elements, tags::PHOTOMETRIC_INTERPRETATION).ends_with("_422");
    FrameShape {
        rows: number(tags::ROWS).unwrap_or(0),
        columns: number(tags::COLUMNS).unwrap_or(0),
        samples: if subsampled { 2 } else { number(tags::SAMPLES_PER_PIXEL).unwrap_or(1) },
        bits_allocated: number(tags::BITS_ALLOCATED).unwrap_or(0),
        frames: number(tags::NUMBER_OF_FRAMES).unwrap_or(1).max(1),
    }
}

impl From<header::Bulk> for layout::Bulk {
    fn from(bulk: header::Bulk) -> Self {
        let header::Bulk { path, vr, offset, length } = bulk;
        Self { path, vr: vr.to_string().to_owned(), offset, length }
    }
}
