//! What nobody has signed is answered, to those who may not read drafts, as if it were not there.

use std::collections::BTreeMap;

use super::visibility::{answer, told};
use super::*;
use crate::auth::{Caller, Reach};
use crate::db::{Batch, Statement};

const DRAFT: &str = "1.2.3.9";
const SIGNED: &str = "1.2.3.10";
const ROWS: &[&str] = &[
    "insert into analysis (id, study_uid, pipeline, content_sha256, state, trigger_kind, queued_at)
     values ('a', '1.2.3', 'p', 'c', 'done', 'rule', 0)",
    "insert into report (id, study_uid, analysis, status, version, versions, revision, narrative, series_uid_sr,
        sr_instance_uid, series_uid_pdf, pdf_instance_uid, created_at, updated_at)
     values ('draft', '1.2.3', 'a', 'draft', 1, 1, 1, x'7B7D', '8', '8.1', '1.2.3.9', '1.2.3.9.1', 1, 1),
            ('signed', '1.2.3', null, 'addending', 2, 2, 2, x'7B7D', '7', '7.1', '1.2.3.10', '1.2.3.10.1', 2, 2)",
    "insert into report_version (report, version, status, act, content, author, author_name, at, signer_name,
        organization, proof, series_uid_sr, sr_instance_uid, series_uid_pdf, pdf_instance_uid, published_at)
     values ('draft', 1, 'draft', 'draft', x'7B7D', 'system', 'm', 1, null, null, null, '8', '8.1', '1.2.3.9',
                '1.2.3.9.1', 1),
            ('signed', 1, 'signed', 'sign', x'7B7D', 'u', 'Ann', 2, 'Ann', 'H', 'password', '7', '7.1', '1.2.3.10',
                '1.2.3.10.1', 2),
            ('signed', 2, 'addending', 'addend', x'7B7D', 'u', 'Ann', 3, null, null, null, null, null, null, null,
                null)",
];

/// The images of 1.2.3, a draft and a signed document in series of their own.
async fn bench() -> Bench {
    let bench = Bench::filled().await;
    for (series, modality) in [(DRAFT, "SR"), (SIGNED, "DOC")] {
        let own = vec![
            DataElement::new(tags::MODALITY, VR::CS, modality),
            DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, series),
            DataElement::new(tags::ENCAPSULATED_DOCUMENT, VR::OB, PrimitiveValue::from(pdf_bytes())),
            DataElement::new(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, "application/pdf"),
        ];
        let object = file(uids::ENCAPSULATED_PDF_STORAGE, &format!("{series}.1"), own);
        assert_eq!(bench.store(&[object]).await.status, StatusCode::OK);
    }
    let batch = ROWS.iter().fold(Batch::new(), |batch, sql| batch.then(Statement::fixture(sql)));
    bench.state.db.run(batch).await.unwrap();
    bench
}

/// Sees what was signed, of every study: bounded by groups, and by none.
fn readers() -> [Caller; 2] {
    [Reach::Groups { ids: Vec::new(), ungrouped: true, drafts: false }, Reach::Released]
        .map(|reach| Caller { reach, ..Caller::unrestricted() })
}

fn reader() -> Caller {
    let [reader, _] = readers();
    reader
}

async fn read(bench: &Bench, path: &str, caller: Caller) -> String {
    told(answer(bench, &Method::GET, path, caller).await, &BTreeMap::new()).await
}

#[tokio::test]
async fn a_draft_is_in_no_search_and_in_no_retrieval() {
    let bench = bench().await;
    let everywhere = [
        "series",
        "instances",
        "studies/1.2.3/series",
        "studies/1.2.3/instances",
        "studies/1.2.3/metadata",
        "studies/1.2.3",
    ];
    for path in everywhere {
        let path = format!("/dicom-web/{path}");
        for reader in readers() {
            let seen = read(&bench, &path, reader).await;
            assert!(seen.contains(SIGNED) && !seen.contains(DRAFT), "{path}: {seen}");
        }
        assert!(read(&bench, &path, Caller::unrestricted()).await.contains(DRAFT), "{path}");
    }
}

