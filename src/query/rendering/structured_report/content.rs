//! The content tree, PS3.3 C.17.3.

use std::collections::HashMap;
use std::fmt;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::attributes::Attributes;
use super::{DEPTH_MAX, DocumentError, ITEMS_MAX, Place, moments};

/// PS3.3 Table 8.8-1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) value: String,
    pub(super) scheme: String,
    pub(super) meaning: String,
}

impl Code {
    pub(super) fn of(attributes: Attributes, tag: Tag) -> Option<Self> {
        let item = attributes.item(tag)?;
        let values = [tags::CODE_VALUE, tags::LONG_CODE_VALUE, tags::URN_CODE_VALUE];
        let value = values.into_iter().map(|tag| item.text(tag)).find(|value| !value.is_empty());
        Some(Self {
            value: value.unwrap_or_default(),
            scheme: item.text(tags::CODING_SCHEME_DESIGNATOR),
            meaning: item.text(tags::CODE_MEANING),
        })
    }

    pub(super) fn is(&self, scheme: &str, value: &str) -> bool {
        self.scheme == scheme && self.value == value
    }

    /// What follows a number: `mm`, nothing for a number of nothing. Units are coded by their
    /// symbol; what UCUM has in braces is none.
    pub(super) fn unit(&self) -> &str {
        match self.value.as_str() {
            "1" => "",
            symbol if symbol.is_empty() || symbol.contains('{') => &self.meaning,
            symbol => symbol,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.meaning.is_empty() {
            true => write!(f, "({}, {})", self.value, self.scheme),
            false => f.write_str(&self.meaning),
        }
    }
}

/// Relationship Type (0040,A010): of an item to the one around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Contains,
    HasObservationContext,
    HasConceptModifier,
    HasProperties,
    HasAcquisitionContext,
    InferredFrom,
    SelectedFrom,
    Other,
}

impl Relation {
    fn of(term: &str) -> Self {
        match term {
            "CONTAINS" => Self::Contains,
            "HAS OBS CONTEXT" => Self::HasObservationContext,
            "HAS CONCEPT MOD" => Self::HasConceptModifier,
            "HAS PROPERTIES" => Self::HasProperties,
            "HAS ACQ CONTEXT" => Self::HasAcquisitionContext,
            "INFERRED FROM" => Self::InferredFrom,
            "SELECTED FROM" => Self::SelectedFrom,
            _ => Self::Other,
        }
    }

    pub(super) fn term(self) -> &'static str {
        match self {
            Self::Contains => "CONTAINS",
            Self::HasObservationContext => "HAS OBS CONTEXT",
            Self::HasConceptModifier => "HAS CONCEPT MOD",
            Self::HasProperties => "HAS PROPERTIES",
            Self::HasAcquisitionContext => "HAS ACQ CONTEXT",
            Self::InferredFrom => "INFERRED FROM",
            Self::SelectedFrom => "SELECTED FROM",
            Self::Other => "",
        }
    }

    /// What a reader must be told; the others go without saying.
    pub(super) fn words(self) -> Option<&'static str> {
        match self {
            Self::InferredFrom => Some("inferred from"),
            Self::SelectedFrom => Some("selected from"),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Item {
    /// From the root, `1.2.3`, as references count.
    pub(super) position: String,
    pub(super) relation: Relation,
    pub(super) name: Option<Code>,
    pub(super) content: Content,
    /// Observation DateTime (0040,A032), where the item has one of its own.
    pub(super) observed: String,
    pub(super) children: Vec<Item>,
}

/// Continuity of Content (0040,A050).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continuity {
    Separate,
    /// The values within are one text.
    Continuous,
}

#[derive(Debug)]
pub(super) enum Content {
    Container(Continuity),
    /// TEXT, and what reads as it is written: names, dates, times.
    Text(String),
    Uid(String),
    Code(Option<Code>),
    Number(Number),
    Object(Reference),
    Region(Region),
    Times(Times),
    /// To a content item elsewhere in the document, by its position.
    SeeAlso(String),
    /// A value type that the standard did not have.
    Unknown(String),
}

