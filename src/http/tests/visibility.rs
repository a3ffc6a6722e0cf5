//! What somebody cannot see is answered as if it were not there, whatever the endpoint.

use std::collections::BTreeMap;

use super::*;
use crate::auth::{Caller, Reach};
use crate::db::{Batch, Statement};
use crate::http::endpoint::Endpoint;
use crate::http::error::HttpError;
use crate::http::query_string::QueryString;
use crate::http::rest::{self, TABLE};
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::http::visible::{TEMPLATES, Template};

/// The study 1.2.3 belongs to group 1, with something of everything.
const ROWS: &[&str] = &[
    "insert into owner_group (id, name, created_at, updated_at) values (1, 'north', 0, 0), (2, 'south', 0, 0)",
    "insert into study_group (study_uid, owner_group, added_at) values ('1.2.3', 1, 0)",
    "insert into analysis (id, study_uid, pipeline, content_sha256, state, trigger_kind, queued_at)
     values ('hidden-1', '1.2.3', 'p', 'c', 'done', 'rule', 0)",
    "insert into finding (id, analysis, ordinal, finding, location, laterality, certainty)
     values ('hidden-1', 'hidden-1', 0, 'f', 'l', 'none', 'likely')",
    "insert into export (destination, subject, study_uid, content, rule, state, due_at, created_at, updated_at)
     values ('the archive', '1.2.3.4.1', '1.2.3', x'', 'r', 'sent', 0, 0, 0)",
];

async fn bench() -> Bench {
    let bench = Bench::filled().await;
    let batch = ROWS.iter().fold(Batch::new(), |batch, sql| batch.then(Statement::fixture(sql)));
    bench.state.db.run(batch).await.unwrap();
    bench
}

/// May everything, and is in group 2.
fn stranger() -> Caller {
    Caller { reach: Reach::Groups { ids: vec![2], ungrouped: true, drafts: true }, ..Caller::unrestricted() }
}

fn member() -> Caller {
    Caller { reach: Reach::Groups { ids: vec![1], ungrouped: false, drafts: true }, ..Caller::unrestricted() }
}

fn asked(caller: Caller, query: &str) -> Asked {
    Asked {
        headers: HeaderMap::new(),
        query: QueryString::parse(query).unwrap(),
        urls: Urls::at("http://127.0.0.1"),
        client: "127.0.0.1".parse().unwrap(),
        caller,
        request_id: "r".to_owned(),
    }
}

pub(super) async fn answer(bench: &Bench, method: &Method, path: &str, caller: Caller) -> Answer {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (state, asked) = (Arc::clone(&bench.state), asked(caller, query));
    let nothing = || body::inbound(body::empty(), limits(), 16 << 10);
    match Endpoint::parse(method, path).unwrap() {
        Endpoint::Rest(matched) => rest::handle(state, matched, asked, nothing()).await,
        Endpoint::Dicomweb(endpoint) => dicomweb::handle(state, endpoint, asked, nothing()).await,
        other => panic!("{other:?}"),
    }
}

fn limits() -> body::InboundLimits {
    body::InboundLimits { bytes_max: 1 << 20, idle_timeout: Duration::from_secs(60), rate_min: 0 }
}

/// Status, headers and body, the ids of the request put aside.
pub(super) async fn told(answer: Answer, ids: &BTreeMap<&'static str, &str>) -> String {
    let response = answer.unwrap_or_else(|error: HttpError| error.into_response("r"));
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = format!("{} {:?} {}", head.status, head.headers, String::from_utf8_lossy(&body));
    ids.values().fold(text, |text, id| text.replace(id, "ID"))
}

/// The value of each template, of the hidden study or of nothing.
fn ids(is_there: bool) -> BTreeMap<&'static str, &'static str> {
    let pairs = [
        ("study", ("1.2.3", "1.2.7")),
        ("series", ("1.2.3.4", "1.2.7.4")),
        ("instance", ("1.2.3.4.1", "1.2.7.4.1")),
        ("patient", ("1", "7")),
        ("export", ("1", "7")),
        ("group", ("1", "7")),
    ];
    let pick = |(there, absent)| if is_there { there } else { absent };
    let mut ids: BTreeMap<_, _> =
        TEMPLATES.iter().map(|(name, _)| (*name, pick(("hidden-1", "absent-1")))).collect();
    ids.extend(pairs.map(|(name, pair)| (name, pick(pair))));
    ids
}

fn filled(path: &str, ids: &BTreeMap<&'static str, &str>) -> String {
    ids.iter().fold(path.to_owned(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id))
}

fn is_secret(template: &str) -> bool {
    let known = TEMPLATES.iter().find(|(name, _)| *name == template).map(|(_, template)| template);
    !matches!(known, Some(Template::Unrelated | Template::Within))
}

