//! Texts and names to match, PS3.4 C.2.2.2.1 and C.2.2.2.4.

use crate::dicom::person_name;

/// A text, or one with `*` and `?`. A text matches as it is written; a pattern in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    Exact(String),
    Wildcard(String),
}

impl Pattern {
    pub fn of(text: &str) -> Self {
        let text = text.trim_matches(' ').to_owned();
        if text.contains(['*', '?']) { Self::Wildcard(text) } else { Self::Exact(text) }
    }

    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => text == value,
            Self::Wildcard(pattern) => like(&pattern.to_lowercase(), &value.to_lowercase()),
        }
    }

    /// The text before the first `*` or `?`.
    pub fn prefix(&self) -> &str {
        match self {
            Self::Exact(text) => text,
            Self::Wildcard(pattern) => pattern.split(['*', '?']).next().unwrap_or_default(),
        }
    }
}

/// `*` stands for any text, `?` for one character. Takes time of the product of both lengths.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                // The last star takes one character more.
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// A person name to match: folded, without what says nothing at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePattern {
    /// Without `=`: any group of the name may match.
    AnyGroup(GroupPattern),
    /// Each named group must match.
    Groups([Option<GroupPattern>; 3]),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPattern {
    pub pattern: Pattern,
    /// `DOE^*`: further components may follow, and need not.
    pub open: bool,
}

impl GroupPattern {
    /// `None` for what every group matches.
    fn of(text: &str) -> Option<Self> {
        let mut text = person_name::folded(text);
        let mut open = false;
        while let Some(shorter) = text.strip_suffix("^*") {
            text = shorter.trim_end_matches('^').to_owned();
            open = true;
        }
        let universal = text.bytes().all(|b| b == b'*');
        (!universal).then(|| Self { pattern: Pattern::of(&text), open })
    }

    /// Of a folded group.
    pub fn matches(&self, group: &str) -> bool {
        self.pattern.matches(group) || (self.open && self.is_continued(group))
    }

    fn is_continued(&self, group: &str) -> bool {
        match &self.pattern {
            Pattern::Exact(text) => group.strip_prefix(text).is_some_and(|rest| rest.starts_with('^')),
            Pattern::Wildcard(pattern) => Pattern::Wildcard(format!("{pattern}^*")).matches(group),
        }
    }
}

impl NamePattern {
    /// `None` for what every name matches.
    pub fn of(text: &str) -> Option<Self> {
        if !text.contains('=') {
            return GroupPattern::of(text).map(Self::AnyGroup);
        }
        let mut groups = text.splitn(3, '=').map(GroupPattern::of);
        let groups = [(); 3].map(|()| groups.next().flatten());
        groups.iter().any(Option::is_some).then_some(Self::Groups(groups))
    }

    /// Of the folded groups of a name.
    pub fn matches(&self, name: [&str; 3]) -> bool {
        match self {
            Self::AnyGroup(pattern) => name.iter().any(|group| !group.is_empty() && pattern.matches(group)),
            Self::Groups(patterns) => {
                let pairs = patterns.iter().zip(name);
                pairs.into_iter().all(|(pattern, group)| pattern.as_ref().is_none_or(|p| p.matches(group)))
            }
        }
    }
}

/// A word of a fuzzy name: the beginning of a word of the name, or its sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FuzzyWord {
    pub prefix: String,
    pub sounds: Vec<String>,
}

impl FuzzyWord {
    pub fn all_of(text: &str) -> Vec<Self> {
        let words = person_name::words(text).into_iter();
        words.map(|word| Self { sounds: person_name::sounds(&word), prefix: word }).collect()
    }

    /// Of the words and the sounds of a name as [`person_name::NameKeys`] keeps them.
    pub fn matches(&self, words: &str, sounds: &str) -> bool {
        words.contains(&format!(" {}", self.prefix))
            || self.sounds.iter().any(|sound| sounds.contains(&format!(" {sound} ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::person_name::NameKeys;
    use proptest::prelude::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, expected: bool) {
        let keys = NameKeys::of(name);
        let matches = NamePattern::of(pattern).is_none_or(|pattern| pattern.matches(keys.groups()));
        assert_eq!(matches, expected, "{pattern} {name}");
    }

    #[test]
    fn wildcards_match_whole_texts_q7_q9() {
        assert!(Pattern::of("a*b?").matches("AxxBc") && Pattern::of("*").matches(""));
        assert!(!Pattern::of("a*b?").matches("ab") && !Pattern::of("a?").matches("a"));
        assert!(Pattern::of("ab ").matches("ab") && !Pattern::of("ab").matches("AB"));
    }

    #[test]
    fn empty_components_at_the_end_of_a_name_do_not_count() {
        check("A^B", "A^B^^", true);
        check("a^b^^^ ", "A ^B", true);
        check("ob^*", "Ob^^^", true);
        check("ob^*", "Ob^Yamada^Taro", true);
        check("ob^*", "Obama^X", false);
        check("o?^*", "Ob^X^Y", true);
        check("o?^*", "Oba^X", false);
        check("A", "A^B", false);
        check("*^*", "A", true);
    }

    #[test]
    fn names_match_by_any_group_or_by_the_named_ones() {
        check("山田*", "Yamada^Tarou=山田^太郎", true);
        check("yamada^tarou=山田^太郎", "Yamada^Tarou=山田^太郎", true);
        check("=山*", "Yamada^Tarou=山田^太郎", true);
        check("=yam*", "Yamada^Tarou=山田^太郎", false);
    }

    #[test]
    fn fuzzy_words_are_prefixes_or_sounds() {
        let keys = NameKeys::of("Müller^Hans-Jörg");
        let found = |text: &str| FuzzyWord::all_of(text).iter().all(|w| w.matches(&keys.words, &keys.sounds));
        assert!(found("jorg mul") && found("Mueller") && found("miller") && found(""));
        assert!(!found("hansen") && !found("jo be"));
    }

    proptest! {
        #[test]
        fn a_text_matches_itself_with_any_part_starred(text in "[a-c]{0,8}", from in 0_usize..8, to in 0_usize..8) {
            let (from, to) = (from.min(to).min(text.len()), from.max(to).min(text.len()));
            let pattern = format!("{}*{}", &text[..from], &text[to..]);
            prop_assert!(Pattern::of(&pattern).matches(&text));
        }
    }
}
