//! The action of each element, applied.

use std::collections::HashMap;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::action::{Action, action};
use super::options::SAFE_PRIVATE;
use super::{Options, Profile, cleaning, dummy, safe_private};
use crate::deidentify::key::Key;
use crate::dicom::reencode::{Fate, Rewrite, Seen};

/// How the items of a sequence are gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// By the table alone.
    Table,
    /// What the table leaves of texts is cleaned too.
    Clean,
    /// Everything that says something is a dummy.
    Dummy,
}

/// The data set that elements stand in: the root, or an item.
struct DataSet {
    sequence: Option<Tag>,
    manner: Manner,
    /// Group and block of private creators that may stay.
    creators: HashMap<(u16, u16), String>,
    /// Coding Scheme Designator of this item is one of the standard's.
    is_standard_code: bool,
}

impl DataSet {
    fn new(sequence: Option<Tag>, manner: Manner) -> Self {
        Self { sequence, manner, creators: HashMap::new(), is_standard_code: false }
    }
}

pub(super) struct Rewriting {
    options: Options,
    key: Key,
    days: i64,
    sop_class: String,
    /// The root first.
    open: Vec<DataSet>,
    /// How the sequence is gone through that was answered with Keep last.
    next: Manner,
}

impl Rewriting {
    pub(super) fn new(profile: &Profile, days: i64, sop_class: &str) -> Self {
        Self {
            options: profile.options,
            key: profile.key.clone(),
            days,
            sop_class: sop_class.to_owned(),
            open: vec![DataSet::new(None, Manner::Table)],
            next: Manner::Table,
        }
    }

