//! Through the whole stack of one request: objects in by STOW-RS, out in every form.

mod api;
mod audit;
mod conditions;
mod drafts;
mod events;
mod exports;
mod fleet;
mod gate;
mod holds;
mod hooks;
mod https;
mod lifecycle;
mod rendered;
mod repeated;
mod retrieve;
mod search;
mod store;
mod tus;
mod uploading;
mod visibility;

use std::sync::Arc;

use bytes::Bytes;
use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use http::header::{
    ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, LOCATION, RANGE,
};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use hooks::Hooks;

use super::{body, service, *};
use crate::audit::recorder;
use crate::blobs::Keeping;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, DimseTls, OnDuplicate, Overrides, Preamble, StorageCache};
use crate::dicom::header;
use crate::dicom::uid::StudyUid;
use crate::export::content::{self, Downloads};
use crate::export::plan::Plan;
use crate::export::scu::Directory;
use crate::export::scu::association::Patience;
use crate::export::{self, commitment};
use crate::ingest::Policy;
use crate::jobs::Bell;
use crate::query::volumes::{self, Volumes};
use crate::reporting;
use crate::ul::tls::Tls;
use crate::uploads::{self, Uploads};

const SERIES: &str = "/dicom-web/studies/1.2.3/series/1.2.3.4";
const BOUNDARY: &str = "b";

struct Bench {
    dir: Arc<tempfile::TempDir>,
    state: Arc<State>,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: HeaderName) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

