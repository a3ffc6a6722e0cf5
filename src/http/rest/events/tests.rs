use super::*;
use crate::auth::{Means, Reach, Role, Subject};
use crate::clock::Timestamp;

fn caller(role: Role) -> Caller {
    let subject = Subject::User { id: "u1".into(), name: "ann".into(), display_name: "Ann".into() };
    Caller {
        subject,
        roles: [role].into(),
        reach: Reach::Everything,
        means: Means::AccessToken,
        ..Caller::unrestricted()
    }
}

fn told(kind: EventKind, study: Option<&str>, owner: Option<&str>) -> Told {
    Told {
        sequence: 7,
        at: Timestamp(0),
        kind: kind.as_str().to_owned(),
        study: study.map(|study| study.parse().unwrap()),
        subject: None,
        owner: owner.map(str::to_owned),
        detail: Some(br#"{"tokens":3}"#.to_vec()),
    }
}

#[track_caller]
fn check(role: Role, told: &Told, expected: bool) {
    let sight = Sight { caller: caller(role), kinds: EventKind::ALL.to_vec() };
    assert_eq!(sight.shows(told), expected, "{role:?} {told:?}");
}

#[test]
fn events_are_for_those_who_may_see_what_they_are_about() {
    check(Role::Technologist, &told(EventKind::AnalysisDone, Some("1.2"), None), true);
    check(Role::Viewer, &told(EventKind::AnalysisDone, Some("1.2"), None), false);
    check(Role::Viewer, &told(EventKind::ReportDrafted, Some("1.2"), None), false);
    check(Role::Viewer, &told(EventKind::ReportSigned, Some("1.2"), None), true);
    check(Role::Auditor, &told(EventKind::AnalysisDone, Some("1.2"), None), false);
    check(Role::Auditor, &told(EventKind::StudyReceived, Some("1.2"), None), false);
}

#[test]
fn what_is_about_no_study_is_for_its_owner_and_who_runs_the_server() {
    let own = told(EventKind::UploadProgress, None, Some("user:u1"));
    let others = told(EventKind::UploadProgress, None, Some("user:u2"));
    let nobodys = told(EventKind::UploadDone, None, None);
    check(Role::Technologist, &own, true);
    check(Role::Technologist, &others, false);
    check(Role::Technologist, &nobodys, false);
    check(Role::Administrator, &others, true);
    check(Role::Administrator, &nobodys, true);
}

#[test]
fn kinds_that_were_not_asked_for_are_left_out() {
    let sight = Sight { caller: caller(Role::Viewer), kinds: vec![EventKind::AnalysisDone] };
    assert!(!sight.shows(&told(EventKind::AnalysisFailed, Some("1.2"), None)));
}

#[test]
fn an_event_is_written_on_lines_of_its_own() {
    let text = written(&told(EventKind::AnalysisTokens, Some("1.2"), None));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["event: analysis-tokens", "id: 7"]);
    let data: serde_json::Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&data["sequence"], &data["detail"]["tokens"]), (&7.into(), &3.into()));
    assert!(text.ends_with("\n\n"));
}
