//! Values of which only a part may stay.

use dicom_core::VR;

use super::dummy;
use super::vocabulary;
use crate::dicom::temporal;

/// DA, TM and DT moved by whole days; the time of day stays. What cannot be read becomes a dummy.
pub(super) fn moment(vr: VR, value: &[u8], days: i64) -> Vec<u8> {
    let text = String::from_utf8_lossy(value);
    let moved: Option<Vec<String>> =
        text.split('\\').map(|one| moved(vr, one.trim_matches([' ', '\0']), days)).collect();
    match moved {
        Some(values) => values.join("\\").into_bytes(),
        None => dummy::value(vr, None),
    }
}

fn moved(vr: VR, text: &str, days: i64) -> Option<String> {
    let is_time = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b':');
    match vr {
        _ if text.is_empty() => Some(String::new()),
        VR::TM => is_time(text).then(|| text.to_owned()),
        VR::DA => temporal::date(&text.replace('.', "")).map(|date| temporal::shifted(&date, days)),
        _ => {
            let (date, rest) = text.split_at_checked(8)?;
            let date = temporal::date(date)?;
            let is_rest = rest.bytes().all(|byte| byte.is_ascii_digit() || b".+-".contains(&byte));
            is_rest.then(|| temporal::shifted(&date, days) + rest)
        }
    }
}

/// The words of a description that name no person, place or number of anybody: those that are known
/// words of imaging, and short numbers.
pub(super) fn words(value: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(value);
    let kept: Vec<&str> = text
        .split(|c: char| !(c.is_alphanumeric() || c == '.'))
        .map(|word| word.trim_matches('.'))
        .filter(is_safe)
        .collect();
    match kept.is_empty() {
        true => dummy::TEXT.as_bytes().to_vec(),
        false => kept.join(" ").into_bytes(),
    }
}

fn is_safe(word: &&str) -> bool {
    const DIGITS_MAX: usize = 3;
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let letters: String = word.chars().filter(|c| c.is_alphabetic()).collect();
    let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    is_plain
        && digits <= DIGITS_MAX
        && (digits > 0 || !letters.is_empty())
        && (letters.is_empty() || vocabulary::has(&letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(vr: VR, value: &str, expected: &str) {
        assert_eq!(String::from_utf8(moment(vr, value.as_bytes(), -10)).unwrap(), expected);
    }

    #[test]
    fn dates_move_by_days_and_times_stay() {
        check(VR::DA, "20240305", "20240224");
        check(VR::DA, "20240305\\20240306", "20240224\\20240225");
        check(VR::DA, "2024.03.05", "20240224");
        check(VR::TM, "101112.5", "101112.5");
        check(VR::DT, "20240305101112.25+0100", "20240224101112.25+0100");
    }

    #[test]
    fn what_is_no_date_becomes_a_dummy() {
        check(VR::DA, "Smith", "19000101");
        check(VR::TM, "Smith", "000000");
        check(VR::DT, "20240305 for Smith", "19000101000000");
    }

    #[test]
    fn only_known_words_and_short_numbers_stay() {
        let cleaned = |text: &str| String::from_utf8(words(text.as_bytes())).unwrap();
        assert_eq!(cleaned("CT Thorax 5mm for Mrs. Smith, 12345678."), "CT Thorax 5mm for");
        assert_eq!(cleaned("Müller^Jörg"), "REMOVED");
        assert_eq!(cleaned("T2 AX FLAIR"), "T2 AX FLAIR");
        assert_eq!(cleaned(""), "REMOVED");
    }
}
