use super::*;
use crate::report::samples;
use dicom_object::InMemDicomObject;

fn sr(draft: Draft) -> InMemDicomObject {
    write(&samples::report(draft)).expect("the sample can be written").into_inner()
}

fn items(dataset: &InMemDicomObject, tag: dicom_core::Tag) -> &[InMemDicomObject] {
    dataset.get(tag).and_then(|element| element.value().items()).unwrap_or(&[])
}

fn text(dataset: &InMemDicomObject, tag: dicom_core::Tag) -> String {
    dataset
        .get(tag)
        .and_then(|element| element.to_str().ok())
        .unwrap_or_default()
        .trim_end_matches('\0')
        .to_owned()
}

/// Children by the meaning of their concept name.
fn children<'a>(dataset: &'a InMemDicomObject, meaning: &str) -> Vec<&'a InMemDicomObject> {
    let named = |item: &&InMemDicomObject| {
        items(item, tags::CONCEPT_NAME_CODE_SEQUENCE)
            .iter()
            .any(|code| text(code, tags::CODE_MEANING) == meaning)
    };
    items(dataset, tags::CONTENT_SEQUENCE).iter().filter(named).collect()
}

fn child<'a>(dataset: &'a InMemDicomObject, meaning: &str) -> &'a InMemDicomObject {
    children(dataset, meaning).into_iter().next().unwrap_or_else(|| panic!("no {meaning}"))
}

fn groups(sr: &InMemDicomObject) -> Vec<&InMemDicomObject> {
    children(sr, "Imaging Measurements").into_iter().flat_map(|c| children(c, "Measurement Group")).collect()
}

fn template(container: &InMemDicomObject) -> String {
    text(&items(container, tags::CONTENT_TEMPLATE_SEQUENCE)[0], tags::TEMPLATE_IDENTIFIER)
}

fn code_of(item: &InMemDicomObject) -> String {
    text(&items(item, tags::CONCEPT_CODE_SEQUENCE)[0], tags::CODE_VALUE)
}

#[test]
fn a_draft_is_never_complete_or_verified() {
    let sr = sr(samples::chest_draft());
    assert_eq!(text(&sr, tags::COMPLETION_FLAG), "PARTIAL");
    assert_eq!(text(&sr, tags::VERIFICATION_FLAG), "UNVERIFIED");
    assert_eq!(text(&sr, tags::PRELIMINARY_FLAG), "PRELIMINARY");
    assert!(text(&sr, tags::SERIES_DESCRIPTION).starts_with("DEMO AI draft"));
}

#[test]
fn a_box_makes_a_planar_group_and_its_lack_a_plain_one() {
    let sr = sr(samples::chest_draft());
    let templates: Vec<String> = groups(&sr).into_iter().map(template).collect();
    assert_eq!(templates, ["1410", "1410", "1501"]);
}

#[test]
fn the_region_hangs_from_its_image() {
    let sr = sr(samples::chest_draft());
    let region = child(groups(&sr)[0], "Image Region");
    let points =
        region.element(tags::GRAPHIC_DATA).map(|e| e.to_multi_float32()).expect("points").expect("floats");
    let source = child(region, "Source");
    assert_eq!(points.len(), 10);
    assert_eq!(text(source, tags::RELATIONSHIP_TYPE), "SELECTED FROM");
    assert_eq!(
        text(&items(source, tags::REFERENCED_SOP_SEQUENCE)[0], tags::REFERENCED_SOP_INSTANCE_UID),
        "2.25.2001"
    );
}

#[test]
fn side_stands_below_the_site() {
    let sr = sr(samples::chest_draft());
    let site = child(groups(&sr)[0], "Finding Site");
    assert_eq!(
        (code_of(site).as_str(), code_of(child(site, "Laterality")).as_str()),
        ("3120008", "24028007")
    );
}

#[test]
fn what_is_absent_is_no_group() {
    let sr = sr(samples::chest_draft());
    let evaluations = child(&sr, "Qualitative Evaluations");
    let absent = child(evaluations, "Pneumothorax");
    assert_eq!(code_of(absent), "272519000");
    assert_eq!(code_of(child(child(absent, "Finding Site"), "Laterality")), "51440002");
    assert!(groups(&sr).iter().all(|group| code_of(child(group, "Finding")) != "36118008"));
}

#[test]
fn a_measurement_says_that_it_is_an_estimate() {
    let sr = sr(samples::chest_draft());
    let diameter = child(groups(&sr)[1], "Diameter");
    let measured = &items(diameter, tags::MEASURED_VALUE_SEQUENCE)[0];
    assert_eq!(text(measured, tags::NUMERIC_VALUE), "12.5");
    assert_eq!(text(&items(measured, tags::MEASUREMENT_UNITS_CODE_SEQUENCE)[0], tags::CODE_VALUE), "mm");
    assert_eq!(code_of(child(diameter, "Derivation")), "121427");
}

