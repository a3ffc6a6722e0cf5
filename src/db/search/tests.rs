use super::*;
use crate::auth::Reach;
use crate::db::Batch;
use crate::query::request::keys::{self, Options};
use crate::query::request::{Include, SearchRequest};
use crate::query::search::{self, Page, SearchError};
use dicom_dictionary_std::tags;

struct Index {
    _dir: tempfile::TempDir,
    db: Db,
}

/// Two studies: CT with two series of A^Ann, and MR of Bo, described `50% done`.
async fn index() -> Index {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::for_test(dir.path());
    filled(dir, db).await
}

async fn filled(dir: tempfile::TempDir, db: Db) -> Index {
    let mut batch = Batch::new();
    for sql in ROWS {
        batch.push(Statement::fixture(sql));
    }
    db.run(batch).await.unwrap();
    db.run(documents()).await.unwrap();
    Index { _dir: dir, db }
}

const ROWS: &[&str] = &[
    "insert into patient (id, issuer, patient_id, name, name_folded, name_ideographic, name_words, name_sounds,
        birth_date, sex, created_at, updated_at)
     values (1, '', 'P1', 'A^Ann=安', 'A^ANN', '安', ' A ANN 安 ', ' AN ', '19700101', 'F', 0, 0),
        (2, 'study 1.2', '', 'Bo', 'BO', '', ' BO ', ' P ', '', '', 0, 0),
        (3, '', 'p_3', 'Gone', 'GONE', '', ' GONE ', ' KN ', '', '', 0, 0)",
    "insert into study (id, patient, study_uid, study_date, study_time, accession_number, study_id, description,
        referring_physician, referring_folded, attributes, series_count, instance_count, last_instance_at,
        created_at, updated_at, modalities, timezone_offset)
     values (1, 1, '1.1', '20260110', '101559.9', 'ACC1', '', 'Chest', '', '', x'', 2, 2, 0, 0, 0, '\\CT\\SR\\', '+0100'),
        (2, 2, '1.2', '20260320', '', '', '', '50% done', 'Doc', 'DOC', x'', 1, 1, 0, 0, 0, '\\MR\\', '')",
    "insert into series (id, study, series_uid, modality, series_number, description, body_part,
        performed_start_date, performed_start_time, attributes, instance_count, created_at, updated_at)
     values (1, 1, '1.1.1', 'CT', 1, '', '', '20260110', '1000', x'', 1, 0, 0),
        (2, 1, '1.1.2', 'SR', 2, '', '', '', '', x'', 1, 0, 0),
        (3, 2, '1.2.1', 'MR', null, '', '', '', '', x'', 1, 0, 0)",
    "insert into series_request values (1, 0, 'S1', 'R1'), (1, 1, 'S2', 'R2')",
    "insert into instance (id, series, study, sop_instance_uid, sop_class_uid, transfer_syntax, instance_number,
        rows, blob_key, size_bytes, sha256, dataset_sha256, layout, metadata, source, source_aet, created_at)
     values (1, 1, 1, '1.1.1.1', '1.5', '1.6', 1, 4, 'k', 1, x'', x'', x'', x'', 's', '', 0),
        (2, 2, 1, '1.1.2.1', '1.7', '1.6', 1, null, 'l', 1, x'', x'', x'', x'', 's', '', 0),
        (3, 3, 2, '1.2.1.1', '1.5', '1.6', null, 4, 'm', 1, x'', x'', x'', x'', 's', '', 0)",
];

