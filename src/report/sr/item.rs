//! Content items, PS3.3 C.17.3.

use dicom_core::VR;
use dicom_core::value::{C, PrimitiveValue};
use dicom_dictionary_std::tags;

use crate::report::codes::Code;
use crate::report::document::ImageReference;
use crate::report::elements::{Dataset, coded, put, put_items, sop_reference};

/// Relationship Type (0040,A010), by value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Relation {
    Contains,
    HasConceptMod,
    HasObsContext,
    HasAcqContext,
    SelectedFrom,
}

impl Relation {
    fn term(self) -> &'static str {
        match self {
            Self::Contains => "CONTAINS",
            Self::HasConceptMod => "HAS CONCEPT MOD",
            Self::HasObsContext => "HAS OBS CONTEXT",
            Self::HasAcqContext => "HAS ACQ CONTEXT",
            Self::SelectedFrom => "SELECTED FROM",
        }
    }
}

/// One content item with its children.
pub(super) struct Item {
    dataset: Dataset,
    children: Vec<Dataset>,
}

impl Item {
    fn new(value_type: &str, concept: &Code) -> Self {
        let mut dataset = Dataset::new_empty();
        put(&mut dataset, tags::VALUE_TYPE, VR::CS, value_type);
        put_items(&mut dataset, tags::CONCEPT_NAME_CODE_SEQUENCE, coded(concept));
        Self { dataset, children: Vec::new() }
    }

    fn related(relation: Relation, value_type: &str, concept: &Code) -> Self {
        let mut item = Self::new(value_type, concept);
        put(&mut item.dataset, tags::RELATIONSHIP_TYPE, VR::CS, relation.term());
        item
    }

    pub(super) fn root(concept: Code, template: &str) -> Self {
        let mut item = Self::new("CONTAINER", &concept);
        put(&mut item.dataset, tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
        item.of_template(template)
    }

    pub(super) fn container(relation: Relation, concept: Code) -> Self {
        let mut item = Self::related(relation, "CONTAINER", &concept);
        put(&mut item.dataset, tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
        item
    }

    /// Content Template Sequence: which TID of PS3.16 a container follows.
    pub(super) fn of_template(mut self, template: &str) -> Self {
        let mut item = Dataset::new_empty();
        put(&mut item, tags::MAPPING_RESOURCE, VR::CS, "DCMR");
        put(&mut item, tags::TEMPLATE_IDENTIFIER, VR::CS, template);
        put_items(&mut self.dataset, tags::CONTENT_TEMPLATE_SEQUENCE, vec![item]);
        self
    }

    pub(super) fn code(relation: Relation, concept: Code, value: Code) -> Self {
        let mut item = Self::related(relation, "CODE", &concept);
        put_items(&mut item.dataset, tags::CONCEPT_CODE_SEQUENCE, coded(&value));
        item
    }

    pub(super) fn text(relation: Relation, concept: Code, value: &str) -> Self {
        let mut item = Self::related(relation, "TEXT", &concept);
        put(&mut item.dataset, tags::TEXT_VALUE, VR::UT, value);
        item
    }

    /// VR PN.
    pub(super) fn person(relation: Relation, concept: Code, name: &str) -> Self {
        let mut item = Self::related(relation, "PNAME", &concept);
        put(&mut item.dataset, tags::PERSON_NAME, VR::PN, name);
        item
    }

    pub(super) fn uid(relation: Relation, concept: Code, value: &str) -> Self {
        let mut item = Self::related(relation, "UIDREF", &concept);
        put(&mut item.dataset, tags::UID, VR::UI, value);
        item
    }

    pub(super) fn number(relation: Relation, concept: Code, value: f64, unit: Code) -> Self {
        let mut measured = Dataset::new_empty();
        let text = decimal_string(value);
        if text.parse() != Ok(value) {
            put(&mut measured, tags::FLOATING_POINT_VALUE, VR::FD, value);
        }
        put(&mut measured, tags::NUMERIC_VALUE, VR::DS, text);
        put_items(&mut measured, tags::MEASUREMENT_UNITS_CODE_SEQUENCE, coded(&unit));
        let mut item = Self::related(relation, "NUM", &concept);
        put_items(&mut item.dataset, tags::MEASURED_VALUE_SEQUENCE, vec![measured]);
        item
    }

    pub(super) fn image(relation: Relation, concept: Code, image: &ImageReference) -> Self {
        let mut reference = sop_reference(image.sop_class.as_str(), image.sop_instance.as_str());
        if let Some(frame) = image.frame {
            put(&mut reference, tags::REFERENCED_FRAME_NUMBER, VR::IS, frame.to_string());
        }
        let mut item = Self::related(relation, "IMAGE", &concept);
        put_items(&mut item.dataset, tags::REFERENCED_SOP_SEQUENCE, vec![reference]);
        item
    }

    /// An SCOORD: (column, row) pairs whose last repeats the first.
    pub(super) fn polyline(relation: Relation, concept: Code, points: &[f32]) -> Self {
        let mut item = Self::related(relation, "SCOORD", &concept);
        put(&mut item.dataset, tags::GRAPHIC_TYPE, VR::CS, "POLYLINE");
        put(&mut item.dataset, tags::GRAPHIC_DATA, VR::FL, PrimitiveValue::F32(C::from_slice(points)));
        item
    }

    pub(super) fn with(mut self, children: impl IntoIterator<Item = Item>) -> Self {
        self.children.extend(children.into_iter().map(Item::into_dataset));
        self
    }

    fn into_dataset(mut self) -> Dataset {
        if !self.children.is_empty() {
            put_items(&mut self.dataset, tags::CONTENT_SEQUENCE, self.children);
        }
        self.dataset
    }

    /// The root item is no item of a sequence: its attributes are those of the object.
    pub(super) fn flatten_into(self, object: &mut Dataset) {
        for element in self.into_dataset() {
            object.put(element);
        }
    }
}

/// VR DS holds 16 characters: as many digits as fit.
pub(super) fn decimal_string(value: f64) -> String {
    const DS_MAX: usize = 16;
    let plain = value.to_string();
    if plain.len() <= DS_MAX {
        return plain;
    }
    let shorter = |digits: usize| format!("{value:.digits$e}");
    (0..DS_MAX).rev().map(shorter).find(|text| text.len() <= DS_MAX).unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_a_decimal_string() {
        for (value, expected) in [(12.5, "12.5"), (-2000.0, "-2000"), (0.1 + 0.2, "3.00000000000e-1")] {
            assert_eq!(decimal_string(value), expected);
        }
        assert!(decimal_string(-f64::MAX).len() <= 16);
    }
}
