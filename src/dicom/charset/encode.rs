//! Text into the sets that a Specific Character Set declares, PS3.5 6.1.2.

use std::collections::HashMap;
use std::sync::LazyLock;

use encoding_rs::{EUC_JP, Encoding};

use super::escapes::{self, Designation};
use super::{CharacterSet, ESC, G0, G1, Text};

/// Writes text in the sets of one Specific Character Set (0008,0005).
#[derive(Debug, Clone, PartialEq)]
pub struct Encoder {
    declared: CharacterSet,
    /// What a value begins with: the first term, whatever comes behind it.
    initial: (G0, Option<G1>),
    sets: Vec<Set>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Set {
    /// JIS X 0208 in the left half.
    Kanji,
    /// JIS X 0212 in the left half.
    SupplementaryKanji,
    Right(G1),
}

impl Encoder {
    /// ISO_IR 192, which has every text.
    pub fn utf8() -> Self {
        Self::declared("ISO_IR 192")
    }

    /// Of the value of (0008,0005).
    pub fn declared(value: &str) -> Self {
        let first = value.split('\\').next().and_then(CharacterSet::of_term).unwrap_or_default();
        Self {
            declared: CharacterSet::declared(value.as_bytes()),
            initial: (first.g0(), first.g1()),
            sets: value.split('\\').filter_map(Set::of_term).collect(),
        }
    }

    /// `None` where the sets do not have all of the text.
    pub fn encode(&self, text: &str, kind: Text) -> Option<Vec<u8>> {
        let bytes = match self.declared {
            CharacterSet::Whole(encoding) => whole(encoding, text)?,
            CharacterSet::Extended { .. } => {
                let (g0, g1) = self.initial;
                Writer { encoder: self, kind, g0, g1, out: Vec::with_capacity(text.len()) }.run(text)?
            }
        };
        // Yen signs, overlines and whatever else does not come back as it was.
        (self.declared.decode(&bytes, kind) == text).then_some(bytes)
    }
}

fn whole(encoding: &'static Encoding, text: &str) -> Option<Vec<u8>> {
    let (bytes, _, is_lossy) = encoding.encode(text);
    (!is_lossy).then(|| bytes.into_owned())
}

impl Set {
    fn of_term(term: &str) -> Option<Self> {
        match CharacterSet::of_term(term)? {
            CharacterSet::Extended { g1: Some(g1), .. } => Some(Self::Right(g1)),
            _ if term.trim().ends_with("87") => Some(Self::Kanji),
            _ => term.trim().ends_with("159").then_some(Self::SupplementaryKanji),
        }
    }

    fn bytes(self, character: char) -> Option<Vec<u8>> {
        match self {
            Self::Kanji => {
                let euc = whole(EUC_JP, &to_jis(character).to_string())?;
                let is_pair = euc.len() == 2 && euc.iter().all(|byte| *byte > 0xA0);
                is_pair.then(|| euc.iter().map(|byte| byte & 0x7F).collect())
            }
            Self::SupplementaryKanji => SUPPLEMENT.get(&character).map(|pair| pair.to_vec()),
            Self::Right(G1::Katakana) => {
                let place = u32::from(character).checked_sub(0xFF61).filter(|place| *place < 0x3F)?;
                Some(vec![0xA1 + place as u8])
            }
            Self::Right(G1::Coded(encoding)) => {
                let bytes = whole(encoding, &character.to_string())?;
                bytes.iter().all(|byte| *byte >= 0xA0).then_some(bytes)
            }
        }
    }

    /// In which half of the code table it lies, and as what.
    fn designation(self) -> Designation {
        match self {
            Self::Kanji => Designation::G0(G0::Kanji),
            Self::SupplementaryKanji => Designation::G0(G0::SupplementaryKanji),
            Self::Right(g1) => Designation::G1(g1),
        }
    }

