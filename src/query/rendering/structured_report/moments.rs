//! Dates and times as people write them; what is none stays as it is.

/// `20260102` as `2026-01-02`.
pub(super) fn date(text: &str) -> String {
    match text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]),
        false => text.to_owned(),
    }
}

/// `101530.25` as `10:15:30`; fractions are for machines.
pub(super) fn time(text: &str) -> String {
    let whole = text.split('.').next().unwrap_or_default();
    if whole.is_empty() || whole.len() % 2 == 1 || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    let parts: Vec<&str> = (0..whole.len().min(6)).step_by(2).map(|at| &whole[at..at + 2]).collect();
    parts.join(":")
}

/// `20260102101530.25+0100` as `2026-01-02 10:15:30 +0100`.
pub(super) fn date_time(text: &str) -> String {
    let offset_at = text.rfind(['+', '-']).unwrap_or(text.len());
    let (moment, offset) = text.split_at(offset_at);
    let (day, clock) = moment.split_at_checked(8).unwrap_or((moment, ""));
    let parts = [date(day), time(clock), offset.to_owned()];
    super::attributes::joined(&parts.each_ref().map(String::as_str), " ")
}
