use super::*;
use crate::config::Overrides;

const NODES: &str = r#"[{ ae_title = "MOD", host = "a", may = ["store"] }, { ae_title = "PACS", host = "b" },
    { ae_title = "DEAF", may = ["store"] }]"#;

fn plan(rules: &str) -> Plan {
    let hooks = r#"[{ name = "all", url = "http://h", secrets = ["s"] },
        { name = "done", url = "http://h", secrets = ["s"], events = ["analysis-done"] }]"#;
    let destinations = r#"[{ name = "stow", url = "http://s/dicom-web", also_known_as = ["STOWER"] }]"#;
    let keys = vec![
        ("dimse.nodes", NODES.to_owned()),
        ("export.destinations", destinations.to_owned()),
        ("export.rules", rules.to_owned()),
        ("export.webhooks", hooks.to_owned()),
    ];
    Plan::new(&Config::load(&Overrides { file: None, keys }).unwrap())
}

fn member(number: u8, calling_aet: &str, modality: &str) -> Member {
    Member {
        series: "1.2".parse().unwrap(),
        sop_instance: format!("1.2.{number}").parse().unwrap(),
        sop_class: "1.2.840.10008.5.1.4.1.1.2".parse().unwrap(),
        dataset_sha256: vec![number],
        modality: modality.to_owned(),
        body_part: String::new(),
        series_description: String::new(),
        study_description: String::new(),
        patient_name: String::new(),
        source: if calling_aet.is_empty() { "stow" } else { "dimse" }.to_owned(),
        calling_aet: calling_aet.to_owned(),
        rows: 1,
    }
}

/// What is sent where, `instance > destination`.
fn sent(plan: &Plan, members: &[Member]) -> Vec<String> {
    let targets = plan.objects(members, &BTreeSet::new());
    targets.iter().map(|row| format!("{} > {}", row.instance, row.destination)).collect()
}

fn results_to(plan: &Plan, members: &[Member]) -> Vec<String> {
    plan.targets_of_results(members).iter().map(|(rule, to)| format!("{rule} > {}", to.name)).collect()
}

const EVERYTHING: &str = r#"[{ name = "all", what = "studies", destinations = ["MOD", "PACS", "stow"] }]"#;

#[test]
fn nothing_goes_back_where_it_came_from() {
    let members = [member(1, "MOD", "CT"), member(2, "PACS ", "CT"), member(3, "STOWER", "CT")];
    let expected =
        ["1.2.1 > stow", "1.2.1 > PACS", "1.2.2 > stow", "1.2.2 > MOD", "1.2.3 > MOD", "1.2.3 > PACS"];
    assert_eq!(sent(&plan(EVERYTHING), &members), expected);
}

#[test]
fn results_are_no_part_of_a_study_whoever_made_them() {
    let mut own = member(1, "", "SR");
    own.source = "analysis".to_owned();
    let of_another = member(2, "MOD", "SR");
    let plan = plan(EVERYTHING);
    assert!(sent(&plan, &[own]).is_empty());
    let returned = BTreeSet::from([of_another.sop_instance.clone()]);
    assert!(plan.objects(&[of_another], &returned).is_empty());
}

#[test]
fn each_object_is_sent_by_the_rules_whose_conditions_it_fulfils_and_once() {
    let rules = r#"[{ name = "ct", what = "studies", modality = ["CT"], destinations = ["PACS"] },
        { name = "again", what = "studies", destinations = ["PACS"], modality = ["ct", "MR"] },
        { name = "results", what = "results", destinations = ["stow"] }]"#;
    let members = [member(1, "", "CT"), member(2, "", "MR"), member(3, "", "US")];
    assert_eq!(sent(&plan(rules), &members), ["1.2.1 > PACS", "1.2.2 > PACS"]);
}

#[test]
fn results_go_back_to_the_node_that_the_study_came_from() {
    let plan = plan("[]");
    assert_eq!(results_to(&plan, &[member(1, "MOD", "CT"), member(2, "MOD", "CT")]), ["source > MOD"]);
    assert!(results_to(&plan, &[member(1, "DEAF", "CT")]).is_empty(), "it has no host");
    assert!(results_to(&plan, &[member(1, "STRANGER", "CT"), member(2, "", "CT")]).is_empty());
    let off = Plan { results_to_source: false, ..plan };
    assert!(results_to(&off, &[member(1, "MOD", "CT")]).is_empty());
}

#[test]
fn results_go_where_some_object_of_the_study_sends_them() {
    let rules = r#"[{ name = "r", what = "results", modality = ["MR"], destinations = ["stow", "PACS"] }]"#;
    let found = results_to(&plan(rules), &[member(1, "MOD", "CT"), member(2, "PACS", "MR")]);
    assert_eq!(found, ["source > MOD", "r > stow", "r > PACS"]);
}

#[test]
fn webhooks_hear_what_they_asked_for() {
    let (plan, study) = (plan("[]"), "1.1".parse().unwrap());
    let heard = |event: &Event<'_>| -> Vec<String> {
        plan.listeners(event).map(|webhook| webhook.name.clone()).collect()
    };
    assert_eq!(heard(&Event::StudyComplete { study: &study, version: "1", instances: 1 }), ["all"]);
    assert_eq!(heard(&Event::AnalysisDone { study: &study, analysis: "a", report: "a" }), ["all", "done"]);
}

#[test]
fn an_event_has_one_id_and_a_later_completion_another() {
    let study = "1.1".parse().unwrap();
    let complete = |version| Event::StudyComplete { study: &study, version, instances: 1 }.id();
    assert_eq!(complete("1"), complete("1"));
    assert_ne!(complete("1"), complete("2"));
}