/// Patient Age, Station Name and a private attribute in the stored attributes of their level.
fn documents() -> Batch {
    let stored = |json: &str| zstd::encode_all(json.as_bytes(), 1).unwrap();
    let study = r#"{"00080020":{"vr":"DA","Value":["20260110"]},"00080030":{"vr":"TM","Value":["0030"]},
        "00080201":{"vr":"SH","Value":["+0100"]},"00101010":{"vr":"AS","Value":["040Y"]}}"#;
    let series = r#"{"00081010":{"vr":"SH","Value":["CT1"]}}"#;
    let instance = r#"{"00090010":{"vr":"LO","Value":["ACME"]},"00091001":{"vr":"LO","Value":["private"]}}"#;
    let set = |sql: &'static str, json: &str| Statement::named("document", sql).bind(stored(json));
    Batch::new()
        .then(set("update study set attributes = $1 where id = 1", study))
        .then(set("update study set attributes = $1 where id > 1", "{}"))
        .then(set("update series set attributes = $1 where id = 1", series))
        .then(set("update series set attributes = $1 where id > 1", "{}"))
        .then(set("update instance set metadata = $1 where id = 1", instance))
        .then(set("update instance set metadata = $1 where id > 1", "{}"))
}

fn request(level: Level, pairs: &[(&str, &str)]) -> SearchRequest {
    let fuzzy = pairs.contains(&("fuzzymatching", "true"));
    let options = Options { fuzzy, empty_values: true, ..Options::default() };
    let keys = keys::parse(level, pairs.iter().copied(), options).unwrap();
    SearchRequest {
        level,
        study: None,
        series: None,
        keys: keys.keys,
        zone: keys.zone,
        include: Include::default(),
        limit: 10,
        offset: 0,
        reach: Reach::Everything,
    }
}

const SCAN_MAX: usize = 100;

async fn search(db: &Db, request: &SearchRequest, scan_max: usize) -> Result<Page, SearchError> {
    search::search(db, &Places::default(), request, scan_max).await
}

async fn find(level: Level, pairs: &[(&str, &str)]) -> Page {
    let index = index().await;
    search(&index.db, &request(level, pairs), SCAN_MAX).await.unwrap()
}

/// The last component of what an answer is about.
fn ends(page: &Page) -> Vec<String> {
    let end = |found: &Found| {
        let study = found.study.as_ref().map(|uid| uid.to_string());
        let series = found.series.as_ref().map(|uid| uid.to_string());
        let instance = found.instance.as_ref().map(|uid| uid.to_string());
        instance.or(series).or(study).unwrap_or_default()
    };
    page.found.iter().map(end).collect()
}

async fn check_at(level: Level, pairs: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(ends(&find(level, pairs).await), expected, "{pairs:?}");
}

/// Of studies, `1` or `2`.
async fn check(pairs: &[(&str, &str)], expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|end| format!("1.{end}")).collect();
    assert_eq!(ends(&find(Level::Study, pairs).await), expected, "{pairs:?}");
}

#[tokio::test]
async fn names_match_in_any_case_and_by_any_group() {
    check(&[("PatientName", "a^ann^^")], &["1"]).await;
    check(&[("PatientName", "安*")], &["1"]).await;
    check(&[("PatientName", "=安")], &["1"]).await;
    check(&[("PatientName", "bo^*")], &["2"]).await;
    check(&[("PatientName", "a?a*")], &["1"]).await;
    check(&[("PatientName", "ann")], &[]).await;
    check(&[("ReferringPhysicianName", "d*"), ("PatientName", "*o")], &["2"]).await;
}

#[tokio::test]
async fn fuzzy_names_match_by_word_and_sound_q20() {
    let fuzzy = ("fuzzymatching", "true");
    check(&[("PatientName", "an"), fuzzy], &["1"]).await;
    check(&[("PatientName", "Anne"), fuzzy], &["1"]).await;
    check(&[("PatientName", "*n*"), fuzzy], &["1"]).await;
    check(&[("PatientName", "ann bo"), fuzzy], &[]).await;
}

#[tokio::test]
async fn wildcards_are_the_only_special_characters_q7_q8_q9() {
    check(&[("StudyDescription", "*50%*")], &["2"]).await;
    check(&[("StudyDescription", "*5%e*")], &[]).await;
    check(&[("StudyDescription", "c?est")], &["1"]).await;
    check(&[("PatientID", "P_")], &[]).await;
    check(&[("PatientID", "p1")], &[]).await;
}

