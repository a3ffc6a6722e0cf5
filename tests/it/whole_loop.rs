//! A study arrives, is analysed, and its report comes back in the study.

use std::sync::Arc;

use radiant::ai::scripted::ScriptedEngine;
use radiant::analysis::{Model, NO_MODEL};
use radiant::phantom::{Kind, Options};
use serde_json::Value;

use crate::harness::TestApp;

const CHEST: Options = Options {
    kind: Kind::Chest,
    matrix: Some(256),
    photometric: None,
    shown_slices_only: false,
    nodules: false,
};
const EFFUSION: &str = r#"{"findings":[{"finding":"pleural effusion","location":"pleural space","laterality":"left","certainty":"probable","severity":"small","image":1,"box_2d":[500,550,750,850]}],"impression":"Small left pleural effusion."}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_study_sent_by_c_store_is_found_by_qido() {
    let app = TestApp::start().await;
    let study = app.send_phantom(1, &CHEST).await;
    let found = app.json(&format!("/dicom-web/studies?StudyInstanceUID={study}")).await;
    assert_eq!(found[0]["0020000D"]["Value"][0], study.as_str());
    let (_, metrics) = app.get("/metrics", "text/plain").await;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    assert!(metrics.contains("ingest_objects_total{source=\"dimse\",outcome=\"new\"}"), "{metrics}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_is_analysed_and_its_report_comes_back_in_it() {
    let app = TestApp::answering(EFFUSION).await;
    let study = app.send_phantom(1, &CHEST).await;
    let analyses = analyses_when(&app, &study, "done").await;
    let path = format!("/api/v1/reports/{}", text(&analyses[0]["report"]));
    let report = app.json(&path).await;
    assert!(report.to_string().contains("Small left pleural effusion."), "{report}");
    for modality in ["SR", "DOC"] {
        let found = app.json(&format!("/dicom-web/studies/{study}/series?Modality={modality}")).await;
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{modality}: {found}");
    }
    let (status, pdf) = app.get(&format!("{path}/pdf"), "application/pdf").await;
    assert!(status.is_success() && pdf.starts_with(b"%PDF-"), "{status}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_without_a_model_waits_and_is_analysed_once_there_is_one() {
    let app = TestApp::start().await;
    let study = app.send_phantom(2, &CHEST).await;
    let waiting = analyses_when(&app, &study, "waiting").await;
    assert!(text(&waiting[0]["reason"]).contains(NO_MODEL), "{}", waiting[0]);
    let app = app.restart(Model::Ready(Arc::new(ScriptedEngine::always(EFFUSION)))).await;
    let done = analyses_when(&app, &study, "done").await;
    assert_eq!((done.len(), &done[0]["id"]), (1, &waiting[0]["id"]));
    app.stop().await;
}

/// Each of the four brings the whole study; the first of each object is kept, the others are
/// the same again.
#[tokio::test(flavor = "multi_thread")]
async fn four_associations_deliver_one_study_and_it_is_analysed_once() {
    let app = TestApp::answering(EFFUSION).await;
    let send = || app.send_phantom(3, &CHEST);
    let (study, ..) = tokio::join!(send(), send(), send(), send());
    let analyses = analyses_when(&app, &study, "done").await;
    assert_eq!(analyses.len(), 1, "{analyses:?}");
    let images = app.json(&format!("/dicom-web/studies/{study}/instances?Modality=DX")).await;
    assert_eq!(images.as_array().map(Vec::len), Some(1), "{images}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_no_rule_names_is_kept_and_says_why_it_is_not_analysed() {
    let app = TestApp::answering(EFFUSION).await;
    let ct = Options { kind: Kind::Ct, shown_slices_only: true, ..CHEST };
    let study = app.send_phantom(4, &ct).await;
    let path = format!("/api/v1/studies/{study}");
    let decided =
        |answer: &Value| answer["decisions"].as_array().is_some_and(|decisions| !decisions.is_empty());
    let answer = app.json_when(&path, decided).await;
    assert_eq!(answer["decisions"][0]["verdict"], "skip", "{answer}");
    assert_eq!(app.json(&format!("{path}/analyses")).await["items"], serde_json::json!([]));
    app.stop().await;
}

async fn analyses_when(app: &TestApp, study: &str, state: &str) -> Vec<Value> {
    let path = format!("/api/v1/studies/{study}/analyses");
    let reached = |answer: &Value| list(answer).iter().any(|analysis| analysis["state"] == state);
    list(&app.json_when(&path, reached).await).to_vec()
}

fn list(answer: &Value) -> &[Value] {
    answer["items"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}
