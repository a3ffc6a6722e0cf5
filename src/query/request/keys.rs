//! Names and values of a request become keys.

#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::moments::combined;
use super::path::{AttributePath, creator_of, is_private, vr_of};
use super::{Key, Matcher, Zone};
use crate::dicom::attributes::{self, AttributeId, Level};
use crate::dicom::temporal::Offset;

/// Of a value that is no list of UIDs: longer ones are no names and no descriptions, and cost more
/// than they find.
const VALUE_BYTES_MAX: usize = 1024;
const UIDS_MAX: usize = 10_000;
const KEYS_MAX: usize = 128;

/// How values are understood.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// PS3.18 8.3.4.2.
    pub fuzzy: bool,
    /// PS3.18 8.3.4.5: `""` stands for no value.
    pub empty_values: bool,
    /// PS3.18 8.3.4.6: each value of a list must be there.
    pub multiple_values: bool,
    /// PS3.4 C.2.2.2.5: a date and its time are matched one by one and not as one moment.
    pub separate_moments: bool,
    /// The time zone of stored objects that do not say theirs.
    pub stored_zone: Offset,
}

/// What a request asks for with its keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Keys {
    pub keys: Vec<Key>,
    pub zone: Zone,
    /// Every key, also those that match everything: an answer has them (PS3.18 10.6.3.3).
    pub paths: Vec<AttributePath>,
    /// Of the private attributes among the paths, and of any other in their blocks.
    pub creators: BTreeMap<Tag, String>,
}

/// Why a key cannot be matched. The value itself stays out of the text: it may name a patient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("{0} takes a date YYYYMMDD or a range of dates")]
    Date(AttributePath),
    #[error("{0} takes a time HHMMSS or a range of times")]
    Time(AttributePath),
    #[error("{0} takes a date and time YYYYMMDDHHMMSS&ZZXX or a range of them")]
    DateTime(AttributePath),
    #[error("{0} takes a UID or a list of UIDs")]
    Uid(AttributePath),
    #[error("{0} takes a number")]
    Number(AttributePath),
    #[error("{0} takes an offset from UTC, +HHMM or -HHMM")]
    Offset(AttributePath),
    #[error("{0} has a binary value, which cannot be matched")]
    Binary(AttributePath),
    #[error("{0} is a sequence: name an attribute of its items, as in {0}.CodeValue")]
    Sequence(AttributePath),
    #[error("{0} is not a sequence")]
    NotASequence(AttributePath),
    #[error("{0} takes a value of at most {VALUE_BYTES_MAX} bytes")]
    Long(AttributePath),
    #[error("{0} takes at most {UIDS_MAX} UIDs")]
    ManyUids(AttributePath),
    #[error("a search takes at most {KEYS_MAX} keys")]
    ManyKeys,
    #[error("{0} takes no wildcards among several values")]
    WildcardInList(AttributePath),
    #[error("{0} is there twice")]
    Twice(AttributePath),
    #[error("{name} is a private attribute: the request must name its creator as {creator}")]
    NoCreator { name: AttributePath, creator: AttributeId },
    #[error("{name} describes {level}, which this resource does not list: search for {level} instead")]
    BelowLevel { name: AttributePath, level: &'static str },
}

impl BadKey {
    /// Which key it is; none of too many.
    pub fn path(&self) -> Option<&AttributePath> {
        match self {
            Self::Date(path)
            | Self::Time(path)
            | Self::DateTime(path)
            | Self::Uid(path)
            | Self::Number(path)
            | Self::Offset(path)
            | Self::Binary(path)
            | Self::Sequence(path)
            | Self::NotASequence(path)
            | Self::Long(path)
            | Self::ManyUids(path)
            | Self::WildcardInList(path)
            | Self::Twice(path)
            | Self::NoCreator { name: path, .. }
            | Self::BelowLevel { name: path, .. } => Some(path),
            Self::ManyKeys => None,
        }
    }
}

/// What says how a request or an answer is made; never matched (PS3.4 C.2.2.2).
const NO_KEYS: [Tag; 6] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::QUERY_RETRIEVE_LEVEL,
    tags::RETRIEVE_AE_TITLE,
    tags::INSTANCE_AVAILABILITY,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::RETRIEVE_URL,
];

type Values<'a> = BTreeMap<AttributePath, &'a str>;

