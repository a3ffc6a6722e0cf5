//! An identifier becomes a search (PS3.4 C.4.1.1.3.1, C.4.1.2 and C.4.1.3): values in, values out.

use base64::prelude::*;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::auth::Reach;
use crate::dicom::attributes::{self, Level, tag_of_digits};
use crate::dicom::charset::{CharacterSet, Text};
use crate::dicom::data_set::text_of;
use crate::dicom::header::hex;
use crate::dicom::temporal::Offset;
use crate::dimse::extended::Extended;
use crate::dimse::services::InformationModel;
use crate::query::request::keys::{self, Keys, Options};
use crate::query::request::moments::{date_of, time_of};
use crate::query::request::path::{AttributePath, creator_of, is_private, vr_of};
use crate::query::request::pattern::Pattern;
use crate::query::request::{Include, Key, Matcher, SearchRequest};

/// A data set as DICOM JSON.
pub(super) type DataSet = Map<String, Value>;

/// The levels above one, whose unique keys a hierarchical search names.
fn above(model: InformationModel, level: Level) -> &'static [(Level, Tag)] {
    const ABOVE: [(Level, Tag); 3] = [
        (Level::Patient, tags::PATIENT_ID),
        (Level::Study, tags::STUDY_INSTANCE_UID),
        (Level::Series, tags::SERIES_INSTANCE_UID),
    ];
    let end = ABOVE.iter().position(|(above, _)| *above >= level).unwrap_or(ABOVE.len());
    let begin = usize::from(model == InformationModel::StudyRoot).min(end);
    &ABOVE[begin..end]
}

/// How an identifier is understood: what was negotiated, and what stands in the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terms {
    pub(super) agreed: Extended,
    /// Relational queries without their negotiation.
    pub(super) is_lenient: bool,
    /// Of stored dates and times that do not say theirs.
    pub(super) stored_zone: Offset,
}

/// What an identifier asks for.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) search: SearchRequest,
    pub(super) wanted: Vec<Wanted>,
    /// Specific Character Set (0008,0005) of the identifier.
    pub(super) character_set: Option<String>,
    /// Timezone Offset From UTC (0008,0201), where it moves what is answered.
    pub(super) zone: Option<String>,
    /// An optional key is neither matched nor returned (status FF01).
    pub(super) is_partly_unsupported: bool,
}

/// An attribute that an answer has, with or without a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) tag: Tag,
    pub(super) vr: VR,
    /// Of a private attribute.
    pub(super) creator: Option<String>,
    /// Of the items of a sequence; without any the items are whole.
    pub(super) items: Vec<Self>,
}

/// Matches nothing, and is refused as a value of a binary VR.
const BINARY: &str = "binary";

/// More than all defined terms together; every answer repeats it, and is searched for a set that has
/// its text.
const CHARACTER_SET_BYTES_MAX: usize = 512;

/// What says how the answer is made and is no key.
const NO_KEYS: [Tag; 4] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::QUERY_RETRIEVE_LEVEL,
    tags::QUERY_RETRIEVE_VIEW,
    tags::RETRIEVE_AE_TITLE,
];

pub(super) fn parse(identifier: &DataSet, model: InformationModel, terms: Terms) -> Result<Query, Refusal> {
    let level = level(identifier, model)?;
    let character_set = character_set(identifier)?;
    let reader = Reader { charset: charset(identifier) };
    let mut pairs = Vec::new();
    reader.pairs(identifier, "", &mut pairs)?;
    let zone_key = hex(tags::TIMEZONE_OFFSET_FROM_UTC);
    let named = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    // Without the negotiation it is an attribute like others, to be returned.
    let named = named.filter(|(name, _)| terms.agreed.timezone || *name != zone_key);
    let keys = keys::parse(level, named, terms.options())?;
    if !terms.agreed.relational && !terms.is_lenient {
        check_unique_keys(above(model, level), &keys.keys)?;
    }
    let wanted = reader.wanted(identifier);
    let zone = keys.zone.asked.map(|_| text_of(&identifier[&zone_key]));
    Ok(Query {
        is_partly_unsupported: wanted.iter().any(|wanted| !is_supported(wanted, level)),
        search: search(level, keys, &wanted),
        character_set,
        wanted,
        zone,
    })
}