#[tokio::test]
async fn a_draft_is_not_found_where_it_is_named() {
    let bench = bench().await;
    for (series, status) in [(DRAFT, "404"), (SIGNED, "200")] {
        let instance = format!("studies/1.2.3/series/{series}/instances/{series}.1");
        let paths = [
            format!("/dicom-web/studies/1.2.3/series/{series}/metadata"),
            format!("/dicom-web/{instance}"),
            format!("/dicom-web/{instance}/metadata"),
            format!("/dicom-web/{instance}/bulkdata/00420011"),
            format!(
                "/dicom-web/wado?requestType=WADO&studyUID=1.2.3&seriesUID={series}&objectUID={series}.1&contentType=application/dicom"
            ),
            format!("/api/v1/studies/1.2.3/series/{series}"),
            format!("/api/v1/{instance}"),
        ];
        for (path, reader) in paths.iter().flat_map(|path| readers().map(|reader| (path, reader))) {
            let seen = read(&bench, path, reader).await;
            assert!(seen.starts_with(status), "{path}: {seen}");
        }
    }
}

#[tokio::test]
async fn the_answers_of_two_readers_are_never_mixed() {
    let bench = bench().await;
    let path = "/dicom-web/studies/1.2.3/metadata";
    let all = answer(&bench, &Method::GET, path, Caller::unrestricted()).await.unwrap();
    let some = answer(&bench, &Method::GET, path, reader()).await.unwrap();
    assert_ne!(all.headers()[ETAG], some.headers()[ETAG]);
}

#[tokio::test]
async fn the_rest_api_leaves_drafts_out() {
    let bench = bench().await;
    for reader in readers() {
        leaves_drafts_out(&bench, reader).await;
    }
}

async fn leaves_drafts_out(bench: &Bench, reader: Caller) {
    let reader = || reader.clone();
    let reports = read(bench, "/api/v1/reports", reader()).await;
    assert!(reports.contains("\"id\":\"signed\",") && !reports.contains("\"id\":\"draft\""), "{reports}");
    assert!(reports.contains("\"status\":\"signed\"") && reports.contains("\"total\":1"), "{reports}");
    for path in
        ["draft", "draft/pdf", "draft/sr", "draft/csv", "draft/fhir", "draft/versions", "draft/versions/1"]
    {
        let seen = read(bench, &format!("/api/v1/reports/{path}"), reader()).await;
        assert!(seen.starts_with("404"), "{path}: {seen}");
    }
    let versions = read(bench, "/api/v1/reports/signed/versions", reader()).await;
    assert!(versions.contains("\"total\":1"), "{versions}");
    let study = read(bench, "/api/v1/studies/1.2.3", reader()).await;
    assert!(study.contains("\"analyses\":[]") && study.contains(SIGNED) && !study.contains(DRAFT), "{study}");
    assert!(read(bench, "/api/v1/studies?finding=1", reader()).await.starts_with("403"));
}

#[tokio::test]
async fn analyses_are_there_for_those_alone_who_read_drafts() {
    let bench = bench().await;
    for reader in readers() {
        let seen = read(&bench, "/api/v1/analyses/a", reader).await;
        assert!(seen.starts_with("404"), "{seen}");
    }
    assert!(read(&bench, "/api/v1/analyses/a", Caller::unrestricted()).await.starts_with("200"));
}