fn ends() -> urls::Ends {
    urls::Ends {
        local: "127.0.0.1:8080".parse().unwrap(),
        peer: "127.0.0.1:50000".parse().unwrap(),
        is_secure: false,
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let limits = Config::load(&Overrides::default()).unwrap().http.rate_limits;
        Self::made(settings, &limits, Arc::new(tempfile::tempdir().unwrap()), Keeping::Here)
    }

    /// One of several instances.
    fn of_a_fleet(dir: Arc<tempfile::TempDir>) -> Self {
        let limits = Config::load(&Overrides::default()).unwrap().http.rate_limits;
        Self::made(Settings::default(), &limits, dir, Keeping::Shared)
    }

    /// Another instance, with the same index and objects.
    fn beside(&self) -> Self {
        Self::of_a_fleet(Arc::clone(&self.dir))
    }

    fn limited(limits: &crate::config::RateLimits) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::made(Settings::default(), limits, dir, Keeping::Here)
    }

    fn made(
        settings: Settings,
        limits: &crate::config::RateLimits,
        dir: Arc<tempfile::TempDir>,
        keeping: Keeping,
    ) -> Self {
        let db = Db::for_test(dir.path());
        let pictures = StorageCache { bytes_max: 1 << 20, folder: None };
        let blobs = Blobs::open_local(dir.path()).unwrap().with_pictures(dir.path(), &pictures).unwrap();
        let ingest = Ingest::new(db.clone(), blobs.clone(), Clock::manual(Timestamp(1)), policy());
        let tls = Tls::load(&DimseTls::default()).unwrap();
        let directory = Directory::new(&[], "RADIANT", Patience::default(), tls);
        let commitments = Arc::new(Commitments::new(commitment::Parts {
            db: db.clone(),
            blobs: blobs.clone(),
            clock: Clock::manual(Timestamp(1)),
            bell: Bell::default(),
            directory: directory.clone(),
            settings: commitment::Settings::new(&Config::load(&Overrides::default()).unwrap()),
        }));
        let destinations = r#"[{ name = "the archive", url = "http://127.0.0.1:9/dicom-web" }]"#;
        let data_dir = dir.path().display().to_string();
        let keys = vec![("export.destinations", destinations.to_owned()), ("server.data_dir", data_dir)];
        let config = Config::load(&Overrides { file: None, keys }).unwrap();
        let parts = export::Parts {
            db: db.clone(),
            blobs: blobs.clone(),
            clock: Clock::manual(Timestamp(1)),
            bell: Bell::default(),
            decodes: Decodes::new(1),
            directory,
            commitments: Arc::clone(&commitments),
        };
        let downloads = Arc::new(Downloads::new(content::Parts {
            db: db.clone(),
            blobs: blobs.clone(),
            clock: parts.clock.clone(),
            bell: Bell::default(),
            decodes: Decodes::new(1),
            settings: config.downloads.clone(),
            keeping,
            folder: dir.path().join("downloads"),
        }));
        let exports = Arc::new(Exports::new(parts, &config).unwrap());
        let reporting = Arc::new(Reporting::new(reporting::Parts {
            db: db.clone(),
            blobs: blobs.clone(),
            ingest: ingest.clone(),
            clock: Clock::manual(Timestamp(1)),
            bell: Bell::default(),
            exports: Plan::default(),
            settings: config.report.clone(),
            serial_number: "1".into(),
        }));
        let (audit, writing) =
            Recorder::new(db.clone(), Clock::manual(Timestamp(1)), recorder::Settings::default());
        tokio::spawn(writing.run());
        let access = Access::new(db.clone(), Clock::System, &config).unwrap();
        let uploads = Arc::new(Uploads::new(uploads::Parts {
            db: db.clone(),
            blobs: blobs.clone(),
            ingest: ingest.clone(),
            clock: Clock::manual(Timestamp(1)),
            bell: Bell::default(),
            settings: config.uploads.clone(),
            keeping,
            server: "1".into(),
            instance_bytes_max: 1 << 20,
            release_delay: Duration::from_secs(1),
        }));
        let volumes = Arc::new(Volumes::new(volumes::Parts {
            db: db.clone(),
            blobs: blobs.clone(),
            decodes: Decodes::new(1),
            settings: config.volumes.clone(),
            bytes_max: 1 << 24,
        }));
        let state = Arc::new(State {
            access: Arc::new(access),
            exports,
            reporting,
            downloads,
            db,
            blobs,
            ingest,
            audit,
            // Placed side by side, instances would be indexed in any order.
            settings: Settings { parts_in_flight: 1, ..settings },
            analyses: Arc::new(Hooks),
            readiness: Arc::new(Hooks),
            commitments,
            decodes: Decodes::new(1),
            answers: Answers::new(1 << 20),
            rate_limits: RateLimits::from_config(limits),
            metrics: Arc::new(String::new),
            clock: Clock::manual(Timestamp(1)),
            live: Live::new(&config, Clock::manual(Timestamp(1)), uploads, volumes, CancellationToken::new()),
            totals: worklist::Totals::default(),
        });
        Self { dir, state }
    }

    /// With one series of two images and a PDF.
    async fn filled() -> Self {
        Self::filled_with(Settings::default()).await
    }

    async fn filled_with(settings: Settings) -> Self {
        let bench = Self::with(settings);
        // One after the other: parts of one request arrive in any order.
        for object in [image("1.2.3.4.1"), image("1.2.3.4.2"), document("1.2.3.4.3")] {
            let reply = bench.store(&[object]).await;
            assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
        }
        bench
    }

    async fn send(&self, mut request: Request<body::Body>) -> Reply {
        request.headers_mut().entry(HOST).or_insert("127.0.0.1:8080".parse().unwrap());
        let service = service::service(Arc::clone(&self.state), ends());
        // Boxed: a test of many requests has no room on its stack for each of them.
        let response = Box::pin(service.oneshot(request)).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(Into::<body::BoxError>::into).unwrap().to_bytes();
        Reply { status: head.status, headers: head.headers, body }
    }

    async fn get(&self, path: &str, headers: &[(HeaderName, &str)]) -> Reply {
        self.ask(Method::GET, path, headers).await
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(HeaderName, &str)]) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.send(request.body(body::empty()).unwrap()).await
    }

    async fn accepting(&self, path: &str, accept: &str) -> Reply {
        self.get(path, &[(ACCEPT, accept)]).await
    }

    async fn store(&self, parts: &[Vec<u8>]) -> Reply {
        let content_type = format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}");
        let request = Request::post("/dicom-web/studies").header(CONTENT_TYPE, content_type);
        self.send(request.body(body::full(multipart(parts))).unwrap()).await
    }
}

fn policy() -> Policy {
    Policy {
        instance_bytes_max: 1 << 20,
        header: header::Limits {
            inline_bytes_max: 64,
            header_bytes_max: 1 << 19,
            depth_max: 8,
            elements_max: 1000,
            fragments_max: 10_000,
        },
        sop_classes_extra: Vec::new(),
        on_duplicate: OnDuplicate::Reject,
        preamble: Preamble::Keep,
        picture_bytes_max: 1 << 20,
        concurrency: 4,
        quiet_time: Duration::from_secs(1),
    }
}

/// Begins with the CRLF that Python's client sends before the first boundary.
fn multipart(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut message = Vec::new();
    for part in parts {
        message.extend(format!("\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n").into_bytes());
        message.extend(part);
    }
    message.extend(format!("\r\n--{BOUNDARY}--").into_bytes());
    message
}

