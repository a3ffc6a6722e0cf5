//! Text in every character set of PS3.5 6.1 as UTF-8.
//!
//! Nothing is refused: what a set does not have becomes U+FFFD. Beyond the standard, for what real
//! files do:
//! - Text without a declared set is UTF-8 where it is valid as such, and Windows-1252 otherwise.
//! - Bytes 80H to 9FH, which the ISO 8859 sets leave to controls, are those of Windows.
//! - Where the escape is missing, G1 holds the first declared set that belongs there.
//! - Shift JIS is understood where ISO_IR 13 is declared, and every escape where none is.
//! - Defined terms are known in any spelling; unknown ones are passed over.

mod encode;
mod escapes;
#[cfg(test)]
mod tests;

use dicom_core::VR;
use encoding_rs::{
    EUC_JP, EUC_KR, Encoding, GB18030, GBK, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6,
    ISO_8859_7, ISO_8859_8, ISO_8859_15, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1252, WINDOWS_1254,
};

use escapes::Designation;

pub use encode::Encoder;

/// What Specific Character Set (0008,0005) declares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CharacterSet {
    /// One encoding for all text, without escapes: UTF-8, GB18030, GBK.
    Whole(&'static Encoding),
    /// What each value begins with, PS3.5 6.1.2.5.
    Extended { g0: G0, g1: Option<G1> },
}

/// What the bytes 21H to 7EH mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum G0 {
    Ascii,
    /// JIS X 0201: a yen sign and an overline where ASCII has backslash and tilde.
    Romaji,
    /// JIS X 0208, two bytes each.
    Kanji,
    /// JIS X 0212, two bytes each.
    SupplementaryKanji,
}

/// What the bytes from A0H mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum G1 {
    /// JIS X 0201.
    Katakana,
    /// A single-byte set, or the upper half of EUC for a set of two bytes.
    Coded(&'static Encoding),
}

/// Which delimiters end the reach of an escape, PS3.5 6.1.2.5.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// ST, LT, UT: one value, lines end by controls.
    Whole,
    /// SH, LO, UC: values between backslashes.
    Values,
    /// PN: values, groups and components.
    Names,
}

const ESC: u8 = 0x1B;

impl Text {
    /// Of the VRs that Specific Character Set is about, PS3.5 6.1.2.3.
    pub fn of(vr: VR) -> Option<Self> {
        match vr {
            VR::ST | VR::LT | VR::UT => Some(Self::Whole),
            VR::SH | VR::LO | VR::UC => Some(Self::Values),
            VR::PN => Some(Self::Names),
            _ => None,
        }
    }

    fn is_delimiter(self, byte: u8) -> bool {
        match self {
            Self::Whole => false,
            Self::Values => byte == b'\\',
            Self::Names => matches!(byte, b'\\' | b'^' | b'='),
        }
    }
}

impl Default for CharacterSet {
    fn default() -> Self {
        Self::Extended { g0: G0::Ascii, g1: None }
    }
}

impl CharacterSet {
    /// Of the value of (0008,0005).
    pub fn declared(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        let terms: Vec<Self> = text.split('\\').map(|term| Self::of_term(term).unwrap_or_default()).collect();
        if let Some(whole) = terms.iter().find(|term| matches!(term, Self::Whole(_))) {
            return *whole;
        }
        let g0 = terms.first().map_or(G0::Ascii, |term| term.g0());
        Self::Extended { g0, g1: terms.iter().find_map(|term| term.g1()) }
    }

    /// A defined term of PS3.3 C.12.1.1.2, however it is spelled.
    fn of_term(term: &str) -> Option<Self> {
        let name: String = term.chars().filter(char::is_ascii_alphanumeric).collect();
        let name = name.to_ascii_uppercase();
        let prefixes = ["ISO2022IR", "ISOIR", "IR", "ISO"];
        let number = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(&name);
        let g1 = match number {
            "192" | "UTF8" => return Some(Self::Whole(UTF_8)),
            "GB18030" => return Some(Self::Whole(GB18030)),
            "GBK" => return Some(Self::Whole(GBK)),
            "13" => return Some(Self::Extended { g0: G0::Romaji, g1: Some(G1::Katakana) }),
            "6" | "87" | "159" => return Some(Self::default()),
            "100" | "88591" => WINDOWS_1252,
            "101" | "88592" => ISO_8859_2,
            "109" | "88593" => ISO_8859_3,
            "110" | "88594" => ISO_8859_4,
            "144" | "88595" => ISO_8859_5,
            "127" | "88596" => ISO_8859_6,
            "126" | "88597" => ISO_8859_7,
            "138" | "88598" => ISO_8859_8,
            "148" | "88599" => WINDOWS_1254,
            "166" | "885911" => WINDOWS_874,
            "203" | "885915" => ISO_8859_15,
            "149" => EUC_KR,
            "58" => GBK,
            _ => return None,
        };
        Some(Self::Extended { g0: G0::Ascii, g1: Some(G1::Coded(g1)) })
    }