#[tokio::test]
async fn ranges_are_inclusive_and_never_match_the_empty_value_q12_q13() {
    check(&[("StudyDate", "20260110-20260320")], &["2", "1"]).await;
    check(&[("StudyDate", "-20260110")], &["1"]).await;
    check(&[("StudyDate", "20260111-")], &["2"]).await;
    check(&[("StudyTime", "-1015")], &["1"]).await;
    check(&[("StudyTime", "1015")], &["1"]).await;
    check(&[("StudyTime", "1016-")], &[]).await;
}

#[tokio::test]
async fn a_date_and_its_time_are_one_interval_q13b() {
    check(&[("StudyDate", "20260109-20260111"), ("StudyTime", "2300-0100")], &["1"]).await;
    check(&[("StudyDate", "20260110-20260111"), ("StudyTime", "1016-0100")], &[]).await;
    check(&[("StudyDate", "20260109-20260110"), ("StudyTime", "2300-1015")], &["1"]).await;
}

/// The stored attributes say half past midnight at +0100.
#[tokio::test]
async fn dates_are_compared_on_the_clock_of_the_request_q13c() {
    check(&[("StudyDate", "20260109"), ("TimezoneOffsetFromUTC", "+0000")], &["1"]).await;
    check(&[("StudyDate", "20260110"), ("TimezoneOffsetFromUTC", "+0000")], &[]).await;
    check(&[("StudyTime", "0130"), ("TimezoneOffsetFromUTC", "+0200")], &["1"]).await;
}

#[tokio::test]
async fn any_modality_matches_and_all_are_listed_q15() {
    let page = find(Level::Study, &[("ModalitiesInStudy", "SR,XX")]).await;
    let listed = page.found[0].value(tags::MODALITIES_IN_STUDY).unwrap();
    assert_eq!((page.found.len(), listed), (1, &Cell::List(vec!["CT".into(), "SR".into()])));
    check(&[("ModalitiesInStudy", "C")], &[]).await;
}

#[tokio::test]
async fn empty_values_are_found_q21() {
    check(&[("AccessionNumber", "\"\"")], &["2"]).await;
    check(&[("PatientAge", "\"\"")], &["2"]).await;
    check_at(Level::Instance, &[("InstanceNumber", "\"\"")], &["1.2.1.1"]).await;
}

#[tokio::test]
async fn keys_of_every_level_filter_q43() {
    check_at(Level::Series, &[("SeriesNumber", "2")], &["1.1.2"]).await;
    check_at(Level::Series, &[("PerformedProcedureStepStartDate", "20260110")], &["1.1.1"]).await;
    check_at(Level::Series, &[("PerformedProcedureStepStartTime", "-1030")], &["1.1.1"]).await;
    check_at(Level::Instance, &[("SOPClassUID", "1.7")], &["1.1.2.1"]).await;
    check_at(Level::Instance, &[("Modality", "MR"), ("PatientName", "bo")], &["1.2.1.1"]).await;
    check_at(Level::Instance, &[("Rows", "4"), ("InstanceNumber", "1")], &["1.1.1.1"]).await;
}

#[tokio::test]
async fn requests_match_within_one_item_q30_q31() {
    let step = |step: &'static str| ("RequestAttributesSequence.ScheduledProcedureStepID", step);
    let procedure = ("RequestAttributesSequence.RequestedProcedureID", "R2");
    check_at(Level::Series, &[step("S*")], &["1.1.1"]).await;
    check_at(Level::Series, &[step("S2"), procedure], &["1.1.1"]).await;
    check_at(Level::Instance, &[step("S1"), procedure], &[]).await;
}

#[tokio::test]
async fn what_no_column_holds_is_compared_with_the_attributes_themselves() {
    check(&[("PatientAge", "04*")], &["1"]).await;
    check_at(Level::Series, &[("StationName", "CT1"), ("PatientAge", "040Y")], &["1.1.1"]).await;
    check_at(Level::Instance, &[("00091001", "private"), ("00090010", "ACME")], &["1.1.1.1"]).await;
    check_at(Level::Instance, &[("00091001", "private"), ("00090010", "OTHER")], &[]).await;
}