fn file(class: &str, instance: &str, own: Vec<DataElement<InMemDicomObject>>) -> Vec<u8> {
    let mut object = InMemDicomObject::from_element_iter([
        DataElement::new(tags::SOP_CLASS_UID, VR::UI, class),
        DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, instance),
        DataElement::new(tags::MODALITY, VR::CS, "CT"),
        DataElement::new(tags::PATIENT_NAME, VR::PN, "Phantom^One"),
        DataElement::new(tags::PATIENT_ID, VR::LO, "P1"),
        DataElement::new(tags::PATIENT_AGE, VR::AS, "040Y"),
        DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3"),
        DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4"),
    ]);
    own.into_iter().for_each(|element| drop(object.put(element)));
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut written = Vec::new();
    object.with_meta(meta).unwrap().write_all(&mut written).unwrap();
    written
}

fn image(instance: &str) -> Vec<u8> {
    file(uids::CT_IMAGE_STORAGE, instance, image_elements())
}

/// Two frames of 6 by 4 pixels.
fn image_elements() -> Vec<DataElement<InMemDicomObject>> {
    let number = |tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [value]));
    let pixels: Vec<u16> = (0..48).collect();
    vec![
        number(tags::ROWS, 4),
        number(tags::COLUMNS, 6),
        number(tags::SAMPLES_PER_PIXEL, 1),
        number(tags::BITS_ALLOCATED, 16),
        number(tags::BITS_STORED, 16),
        number(tags::HIGH_BIT, 15),
        number(tags::PIXEL_REPRESENTATION, 0),
        DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, "2"),
        DataElement::new(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())),
    ]
}

fn pdf_bytes() -> Vec<u8> {
    b"%PDF-1.7".iter().copied().cycle().take(400).collect()
}

fn document(instance: &str) -> Vec<u8> {
    let own = vec![
        DataElement::new(tags::ENCAPSULATED_DOCUMENT, VR::OB, PrimitiveValue::from(pdf_bytes())),
        DataElement::new(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, "application/pdf"),
    ];
    file(uids::ENCAPSULATED_PDF_STORAGE, instance, own)
}

fn little_endian(values: std::ops::Range<u16>) -> Vec<u8> {
    values.flat_map(u16::to_le_bytes).collect()
}

/// The contents of a multipart answer.
async fn parts(reply: &Reply) -> Vec<Bytes> {
    let boundary = reply.header(CONTENT_TYPE).split("boundary=").nth(1).unwrap();
    let body = reply.body.clone();
    let mut read = multer::Multipart::new(futures::stream::iter([Ok::<_, std::io::Error>(body)]), boundary);
    let mut parts = Vec::new();
    while let Some(part) = read.next_field().await.unwrap() {
        parts.push(part.bytes().await.unwrap());
    }
    parts
}