/// NUM; without a number it says why.
#[derive(Debug, Default)]
pub(super) struct Number {
    pub(super) value: String,
    pub(super) unit: Option<Code>,
    pub(super) qualifier: Option<Code>,
}

/// COMPOSITE, IMAGE and WAVEFORM.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) sop_class: String,
    pub(super) instance: String,
    pub(super) frames: Vec<String>,
    pub(super) segments: Vec<String>,
    /// Multiplex group and channel, pair by pair.
    pub(super) channels: Vec<String>,
    pub(super) with_presentation_state: bool,
    /// Where the evidence sequences say that it lies.
    pub(super) place: Option<Place>,
}

/// SCOORD and SCOORD3D.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) graphic: String,
    /// Coordinates of one point: two in an image, three in space.
    pub(super) dimensions: usize,
    pub(super) coordinates: Vec<f64>,
    pub(super) frame_of_reference: String,
}

/// TCOORD.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) range: String,
    pub(super) points: Vec<String>,
    pub(super) unit: &'static str,
}

/// The content of a document. Its root is the data set itself.
pub(super) fn tree(root: Attributes) -> Result<Item, DocumentError> {
    let mut reader = Reader { places: evidence(root), items: 0 };
    reader.item(root, "1".to_owned(), 0)
}

struct Reader {
    places: HashMap<String, Place>,
    items: usize,
}

impl Reader {
    fn item(&mut self, from: Attributes, position: String, depth: usize) -> Result<Item, DocumentError> {
        self.items += 1;
        if self.items > ITEMS_MAX {
            return Err(DocumentError::TooManyItems { limit: ITEMS_MAX });
        }
        if depth > DEPTH_MAX {
            return Err(DocumentError::TooDeep { limit: DEPTH_MAX });
        }
        let mut children = Vec::new();
        for (number, child) in (1..).zip(from.items(tags::CONTENT_SEQUENCE)) {
            children.push(self.item(child, format!("{position}.{number}"), depth + 1)?);
        }
        Ok(Item {
            relation: Relation::of(&from.text(tags::RELATIONSHIP_TYPE)),
            name: Code::of(from, tags::CONCEPT_NAME_CODE_SEQUENCE),
            content: self.content(from),
            observed: moments::date_time(&from.text(tags::OBSERVATION_DATE_TIME)),
            position,
            children,
        })
    }

    fn content(&self, from: Attributes) -> Content {
        let see_also = from.texts(tags::REFERENCED_CONTENT_ITEM_IDENTIFIER);
        if !see_also.is_empty() {
            return Content::SeeAlso(see_also.join("."));
        }
        let text = |tag| from.text(tag);
        match text(tags::VALUE_TYPE).as_str() {
            "CONTAINER" => Content::Container(continuity(&text(tags::CONTINUITY_OF_CONTENT))),
            "TEXT" => Content::Text(text(tags::TEXT_VALUE)),
            "PNAME" => Content::Text(text(tags::PERSON_NAME)),
            "UIDREF" => Content::Uid(text(tags::UID)),
            "DATE" => Content::Text(moments::date(&text(tags::DATE))),
            "TIME" => Content::Text(moments::time(&text(tags::TIME))),
            "DATETIME" => Content::Text(moments::date_time(&text(tags::DATE_TIME))),
            "CODE" => Content::Code(Code::of(from, tags::CONCEPT_CODE_SEQUENCE)),
            "NUM" => Content::Number(number(from)),
            "IMAGE" | "COMPOSITE" | "WAVEFORM" => self.reference(from),
            "SCOORD" => Content::Region(region(from, 2)),
            "SCOORD3D" => Content::Region(region(from, 3)),
            "TCOORD" => Content::Times(times(from)),
            other => Content::Unknown(other.to_owned()),
        }
    }