impl Terms {
    fn options(self) -> Options {
        Options {
            fuzzy: self.agreed.fuzzy_names,
            empty_values: false,
            multiple_values: false,
            separate_moments: !self.agreed.date_time,
            stored_zone: self.stored_zone,
        }
    }
}

fn level(identifier: &DataSet, model: InformationModel) -> Result<Level, Refusal> {
    let text = identifier.get(&hex(tags::QUERY_RETRIEVE_LEVEL)).map(text_of).unwrap_or_default();
    match (text.trim(), model) {
        ("", _) => Err(Refusal::NoLevel),
        ("PATIENT", InformationModel::PatientRoot) => Ok(Level::Patient),
        ("PATIENT", InformationModel::StudyRoot) => Err(Refusal::NoPatientLevel),
        ("STUDY", _) => Ok(Level::Study),
        ("SERIES", _) => Ok(Level::Series),
        ("IMAGE", _) => Ok(Level::Instance),
        _ => Err(Refusal::UnknownLevel),
    }
}

pub(super) fn level_text(level: Level) -> &'static str {
    match level {
        Level::Patient => "PATIENT",
        Level::Study => "STUDY",
        Level::Series => "SERIES",
        Level::Instance => "IMAGE",
    }
}

fn character_set(identifier: &DataSet) -> Result<Option<String>, Refusal> {
    let declared = identifier.get(&hex(tags::SPECIFIC_CHARACTER_SET)).map(text_of);
    let is_long = declared.as_ref().is_some_and(|declared| declared.len() > CHARACTER_SET_BYTES_MAX);
    if is_long { Err(Refusal::CharacterSet) } else { Ok(declared) }
}

fn charset(identifier: &DataSet) -> CharacterSet {
    let declared = identifier.get(&hex(tags::SPECIFIC_CHARACTER_SET)).map(text_of);
    CharacterSet::declared(declared.unwrap_or_default().as_bytes())
}

/// PS3.4 C.4.1.3.1: each level above is named by one value of its unique key.
fn check_unique_keys(above: &[(Level, Tag)], keys: &[Key]) -> Result<(), Refusal> {
    let missing = above.iter().find(|(_, tag)| single(keys, *tag).is_none());
    missing.map_or(Ok(()), |(_, tag)| Err(Refusal::UniqueKey(*tag)))
}

/// The only value of a key, without wildcards.
fn single(keys: &[Key], tag: Tag) -> Option<&str> {
    let key = keys.iter().find(|key| key.tag == tag && key.creator.is_none())?;
    match &key.matcher {
        Matcher::Any(patterns) => match patterns.as_slice() {
            [Pattern::Exact(value)] => Some(value),
            _ => None,
        },
        _ => None,
    }
}

/// A study and a series that are named are the scope of the search, which an index answers.
fn search(level: Level, keys: Keys, wanted: &[Wanted]) -> SearchRequest {
    let uid = |tag| single(&keys.keys, tag);
    let study = (level > Level::Study).then(|| uid(tags::STUDY_INSTANCE_UID)?.parse().ok()).flatten();
    let series = (level > Level::Series && study.is_some())
        .then(|| uid(tags::SERIES_INSTANCE_UID)?.parse().ok())
        .flatten();
    let told = |key: &Key| {
        (study.is_some() && key.tag == tags::STUDY_INSTANCE_UID)
            || (series.is_some() && key.tag == tags::SERIES_INSTANCE_UID)
    };
    let remaining = keys.keys.iter().filter(|key| !told(key)).cloned().collect();
    let include = include(level, &keys, wanted);
    SearchRequest {
        level,
        keys: remaining,
        zone: keys.zone,
        include,
        limit: 0,
        offset: 0,
        study,
        series,
        // The identifier does not say who asks.
        reach: Reach::nothing(),
    }
}