#[tokio::test]
async fn every_id_of_the_api_is_hidden_from_strangers() {
    let bench = bench().await;
    let mut tried = 0;
    for route in TABLE.iter().flat_map(|rows| rows.iter()) {
        if !route.templates().any(is_secret) {
            continue;
        }
        let mut answers = Vec::new();
        for ids in [ids(true), ids(false)] {
            let path = format!("/api/v1/{}", filled(route.path, &ids));
            answers.push(told(answer(&bench, &route.method, &path, stranger()).await, &ids).await);
        }
        assert!(answers[0].starts_with("404"), "{} {}: {}", route.method, route.path, answers[0]);
        assert_eq!(answers[0], answers[1], "{} {}", route.method, route.path);
        tried += 1;
    }
    assert!(tried >= 10);
}

const RESOURCES: [&str; 16] = [
    "studies/{study}",
    "studies/{study}/metadata",
    "studies/{study}/rendered",
    "studies/{study}/thumbnail",
    "studies/{study}/pixeldata",
    "studies/{study}/bulkdata",
    "studies/{study}?accept=application/zip",
    "studies/{study}/series/{series}",
    "studies/{study}/series/{series}/metadata",
    "studies/{study}/series/{series}/thumbnail",
    "studies/{study}/series/{series}/instances/{instance}",
    "studies/{study}/series/{series}/instances/{instance}/metadata",
    "studies/{study}/series/{series}/instances/{instance}/frames/1",
    "studies/{study}/series/{series}/instances/{instance}/frames/1/rendered",
    "studies/{study}/series/{series}/instances/{instance}/bulkdata/7FE00010",
    "wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}",
];

#[tokio::test]
async fn every_resource_of_dicomweb_is_hidden_from_strangers() {
    let bench = bench().await;
    for resource in RESOURCES {
        let mut answers = Vec::new();
        for ids in [ids(true), ids(false)] {
            let path = format!("/dicom-web/{}", filled(resource, &ids));
            answers.push(told(answer(&bench, &Method::GET, &path, stranger()).await, &ids).await);
        }
        assert!(answers[0].starts_with("404"), "{resource}: {}", answers[0]);
        assert_eq!(answers[0], answers[1], "{resource}");
        let path = format!("/dicom-web/{}", filled(resource, &ids(true)));
        let seen = answer(&bench, &Method::GET, &path, member()).await;
        let status = seen.map_or_else(|error| error.status(), |response| response.status());
        assert_ne!(status, StatusCode::NOT_FOUND, "{resource}");
    }
}

#[tokio::test]
async fn searches_find_nothing_of_strangers() {
    let bench = bench().await;
    let searches = [
        "patients",
        "studies",
        "series",
        "instances",
        "studies/1.2.3/series",
        "studies/1.2.3/instances",
        "studies/1.2.3/series/1.2.3.4/instances",
    ];
    for search in searches {
        let found = answer(&bench, &Method::GET, &format!("/dicom-web/{search}"), stranger()).await;
        assert!(told(found, &BTreeMap::new()).await.ends_with(" []"), "{search}");
        let all = answer(&bench, &Method::GET, &format!("/dicom-web/{search}"), Caller::unrestricted()).await;
        assert!(!told(all, &BTreeMap::new()).await.ends_with(" []"), "{search}");
    }
}

#[tokio::test]
async fn what_was_deleted_is_gone_for_those_alone_who_saw_it() {
    let bench = bench().await;
    let scope = crate::query::Scope::Study("1.2.3".parse().unwrap());
    bench.state.ingest.delete(&scope, &crate::audit::Actor::system(), None).await.unwrap();
    let path = "/dicom-web/studies/1.2.3";
    let hidden = answer(&bench, &Method::GET, path, stranger()).await.unwrap_err();
    let gone = answer(&bench, &Method::GET, path, member()).await.unwrap_err();
    assert_eq!((hidden.status(), gone.status()), (StatusCode::NOT_FOUND, StatusCode::GONE));
}

#[tokio::test]
async fn an_answer_that_is_kept_is_not_given_to_strangers() {
    let bench = bench().await;
    let path = format!("{SERIES}/metadata");
    let known = answer(&bench, &Method::GET, &path, Caller::unrestricted()).await.unwrap();
    let tag = known.headers()[ETAG].clone();
    let mut asking = asked(stranger(), "");
    asking.headers.insert(IF_NONE_MATCH, tag);
    let Endpoint::Dicomweb(endpoint) = Endpoint::parse(&Method::GET, &path).unwrap() else { panic!() };
    let nothing = body::inbound(body::empty(), limits(), 16 << 10);
    let hidden = dicomweb::handle(Arc::clone(&bench.state), endpoint, asking, nothing).await;
    assert_eq!(hidden.unwrap_err().status(), StatusCode::NOT_FOUND);
}