    fn reference(&self, from: Attributes) -> Content {
        let Some(item) = from.item(tags::REFERENCED_SOP_SEQUENCE) else {
            return Content::Unknown(from.text(tags::VALUE_TYPE));
        };
        let instance = item.text(tags::REFERENCED_SOP_INSTANCE_UID);
        Content::Object(Reference {
            sop_class: item.text(tags::REFERENCED_SOP_CLASS_UID),
            frames: item.texts(tags::REFERENCED_FRAME_NUMBER),
            segments: item.texts(tags::REFERENCED_SEGMENT_NUMBER),
            channels: item.texts(tags::REFERENCED_WAVEFORM_CHANNELS),
            with_presentation_state: item.item(tags::REFERENCED_SOP_SEQUENCE).is_some(),
            place: self.places.get(&instance).cloned(),
            instance,
        })
    }
}

fn continuity(term: &str) -> Continuity {
    match term {
        "CONTINUOUS" => Continuity::Continuous,
        _ => Continuity::Separate,
    }
}

fn number(from: Attributes) -> Number {
    let measured = from.item(tags::MEASURED_VALUE_SEQUENCE);
    Number {
        value: measured.map(|item| item.text(tags::NUMERIC_VALUE)).unwrap_or_default(),
        unit: measured.and_then(|item| Code::of(item, tags::MEASUREMENT_UNITS_CODE_SEQUENCE)),
        qualifier: Code::of(from, tags::NUMERIC_VALUE_QUALIFIER_CODE_SEQUENCE),
    }
}

fn region(from: Attributes, dimensions: usize) -> Region {
    Region {
        graphic: from.text(tags::GRAPHIC_TYPE),
        dimensions,
        coordinates: from.numbers(tags::GRAPHIC_DATA),
        frame_of_reference: from.text(tags::REFERENCED_FRAME_OF_REFERENCE_UID),
    }
}

fn times(from: Attributes) -> Times {
    let kinds = [
        (tags::REFERENCED_SAMPLE_POSITIONS, "sample"),
        (tags::REFERENCED_TIME_OFFSETS, "s"),
        (tags::REFERENCED_DATE_TIME, ""),
    ];
    let given =
        kinds.into_iter().map(|(tag, unit)| (from.texts(tag), unit)).find(|(texts, _)| !texts.is_empty());
    let (points, unit) = given.unwrap_or_default();
    Times { range: from.text(tags::TEMPORAL_RANGE_TYPE), points, unit }
}

/// Where the objects lie that the document refers to, PS3.3 C.17.2.3.
fn evidence(root: Attributes) -> HashMap<String, Place> {
    let sequences =
        [tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, tags::PERTINENT_OTHER_EVIDENCE_SEQUENCE];
    let studies = sequences.into_iter().flat_map(|tag| root.items(tag));
    studies.flat_map(of_study).map(|place| (place.instance.clone(), place)).collect()
}

fn of_study(study: Attributes) -> impl Iterator<Item = Place> {
    let uid = study.text(tags::STUDY_INSTANCE_UID);
    study.items(tags::REFERENCED_SERIES_SEQUENCE).flat_map(move |series| {
        let (study, series_uid) = (uid.clone(), series.text(tags::SERIES_INSTANCE_UID));
        series.items(tags::REFERENCED_SOP_SEQUENCE).map(move |object| Place {
            study: study.clone(),
            series: series_uid.clone(),
            instance: object.text(tags::REFERENCED_SOP_INSTANCE_UID),
        })
    })
}

impl Item {
    /// The one text of a container that was written to be read on, where names are for programs
    /// alone. Groups of measurements are often called continuous too; they have no text of their own.
    pub(super) fn running_text(&self) -> Option<String> {
        let is_running = matches!(self.content, Content::Container(Continuity::Continuous));
        let is_part = |child: &Item| {
            child.relation == Relation::Contains && !matches!(child.content, Content::Container(_))
        };
        let has_text = self.children.iter().any(|child| matches!(child.content, Content::Text(_)));
        let texts: Vec<String> = self.children.iter().map(|child| child.content.words()).collect();
        (is_running && has_text && self.children.iter().all(is_part)).then(|| texts.join(" "))
    }

    /// Children that have more to say than the running text has of them.
    pub(super) fn beside_running_text(&self) -> impl Iterator<Item = &Item> {
        self.children.iter().filter(|child| !child.children.is_empty())
    }

