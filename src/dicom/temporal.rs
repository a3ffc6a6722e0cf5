//! Dates and times as DICOM writes them, PS3.5 6.2: DA, TM, DT and offsets from UTC.
//!
//! DA and TM compare as text; an early end of a value stands for everything that begins with it.

use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// An offset from UTC, `+HHMM` or `-HHMM` (PS3.3 C.12.1.1.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Offset {
    minutes: i32,
}

impl Offset {
    pub const UTC: Self = Self { minutes: 0 };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an offset from UTC is +HHMM or -HHMM, from -1200 to +1400")]
pub struct BadOffset;

impl FromStr for Offset {
    type Err = BadOffset;

    fn from_str(text: &str) -> Result<Self, BadOffset> {
        let text = text.trim();
        let (sign, digits) = match text.split_at_checked(1) {
            Some(("+", digits)) => (1, digits),
            Some(("-", digits)) => (-1, digits),
            _ => return Err(BadOffset),
        };
        if digits.len() != 4 || !is_digits(digits) || &digits[2..] > "59" {
            return Err(BadOffset);
        }
        let number: i32 = digits.parse().map_err(|_| BadOffset)?;
        let minutes = sign * (number / 100 * 60 + number % 100);
        (-12 * 60..=14 * 60).contains(&minutes).then_some(Self { minutes }).ok_or(BadOffset)
    }
}

impl TryFrom<String> for Offset {
    type Error = BadOffset;

    fn try_from(text: String) -> Result<Self, BadOffset> {
        text.parse()
    }
}

/// A DA, `YYYYMMDD`. Days up to 31 pass in every month: clients name the last one that way.
pub fn date(text: &str) -> Option<String> {
    let text = text.trim();
    let month = (text.len() == 8 && is_digits(text)).then(|| &text[4..6])?;
    let in_calendar = ("01"..="12").contains(&month) && ("01"..="31").contains(&&text[6..]);
    in_calendar.then(|| text.to_owned())
}

/// A TM, `HH[MM[SS[.F{1,6}]]]`; colons of the older form are dropped.
pub fn time(text: &str) -> Option<String> {
    let text = text.trim().replace(':', "");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let fraction_fits = (1..=6).contains(&fraction.len()) && is_digits(fraction);
    let whole_fits =
        matches!(whole.len(), 2 | 4 | 6) && is_digits(whole) && (whole.len() == 6 || !text.contains('.'));
    let on_the_clock = |at: usize, below: &str| whole.get(at..at + 2).is_none_or(|part| part < below);
    let valid = fraction_fits
        && whole_fits
        && on_the_clock(0, "24")
        && on_the_clock(2, "60")
        && on_the_clock(4, "61");
    valid.then_some(text)
}

/// A TM without what says nothing at its end, so that no later one sorts before it: `080000.0` is
/// `08`.
pub fn beginning(time: &str) -> String {
    match time.trim_end_matches('0').trim_end_matches('.').trim_end_matches('0') {
        "" => "0".to_owned(),
        beginning => beginning.to_owned(),
    }
}

/// First and last microsecond since 1970 UTC of a DT, `YYYY[MM[DD[HH[MM[SS[.F{1,6}]]]]]][&ZZXX]`.
pub fn instants(text: &str, local: Offset) -> Option<(i64, i64)> {
    let text = text.trim();
    let (whole, offset) = match text.rfind(['+', '-']) {
        Some(sign) => (&text[..sign], text[sign..].parse().ok()?),
        None => (text, local),
    };
    let first = begin(whole)?;
    let next = match whole.len() {
        4 => first.checked_add(1.year()),
        6 => first.checked_add(1.month()),
        8 => first.checked_add(1.day()),
        10 => first.checked_add(1.hour()),
        12 => first.checked_add(1.minute()),
        // Down to the second it is a moment, whatever the clock left out behind it.
        _ => first.checked_add(1.microsecond()),
    };
    Some((microseconds(first, offset)?, microseconds(next.ok()?, offset)? - 1))
}

/// A date and a time that were written at one offset, as they read at another. Without a date the
/// time goes round the clock; a date without a time stays.
pub fn rebased(date: &str, time: &str, from: Offset, to: Offset) -> (String, String) {
    // No date of its own: any day will do to move a time on.
    let day = if date.is_empty() { "20000101" } else { date };
    let read = self::time(time).and_then(|time| begin(&format!("{day}{time}")));
    let moved = read.and_then(|at| at.checked_add((to.minutes - from.minutes).minutes()).ok());
    match moved {
        Some(at) if date.is_empty() => (String::new(), at.strftime("%H%M%S%.6f").to_string()),
        Some(at) => (at.strftime("%Y%m%d").to_string(), at.strftime("%H%M%S%.6f").to_string()),
        None => (date.to_owned(), time.to_owned()),
    }
}

/// A date some days earlier or later; itself where the calendar does not know it.
pub fn shifted(date: &str, days: i64) -> String {
    let moved = begin(date).and_then(|at| at.checked_add(days.days()).ok());
    moved.map_or_else(|| date.to_owned(), |at| at.strftime("%Y%m%d").to_string())
}

/// The moment at which a DT without offset begins.
fn begin(text: &str) -> Option<DateTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fits = matches!(whole.len(), 4 | 6 | 8 | 10 | 12 | 14)
        && is_digits(whole)
        && fraction.len() <= 6
        && is_digits(fraction)
        && (whole.len() == 14 || !text.contains('.'));
    let part = |range: std::ops::Range<usize>, default: i8| match whole.get(range) {
        Some(digits) => digits.parse().ok(),
        None => Some(default),
    };
    let year: i16 = fits.then(|| whole[..4].parse().ok())??;
    let nanoseconds: i32 = format!("{fraction:0<9}").parse().ok()?;
    // A leap second is the last one of its minute.
    let second = part(12..14, 0)?.min(59);
    DateTime::new(
        year,
        part(4..6, 1)?,
        part(6..8, 1)?,
        part(8..10, 0)?,
        part(10..12, 0)?,
        second,
        nanoseconds,
    )
    .ok()
}

