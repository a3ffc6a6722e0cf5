//! Language, observer, procedure and algorithm: TID 1204, TID 1004, TID 4019.

use crate::ai::{ModelIdentity, Runs, ServiceUsage};
use crate::ids::derived_uid;
use crate::report::codes::{self, Code};
use crate::report::document::{Device, ImageReference, Provenance, Reading};

use super::item::{Item, Relation};

/// TID 1204 Language of Content Item and Descendants.
pub(super) fn language(tag: &str) -> Item {
    let concept = Code::dcm("121049", "Language of Content Item and Descendants");
    Item::code(Relation::HasConceptMod, concept, codes::language(tag))
}

/// The same for the same installation.
pub(super) fn device_uid(device: &Device) -> String {
    derived_uid(&["device", &device.manufacturer, &device.model, &device.serial_number])
}

/// TID 1002 and TID 1004: a device observed, no person.
pub(super) fn device_observer(device: &Device) -> [Item; 6] {
    let text =
        |value, meaning, text: &str| Item::text(Relation::HasObsContext, Code::dcm(value, meaning), text);
    let uid = device_uid(device);
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

/// TID 1003: the person who answers for the report.
pub(super) fn person_observer(name: &str, organization: &str) -> [Item; 3] {
    [
        Item::code(
            Relation::HasObsContext,
            Code::dcm("121005", "Observer Type"),
            Code::dcm("121006", "Person"),
        ),
        Item::person(Relation::HasObsContext, Code::dcm("121008", "Person Observer Name"), name),
        Item::text(
            Relation::HasObsContext,
            Code::dcm("121009", "Person Observer's Organization Name"),
            organization,
        ),
    ]
}

pub(super) fn procedure_reported(images: &[ImageReference]) -> Item {
    let modality = images.first().map_or("", |image| image.modality.as_str());
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
        weights(&provenance.model),
        format!("pipeline={}", provenance.pipeline.name),
        format!("prompt={} version {}", prompt.name, prompt.version),
        format!("prompt_sha256={}", prompt.sha256),
        format!("temperature={}", settings.temperature),
        format!("seed={}", settings.seed),
        format!("tokens_max={}", settings.tokens_max),
        format!("text_tokens_max={}", settings.text_tokens_max),
        format!("analysis={}", provenance.analysis_id),
    ];
    let service = provenance.usage.service.iter().flat_map(service);
    fixed.into_iter().chain(top_p).chain(reading(&provenance.reading)).chain(service).collect()
}

/// Of the context only its kinds: what it said stays where it is.
fn reading(reading: &Reading) -> Vec<String> {
    let kinds = reading.context.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",");
    let focus = reading.focus.as_ref().map(|focus| format!("focus={focus}"));
    let prior = reading.prior.as_ref().map(|prior| format!("prior_study={}", prior.uid));
    let fixed = [format!("language={}", reading.language), format!("repairs={}", reading.repairs)];
    let told = (!kinds.is_empty()).then(|| format!("context={kinds}"));
    let reused = reading.reused_from.as_ref().map(|at| format!("reused_answer_of={at}"));
    fixed.into_iter().chain(told).chain(focus).chain(prior).chain(reused).collect()
}

/// By what the model can be told from another. Weights elsewhere are not ours to digest.
fn weights(model: &ModelIdentity) -> String {
    match model.runs {
        Runs::Here => format!("weights_sha256={}", model.weights_sha256),
        Runs::Elsewhere => {
            format!(
                "endpoint_sha256={} (of the service; its weights are not known here)",
                model.weights_sha256
            )
        }
    }
}

fn service(usage: &ServiceUsage) -> Vec<String> {
    let ServiceUsage { requests, retries, repairs, bytes_sent, cost } = usage;
    let asked =
        format!("service_requests={requests}, {retries} retries, {repairs} repairs, {bytes_sent} bytes sent");
    let cost = cost.as_ref().map(|cost| format!("estimated_cost={:.6} {}", cost.amount, cost.currency));
    [Some(asked), cost].into_iter().flatten().collect()
}