#[tokio::test]
async fn a_bad_part_does_not_disturb_the_good_one_s5_s6() {
    let bench = Bench::new();
    let reply = bench.store(&[b"no DICOM at all".to_vec(), image("1.2.3.4.1")]).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    let stored = &reply.json()["00081199"]["Value"][0];
    assert_eq!(stored["00081155"]["Value"][0], "1.2.3.4.1");
    assert!(reply.json()["0008119A"]["Value"][0]["00081197"]["Value"][0].is_u64());
    assert_eq!(bench.get(&format!("{SERIES}/instances/1.2.3.4.1"), &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn storing_twice_is_harmless_and_another_study_is_refused_s8_s21() {
    let bench = Bench::new();
    assert_eq!(bench.store(&[image("1.2.3.4.1")]).await.status, StatusCode::OK);
    assert_eq!(bench.store(&[image("1.2.3.4.1")]).await.status, StatusCode::OK);
    let request = Request::post("/dicom-web/studies/9.9").header(CONTENT_TYPE, "application/dicom");
    let reply = bench.send(request.body(body::full(image("1.2.3.4.2"))).unwrap()).await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    assert_eq!(bench.get("/dicom-web/instances", &[]).await.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_is_stored_for_who_cannot_read_the_answer_s12() {
    let bench = Bench::new();
    let request = Request::post("/dicom-web/studies").header(CONTENT_TYPE, "application/dicom");
    let request = request.header(ACCEPT, "text/html").body(body::full(image("1.2.3.4.1"))).unwrap();
    assert_eq!(bench.send(request).await.status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(bench.get("/dicom-web/studies", &[]).await.json(), serde_json::json!([]));
}

#[tokio::test]
async fn instances_come_back_bit_exact_in_both_packagings() {
    let bench = Bench::filled().await;
    let path = format!("{SERIES}/instances/1.2.3.4.1");
    let single = bench.accepting(&path, "application/dicom").await;
    assert_eq!(single.body, image("1.2.3.4.1"));
    let all =
        bench.accepting("/dicom-web/studies/1.2.3", "multipart/related; type=\"application/dicom\"").await;
    // Parts of one request are stored side by side: who is first is not said.
    let mut all = parts(&all).await;
    all.sort();
    let mut expected = [image("1.2.3.4.1"), image("1.2.3.4.2"), document("1.2.3.4.3")];
    expected.sort();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn a_search_answers_with_what_the_standard_asks_for_q3() {
    let bench = Bench::filled().await;
    let found = bench.get("/dicom-web/studies?PatientName=phantom%2A&includefield=PatientAge", &[]).await;
    assert_eq!(found.header(CONTENT_TYPE), "application/dicom+json");
    let study = &found.json()[0];
    for key in
        ["00080020", "00080030", "00080050", "00080061", "00080090", "00081190", "00100010", "00100020"]
    {
        assert!(study.get(key).is_some(), "{key}");
    }
    assert_eq!(study["00201208"]["Value"][0], 3);
    assert_eq!(study["00101010"]["Value"][0], "040Y");
    assert_eq!(study["00081190"]["Value"][0], "http://127.0.0.1:8080/dicom-web/studies/1.2.3");
    assert_eq!(bench.get("/dicom-web/studies?StudyDate=x", &[]).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn links_in_the_metadata_lead_to_the_bytes_w15_w16() {
    let bench = Bench::filled().await;
    let metadata = bench.get(&format!("{SERIES}/metadata"), &[]).await.json();
    assert_eq!(metadata.as_array().unwrap().len(), 3);
    let image = metadata.as_array().unwrap().iter().find(|one| one["7FE00010"].is_object()).unwrap();
    let url = image["7FE00010"]["BulkDataURI"].as_str().unwrap();
    let path = url.strip_prefix("http://127.0.0.1:8080").unwrap();
    assert_eq!(bench.accepting(path, "*/*").await.body, little_endian(0..48));
    let range = bench.get(path, &[(RANGE, "bytes=2-5")]).await;
    assert_eq!((range.status, range.body), (StatusCode::PARTIAL_CONTENT, little_endian(1..3).into()));
    assert_eq!(range.headers[CONTENT_RANGE], "bytes 2-5/96");
}

#[tokio::test]
async fn kept_metadata_is_given_again_until_something_is_added_g19() {
    let bench = Bench::filled().await;
    let path = format!("{SERIES}/metadata");
    let (made, kept) = (bench.get(&path, &[]).await, bench.get(&path, &[]).await);
    assert_eq!((&made.body, &made.headers[ETAG]), (&kept.body, &kept.headers[ETAG]));
    bench.store(&[image("1.2.3.4.9")]).await;
    let known = [(IF_NONE_MATCH, made.header(ETAG))];
    let changed = bench.get(&path, &known).await;
    assert_eq!((changed.status, changed.json().as_array().unwrap().len()), (StatusCode::OK, 4));
    let elsewhere = bench.get(&path, &[(HOST, "other:1")]).await;
    assert_ne!(elsewhere.body, changed.body);
}

#[tokio::test]
async fn metadata_and_matches_come_as_xml_too_q39() {
    let bench = Bench::filled().await;
    let several = "multipart/related; type=\"application/dicom+xml\"";
    for (path, count) in [("/dicom-web/studies", 1), (SERIES, 3)] {
        let path = if path == SERIES { format!("{path}/metadata") } else { path.to_owned() };
        let documents = parts(&bench.accepting(&path, several).await).await;
        assert_eq!(documents.len(), count);
        assert!(String::from_utf8_lossy(&documents[0]).contains("keyword=\"PatientName\""));
    }
    let one = format!("{SERIES}/instances/1.2.3.4.1/metadata");
    let document = bench.accepting(&one, "application/dicom+xml").await;
    assert_eq!(document.header(CONTENT_TYPE), "application/dicom+xml");
    let read = crate::dicom::xml::read(
        std::str::from_utf8(&document.body).unwrap(),
        crate::dicom::xml::Limits { depth_max: 9, elements_max: 999 },
    );
    let json = bench.accepting(&one, "application/dicom+json").await;
    assert_eq!(Value::Array(vec![read.unwrap().into()]), json.json());
    let of_three = bench.accepting(&format!("{SERIES}/metadata"), "application/dicom+xml").await;
    assert_eq!(of_three.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn frames_come_in_the_order_asked_and_all_or_none_w11_w12() {
    let bench = Bench::filled().await;
    let frames = format!("{SERIES}/instances/1.2.3.4.1/frames");
    let two = bench
        .accepting(
            &format!("{frames}/2,1"),
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
        )
        .await;
    assert_eq!(two.status, StatusCode::OK, "{:?}", two.body);
    assert_eq!(parts(&two).await, [little_endian(24..48), little_endian(0..24)]);
    let one = bench.accepting(&format!("{frames}/1"), "application/octet-stream").await;
    assert_eq!(one.body, little_endian(0..24));
    assert_eq!(bench.get(&format!("{frames}/1,3"), &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(bench.accepting(&format!("{frames}/1"), "image/jp2").await.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn images_are_rendered_and_documents_given_as_pdf_w28_w34b() {
    let bench = Bench::filled().await;
    let rendered = bench
        .get(&format!("{SERIES}/instances/1.2.3.4.1/frames/2/rendered?accept=image/png&viewport=12,12"), &[])
        .await;
    let picture = image::load_from_memory(&rendered.body).unwrap();
    assert_eq!((rendered.header(CONTENT_TYPE), picture.width(), picture.height()), ("image/png", 12, 8));
    let thumbnail = bench.accepting("/dicom-web/studies/1.2.3/thumbnail", "image/jpeg").await;
    assert_eq!((thumbnail.status, thumbnail.header(CONTENT_TYPE)), (StatusCode::OK, "image/jpeg"));
    let pdf = bench.get(&format!("{SERIES}/instances/1.2.3.4.3/rendered"), &[]).await;
    assert_eq!((pdf.header(CONTENT_TYPE), pdf.body.to_vec()), ("application/pdf", pdf_bytes()));
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_is_known_304_w7_g19() {
    let bench = Bench::filled().await;
    for path in
        ["/dicom-web/studies/9", "/dicom-web/studies/9/metadata", "/dicom-web/studies/1.2.3/series/9", "/x"]
    {
        assert_eq!(bench.get(path, &[]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/metadata", "/instances/1.2.3.4.1", "/instances/1.2.3.4.1/frames/1"] {
        let path = format!("{SERIES}{path}");
        let etag = bench.get(&path, &[]).await.headers[ETAG].to_str().unwrap().to_owned();
        assert_eq!(bench.get(&path, &[(IF_NONE_MATCH, &etag)]).await.status, StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body_g15() {
    let bench = Bench::filled().await;
    let request = Request::head(format!("{SERIES}/instances/1.2.3.4.1")).header(ACCEPT, "application/dicom");
    let request = request.header(http::header::RANGE, "bytes=0-1");
    let reply = bench.send(request.body(body::empty()).unwrap()).await;
    assert_eq!(reply.header(CONTENT_LENGTH), image("1.2.3.4.1").len().to_string());
    assert!(reply.body.is_empty());
    let refused = bench.ask(Method::PUT, "/dicom-web/studies", &[]).await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.header(ALLOW), "GET, HEAD, POST, OPTIONS");
}

#[tokio::test]
async fn the_rest_api_shows_studies_and_takes_requests() {
    let bench = Bench::filled().await;
    let study = bench.get("/api/v1/studies/1.2.3", &[]).await.json();
    assert_eq!((&study["patient"]["id"], study["series"].as_array().unwrap().len()), (&Value::from("P1"), 1));
    let request = Request::post("/api/v1/studies/1.2.3/analyses").body(body::empty()).unwrap();
    let accepted = bench.send(request).await;
    assert_eq!(
        (accepted.status, accepted.header(LOCATION)),
        (StatusCode::ACCEPTED, "http://127.0.0.1:8080/api/v1/analyses/a1")
    );
    let request =
        Request::post("/api/v1/studies/1.2.3/analyses").body(body::full(r#"{"pipeline":"x"}"#)).unwrap();
    assert_eq!(bench.send(request).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(bench.get("/api/v1/reports/none", &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_missing_model_degrades_but_the_server_is_ready() {
    let ready = Bench::new().get("/readyz", &[]).await;
    assert_eq!(ready.status, StatusCode::OK);
    assert_eq!(ready.json()["parts"]["model"]["reason"], "no model configured");
    assert_eq!(ready.json()["parts"]["storage"]["state"], "ready");
}
