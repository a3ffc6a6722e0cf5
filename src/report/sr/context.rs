//! Language, observer, procedure and algorithm: TID 1204, TID 1004, TID 4019.

use crate::ids::derived_uid;
use crate::report::codes::{self, Code};
use crate::report::document::{Device, Draft, Provenance};

use super::item::{Item, Relation};

/// TID 1204 Language of Content Item and Descendants.
pub(super) fn language() -> Item {
    let concept = Code::dcm("121049", "Language of Content Item and Descendants");
    Item::code(Relation::HasConceptMod, concept, Code::rfc5646("en", "English"))
}

/// TID 1002 and TID 1004: a device observed, no person.
pub(super) fn device_observer(device: &Device) -> [Item; 6] {
    let text =
        |value, meaning, text: &str| Item::text(Relation::HasObsContext, Code::dcm(value, meaning), text);
    let uid = derived_uid(&["device", &device.manufacturer, &device.model, &device.serial_number]);
    [
        Item::code(
            Relation::HasObsContext,
            Code::dcm("121005", "Observer Type"),
            Code::dcm("121007", "Device"),
        ),
        Item::uid(Relation::HasObsContext, Code::dcm("121012", "Device Observer UID"), &uid),
        text("121013", "Device Observer Name", &device.model),
        text("121014", "Device Observer Manufacturer", &device.manufacturer),
        text("121015", "Device Observer Model Name", &device.model),
        text("121016", "Device Observer Serial Number", &device.serial_number),
    ]
}

pub(super) fn procedure_reported(draft: &Draft) -> Item {
    let modality = draft.evidence.first().map_or("", |image| image.modality.as_str());
    Item::code(Relation::HasConceptMod, Code::dcm("121058", "Procedure reported"), codes::procedure(modality))
}

/// TID 4019 Algorithm Identification, with all that a rerun would need.
pub(super) fn algorithm(provenance: &Provenance) -> Vec<Item> {
    let text =
        |value, meaning, text: &str| Item::text(Relation::HasConceptMod, Code::dcm(value, meaning), text);
    let named = [
        text("111001", "Algorithm Name", &provenance.model.name),
        text("111003", "Algorithm Version", &provenance.model.version),
    ];
    let parameters = parameters(provenance);
    let parameters = parameters.iter().map(|parameter| text("111002", "Algorithm Parameters", parameter));
    named.into_iter().chain(parameters).collect()
}

/// `name=value`, one each; the PDF prints the same ones.
pub(in crate::report) fn parameters(provenance: &Provenance) -> Vec<String> {
    let (prompt, settings) = (&provenance.prompt, &provenance.settings);
    let top_p = settings.top_p.map(|top_p| format!("top_p={top_p}"));
    let fixed = [
        format!("weights_sha256={}", provenance.model.weights_sha256),
        format!("pipeline={}", provenance.pipeline.name),
        format!("prompt={} version {}", prompt.name, prompt.version),
        format!("prompt_sha256={}", prompt.sha256),
        format!("temperature={}", settings.temperature),
        format!("seed={}", settings.seed),
        format!("tokens_max={}", settings.tokens_max),
        format!("analysis={}", provenance.analysis_id),
    ];
    fixed.into_iter().chain(top_p).collect()
}
