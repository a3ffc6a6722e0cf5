//! What a codestream says of itself: enough of the JPEG family's markers to refuse a stream that
//! does not fit the attributes before a decoder allocates for it.

use super::{ImageDescription, PixelError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) components: usize,
    /// Bits per sample, 1 to 16.
    pub(crate) precision: u16,
    pub(crate) signed: bool,
    /// JPEG-LS: the components share scans. Always true for the others.
    pub(crate) interleaved: bool,
    /// JPEG 2000: the decoder undoes a multiple component transformation.
    pub(crate) component_transform: bool,
    /// Decoding gives back what was encoded. JPEG 2000: unless the stream was cut short.
    pub(crate) reversible: bool,
    /// Lossless JPEG: the selection value of the predictor.
    pub(crate) predictor: u8,
    /// The second byte of the frame marker; for JPEG, the coding process.
    pub(crate) marker: u8,
    /// JPEG: the colour transform of Adobe's APP14 segment.
    pub(crate) adobe_transform: Option<u8>,
    /// JPEG: the identifiers of the first three components.
    pub(crate) component_ids: [u8; 3],
}

impl Header {
    /// Refuses a stream whose size differs from the attributes'.
    pub(crate) fn expect(&self, image: &ImageDescription) -> Result<(), PixelError> {
        let found = (self.columns, self.rows, self.components);
        let expected = (image.columns, image.rows, image.samples_per_pixel);
        if found == expected && (1..=16).contains(&self.precision) {
            return Ok(());
        }
        let show = |size: (usize, usize, usize)| format!("{}x{}x{}", size.0, size.1, size.2);
        match found == expected {
            true => Err(PixelError::unsupported("the codestream's precision", self.precision)),
            false => Err(PixelError::Mismatch { found: show(found), expected: show(expected) }),
        }
    }
}

/// JPEG and JPEG-LS: markers up to the first scan (ITU-T T.81 B.2, T.87 C.2). A stream has one
/// frame: of two, a decoder might take the other.
pub(crate) fn jpeg_header(bytes: &[u8]) -> Option<Header> {
    let mut header = None;
    let mut adobe_transform = None;
    for (marker, segment) in Segments::after(bytes, [0xFF, 0xD8])? {
        match marker {
            0xEE if segment.starts_with(b"Adobe") => adobe_transform = segment.get(11).copied(),
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF | 0xF7 if header.is_some() => return None,
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF | 0xF7 => {
                header = frame_header(marker, segment)
            }
            0xDA => {
                let header = header?;
                let components = *segment.first()?;
                // Behind the components: the predictor of JPEG, the error that JPEG-LS allows.
                let parameter = *segment.get(1 + 2 * usize::from(components))?;
                let reversible = header.marker == 0xC3 || (header.marker == 0xF7 && parameter == 0);
                let predictor = parameter;
                return Some(Header {
                    interleaved: components > 1,
                    adobe_transform,
                    reversible,
                    predictor,
                    ..header
                });
            }
            _ => {}
        }
    }
    None
}

fn frame_header(marker: u8, segment: &[u8]) -> Option<Header> {
    let &[precision, r1, r0, c1, c0, components, ref rest @ ..] = segment else {
        return None;
    };
    let id = |at: usize| rest.get(at * 3).copied().unwrap_or(0);
    Some(Header {
        columns: usize::from(u16::from_be_bytes([c1, c0])),
        rows: usize::from(u16::from_be_bytes([r1, r0])),
        components: usize::from(components),
        precision: u16::from(precision),
        signed: false,
        interleaved: true,
        component_transform: false,
        reversible: false,
        predictor: 0,
        marker,
        adobe_transform: None,
        component_ids: [id(0), id(1), id(2)],
    })
}

/// JPEG 2000: the SIZ and COD segments (ITU-T T.800 A.5.1, A.6.1), also inside a JP2 file.
pub(crate) fn jpeg_2000_header(bytes: &[u8]) -> Option<Header> {
    const START: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
    let start = bytes.windows(START.len()).position(|window| window == START)?;
    let mut header = None;
    for (marker, segment) in Segments::after(&bytes[start..], [0xFF, 0x4F])? {
        match marker {
            0x51 => header = size_segment(segment),
            0x52 => {
                let component_transform = segment.get(4)? == &1;
                let reversible = segment.get(9)? == &1;
                return Some(Header { component_transform, reversible, ..header? });
            }
            _ => {}
        }
    }
    None
}

/// Subsampled components would need interpolation that the decoder does not do: no header.
fn size_segment(segment: &[u8]) -> Option<Header> {
    let long = |at: usize| Some(u32::from_be_bytes(segment.get(at..at + 4)?.try_into().ok()?));
    let extent = |size: usize, offset: usize| Some(long(size)?.checked_sub(long(offset)?)? as usize);
    let components = segment.get(36..)?;
    let full_size = components.chunks_exact(3).all(|component| component[1..] == [1, 1]);
    let depth = *components.first()?;
    full_size.then_some(Header {
        columns: extent(2, 10)?,
        rows: extent(6, 14)?,
        components: components.len() / 3,
        precision: u16::from(depth & 0x7F) + 1,
        signed: depth & 0x80 != 0,
        interleaved: true,
        component_transform: false,
        reversible: false,
        predictor: 0,
        marker: 0x51,
        adobe_transform: None,
        component_ids: [0; 3],
    })
}

/// Marker segments: the marker's second byte and the content without its length.
struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Segments<'a> {
    fn after(bytes: &'a [u8], start: [u8; 2]) -> Option<Self> {
        bytes.strip_prefix(start.as_slice()).map(|rest| Self { rest })
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while let [0xFF, 0xFF, ..] = self.rest {
            self.rest = &self.rest[1..];
        }
        let &[0xFF, marker, l1, l0, ..] = self.rest else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([l1, l0]));
        let segment = self.rest.get(4..2 + length)?;
        self.rest = &self.rest[2 + length..];
        Some((marker, segment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_two_frames_has_no_header() {
        let frame = [0xFF, 0xC1, 0, 11, 12, 0, 8, 0, 8, 1, 1, 0x11, 0];
        let scan = [0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0];
        let one = [&[0xFF, 0xD8][..], &frame, &scan].concat();
        let two = [&[0xFF, 0xD8][..], &frame, &frame, &scan].concat();
        assert_eq!((jpeg_header(&one).map(|header| header.rows), jpeg_header(&two)), (Some(8), None));
    }
}