/// What the answers are made of. A moment that is moved to another zone needs both of its halves,
/// and the zone that it was written in.
fn include(level: Level, keys: &Keys, wanted: &[Wanted]) -> Include {
    let in_reach = wanted.iter().filter(|wanted| is_in_reach(wanted.tag, level));
    let mut paths: Vec<AttributePath> = in_reach.map(|wanted| wanted.tag.into()).collect();
    if keys.zone.asked.is_some() {
        let halves = wanted.iter().filter_map(|wanted| time_of(wanted.tag).or_else(|| date_of(wanted.tag)));
        paths.extend(halves.chain([tags::TIMEZONE_OFFSET_FROM_UTC]).map(AttributePath::from));
    }
    Include { all: false, paths, creators: keys.creators.clone() }
}

/// Said by the server of itself, at every level.
pub(super) fn is_own(tag: Tag) -> bool {
    tag == tags::INSTANCE_AVAILABILITY
}

fn is_in_reach(tag: Tag, level: Level) -> bool {
    let own = attributes::by_tag(tag).map_or_else(|| attributes::level_of(tag), |known| known.level);
    !is_own(tag) && (own <= level || attributes::belongs_to(tag, level))
}

fn is_supported(wanted: &Wanted, level: Level) -> bool {
    is_own(wanted.tag) || is_in_reach(wanted.tag, level)
}

struct Reader {
    charset: CharacterSet,
}

impl Reader {
    /// Names and values as a search has them.
    fn pairs(&self, set: &DataSet, prefix: &str, pairs: &mut Vec<(String, String)>) -> Result<(), Refusal> {
        for (tag, element) in tagged(set) {
            let name = format!("{prefix}{}", hex(tag));
            // A tag is a path of its own; only so many of them are none.
            if name.parse::<AttributePath>().is_err() {
                return Err(Refusal::TooDeep(tag));
            }
            match items(element).as_deref() {
                Some([item]) if !item.is_empty() => self.pairs(item, &format!("{name}."), pairs)?,
                Some([] | [_]) => pairs.push((name, String::new())),
                Some(_) => return Err(Refusal::SeveralItems(tag)),
                None => pairs.push((name, self.text(tag, element))),
            }
        }
        Ok(())
    }

    /// A private value in an implicit VR came as bytes.
    fn text(&self, tag: Tag, element: &Value) -> String {
        match element.get("InlineBinary").and_then(Value::as_str) {
            Some(base64) if is_private(tag) => {
                let bytes = BASE64_STANDARD.decode(base64).unwrap_or_default();
                self.charset.decode(&bytes, Text::Values).trim_matches([' ', '\0']).to_owned()
            }
            // Of an attribute whose VR is known: there is nothing to compare such a value with.
            Some(_) => BINARY.to_owned(),
            None => text_of(element),
        }
    }

    fn wanted(&self, set: &DataSet) -> Vec<Wanted> {
        let one = |(tag, element): (Tag, &Value)| Wanted {
            tag,
            vr: vr_of(tag).or_else(|| element["vr"].as_str()?.parse().ok()).unwrap_or(VR::UN),
            creator: self.creator(set, tag),
            items: items(element)
                .unwrap_or_default()
                .first()
                .map(|item| self.wanted(item))
                .unwrap_or_default(),
        };
        tagged(set).map(one).collect()
    }

    /// Of a private attribute, and of the element that names it.
    fn creator(&self, set: &DataSet, tag: Tag) -> Option<String> {
        let creator = if is_private(tag) { creator_of(tag).unwrap_or(tag) } else { return None };
        let name = set.get(&hex(creator)).map(|element| self.text(creator, element));
        name.filter(|name| !name.is_empty())
    }
}

/// The keys of a data set, in the order of their tags.
fn tagged(set: &DataSet) -> impl Iterator<Item = (Tag, &Value)> {
    let mut elements: Vec<(Tag, &Value)> =
        set.iter().filter_map(|(key, element)| Some((tag_of_digits(key)?, element))).collect();
    elements.retain(|(tag, _)| tag.group() > 2 && tag.element() != 0 && !NO_KEYS.contains(tag));
    elements.sort_by_key(|(tag, _)| *tag);
    elements.into_iter()
}

/// The items of a sequence; `None` of anything else.
fn items(element: &Value) -> Option<Vec<&DataSet>> {
    if element["vr"] != "SQ" {
        return None;
    }
    let listed = element.get("Value").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Some(listed.iter().filter_map(Value::as_object).collect())
}
