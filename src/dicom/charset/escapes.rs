//! The escape sequences of PS3.3 Tables C.12-3 and C.12-4, without their first byte.

use encoding_rs::{
    EUC_KR, GBK, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7, ISO_8859_8,
    ISO_8859_15, WINDOWS_874, WINDOWS_1252, WINDOWS_1254,
};

use super::{G0, G1};

/// What an escape sequence puts where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Designation {
    G0(G0),
    G1(G1),
}

const SEQUENCES: [(&[u8], Designation); 19] = [
    (b"(B", Designation::G0(G0::Ascii)),
    (b"(J", Designation::G0(G0::Romaji)),
    // The first edition of JIS X 0208, which writers of before 1983 named.
    (b"$@", Designation::G0(G0::Kanji)),
    (b"$B", Designation::G0(G0::Kanji)),
    (b"$(D", Designation::G0(G0::SupplementaryKanji)),
    (b")I", Designation::G1(G1::Katakana)),
    (b"-A", Designation::G1(G1::Coded(WINDOWS_1252))),
    (b"-B", Designation::G1(G1::Coded(ISO_8859_2))),
    (b"-C", Designation::G1(G1::Coded(ISO_8859_3))),
    (b"-D", Designation::G1(G1::Coded(ISO_8859_4))),
    (b"-F", Designation::G1(G1::Coded(ISO_8859_7))),
    (b"-G", Designation::G1(G1::Coded(ISO_8859_6))),
    (b"-H", Designation::G1(G1::Coded(ISO_8859_8))),
    (b"-L", Designation::G1(G1::Coded(ISO_8859_5))),
    (b"-M", Designation::G1(G1::Coded(WINDOWS_1254))),
    (b"-T", Designation::G1(G1::Coded(WINDOWS_874))),
    (b"-b", Designation::G1(G1::Coded(ISO_8859_15))),
    (b"$)A", Designation::G1(G1::Coded(GBK))),
    (b"$)C", Designation::G1(G1::Coded(EUC_KR))),
];

/// The sequence that text begins with, and its length.
pub(super) fn find(text: &[u8]) -> Option<(usize, Designation)> {
    let found = SEQUENCES.iter().find(|(sequence, _)| text.starts_with(sequence));
    found.map(|(sequence, designation)| (sequence.len(), *designation))
}

/// The sequence that designates a set; of two for the same set, the later edition.
pub(super) fn of(designation: Designation) -> Option<&'static [u8]> {
    SEQUENCES.iter().rev().find(|(_, other)| *other == designation).map(|(sequence, _)| *sequence)
}