#[tokio::test]
async fn what_a_study_holds_is_counted_without_drafts() {
    let bench = bench().await;
    for reader in readers().into_iter().chain([Caller::unrestricted()]) {
        let held = read(&bench, "/dicom-web/studies/1.2.3/instances", reader.clone()).await;
        let (series, instances) = (distinct(&held, "0020000E"), distinct(&held, "00080018"));
        let found = read(&bench, "/dicom-web/studies?StudyInstanceUID=1.2.3", reader.clone()).await;
        assert_eq!((number(&found, "00201206"), number(&found, "00201208")), (series, instances), "{found}");
        let listed = read(&bench, "/api/v1/studies?limit=1", reader).await;
        assert!(listed.contains(&format!("\"instance_count\":{instances}")), "{listed}");
    }
}

#[tokio::test]
async fn the_signed_report_of_a_study_that_has_grown_is_still_its_report() {
    let bench = bench().await;
    let newest = "update report set created_at = 3 where id = 'draft'";
    bench.state.db.run(Batch::new().then(Statement::fixture(newest))).await.unwrap();
    for (caller, report) in [(reader(), "signed"), (Caller::unrestricted(), "draft")] {
        let study = read(&bench, "/api/v1/studies/1.2.3", caller).await;
        assert!(study.contains(&format!("/api/v1/reports/{report}\"")), "{study}");
    }
}

#[tokio::test]
async fn the_modality_of_a_draft_finds_no_study() {
    let bench = bench().await;
    for (modality, caller, studies) in
        [("SR", reader(), 0), ("DOC", reader(), 1), ("SR", Caller::unrestricted(), 1)]
    {
        let search = format!("/dicom-web/studies?ModalitiesInStudy={modality}");
        assert_eq!(distinct(&read(&bench, &search, caller.clone()).await, "0020000D"), studies, "{search}");
        let list = read(&bench, &format!("/api/v1/studies?modality={modality}"), caller.clone()).await;
        assert!(list.contains(&format!("\"total\":{studies}")), "{list}");
        assert!(studies == 0 || list.contains("\"SR\"") == caller.reach.has_drafts(), "{list}");
    }
}

fn number(json: &str, tag: &str) -> usize {
    let (_, rest) = json.split_once(tag).unwrap();
    let (_, value) = rest.split_once("\"Value\":[").unwrap();
    value.split(']').next().unwrap().parse().unwrap()
}

fn distinct(json: &str, tag: &str) -> usize {
    let values =
        json.split(tag).skip(1).filter_map(|rest| rest.split("\"Value\":[").nth(1)?.split(']').next());
    values.collect::<std::collections::BTreeSet<_>>().len()
}

#[tokio::test]
async fn the_change_feed_and_exports_tell_of_no_draft() {
    let bench = bench().await;
    let tell = "insert into change (at, kind, study_uid, subject) values (1, 'analysis-done', '1.2.3', 'a'),
            (1, 'report-edited', '1.2.3', 'signed'), (1, 'report-signed', '1.2.3', 'signed')"
        .to_owned();
    let export = format!(
        "insert into export (destination, subject, study_uid, series_uid, content, rule, state, due_at, created_at,
            updated_at) values ('x', '{DRAFT}.1', '1.2.3', '{DRAFT}', x'', 'r', 'sent', 0, 0, 0)"
    );
    let batch =
        [tell, export].into_iter().fold(Batch::new(), |batch, sql| batch.then(Statement::fixture(&sql)));
    bench.state.db.run(batch).await.unwrap();
    for (path, word) in [
        ("changefeed", DRAFT),
        ("changefeed", "analysis-done"),
        ("changefeed", "report-edited"),
        ("exports", DRAFT),
        ("exports/1", DRAFT),
    ] {
        let path = format!("/api/v1/{path}");
        for reader in readers() {
            let seen = read(&bench, &path, reader).await;
            assert!(!seen.contains(word), "{path}: {seen}");
        }
        assert!(read(&bench, &path, Caller::unrestricted()).await.contains(word), "{path}");
    }
    let feed = read(&bench, "/api/v1/changefeed", reader()).await;
    assert!(feed.contains("report-signed") && feed.contains(SIGNED), "{feed}");
}