    fn g0(self) -> G0 {
        match self {
            Self::Extended { g0, .. } => g0,
            Self::Whole(_) => G0::Ascii,
        }
    }

    fn g1(self) -> Option<G1> {
        match self {
            Self::Extended { g1, .. } => g1,
            Self::Whole(_) => None,
        }
    }

    pub fn decode(self, bytes: &[u8], text: Text) -> String {
        let (g0, g1) = match self {
            Self::Whole(encoding) => return encoding.decode_without_bom_handling(bytes).0.into_owned(),
            Self::Extended { g0, g1 } => (g0, g1),
        };
        let has_meaning = g0 == G0::Ascii && !bytes.contains(&ESC) && (g1.is_none() || bytes.is_ascii());
        match std::str::from_utf8(bytes) {
            Ok(utf8) if has_meaning => utf8.to_owned(),
            _ => Decoder { rest: bytes, text, initial: (g0, g1), g0, g1, out: String::new() }.run(),
        }
    }
}

/// One value on its way through the escapes of ISO 2022.
struct Decoder<'a> {
    rest: &'a [u8],
    text: Text,
    initial: (G0, Option<G1>),
    g0: G0,
    g1: Option<G1>,
    out: String,
}

impl Decoder<'_> {
    fn run(mut self) -> String {
        while let [first, behind @ ..] = self.rest {
            match *first {
                ESC => self.escape(behind),
                0x80.. => self.right(),
                byte => self.left(byte),
            }
        }
        self.out
    }

    fn escape(&mut self, behind: &[u8]) {
        match escapes::find(behind) {
            Some((length, designation)) => {
                self.skip(1 + length);
                match designation {
                    Designation::G0(set) => self.g0 = set,
                    Designation::G1(set) => self.g1 = Some(set),
                }
            }
            None => {
                self.skip(1);
                self.out.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    fn left(&mut self, byte: u8) {
        match (self.g0, self.rest) {
            (G0::Kanji, [a @ 0x21..0x7F, b @ 0x21..0x7F, ..]) => self.kanji(&[a | 0x80, b | 0x80]),
            (G0::SupplementaryKanji, [a @ 0x21..0x7F, b @ 0x21..0x7F, ..]) => {
                self.kanji(&[0x8F, a | 0x80, b | 0x80]);
            }
            _ => self.single(byte),
        }
    }

    fn kanji(&mut self, euc: &[u8]) {
        let decoded = EUC_JP.decode_without_bom_handling(euc).0;
        self.out.extend(decoded.chars().map(of_jis));
        self.skip(2);
    }

    fn single(&mut self, byte: u8) {
        let is_romaji = self.g0 == G0::Romaji;
        self.out.push(match byte {
            b'\\' if is_romaji && self.text == Text::Whole => '¥',
            b'~' if is_romaji => '‾',
            other => char::from(other),
        });
        self.skip(1);
        if byte < 0x20 || self.text.is_delimiter(byte) {
            (self.g0, self.g1) = self.initial;
        }
    }

    fn right(&mut self) {
        match self.g1 {
            Some(G1::Katakana) => self.katakana(),
            Some(G1::Coded(encoding)) => self.coded(encoding),
            None => self.coded(WINDOWS_1252),
        }
    }

    fn coded(&mut self, encoding: &'static Encoding) {
        let length = self.rest.iter().take_while(|byte| **byte >= 0x80).count();
        self.out.push_str(&encoding.decode_without_bom_handling(&self.rest[..length]).0);
        self.skip(length);
    }

    /// In Shift JIS the bytes that JIS X 0201 leaves free begin a character of two.
    fn katakana(&mut self) {
        let length = match self.rest {
            [0x81..=0x9F | 0xE0..=0xFC, 0x40..=0xFC, ..] => 2,
            _ => 1,
        };
        self.out.push_str(&SHIFT_JIS.decode_without_bom_handling(&self.rest[..length]).0);
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        self.rest = &self.rest[length..];
    }
}

/// The web's table of JIS X 0208 has the full-width forms of Windows where the standard's has these.
fn of_jis(character: char) -> char {
    match character {
        '\u{FF5E}' => '\u{301C}',
        '\u{2225}' => '\u{2016}',
        '\u{FF0D}' => '\u{2212}',
        '\u{FFE0}' => '\u{A2}',
        '\u{FFE1}' => '\u{A3}',
        '\u{FFE2}' => '\u{AC}',
        other => other,
    }
}
