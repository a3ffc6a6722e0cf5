//! Videos that are kept as they came: what their containers and sequence headers say.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use dicom_dictionary_std::uids;

use super::bulk::{BulkType, BulkValue};
use super::pixels::Description;
use crate::ingest::Refusal;

/// Boxes of one level; a movie has a handful.
const BOXES_MAX: usize = 10_000;
/// Boxes that are looked into, at each depth.
const LOOKED_INTO_MAX: usize = 64;
/// What is read of a box that is looked into.
const BOX_BYTES_MAX: u64 = 4096;
/// Where the first sequence header of MPEG-2 is sought.
const HEAD_BYTES_MAX: u64 = 1 << 20;

pub(super) struct Video {
    pub(super) description: Description,
    /// Where the container counts them.
    pub(super) frames: Option<u64>,
    pub(super) transfer_syntax: &'static str,
}

pub(super) fn read(value: &BulkValue) -> Result<Video, Refusal> {
    let mut video = match value.media_type {
        BulkType::Mp4 => mp4(value)?,
        _ => mpeg2(value)?,
    };
    if let Some(uid) = &value.transfer_syntax {
        let alternatives = alternatives(video.transfer_syntax);
        let known = alternatives.iter().find(|known| **known == uid.as_str());
        video.transfer_syntax =
            known.copied().ok_or_else(|| Refusal::TransferSyntaxNotAccepted(uid.to_string()))?;
    }
    Ok(video)
}

