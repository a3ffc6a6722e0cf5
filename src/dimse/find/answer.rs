//! A match becomes the identifier of a response (PS3.4 C.4.1.1.3.2): values in, values out.

use std::io;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::transfer_syntax::TransferSyntax;
use serde_json::{Map, Value};

use super::query::{DataSet, Query, Wanted, is_own, level_text};
use super::refusal::Refusal;
use crate::dicom::charset::Encoder;
use crate::dicom::data_set::{self, WriteError, text_of};
use crate::dicom::header::hex;
use crate::dicom::json;
use crate::dicom::temporal::{self, Offset};
use crate::query::matching;
use crate::query::request::moments::{date_of, time_of};
use crate::query::request::path::creator_of;
use crate::query::request::{Key, Matcher, Zone};
use crate::query::search::{self, Cell, Found};

/// Every text has a place in it.
const UTF_8: &str = "ISO_IR 192";

/// How the identifiers of the answers to one query are made.
pub(super) struct Form {
    pub(super) query: Query,
    pub(super) ae_title: String,
    pub(super) syntax: &'static TransferSyntax,
    asked_set: Option<(String, Encoder)>,
    utf8: Encoder,
}

impl Form {
    pub(super) fn new(query: Query, ae_title: String, syntax: &'static TransferSyntax) -> Self {
        let declared = query.character_set.clone().filter(|declared| !declared.trim().is_empty());
        let asked_set = declared.map(|declared| (declared.clone(), Encoder::declared(&declared)));
        Self { query, ae_title, syntax, asked_set, utf8: Encoder::utf8() }
    }

    pub(super) fn identifiers(&self, page: &[Found]) -> Result<Vec<Vec<u8>>, Refusal> {
        page.iter().map(|found| self.identifier(found)).collect()
    }

    fn identifier(&self, found: &Found) -> Result<Vec<u8>, Refusal> {
        let set = self.data_set(found).map_err(|error| {
            tracing::warn!(%error, "a match could not be read");
            Refusal::Answer
        })?;
        self.written(set).map_err(|error| {
            tracing::warn!(%error, "a match could not be written");
            Refusal::Answer
        })
    }

    /// In the character set of the request where it has all of the text, else in UTF-8; plain ASCII
    /// declares none unless the request did.
    fn written(&self, mut set: DataSet) -> Result<Vec<u8>, WriteError> {
        let (declared, encoder) = match &self.asked_set {
            Some((declared, encoder)) => (Some(declared.as_str()), encoder.clone()),
            None => (None, Encoder::declared("")),
        };
        declare(&mut set, declared);
        match data_set::write(&set, self.syntax, &encoder) {
            Err(WriteError::NotInCharacterSet(_)) => {
                declare(&mut set, Some(UTF_8));
                data_set::write(&set, self.syntax, &self.utf8)
            }
            written => written,
        }
    }

    pub(super) fn data_set(&self, found: &Found) -> io::Result<DataSet> {
        let Query { wanted, search, .. } = &self.query;
        let stored = match found.json.is_empty() {
            true => Map::new(),
            false => search::attributes(&found.json)?,
        };
        let sources = Sources { found, stored: &stored, zone: search.zone };
        let mut set = DataSet::new();
        for wanted in wanted {
            set.insert(hex(wanted.tag), sources.element(wanted, &search.keys));
        }
        if let (Some(asked), Some(text)) = (search.zone.asked, &self.query.zone) {
            sources.rebase(&mut set, asked);
            set.insert(hex(tags::TIMEZONE_OFFSET_FROM_UTC), text_element(VR::SH, text));
        }
        let own = [
            (tags::QUERY_RETRIEVE_LEVEL, VR::CS, level_text(search.level)),
            (tags::RETRIEVE_AE_TITLE, VR::AE, self.ae_title.as_str()),
        ];
        set.extend(own.map(|(tag, vr, text)| (hex(tag), text_element(vr, text))));
        Ok(set)
    }
}

fn declare(set: &mut DataSet, character_set: Option<&str>) {
    let key = hex(tags::SPECIFIC_CHARACTER_SET);
    match character_set {
        Some(declared) => {
            let terms =
                declared.split('\\').map(|term| if term.is_empty() { Value::Null } else { term.into() });
            set.insert(key, json::with_values("CS", terms.collect()));
        }
        None => drop(set.remove(&key)),
    }
}

fn text_element(vr: VR, text: &str) -> Value {
    let values = if text.is_empty() { Vec::new() } else { vec![text.into()] };
    json::with_values(vr.to_string(), values)
}