    fn of_left(g0: G0) -> Option<Self> {
        match g0 {
            G0::Kanji => Some(Self::Kanji),
            G0::SupplementaryKanji => Some(Self::SupplementaryKanji),
            G0::Ascii | G0::Romaji => None,
        }
    }
}

/// Of JIS X 0212 there is a table to read by and none to write by.
static SUPPLEMENT: LazyLock<HashMap<char, [u8; 2]>> = LazyLock::new(|| {
    let pairs = (0x21..0x7F_u8).flat_map(|row| (0x21..0x7F_u8).map(move |cell| [row, cell]));
    let character = |[row, cell]: [u8; 2]| {
        let euc = [0x8F, row | 0x80, cell | 0x80];
        let text = EUC_JP.decode_without_bom_handling_and_without_replacement(&euc)?;
        Some((text.chars().next()?, [row, cell]))
    };
    pairs.filter_map(character).collect()
});

/// One value on its way into the escapes of ISO 2022.
struct Writer<'a> {
    encoder: &'a Encoder,
    kind: Text,
    g0: G0,
    g1: Option<G1>,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn run(mut self, text: &str) -> Option<Vec<u8>> {
        for character in text.chars() {
            match u8::try_from(character).ok().filter(u8::is_ascii) {
                Some(byte) => self.ascii(byte)?,
                None => self.other(character)?,
            }
        }
        self.return_to_initial()?;
        Some(self.out)
    }

    fn ascii(&mut self, byte: u8) -> Option<()> {
        self.return_to_initial()?;
        self.out.push(byte);
        if byte < 0x20 || self.kind.is_delimiter(byte) {
            (self.g0, self.g1) = self.encoder.initial;
        }
        Some(())
    }

    /// PS3.5 6.1.2.5.3: delimiters and the end find G0 as it was at the beginning.
    fn return_to_initial(&mut self) -> Option<()> {
        self.designate(Designation::G0(self.encoder.initial.0))
    }

    fn other(&mut self, character: char) -> Option<()> {
        let current = Set::of_left(self.g0).into_iter().chain(self.g1.map(Set::Right));
        let mut sets = current.chain(self.encoder.sets.iter().copied());
        let (set, bytes) = sets.find_map(|set| Some((set, set.bytes(character)?)))?;
        self.designate(set.designation())?;
        self.out.extend_from_slice(&bytes);
        Some(())
    }

    fn designate(&mut self, designation: Designation) -> Option<()> {
        match designation {
            Designation::G0(g0) if self.g0 == g0 => return Some(()),
            Designation::G1(g1) if self.g1 == Some(g1) => return Some(()),
            Designation::G0(g0) => self.g0 = g0,
            Designation::G1(g1) => self.g1 = Some(g1),
        }
        self.out.push(ESC);
        self.out.extend_from_slice(escapes::of(designation)?);
        Some(())
    }
}

/// What [`super::of_jis`] makes of the web's table, backwards.
fn to_jis(character: char) -> char {
    match character {
        '\u{301C}' => '\u{FF5E}',
        '\u{2016}' => '\u{2225}',
        '\u{2212}' => '\u{FF0D}',
        '\u{A2}' => '\u{FFE0}',
        '\u{A3}' => '\u{FFE1}',
        '\u{AC}' => '\u{FFE2}',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(declared: &str, text: &str, expected: Option<&[u8]>) {
        assert_eq!(Encoder::declared(declared).encode(text, Text::Names).as_deref(), expected);
    }

    #[test]
    fn one_set_has_its_characters_and_no_others() {
        check("ISO_IR 100", "Müller", Some(b"M\xfcller"));
        check("ISO_IR 100", "Иван", None);
        check("ISO_IR 100", "12 €", None);
        check("", "Müller", None);
        check("ISO_IR 192", "王", Some("王".as_bytes()));
        check("GB18030", "王", Some(b"\xcd\xf5"));
        check("GBK", "怽^東", Some(b"\x90\x5c^\x96\x7c"));
    }

    #[test]
    fn escapes_are_written_anew_behind_each_delimiter() {
        let kanji: &[u8] = b"Y=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B";
        check("\\ISO 2022 IR 87", "Y=山田^太郎", Some(kanji));
        let supplement: &[u8] = b"a\x1b$(D0!\x1b(B^\x1b$(D0\"\x1b(B";
        check("\\ISO 2022 IR 87\\ISO 2022 IR 159", "a丂^丄", Some(supplement));
        let korean: &[u8] = b"\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7";
        check("\\ISO 2022 IR 149", "洪^吉洞", Some(korean));
        check("ISO 2022 IR 100\\ISO 2022 IR 144", "éИ^é", Some(b"\xe9\x1b-L\xb8^\xe9"));
    }

    #[test]
    fn what_does_not_come_back_as_it_was_is_not_written() {
        check("ISO_IR 13", "ﾔﾏﾀﾞ", Some(b"\xd4\xcf\xc0\xde"));
        check("ISO_IR 13", "a~b", None);
        check("\\ISO 2022 IR 87", "〜", Some(b"\x1b$B!A\x1b(B"));
    }
}