    /// This item and all within it, in reading order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Item> {
        let mut waiting = vec![self];
        std::iter::from_fn(move || {
            let next = waiting.pop()?;
            waiting.extend(next.children.iter().rev());
            Some(next)
        })
    }
}

impl Content {
    pub(super) fn words(&self) -> String {
        match self {
            Self::Container(_) => String::new(),
            Self::Text(text) | Self::Uid(text) => text.clone(),
            Self::Code(code) => code.as_ref().map(ToString::to_string).unwrap_or_default(),
            Self::Number(number) => number.words(),
            Self::Object(reference) => format!("{} {}", reference.words(), reference.instance),
            Self::Region(region) => region.words(),
            Self::Times(times) => times.words(),
            Self::SeeAlso(position) => format!("see item {position}"),
            Self::Unknown(value_type) => format!("(content of type {value_type})"),
        }
    }
}

impl Number {
    pub(super) fn words(&self) -> String {
        let unit = self.unit.as_ref().map(Code::unit).unwrap_or_default();
        let qualifier = self.qualifier.as_ref().map(ToString::to_string).unwrap_or_default();
        match (self.value.is_empty(), qualifier.is_empty()) {
            (true, true) => "no value".to_owned(),
            (true, false) => format!("no value: {qualifier}"),
            (false, true) => super::attributes::joined(&[&self.value, unit], " "),
            (false, false) => super::attributes::joined(&[&self.value, unit, &format!("({qualifier})")], " "),
        }
    }
}

impl Reference {
    /// What is referred to, without its UID.
    pub(super) fn words(&self) -> String {
        let listed = |what: &str, numbers: &[String]| match numbers {
            [] => String::new(),
            [one] => format!("{what} {one}"),
            many => format!("{what}s {}", many.join(", ")),
        };
        let channels: Vec<String> = self.channels.chunks(2).map(|pair| pair.join("/")).collect();
        let parts = [
            super::heading::class_name(&self.sop_class),
            listed("frame", &self.frames),
            listed("segment", &self.segments),
            listed("channel", &channels),
            String::from(if self.with_presentation_state { "with a presentation state" } else { "" }),
        ];
        super::attributes::joined(&parts.each_ref().map(String::as_str), ", ")
    }

    /// A picture or a page to look at.
    pub(super) fn url(&self, locate: super::Locate) -> Option<String> {
        let instance = locate(self.place.as_ref()?)?;
        let is_list =
            |frames: &[String]| frames.iter().all(|frame| frame.parse::<u32>().is_ok_and(|n| n > 0));
        match !self.frames.is_empty() && is_list(&self.frames) {
            true => Some(format!("{instance}/frames/{}/rendered", self.frames.join(","))),
            false => Some(format!("{instance}/rendered")),
        }
    }
}

/// Points that are told one by one; of more, their number says enough.
const POINTS_SHOWN: usize = 8;

impl Region {
    pub(super) fn words(&self) -> String {
        let space = match self.dimensions {
            2 => "",
            _ => " in space (mm)",
        };
        let points = self.coordinates.len() / self.dimensions;
        match points {
            0 => format!("{}{space} without points", self.graphic),
            1..=POINTS_SHOWN => format!("{}{space}: {}", self.graphic, self.points().join(" ")),
            _ => format!("{}{space} of {points} points", self.graphic),
        }
    }

    pub(super) fn points(&self) -> Vec<String> {
        let point = |coordinates: &[f64]| {
            let texts: Vec<String> = coordinates.iter().map(f64::to_string).collect();
            format!("({})", texts.join(", "))
        };
        self.coordinates.chunks_exact(self.dimensions).map(point).collect()
    }
}

impl Times {
    pub(super) fn words(&self) -> String {
        let points: Vec<String> = match self.unit {
            "" => self.points.iter().map(|point| moments::date_time(point)).collect(),
            unit => self.points.iter().map(|point| format!("{point} {unit}")).collect(),
        };
        super::attributes::joined(&[&self.range, &points.join(", ")], ": ")
    }
}