    fn data_set(&mut self) -> &mut DataSet {
        if self.open.is_empty() {
            self.open.push(DataSet::new(None, Manner::Table));
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    /// Private attributes go, but for those that are known to be safe where they are asked for.
    fn private(&mut self, seen: &Seen<'_>) -> Fate {
        if !self.options.has(SAFE_PRIVATE) {
            return Fate::Remove;
        }
        let (group, element) = (seen.tag.group(), seen.tag.element());
        if (0x10..=0xFF).contains(&element) {
            let creator = text(seen.value.unwrap_or_default());
            if !safe_private::has_creator(group, &creator) {
                return Fate::Remove;
            }
            self.data_set().creators.insert((group, element), creator);
            return Fate::Keep;
        }
        let creator = self.data_set().creators.get(&(group, element >> 8)).cloned();
        let is_safe = creator.is_some_and(|creator| safe_private::has(seen.tag, &creator));
        if is_safe && seen.vr != VR::SQ && seen.length.is_some() { Fate::Keep } else { Fate::Remove }
    }

    fn apply(&mut self, action: Action, seen: &Seen<'_>, vr: VR) -> Fate {
        match (action, vr) {
            (Action::Remove, _) => Fate::Remove,
            (Action::Empty, _) => Fate::Value(vr, Vec::new()),
            (Action::Dummy, VR::SQ) if seen.tag == tags::CONTENT_SEQUENCE => Fate::Encoded(removed_content()),
            (Action::Dummy, VR::SQ) => self.go_through(Manner::Dummy),
            (Action::Clean, VR::SQ) => self.go_through(Manner::Clean),
            (_, VR::SQ) => self.go_through(self.open.last().map_or(Manner::Table, |set| set.manner)),
            (Action::Keep, _) => Fate::Keep,
            (Action::Dummy | Action::Uid, VR::UI) => self.uid(seen),
            (Action::Dummy | Action::Uid, _) => Fate::Value(vr, dummy::value(vr, seen.value)),
            (Action::Clean, _) => self.cleaned(seen, vr),
        }
    }

    fn go_through(&mut self, manner: Manner) -> Fate {
        self.next = manner;
        Fate::Keep
    }

    fn uid(&self, seen: &Seen<'_>) -> Fate {
        let Some(value) = seen.value else { return Fate::Remove };
        let replace = |uid: &str| match uid.trim_matches([' ', '\0']) {
            "" => String::new(),
            uid => self.key.uid(uid),
        };
        let uids: Vec<String> = String::from_utf8_lossy(value).split('\\').map(replace).collect();
        Fate::Value(VR::UI, uids.join("\\").into_bytes())
    }

    fn cleaned(&self, seen: &Seen<'_>, vr: VR) -> Fate {
        use VR::*;
        let Some(value) = seen.value else { return Fate::Remove };
        match vr {
            _ if value.is_empty() => Fate::Keep,
            UI => self.uid(seen),
            DA | TM | DT => Fate::Value(vr, cleaning::moment(vr, value, self.days)),
            PN | AE | UR => Fate::Value(vr, dummy::value(vr, None)),
            LO | LT | SH | ST | UC | UT => Fate::Value(vr, cleaning::words(value)),
            OB | OW | OF | OD | OL | OV | UN => Fate::Remove,
            _ => Fate::Keep,
        }
    }

    /// What the table does not name.
    fn unnamed(&mut self, seen: &Seen<'_>, vr: VR) -> Fate {
        let set = self.data_set();
        if seen.tag == tags::CODING_SCHEME_DESIGNATOR {
            set.is_standard_code = is_standard(&text(seen.value.unwrap_or_default()));
            return Fate::Keep;
        }
        let is_code = set.is_standard_code && seen.tag == tags::CODE_MEANING || seen.tag == tags::CODE_VALUE;
        match (set.manner, vr) {
            (manner, VR::SQ) => self.go_through(manner),
            // No name of a person may stand where nobody thought of one.
            (_, VR::PN) => Fate::Value(vr, dummy::value(vr, None)),
            (Manner::Table, _) => Fate::Keep,
            _ if is_code || seen.value.is_some_and(<[u8]>::is_empty) => Fate::Keep,
            (Manner::Clean, VR::LO | VR::LT | VR::SH | VR::ST | VR::UC | VR::UT) => self.cleaned(seen, vr),
            (Manner::Clean, _) => Fate::Keep,
            (Manner::Dummy, VR::CS | VR::UI | VR::US | VR::UL | VR::AT) => Fate::Keep,
            (Manner::Dummy, _) => Fate::Value(vr, dummy::value(vr, seen.value)),
        }
    }
}

impl Rewrite for Rewriting {
    fn fate(&mut self, seen: &Seen<'_>) -> Fate {
        if seen.tag.group() % 2 == 1 {
            return self.private(seen);
        }
        let Some(vr) = vr(seen) else { return Fate::Remove };
        // What a sequence without its VR holds is told only by its bytes.
        if vr == VR::SQ && seen.vr == VR::UN && seen.length.is_some() {
            return Fate::Remove;
        }
        let sequence = self.data_set().sequence;
        match action(seen.tag, sequence, &self.sop_class, self.options) {
            Some(action) => self.apply(action, seen, vr),
            None => self.unnamed(seen, vr),
        }
    }

    fn enter(&mut self, sequence: Tag) {
        self.open.push(DataSet::new(Some(sequence), self.next));
    }

    fn begin_item(&mut self) {
        let set = self.data_set();
        set.creators.clear();
        set.is_standard_code = false;
    }

    fn leave(&mut self) {
        self.open.pop();
    }
}

/// The VR, of the dictionary where the data set has none; nothing for attributes that nobody knows.
fn vr(seen: &Seen<'_>) -> Option<VR> {
    let entry = StandardDataDictionary.by_tag(seen.tag)?;
    Some(match seen.vr {
        VR::UN if seen.length.is_none() => VR::SQ,
        VR::UN => entry.vr().relaxed(),
        vr => vr,
    })
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_matches([' ', '\0']).to_owned()
}

/// Schemes of PS3.16 8 whose meanings are those of their publishers.
fn is_standard(scheme: &str) -> bool {
    const SCHEMES: [&str; 12] =
        ["DCM", "SCT", "SRT", "SNM3", "LN", "UCUM", "RADLEX", "UMLS", "FMA", "ISO3166_1", "RFC5646", "BI"];
    SCHEMES.contains(&scheme)
}

/// A content tree that says that there was one (TEXT, 121106 "Comment").
fn removed_content() -> Vec<u8> {
    use crate::dicom::reencode::Edits;
    let mut name = Edits::default();
    name.text(tags::CODE_VALUE, VR::SH, "121106");
    name.text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM");
    name.text(tags::CODE_MEANING, VR::LO, "Comment");
    let mut item = Edits::default();
    item.text(tags::RELATIONSHIP_TYPE, VR::CS, "CONTAINS");
    item.text(tags::VALUE_TYPE, VR::CS, "TEXT");
    item.item(tags::CONCEPT_NAME_CODE_SEQUENCE, name);
    item.text(tags::TEXT_VALUE, VR::UT, dummy::TEXT);
    let mut root = Edits::default();
    root.item(tags::CONTENT_SEQUENCE, item);
    root.bytes()
}
