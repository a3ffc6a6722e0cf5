//! What rules say about the objects that they are for.

use crate::db::studies::Member;

/// Every condition that is given must hold; an empty list, or no pattern, is none.
#[derive(Debug, Clone, Copy)]
pub struct Conditions<'a> {
    pub modality: &'a [String],
    pub sop_class: &'a [String],
    pub body_part: &'a [String],
    pub calling_aet: &'a [String],
    /// Of the study or the series, with `*` and `?`.
    pub description: Option<&'a str>,
}

impl Conditions<'_> {
    pub fn hold(&self, member: &Member) -> bool {
        one_of(self.modality, &member.modality)
            && one_of(self.sop_class, member.sop_class.as_str())
            && one_of(self.body_part, &member.body_part)
            && one_of(self.calling_aet, &member.calling_aet)
            && self.description.is_none_or(|pattern| {
                like(pattern, &member.study_description) || like(pattern, &member.series_description)
            })
    }
}

pub fn one_of(wanted: &[String], value: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
}

/// Matching with `*` and `?`, without regard to case.
pub fn like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_uppercase().chars().collect();
    let text: Vec<char> = text.to_uppercase().chars().collect();
    // reached[j]: the pattern so far matches the first j characters
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for wanted in pattern {
        if wanted == '*' {
            let first = reached.iter().position(|reached| *reached).unwrap_or(reached.len());
            reached[first..].fill(true);
        } else {
            for j in (1..=text.len()).rev() {
                reached[j] = reached[j - 1] && (wanted == '?' || wanted == text[j - 1]);
            }
            reached[0] = false;
        }
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("*chest*", "XR Chest PA", true),
            ("ch?st", "CHEST", true),
            ("chest", "chest pa", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }
}
