//! What a file is, by its first bytes.

use std::io::{self, Read};

/// Where the prefix of PS3.10 7.1 ends.
pub(super) const HEAD_BYTES: usize = 132;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dicom,
    /// PS3.10 8.6: an index of other files.
    Dicomdir,
    Zip,
    Other,
}

/// The first [`HEAD_BYTES`], fewer where the file is shorter.
pub(super) fn head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    reader.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// `name` is the last part of the path.
pub(super) fn kind(name: &str, head: &[u8]) -> Kind {
    match head {
        _ if head.get(128..HEAD_BYTES) == Some(b"DICM") => match name.eq_ignore_ascii_case("DICOMDIR") {
            true => Kind::Dicomdir,
            false => Kind::Dicom,
        },
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Kind::Zip,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, file: &[u8], expected: Kind) {
        assert_eq!(kind(name, &head(&mut &file[..]).unwrap()), expected);
    }

    #[test]
    fn first_bytes_tell_dicom_zip_and_the_rest() {
        let dicom = [&[0; 128][..], b"DICM and more"].concat();
        check("a.dcm", &dicom, Kind::Dicom);
        check("DICOMDIR", &dicom, Kind::Dicomdir);
        check("a.zip", b"PK\x03\x04rest", Kind::Zip);
        check("empty.zip", b"PK\x05\x06", Kind::Zip);
        check("a.dcm", b"DICM", Kind::Other);
        check("DICOMDIR", b"", Kind::Other);
    }
}