fn microseconds(at: DateTime, offset: Offset) -> Option<i64> {
    let utc = at.checked_sub(offset.minutes.minutes()).ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(utc.timestamp().as_microsecond())
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(text: &str) -> Offset {
        text.parse().unwrap()
    }

    #[test]
    fn offsets_are_signed_hours_and_minutes() {
        assert_eq!(offset("-0330"), Offset { minutes: -210 });
        for bad in ["0100", "+1", "+1500", "-1201", "+0160", "", "+01:0"] {
            assert_eq!(bad.parse::<Offset>(), Err(BadOffset), "{bad}");
        }
    }

    #[test]
    fn a_short_datetime_lasts_as_long_as_what_it_leaves_out() {
        let (first, last) = instants("197001", Offset::default()).unwrap();
        assert_eq!((first, last), (0, 31 * 86_400_000_000 - 1));
        let (first, last) = instants("19700101010000.5+0100", offset("-0500")).unwrap();
        assert_eq!((first, last), (500_000, 500_000));
        assert_eq!(instants("197013", Offset::default()), None);
    }

    #[test]
    fn the_beginning_of_a_time_sorts_before_all_that_follows() {
        for later in ["08", "0800", "080000", "080000.0", "080000.5", "0801", "10"] {
            assert!(later >= beginning("080000.000000").as_str(), "{later}");
        }
        assert_eq!(beginning("000000.0"), "0");
        assert!("075959.9" < beginning("08").as_str() && "080000.1" < beginning("080000.25").as_str());
    }

    #[test]
    fn a_moment_reads_differently_elsewhere() {
        let moved = rebased("20260101", "0030", offset("+0100"), offset("-0500"));
        assert_eq!(moved, ("20251231".to_owned(), "183000.000000".to_owned()));
        assert_eq!(rebased("", "2330", offset("+0000"), offset("+0100")).1, "003000.000000");
        assert_eq!(rebased("20260101", "", offset("+0100"), offset("-0500")).0, "20260101");
        assert_eq!(shifted("20260301", -1), "20260228");
    }
}
