//! What a file is, by its first bytes.

use std::io::{self, Read};

use dicom_dictionary_std::uids;

/// Enough for the prefix of PS3.10 7.1 and the first elements of the file meta information.
pub const HEAD_BYTES: usize = 512;
/// (0002,0002) Media Storage SOP Class UID, explicit VR little endian, up to its length.
const MEDIA_STORAGE_SOP_CLASS: [u8; 6] = [2, 0, 2, 0, b'U', b'I'];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Dicom,
    /// PS3.10 8.6: an index of other files.
    Dicomdir,
    Zip,
    Other,
}

/// The first [`HEAD_BYTES`], fewer where the file is shorter.
pub fn head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    reader.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// `name` is the last part of the path.
pub fn kind(name: &str, head: &[u8]) -> Kind {
    match head {
        _ if head.get(128..132) == Some(b"DICM") => {
            let index = name.eq_ignore_ascii_case("DICOMDIR") || is_directory_class(head);
            if index { Kind::Dicomdir } else { Kind::Dicom }
        }
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Kind::Zip,
        _ => Kind::Other,
    }
}

/// A DICOMDIR may have any name once it has left its medium.
fn is_directory_class(head: &[u8]) -> bool {
    let uid = uids::MEDIA_STORAGE_DIRECTORY_STORAGE.as_bytes();
    let element = MEDIA_STORAGE_SOP_CLASS.len() + 2;
    head.windows(element + uid.len())
        .any(|window| window.starts_with(&MEDIA_STORAGE_SOP_CLASS) && &window[element..] == uid)
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
        check(
            "index",
            &[&dicom, &b"\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10\0"[..]].concat(),
            Kind::Dicomdir,
        );
        check("a.zip", b"PK\x03\x04rest", Kind::Zip);
        check("empty.zip", b"PK\x05\x06", Kind::Zip);
        check("a.dcm", b"DICM", Kind::Other);
        check("DICOMDIR", b"", Kind::Other);
    }
}
