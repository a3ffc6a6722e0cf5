//! Person names, PS3.5 6.2.1, in the forms that searches compare.

use rphonetic::DoubleMetaphone;
use unicode_normalization::UnicodeNormalization;

/// One name taken apart for matching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameKeys {
    /// The groups, each [`folded`].
    pub alphabetic: String,
    pub ideographic: String,
    pub phonetic: String,
    /// The [`words`] of all groups, with a space before and behind each.
    pub words: String,
    /// The [`sounds`] of the words, likewise.
    pub sounds: String,
}

impl NameKeys {
    pub fn of(name: &str) -> Self {
        let mut groups = name.splitn(3, '=').map(folded);
        let words = words(name);
        Self {
            alphabetic: groups.next().unwrap_or_default(),
            ideographic: groups.next().unwrap_or_default(),
            phonetic: groups.next().unwrap_or_default(),
            sounds: spaced(words.iter().flat_map(|word| sounds(word))),
            words: spaced(words),
        }
    }

    pub fn groups(&self) -> [&str; 3] {
        [&self.alphabetic, &self.ideographic, &self.phonetic]
    }
}

/// A component group in upper case, without the padding of its components and without the empty
/// components at its end, which say nothing (PS3.5 6.2.1.1).
pub fn folded(group: &str) -> String {
    let components: Vec<&str> = group.split('^').map(|part| part.trim_matches([' ', '\0'])).collect();
    components.join("^").trim_end_matches('^').nfc().collect::<String>().to_uppercase()
}

/// Upper-case words without accents; apostrophes join, everything else that is no letter parts.
pub fn words(name: &str) -> Vec<String> {
    let joined = name.replace(['\'', '\u{2019}'], "");
    let plain: String = joined.nfkd().filter(|c| !is_accent(*c)).flat_map(plain_letters).nfkc().collect();
    let words = plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_uppercase).collect()
}

/// How a word may sound: one code of Double Metaphone or two; none for initials and other scripts.
pub fn sounds(word: &str) -> Vec<String> {
    if word.len() < 2 || !word.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Vec::new();
    }
    let codes = DoubleMetaphone::default().double_metaphone(word);
    let mut codes = vec![codes.primary(), codes.alternate()];
    codes.retain(|code| !code.is_empty());
    codes.dedup();
    codes
}

/// Combining diacritical marks; the vowel signs of other scripts are no accents.
fn is_accent(c: char) -> bool {
    ('\u{300}'..='\u{36F}').contains(&c)
}

/// Letters that Unicode does not take apart.
fn plain_letters(c: char) -> impl Iterator<Item = char> {
    let plain = match c {
        'Ø' | 'ø' => "O",
        'Ł' | 'ł' => "L",
        'Đ' | 'đ' | 'Ð' | 'ð' => "D",
        'Æ' | 'æ' => "AE",
        'Œ' | 'œ' => "OE",
        'Þ' | 'þ' => "TH",
        'ı' => "I",
        _ => "",
    };
    plain.chars().chain(plain.is_empty().then_some(c))
}

fn spaced(words: impl IntoIterator<Item = String>) -> String {
    let joined = words.into_iter().collect::<Vec<_>>().join(" ");
    if joined.is_empty() { joined } else { format!(" {joined} ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_folded_without_padding_and_empty_components() {
        let keys = NameKeys::of("Yamada^Tarou^^=山田^太郎 =やまだ^たろう^");
        assert_eq!(keys.groups(), ["YAMADA^TAROU", "山田^太郎", "やまだ^たろう"]);
        assert_eq!(folded("mu\u{308}ller ^ "), "MÜLLER");
    }

    #[test]
    fn words_lose_accents_and_case() {
        assert_eq!(words("Müller-Łukasz^O'Neill^Bjørn"), ["MULLER", "LUKASZ", "ONEILL", "BJORN"]);
        assert_eq!(NameKeys::of("Doe^J").words, " DOE J ");
        assert_eq!(NameKeys::of("").words, "");
    }

    #[test]
    fn names_that_sound_alike_share_a_sound() {
        let shared = |a: &str, b: &str| sounds(a).iter().any(|sound| sounds(b).contains(sound));
        assert!(shared("SMITH", "SCHMIDT") && shared("MEYER", "MAIER"));
        assert!(!shared("SMITH", "JONES") && sounds("J").is_empty() && sounds("山田").is_empty());
    }
}
