//! Dates and the times that belong to them.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::{Key, Matcher, Range};
use crate::dicom::temporal;

const PAIRS: [(Tag, Tag); 8] = [
    (tags::STUDY_DATE, tags::STUDY_TIME),
    (tags::SERIES_DATE, tags::SERIES_TIME),
    (tags::ACQUISITION_DATE, tags::ACQUISITION_TIME),
    (tags::CONTENT_DATE, tags::CONTENT_TIME),
    (tags::INSTANCE_CREATION_DATE, tags::INSTANCE_CREATION_TIME),
    (tags::PERFORMED_PROCEDURE_STEP_START_DATE, tags::PERFORMED_PROCEDURE_STEP_START_TIME),
    (tags::PERFORMED_PROCEDURE_STEP_END_DATE, tags::PERFORMED_PROCEDURE_STEP_END_TIME),
    (tags::SCHEDULED_PROCEDURE_STEP_START_DATE, tags::SCHEDULED_PROCEDURE_STEP_START_TIME),
];

/// The time that belongs to a date.
pub fn time_of(date: Tag) -> Option<Tag> {
    PAIRS.iter().find(|(one, _)| *one == date).map(|(_, time)| *time)
}

/// The date that belongs to a time.
pub fn date_of(time: Tag) -> Option<Tag> {
    PAIRS.iter().find(|(_, one)| *one == time).map(|(date, _)| *date)
}

/// PS3.18 8.3.4.1.1: ranges of a date and of its time are the ends of one interval.
pub(super) fn combined(mut keys: Vec<Key>) -> Vec<Key> {
    for (date, time) in PAIRS {
        let (Some(dates), Some(times)) = (range_of(&keys, date), range_of(&keys, time)) else { continue };
        if make_an_interval(&dates, &times) {
            keys.retain(|key| key.tag != date && key.tag != time);
            keys.push(Key { tag: date, creator: None, matcher: Matcher::Combined { time, dates, times } });
        }
    }
    for key in &mut keys {
        if let Matcher::Item(items) = &mut key.matcher {
            *items = combined(std::mem::take(items));
        }
    }
    keys
}

fn range_of(keys: &[Key], tag: Tag) -> Option<Range> {
    keys.iter().find(|key| key.tag == tag).and_then(|key| match &key.matcher {
        Matcher::Range(range) => Some(range.clone()),
        _ => None,
    })
}

/// One time is that time of each day; a bound of the time needs a day that it bounds.
fn make_an_interval(dates: &Range, times: &Range) -> bool {
    let is_one_time = times.from == times.to.as_deref().map(temporal::beginning);
    let has_day = |time: &Option<String>, day: &Option<String>| time.is_none() || day.is_some();
    !is_one_time && has_day(&times.from, &dates.from) && has_day(&times.to, &dates.to)
}