/// Syntaxes that the headers do not tell apart.
fn alternatives(found: &'static str) -> Vec<&'static str> {
    match found {
        uids::MPEG4HP41 => vec![found, uids::MPEG4HP41BD],
        uids::MPEG4HP422D => vec![found, uids::MPEG4HP423D, uids::MPEG4HP42STEREO],
        _ => vec![found],
    }
}

fn unreadable() -> Refusal {
    Refusal::PixelDataNotAccepted("the video has no header that its media type has")
}

/// A box of an ISO base media file, ISO/IEC 14496-12 4.2; JP2 files have the same.
pub(super) struct FoundBox {
    pub(super) kind: [u8; 4],
    /// Without its header.
    pub(super) content: Range<u64>,
}

/// The boxes that follow each other in a range.
pub(super) fn boxes(file: &mut File, range: Range<u64>) -> Result<Vec<FoundBox>, Refusal> {
    let mut found = Vec::new();
    let mut at = range.start;
    while at + 8 <= range.end && found.len() < BOXES_MAX {
        let head = bytes(file, at, 16.min(range.end - at))?;
        let (size, header) = match u32_at(&head, 0).ok_or_else(unreadable)? {
            0 => (range.end - at, 8),
            1 => (u64_at(&head, 8).ok_or_else(unreadable)?, 16),
            size => (u64::from(size), 8),
        };
        let end = at.checked_add(size).filter(|end| size >= header && *end <= range.end);
        let end = end.ok_or_else(unreadable)?;
        let kind = head[4..8].try_into().map_err(|_| unreadable())?;
        found.push(FoundBox { kind, content: at + header..end });
        at = end;
    }
    Ok(found)
}

fn bytes(file: &mut File, at: u64, length: u64) -> Result<Vec<u8>, Refusal> {
    file.seek(SeekFrom::Start(at)).map_err(Refusal::Storage)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(Refusal::Storage)?;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// All boxes at the end of a path of kinds.
fn descend(file: &mut File, from: Range<u64>, path: &[&[u8; 4]]) -> Result<Vec<Range<u64>>, Refusal> {
    let mut ranges = vec![from];
    for kind in path {
        let mut next = Vec::new();
        for range in ranges {
            let found = boxes(file, range)?.into_iter().filter(|found| &found.kind == *kind);
            next.extend(found.map(|found| found.content));
        }
        if next.len() > LOOKED_INTO_MAX {
            return Err(unreadable());
        }
        ranges = next;
    }
    Ok(ranges)
}

fn mp4(value: &BulkValue) -> Result<Video, Refusal> {
    let mut file = value.open()?;
    let tables = descend(&mut file, 0..value.length(), &[b"moov", b"trak", b"mdia", b"minf", b"stbl"])?;
    for table in tables {
        if let Some(video) = track(&mut file, table)? {
            return Ok(video);
        }
    }
    Err(unreadable())
}

/// A track's sample table, when it is one of video.
fn track(file: &mut File, table: Range<u64>) -> Result<Option<Video>, Refusal> {
    let Some(description) = descend(file, table.clone(), &[b"stsd"])?.pop() else { return Ok(None) };
    let entry = bytes(file, description.start, BOX_BYTES_MAX.min(description.end - description.start))?;
    // Behind version, flags and count, the entry begins with its size and kind.
    let Some(entry) = entry.get(8..) else { return Ok(None) };
    let codec: &[u8; 4] = match entry.get(4..8) {
        Some(b"avc1" | b"avc3") => b"avcC",
        Some(b"hvc1" | b"hev1") => b"hvcC",
        _ => return Ok(None),
    };
    let size = u16_at(entry, 32).zip(u16_at(entry, 34)).ok_or_else(unreadable)?;
    let at = entry.windows(4).position(|window| window == codec).ok_or_else(unreadable)?;
    let (transfer_syntax, bits, method) = profile(codec, &entry[at + 4..])?;
    let sizes = descend(file, table, &[b"stsz"])?.pop().ok_or_else(unreadable)?;
    let frames = u32_at(&bytes(file, sizes.start, 12)?, 8).ok_or_else(unreadable)?;
    let description = description_of(size.0, size.1, bits, method);
    Ok(Some(Video { description, frames: Some(frames.into()), transfer_syntax }))
}

type Profile = (&'static str, u64, &'static str);

/// Profile and level of the decoder configuration record (ISO/IEC 14496-15), PS3.5 8.2.7 to 8.2.9.
fn profile(codec: &[u8; 4], record: &[u8]) -> Result<Profile, Refusal> {
    let at = |index: usize| record.get(index).copied().ok_or_else(unreadable);
    let high_efficiency = codec == b"hvcC";
    let (profile, level) = match high_efficiency {
        true => (at(1)? & 0x1F, at(12)?),
        false => (at(1)?, at(3)?),
    };
    match (high_efficiency, profile, level) {
        (false, 66 | 77 | 100, ..=41) => Ok((uids::MPEG4HP41, 8, "ISO_14496_10")),
        (false, 66 | 77 | 100, 42) => Ok((uids::MPEG4HP422D, 8, "ISO_14496_10")),
        (true, 1, ..=153) => Ok((uids::HEVCMP51, 8, "ISO_23008_2")),
        (true, 2, ..=153) => Ok((uids::HEVCM10P51, 10, "ISO_23008_2")),
        _ => Err(Refusal::PixelDataNotAccepted("this profile and level of video has no transfer syntax")),
    }
}

/// The sequence header, ISO/IEC 13818-2 6.2.2.1.
fn mpeg2(value: &BulkValue) -> Result<Video, Refusal> {
    const SEQUENCE_HEADER: [u8; 4] = [0, 0, 1, 0xB3];
    let head = value.head(HEAD_BYTES_MAX)?;
    let at = head.windows(4).position(|window| window == SEQUENCE_HEADER).ok_or_else(unreadable)?;
    let size = u32_at(&head, at + 4).ok_or_else(unreadable)? >> 8;
    let (columns, rows) = ((size >> 12) as u16, (size & 0xFFF) as u16);
    let transfer_syntax = if columns > 720 || rows > 576 { uids::MPEG2MPHL } else { uids::MPEG2MPML };
    let description = description_of(columns, rows, 8, "ISO_13818_2");
    Ok(Video { description, frames: None, transfer_syntax })
}

fn description_of(columns: u16, rows: u16, bits: u64, method: &'static str) -> Description {
    Description {
        rows: rows.into(),
        columns: columns.into(),
        samples: 3,
        bits_allocated: if bits <= 8 { 8 } else { 16 },
        bits_stored: bits,
        signed: false,
        photometric: "YBR_PARTIAL_420",
        lossy: Some(method),
    }
}
