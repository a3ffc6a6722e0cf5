//! A deflated data set, read as if it were not (PS3.5 A.5).

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use flate2::bufread::DeflateDecoder;

use crate::dicom::header::HeaderError;

/// Inflates while it is read, and forward only: what a value inflates to is never held whole.
pub(super) struct Inflated<R> {
    inflating: BufReader<DeflateDecoder<R>>,
    /// Bytes that have been inflated and taken.
    taken: u64,
    /// Where the reader wants to stand.
    position: u64,
    length: u64,
}

impl<R: BufRead + Seek> Inflated<R> {
    /// Measures the data set first, so that one beyond the limit is refused before it is parsed.
    pub(super) fn open(mut source: R, limit: u64) -> Result<Self, HeaderError> {
        let begin = source.stream_position()?;
        let length = io::copy(&mut DeflateDecoder::new(&mut source).take(limit + 1), &mut io::sink())?;
        if length > limit {
            return Err(HeaderError::Limit { what: "the inflated data set", limit });
        }
        source.seek(SeekFrom::Start(begin))?;
        let inflating = BufReader::new(DeflateDecoder::new(source));
        Ok(Self { inflating, taken: 0, position: 0, length })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

impl<R: BufRead> BufRead for Inflated<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position < self.taken {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "inflated bytes are read forward only"));
        }
        let passed = (&mut self.inflating).take(self.position - self.taken);
        self.taken += io::copy(&mut { passed }, &mut io::sink())?;
        self.inflating.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inflating.consume(amount);
        self.taken += amount as u64;
        self.position = self.taken;
    }
}

impl<R: BufRead> Read for Inflated<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> Seek for Inflated<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    fn deflated(plain: &[u8]) -> Cursor<Vec<u8>> {
        let mut deflate = flate2::write::DeflateEncoder::new(vec![7; 3], flate2::Compression::default());
        deflate.write_all(plain).unwrap();
        let mut file = Cursor::new(deflate.finish().unwrap());
        file.set_position(3);
        file
    }

    #[test]
    fn what_is_passed_over_is_not_read() {
        let plain: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut inflated = Inflated::open(deflated(&plain), plain.len() as u64).unwrap();
        assert_eq!(inflated.seek(SeekFrom::End(0)).unwrap(), 400_000);
        inflated.seek(SeekFrom::Start(4)).unwrap();
        let mut four = [0; 4];
        inflated.read_exact(&mut four).unwrap();
        assert_eq!(u32::from_le_bytes(four), 1);
        inflated.seek_relative(399_988).unwrap();
        inflated.read_exact(&mut four).unwrap();
        assert_eq!(u32::from_le_bytes(four), 99_999);
        assert_eq!(inflated.read(&mut four).unwrap(), 0);
    }

    #[test]
    fn a_data_set_beyond_the_limit_is_refused_before_it_is_read() {
        assert!(Inflated::open(deflated(&[0; 1000]), 1000).is_ok());
        let refused = Inflated::open(deflated(&[0; 1000]), 999).err().unwrap();
        assert!(matches!(refused, HeaderError::Limit { limit: 999, .. }));
    }

    #[test]
    fn a_stream_that_is_cut_is_an_error() {
        let mut cut = deflated(&[1; 5000]).into_inner();
        cut.truncate(cut.len() - 4);
        let mut file = Cursor::new(cut);
        file.set_position(3);
        assert!(Inflated::open(file, 10_000).is_err());
    }
}