#[tokio::test]
async fn a_search_that_would_look_at_too_much_is_refused_q45() {
    let index = index().await;
    let broad = search(&index.db, &request(Level::Series, &[("StationName", "CT1")]), 2).await;
    assert!(matches!(broad, Err(SearchError::TooBroad { scan_max: 2 })));
    let narrow = request(Level::Series, &[("StationName", "CT1"), ("PatientID", "P1")]);
    assert_eq!(search(&index.db, &narrow, 2).await.unwrap().found.len(), 1);
}

#[tokio::test]
async fn pages_tell_what_is_behind_them_q16_q17() {
    let index = index().await;
    for pairs in [&[][..], &[("StationName", "*1")], &[("AccessionNumber", "*")]] {
        let mut request = request(Level::Series, pairs);
        let whole = search(&index.db, &request, SCAN_MAX).await.unwrap();
        request.limit = 1;
        for offset in 0..whole.found.len() {
            request.offset = offset as u32;
            let page = search(&index.db, &request, SCAN_MAX).await.unwrap();
            assert_eq!(
                (ends(&page)[0].as_str(), page.remaining as usize),
                (ends(&whole)[offset].as_str(), whole.found.len() - 1 - offset)
            );
        }
    }
}

#[tokio::test]
async fn attributes_of_levels_above_come_only_where_the_path_leaves_them_open_q26() {
    let index = index().await;
    let mut request = request(Level::Instance, &[("PatientID", "P1")]);
    let open = search(&index.db, &request, SCAN_MAX).await.unwrap();
    assert!(open.found.len() == 2 && open.found[0].value(tags::PATIENT_ID).is_some());
    request.study = Some("1.1".parse().unwrap());
    request.series = Some("1.1.2".parse().unwrap());
    let named = search(&index.db, &request, SCAN_MAX).await.unwrap();
    assert!(named.found.len() == 1 && named.found[0].value(tags::PATIENT_ID).is_none());
}

#[tokio::test]
async fn patients_are_those_with_studies_and_tell_their_counts() {
    let index = index().await;
    let mut request = request(Level::Patient, &[]);
    request.include.paths = vec![tags::NUMBER_OF_PATIENT_RELATED_INSTANCES.into()];
    let page = search(&index.db, &request, SCAN_MAX).await.unwrap();
    assert_eq!(page.found.len(), 2);
    assert_eq!(*page.found[0].value(tags::NUMBER_OF_PATIENT_RELATED_INSTANCES).unwrap(), Cell::Number(2));
    assert!(page.found[1].value(tags::ISSUER_OF_PATIENT_ID).unwrap().is_empty());
}

#[tokio::test]
async fn every_attribute_can_be_selected_at_every_level() {
    let index = index().await;
    for level in [Level::Patient, Level::Study, Level::Series, Level::Instance] {
        let mut request = request(level, &[]);
        request.include.all = true;
        request.include.paths = ATTRIBUTES.iter().map(|attribute| attribute.tag.into()).collect();
        let page = search(&index.db, &request, SCAN_MAX).await.unwrap();
        let within = ATTRIBUTES.iter().filter(|attribute| attribute.level <= level);
        assert_eq!(page.found[0].values.len(), within.count());
        assert_eq!(page.found[0].json.len(), columns::documents(level, &Reach::Everything).len());
    }
}

/// What SQLite says it would do with a page.
async fn explained(request: &SearchRequest) -> String {
    explained_statement(Plan::of(request).page_statement(None)).await
}

async fn explained_statement(mut statement: Statement) -> String {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::sqlite_for_test(dir.path());
    let index = filled(dir, db).await;
    statement.sql = format!("explain query plan {}", statement.sql).into();
    let rows = index.db.read(statement).await.unwrap();
    rows.iter().map(|row| row.text(3).unwrap().to_owned() + "; ").collect()
}

/// Twelve instances of one study, and what tells of them.
const MORE: &[&str] = &[
    "insert into instance (id, series, study, sop_instance_uid, sop_class_uid, transfer_syntax, blob_key,
        size_bytes, sha256, dataset_sha256, layout, metadata, source, source_aet, created_at)
     select 10 * a.id + b.id + 100, 1, 1, '1.1.1.' || (10 * a.id + b.id + 100), '1.5', '1.6', 'k', 1,
        instance.sha256, instance.sha256, instance.layout, instance.metadata, 's', '', 0
     from study a, series b, instance where instance.id = 1",
    "insert into change (at, kind, study_uid) values (1, 'instance-stored', '1.1')",
];

