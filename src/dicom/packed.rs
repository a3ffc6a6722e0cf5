//! Attributes and tables as the index holds them: each packed for itself, small, and many of them.
//!
//! A coder is larger than what it codes and is made once for a thread.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

const LEVEL: i32 = 3;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

pub fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let mut compressor = kept.take().map_or_else(|| Compressor::new(LEVEL), Ok)?;
        let packed = compressor.compress(bytes);
        *kept = Some(compressor);
        packed
    })
}

/// # Errors
/// This was not packed, or is damaged.
pub fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    // Older rows do not say how much there is in them.
    let Ok(Some(size)) = get_frame_content_size(packed) else { return zstd::decode_all(packed) };
    let size = usize::try_from(size).map_err(io::Error::other)?;
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let mut decompressor = kept.take().map_or_else(Decompressor::new, Ok)?;
        let unpacked = decompressor.decompress(packed, size);
        *kept = Some(decompressor);
        unpacked
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        for text in [b"".as_slice(), b"{}", &[b'x'; 1 << 20]] {
            assert_eq!(unpack(&pack(text).unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn a_size_that_is_not_told_is_found() {
        let packed = zstd::encode_all(b"text".as_slice(), 1).unwrap();
        assert_eq!(unpack(&packed).unwrap(), b"text");
    }

    #[test]
    fn damage_is_an_error_and_harms_nothing_that_follows() {
        let mut packed = pack(&[7; 100]).unwrap();
        packed.truncate(packed.len() - 1);
        assert!(unpack(&packed).is_err());
        assert!(unpack(b"no frame").is_err());
        assert_eq!(unpack(&pack(b"x").unwrap()).unwrap(), b"x");
    }
}