fn empty(vr: VR) -> Value {
    json::with_values(vr.to_string(), Vec::new())
}

/// Where the values of one match lie.
struct Sources<'a> {
    found: &'a Found,
    stored: &'a DataSet,
    zone: Zone,
}

impl Sources<'_> {
    fn element(&self, wanted: &Wanted, keys: &[Key]) -> Value {
        if is_own(wanted.tag) {
            return text_element(wanted.vr, "ONLINE");
        }
        match self.indexed(wanted.tag) {
            Some(element) => projected(element, wanted, keys, self.zone),
            None => element(self.stored, wanted, keys, self.zone),
        }
    }

    fn indexed(&self, tag: Tag) -> Option<Value> {
        let (attribute, cell) = self.found.values.iter().find(|(attribute, _)| attribute.tag == tag)?;
        Some(match cell {
            Cell::Element(text) if !text.is_empty() => serde_json::from_str(text).ok()?,
            Cell::Text(text) if attribute.vr == VR::PN && !text.is_empty() => {
                json::with_values("PN", vec![json::person_name(text)])
            }
            Cell::Text(text) => text_element(attribute.vr, text),
            Cell::Number(number) => json::with_values(attribute.vr.to_string(), vec![(*number).into()]),
            Cell::List(items) => {
                let values = items.iter().map(|item| item.as_str().into()).collect();
                json::with_values(attribute.vr.to_string(), values)
            }
            Cell::Empty | Cell::Element(_) => empty(attribute.vr),
        })
    }

    fn text(&self, tag: Tag) -> String {
        let element = self.indexed(tag).or_else(|| self.stored.get(&hex(tag)).cloned());
        element.as_ref().map(text_of).unwrap_or_default()
    }

    /// Dates and times as the clock of the request shows them (PS3.4 C.4.1.1.3.2).
    fn rebase(&self, set: &mut DataSet, asked: Offset) {
        let stored = self.text(tags::TIMEZONE_OFFSET_FROM_UTC).parse().unwrap_or(self.zone.stored);
        let wanted: Vec<Tag> =
            set.keys().filter_map(|key| crate::dicom::attributes::tag_of_digits(key)).collect();
        for tag in wanted {
            let (date, time) = match (time_of(tag), date_of(tag)) {
                (Some(time), _) => (tag, time),
                (None, Some(date)) => (date, tag),
                (None, None) => continue,
            };
            let moved = temporal::rebased(&self.text(date), &self.text(time), stored, asked);
            let (vr, text) = if tag == date { (VR::DA, moved.0) } else { (VR::TM, moved.1) };
            set.insert(hex(tag), text_element(vr, &text));
        }
    }
}

/// What stored attributes hold of what is wanted; empty where they do not have it.
fn element(stored: &DataSet, wanted: &Wanted, keys: &[Key], zone: Zone) -> Value {
    let held_at = match (&wanted.creator, creator_of(wanted.tag)) {
        (Some(creator), Some(_)) => matching::private(stored, wanted.tag, creator),
        // The answer names the block as the request does.
        (Some(creator), None) => return text_element(VR::LO, creator),
        (None, _) => Some(wanted.tag),
    };
    let found = held_at.and_then(|tag| stored.get(&hex(tag)));
    match found.filter(|element| element.get("BulkDataURI").is_none()) {
        Some(element) => projected(element.clone(), wanted, keys, zone),
        None => empty(wanted.vr),
    }
}

/// PS3.4 C.2.2.2.6: of a sequence the items that match, and of these what is asked for.
fn projected(mut element: Value, wanted: &Wanted, keys: &[Key], zone: Zone) -> Value {
    if wanted.items.is_empty() {
        return element;
    }
    let same = |key: &&Key| key.tag == wanted.tag;
    let within: &[Key] = match keys.iter().find(same).map(|key| &key.matcher) {
        Some(Matcher::Item(keys)) => keys,
        _ => &[],
    };
    let Some(items) = element.get_mut("Value").and_then(Value::as_array_mut) else { return element };
    items.retain(|item| item.as_object().is_some_and(|item| matching::matches(item, within, zone)));
    for item in items.iter_mut() {
        let Some(stored) = item.as_object() else { continue };
        let kept = wanted.items.iter().map(|one| (hex(one.tag), self::element(stored, one, within, zone)));
        *item = Value::Object(kept.collect());
    }
    element
}