async fn add(index: &Index, rows: &[&'static str]) {
    let statements = rows.iter().map(|&sql| Statement::fixture(sql));
    index.db.run(statements.fold(Batch::new(), Batch::then)).await.unwrap();
}

/// The pages of two that a client gets that walks to the end, and what each says is behind it.
async fn walked(index: &Index, places: &Places, level: Level) -> Vec<(Vec<String>, u64)> {
    let (mut request, mut pages) = (request(level, &[]), Vec::new());
    request.limit = 2;
    loop {
        let page = search::search(&index.db, places, &request, SCAN_MAX).await.unwrap();
        pages.push((ends(&page), page.remaining));
        request.offset += 2;
        if page.remaining == 0 {
            return pages;
        }
    }
}

#[tokio::test]
async fn pages_are_the_same_by_what_is_known_of_them() {
    let (index, places) = (index().await, Places::deeper_than(0));
    add(&index, MORE).await;
    for level in [Level::Patient, Level::Study, Level::Series, Level::Instance] {
        let plain = walked(&index, &Places::default(), level).await;
        for _ in 0..2 {
            assert_eq!(walked(&index, &places, level).await, plain);
        }
    }
}

#[tokio::test]
async fn a_change_is_seen_whatever_is_known() {
    let (index, places) = (index().await, Places::deeper_than(0));
    add(&index, &MORE[1..]).await;
    let before = walked(&index, &places, Level::Instance).await;
    add(&index, MORE).await;
    let after = walked(&index, &places, Level::Instance).await;
    assert_eq!(after, walked(&index, &Places::default(), Level::Instance).await);
    assert!(after.len() > before.len());
}

#[tokio::test]
async fn a_page_behind_a_known_place_is_not_walked_to() {
    let mut deep = request(Level::Instance, &[]);
    deep.offset = 40_000;
    let place = Place { version: 1, offset: 40_000, key: vec![Value::Int(7), Value::Int(9)] };
    let statement = Plan::of(&deep).page_statement(Some(&place));
    assert!(statement.sql.contains("(instance.study, instance.id) <= ($1, $2)"), "{}", statement.sql);
    let plan = explained_statement(statement).await;
    assert!(plan.contains("COVERING INDEX instance_study (study<?)"), "{plan}");
}

#[test]
fn nothing_is_kept_for_who_sees_a_part() {
    let mut request = request(Level::Instance, &[]);
    request.reach = groups(&[1], false);
    assert!(Plan::of(&request).identity().is_none());
}

#[tokio::test]
async fn pages_follow_an_index_and_are_not_sorted() {
    let mut deep = request(Level::Instance, &[]);
    deep.offset = 40_000;
    let dated = [("StudyDate", "20260101-20261231"), ("ModalitiesInStudy", "CT")];
    for (request, index) in [
        (request(Level::Study, &[]), "study USING COVERING INDEX study_newest"),
        (
            request(Level::Study, &dated),
            "study USING COVERING INDEX study_newest (study_date>? AND study_date<?)",
        ),
        (request(Level::Series, &[]), "series USING COVERING INDEX series_study"),
        (
            request(Level::Series, &[("Modality", "CT")]),
            "series USING COVERING INDEX series_modality (modality=?)",
        ),
        (deep, "instance USING COVERING INDEX instance_study"),
    ] {
        let plan = explained(&request).await;
        let found_rows = plan.split("SCAN page").next().unwrap();
        assert!(found_rows.contains(index) && !found_rows.contains("TEMP B-TREE"), "{plan}");
    }
}

#[tokio::test]
async fn the_beginning_of_a_name_is_a_range_of_its_index() {
    let plan = explained(&request(Level::Study, &[("PatientName", "do*")])).await;
    assert!(plan.contains("patient_name (name_folded>? AND name_folded<?)"), "{plan}");
}

#[tokio::test]
async fn the_instances_of_a_series_are_read_in_the_order_of_their_numbers() {
    let mut request = request(Level::Instance, &[]);
    request.study = Some("1.1".parse().unwrap());
    request.series = Some("1.1.1".parse().unwrap());
    let plan = explained(&request).await;
    let found_rows = plan.split("SCAN page").next().unwrap();
    assert!(
        found_rows.contains("instance_series (series=?)") && !found_rows.contains("TEMP B-TREE"),
        "{plan}"
    );
}

/// Study 1.1 in group 1, study 1.2 in none.
async fn of_groups() -> Index {
    let index = index().await;
    let mut batch = Batch::new();
    for sql in [
        "insert into owner_group (id, name, created_at, updated_at) values (1, 'north', 0, 0), (2, 'south', 0, 0)",
        "insert into study_group (study_uid, owner_group, added_at) values ('1.1', 1, 0)",
    ] {
        batch.push(Statement::fixture(sql));
    }
    index.db.run(batch).await.unwrap();
    index
}

async fn within(index: &Index, level: Level, pairs: &[(&str, &str)], reach: Reach) -> Page {
    let request = SearchRequest { reach, ..request(level, pairs) };
    search(&index.db, &request, 10).await.unwrap()
}

fn groups(ids: &[i64], ungrouped: bool) -> Reach {
    Reach::Groups { ids: ids.to_vec(), ungrouped, drafts: true }
}

#[tokio::test]
async fn what_is_beyond_the_reach_is_not_found_at_any_level() {
    let index = of_groups().await;
    let cases = [
        (groups(&[1], true), [2, 2, 3, 3]),
        (groups(&[1], false), [1, 1, 2, 2]),
        (groups(&[2], true), [1, 1, 1, 1]),
        (groups(&[2], false), [0; 4]),
        (groups(&[], true), [1, 1, 1, 1]),
        (Reach::nothing(), [0; 4]),
        (Reach::Everything, [2, 2, 3, 3]),
    ];
    for (reach, expected) in cases {
        let mut found = [0; 4];
        for (at, level) in
            [Level::Patient, Level::Study, Level::Series, Level::Instance].into_iter().enumerate()
        {
            found[at] = within(&index, level, &[], reach.clone()).await.found.len();
        }
        assert_eq!(found, expected, "{reach:?}");
    }
}

#[tokio::test]
async fn what_is_beyond_the_reach_is_not_counted() {
    let index = of_groups().await;
    let limited = SearchRequest { limit: 1, reach: groups(&[1], false), ..request(Level::Series, &[]) };
    assert_eq!(search(&index.db, &limited, 10).await.unwrap().remaining, 1);
    let move_second = "update study set patient = 1 where id = 2";
    index.db.run(Batch::new().then(Statement::named("move", move_second))).await.unwrap();
    let two = [("NumberOfPatientRelatedStudies", "2")];
    assert_eq!(within(&index, Level::Patient, &two, Reach::Everything).await.found.len(), 1);
    assert_eq!(within(&index, Level::Patient, &two, groups(&[1], false)).await.found.len(), 0);
    let one = [("NumberOfPatientRelatedStudies", "1")];
    assert_eq!(within(&index, Level::Patient, &one, groups(&[1], false)).await.found.len(), 1);
}

#[tokio::test]
async fn what_is_beyond_the_reach_is_not_compared() {
    let index = of_groups().await;
    let by_station = within(&index, Level::Series, &[("StationName", "CT1")], groups(&[2], true)).await;
    assert!(by_station.found.is_empty());
    let own = within(&index, Level::Series, &[("StationName", "CT1")], groups(&[1], false)).await;
    assert_eq!(own.found.len(), 1);
}

#[test]
fn who_reaches_everything_asks_for_no_group() {
    for level in [Level::Patient, Level::Study, Level::Series, Level::Instance] {
        let request = request(level, &[]);
        let statement = Plan::of(&request).page_statement(None);
        assert!(!statement.sql.contains("study_group"), "{}", statement.sql);
    }
}