#[test]
fn the_algorithm_carries_both_digests() {
    let sr = sr(samples::chest_draft());
    let parameters = children(groups(&sr)[0], "Algorithm Parameters");
    let parameters: Vec<String> = parameters.into_iter().map(|p| text(p, tags::TEXT_VALUE)).collect();
    assert!(parameters.iter().any(|p| p.starts_with("weights_sha256=5f70")));
    assert!(parameters.iter().any(|p| p.starts_with("prompt_sha256=9f86")));
}

#[test]
fn no_finding_leaves_no_group_and_still_an_impression() {
    let sr = sr(samples::normal_draft());
    assert!(children(&sr, "Imaging Measurements").is_empty());
    let impression = child(child(&sr, "Qualitative Evaluations"), "Impression");
    assert_eq!(text(impression, tags::TEXT_VALUE), "No acute abnormality.");
}

#[test]
fn every_content_item_has_a_name() {
    fn check(item: &InMemDicomObject) {
        assert_eq!(items(item, tags::CONCEPT_NAME_CODE_SEQUENCE).len(), 1);
        items(item, tags::CONTENT_SEQUENCE).iter().for_each(check);
    }
    check(&sr(samples::chest_draft()));
}

#[test]
fn evidence_is_grouped_and_names_each_image_once() {
    let mut draft = samples::ct_draft();
    draft.evidence.push(draft.evidence[0].clone());
    let sr = sr(draft);
    let studies = items(&sr, tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE);
    let series = items(&studies[0], tags::REFERENCED_SERIES_SEQUENCE);
    assert_eq!((studies.len(), series.len()), (1, 1));
    assert_eq!(items(&series[0], tags::REFERENCED_SOP_SEQUENCE).len(), 4);
}

#[test]
fn a_superseding_report_names_its_predecessor() {
    let sr = sr(samples::ct_draft());
    let study = &items(&sr, tags::PREDECESSOR_DOCUMENTS_SEQUENCE)[0];
    let series = &items(study, tags::REFERENCED_SERIES_SEQUENCE)[0];
    assert_eq!(
        text(&items(series, tags::REFERENCED_SOP_SEQUENCE)[0], tags::REFERENCED_SOP_INSTANCE_UID),
        "2.25.3002"
    );
}

#[test]
fn what_was_compared_is_other_evidence_and_in_the_library() {
    let sr = sr(samples::compared_draft());
    let other = &items(&sr, tags::PERTINENT_OTHER_EVIDENCE_SEQUENCE)[0];
    assert_eq!(text(other, tags::STUDY_INSTANCE_UID), "2.25.900");
    assert_eq!(children(child(&sr, "Image Library"), "Image Library Group").len(), 2);
    let evaluations = child(&sr, "Qualitative Evaluations");
    let comparison = text(child(evaluations, "Comparison"), tags::TEXT_VALUE);
    assert!(comparison.contains("study of 2025-01-02") && comparison.contains("2.25.900"), "{comparison}");
}

#[test]
fn the_models_own_words_are_a_text_in_their_language() {
    let sr = sr(samples::compared_draft());
    let evaluations = child(&sr, "Qualitative Evaluations");
    for name in ["Draft report in the model's own words", "Impression"] {
        let language = child(child(evaluations, name), "Language of Content Item and Descendants");
        assert_eq!(code_of(language), "de");
    }
    let words = text(child(evaluations, "Draft report in the model's own words"), tags::TEXT_VALUE);
    assert_eq!(words, "BEFUND: Größerer Pleuraerguss rechts.");
}

#[test]
fn a_finding_that_no_table_has_says_so() {
    let sr = sr(samples::chest_draft());
    let groups = groups(&sr);
    let checks = children(groups[2], "Automatic check");
    assert!(text(checks[0], tags::TEXT_VALUE).starts_with("Unmapped"));
    assert!(children(groups[0], "Automatic check").is_empty());
}

#[test]
fn a_rerun_writes_the_same_bytes() {
    let bytes = || {
        let mut bytes = Vec::new();
        write(&samples::report(samples::chest_draft()))
            .expect("written")
            .write_all(&mut bytes)
            .expect("in memory");
        bytes
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn a_backslash_in_the_words_does_not_part_a_value() {
    let mut draft = samples::chest_draft();
    draft.findings[2].finding.finding = "tube\\line\u{7}".into();
    let sr = sr(draft);
    let finding = child(groups(&sr)[2], "Finding");
    assert_eq!(text(&items(finding, tags::CONCEPT_CODE_SEQUENCE)[0], tags::CODE_MEANING), "tube/line");
}

fn root_title(draft: Draft) -> String {
    text(&items(&sr(draft), tags::CONCEPT_NAME_CODE_SEQUENCE)[0], tags::CODE_VALUE)
}

#[test]
fn only_what_can_be_drawn_whole_is_titled_a_measurement_report() {
    let mut outlined = samples::chest_draft();
    outlined.findings.retain(|finding| finding.region.is_some());
    assert_eq!(root_title(outlined), "126000");
    assert_eq!(root_title(samples::chest_draft()), "18748-4");
    let mut normal = samples::chest_draft();
    normal.findings.clear();
    assert_eq!(root_title(normal), "18748-4");
}