/// The keys of a search for entities of a level. Names that are no attributes are left out: they are
/// other parameters, or unknown ones (PS3.18 8.3.1).
///
/// # Errors
/// A value does not have the form of its attribute, or the attribute cannot be matched here.
pub fn parse<'a>(
    level: Level,
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    options: Options,
) -> Result<Keys, BadKey> {
    let mut values = Values::new();
    for (name, value) in pairs {
        let Ok(path) = name.parse::<AttributePath>() else { continue };
        if values.contains_key(&path) {
            return Err(BadKey::Twice(path));
        }
        values.insert(path, value);
    }
    if values.len() > KEYS_MAX {
        return Err(BadKey::ManyKeys);
    }
    let zone = Zone { asked: asked_zone(&values)?, stored: options.stored_zone };
    values.retain(|path, _| !NO_KEYS.contains(&path.first));
    let mut keys = Vec::new();
    for (path, value) in &values {
        only_sequences_have_items(path)?;
        if let Some(matcher) = value::matcher(path, value, zone, options)? {
            in_reach(level, path)?;
            keys.push(nested(path, matcher, &values)?);
        }
    }
    let creators = creators(&values);
    let merged = merged(keys);
    let keys = if options.separate_moments { merged } else { combined(merged) };
    Ok(Keys { keys, zone, paths: values.into_keys().collect(), creators })
}

/// By the tag at which the request names them.
fn creators(values: &Values<'_>) -> BTreeMap<Tag, String> {
    let reserves = |tag: Tag| is_private(tag) && (0x10..0x100).contains(&tag.element());
    let named =
        values.iter().filter(|(path, name)| path.rest.is_empty() && reserves(path.first) && !name.is_empty());
    named.map(|(path, name)| (path.first, name.trim().to_owned())).collect()
}

fn asked_zone(values: &Values<'_>) -> Result<Option<Offset>, BadKey> {
    let path = tags::TIMEZONE_OFFSET_FROM_UTC.into();
    let text = values.get(&path).filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|_| BadKey::Offset(path))).transpose()
}

fn only_sequences_have_items(path: &AttributePath) -> Result<(), BadKey> {
    match path.parent().filter(|parent| vr_of(parent.last()).is_some_and(|vr| vr != VR::SQ)) {
        Some(parent) => Err(BadKey::NotASequence(parent)),
        None => Ok(()),
    }
}

/// PS3.18 10.6.1.2.1: what describes a lower level cannot select entities of this one.
fn in_reach(level: Level, path: &AttributePath) -> Result<(), BadKey> {
    let known = attributes::by_tag(path.first);
    let level = match known.map_or_else(|| attributes::level_of(path.first), |known| known.level) {
        own if own <= level => return Ok(()),
        Level::Patient | Level::Study => "studies",
        Level::Series => "series",
        Level::Instance => "instances",
    };
    Err(BadKey::BelowLevel { name: path.clone(), level })
}

/// The key at the end of a path, within the sequences of the path.
fn nested(path: &AttributePath, matcher: Matcher, values: &Values<'_>) -> Result<Key, BadKey> {
    let mut key = Key { tag: path.last(), creator: creator(path, values)?, matcher };
    let mut place = path.parent();
    while let Some(parent) = place {
        let creator = creator(&parent, values)?;
        key = Key { tag: parent.last(), creator, matcher: Matcher::Item(vec![key]) };
        place = parent.parent();
    }
    Ok(key)
}

/// PS3.18 8.3.4.1: a private attribute is named together with its creator, in the same item.
fn creator(path: &AttributePath, values: &Values<'_>) -> Result<Option<String>, BadKey> {
    let Some(creator) = creator_of(path.last()) else { return Ok(None) };
    let named = values.get(&path.sibling(creator)).map(|name| name.trim()).filter(|name| !name.is_empty());
    let missing = || BadKey::NoCreator { name: path.clone(), creator: AttributeId(creator) };
    named.map(|name| Some(name.to_owned())).ok_or_else(missing)
}

/// Keys of the same sequence are about the same item (PS3.4 C.2.2.2.6); a private creator is matched
/// with its attributes, whose block may have another number in the object.
fn merged(keys: Vec<Key>) -> Vec<Key> {
    let mut merged: Vec<Key> = Vec::new();
    for key in keys {
        let same = merged.iter_mut().find(|other| (other.tag, &other.creator) == (key.tag, &key.creator));
        match (same.map(|other| &mut other.matcher), key) {
            (Some(Matcher::Item(others)), Key { matcher: Matcher::Item(more), .. }) => {
                others.extend(more);
                *others = self::merged(std::mem::take(others));
            }
            (_, key) => merged.push(key),
        }
    }
    let named: Vec<Tag> = merged.iter().filter_map(|key| creator_of(key.tag)).collect();
    merged.retain(|key| !named.contains(&key.tag));
    merged
}
