//! Attributes by name, also within sequences.

use std::fmt;
use std::str::FromStr;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

use crate::dicom::attributes::{AttributeId, UnknownAttribute};

const DEPTH_MAX: usize = 8;

/// `RequestAttributesSequence.ScheduledProcedureStepID`, in keywords or tags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttributePath {
    pub first: Tag,
    /// Within the items of the first, and so on.
    pub rest: Vec<Tag>,
}

impl AttributePath {
    pub fn last(&self) -> Tag {
        self.rest.last().copied().unwrap_or(self.first)
    }

    /// The sequence in which the last attribute lies.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.rest.split_last()?;
        Some(Self { first: self.first, rest: rest.to_vec() })
    }

    /// Another attribute in the same place.
    pub fn sibling(&self, tag: Tag) -> Self {
        let mut rest = self.rest.clone();
        match rest.last_mut() {
            Some(last) => *last = tag,
            None => return tag.into(),
        }
        Self { first: self.first, rest }
    }
}

impl From<Tag> for AttributePath {
    fn from(first: Tag) -> Self {
        Self { first, rest: Vec::new() }
    }
}

impl FromStr for AttributePath {
    type Err = UnknownAttribute;

    /// Group lengths and File Meta Information are no attributes of an entity.
    fn from_str(text: &str) -> Result<Self, UnknownAttribute> {
        let mut parts = text.split('.').take(DEPTH_MAX + 1).map(|part| match part.parse::<AttributeId>() {
            Ok(AttributeId(tag)) if tag.element() != 0 && tag.group() > 2 => Ok(tag),
            _ => Err(UnknownAttribute),
        });
        let first = parts.next().ok_or(UnknownAttribute)??;
        let rest: Vec<Tag> = parts.collect::<Result<_, _>>()?;
        (rest.len() < DEPTH_MAX).then_some(Self { first, rest }).ok_or(UnknownAttribute)
    }
}

/// For people: keywords where there are some.
impl fmt::Display for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, tag) in [self.first].iter().chain(&self.rest).enumerate() {
            f.write_str(if at == 0 { "" } else { "." })?;
            match StandardDataDictionary.by_tag(*tag).filter(|_| !is_private(*tag)) {
                Some(entry) => f.write_str(entry.alias())?,
                None => AttributeId(*tag).fmt(f)?,
            }
        }
        Ok(())
    }
}

pub fn is_private(tag: Tag) -> bool {
    tag.group() % 2 == 1
}

/// Where the creator of a private attribute stands (PS3.5 7.8.1); `None` of a creator itself.
pub fn creator_of(tag: Tag) -> Option<Tag> {
    (is_private(tag) && tag.element() >= 0x1000).then(|| Tag(tag.group(), tag.element() >> 8))
}

/// `None` where the dictionary does not know the attribute.
pub fn vr_of(tag: Tag) -> Option<VR> {
    let entry = StandardDataDictionary.by_tag(tag).filter(|_| !is_private(tag));
    entry.map(|entry| entry.vr().relaxed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;

    #[test]
    fn tags_and_keywords_name_the_same_q14() {
        let path: AttributePath = "00400275.ScheduledProcedureStepID".parse().unwrap();
        assert_eq!(path.to_string(), "RequestAttributesSequence.ScheduledProcedureStepID");
        assert_eq!(
            (path.last(), path.parent()),
            (tags::SCHEDULED_PROCEDURE_STEP_ID, Some(path.first.into()))
        );
        assert_eq!(path.sibling(tags::CODE_VALUE).to_string(), "RequestAttributesSequence.CodeValue");
    }

    #[test]
    fn what_is_no_attribute_has_no_path() {
        let deep = ["00400275"; 9].join(".");
        for text in ["", "limit", "patientid", "PatientID.", "00020010", "00080000", &deep] {
            assert_eq!(text.parse::<AttributePath>(), Err(UnknownAttribute), "{text}");
        }
    }
}
