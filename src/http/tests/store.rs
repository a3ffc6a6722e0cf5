//! Storing: objects, and metadata with bulk data.

use serde_json::json;

use super::*;

const JSON: &str = "application/dicom+json";
const STUDIES: &str = "/dicom-web/studies";

impl Bench {
    /// `parts` are their headers and contents, behind a preamble and before an epilogue.
    async fn post(&self, root: &str, accept: &str, parts: &[(&str, &[u8])]) -> Reply {
        let mut message = b"a preamble".to_vec();
        for (head, content) in parts {
            message.extend(format!("\r\n--{BOUNDARY}\r\n{head}\r\n").into_bytes());
            message.extend(*content);
        }
        message.extend(format!("\r\n--{BOUNDARY}--\r\nan epilogue").into_bytes());
        let content_type = format!("multipart/related; type={root}; boundary={BOUNDARY}");
        let request = Request::post(STUDIES).header(CONTENT_TYPE, content_type).header(ACCEPT, accept);
        self.send(request.body(body::full(message)).unwrap()).await
    }
}

fn described_document() -> Vec<u8> {
    let text = |vr: &str, value: &str| json!({ "vr": vr, "Value": [value] });
    let metadata = json!([{
        "00080016": text("UI", uids::ENCAPSULATED_PDF_STORAGE), "00080018": text("UI", "1.2.3.4.9"),
        "0020000D": text("UI", "1.2.3"), "0020000E": text("UI", "1.2.3.4"),
        "00420011": { "vr": "OB", "BulkDataURI": "the/document" },
    }]);
    serde_json::to_vec(&metadata).unwrap()
}

const DOCUMENT_HEAD: &str = "Content-Type: application/pdf\r\nContent-Location: the/document\r\n";

#[tokio::test]
async fn metadata_and_a_document_become_an_object_s9d_s15_s17() {
    let bench = Bench::new();
    let parts = [("", &described_document()[..]), (DOCUMENT_HEAD, &pdf_bytes()[..])];
    let reply = bench.post(JSON, "*/*", &parts).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{:?}", reply.body);
    assert_eq!(reply.json()["00081199"]["Value"][0]["00081196"]["Value"][0], 0xB000);
    let found = bench.get(&format!("{SERIES}/instances/1.2.3.4.9/rendered"), &[]).await;
    assert_eq!((found.header(CONTENT_TYPE), found.body.to_vec()), ("application/pdf", pdf_bytes()));
    let metadata = bench.get(&format!("{SERIES}/instances/1.2.3.4.9/metadata"), &[]).await.json();
    assert_eq!(metadata[0]["04000561"]["Value"][0]["04000565"]["Value"][0], "COERCE");
}

#[tokio::test]
async fn bulk_data_and_metadata_belong_together_or_nothing_is_stored_s15() {
    let bench = Bench::new();
    let metadata = described_document();
    let alone = bench.post(JSON, "*/*", &[("", &metadata)]).await;
    assert_eq!(alone.status, StatusCode::CONFLICT);
    assert_eq!(alone.json()["00081198"]["Value"][0]["00081155"]["Value"][0], "1.2.3.4.9");
    let without = bench.post(JSON, "*/*", &[(DOCUMENT_HEAD, &pdf_bytes())]).await;
    assert_eq!(without.status, StatusCode::BAD_REQUEST);
    let foreign = "Content-Type: application/dicom+json; charset=utf-16\r\n";
    let foreign = bench.post(JSON, "*/*", &[(foreign, &metadata)]).await;
    assert_eq!(foreign.status, StatusCode::BAD_REQUEST);
    assert_eq!(bench.get("/dicom-web/instances", &[]).await.json(), json!([]));
}

#[tokio::test]
async fn metadata_has_a_limit_s19() {
    let bench = Bench::with(Settings { metadata_bytes_max: 64, ..Settings::default() });
    let reply = bench.post(JSON, "*/*", &[("", &described_document())]).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn parts_need_no_header_and_the_answer_is_xml_when_asked_s2_g14() {
    let bench = Bench::new();
    let reply = bench.post("application/dicom", "application/dicom+xml", &[("", &image("1.2.3.4.1"))]).await;
    assert_eq!((reply.status, reply.header(CONTENT_TYPE)), (StatusCode::OK, "application/dicom+xml"));
    assert!(reply.body.windows(8).any(|window| window == b"00081199"), "{:?}", reply.body);
    assert_eq!(reply.header(LOCATION), "http://127.0.0.1:8080/dicom-web/studies/1.2.3");
}

#[tokio::test]
async fn a_part_beyond_the_limit_is_413_with_what_was_stored_before_s19() {
    let bench = Bench::new();
    let mut large = image("1.2.3.4.2");
    large.resize(2 << 20, 0);
    let reply = bench.store(&[image("1.2.3.4.1"), large]).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(reply.json()["00081199"]["Value"][0]["00081155"]["Value"][0], "1.2.3.4.1");
    let failed = &reply.json()["00081198"]["Value"][0];
    assert_eq!(
        (&failed["00081155"]["Value"][0], &failed["00081197"]["Value"][0]),
        (&json!("1.2.3.4.2"), &json!(0xA700))
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_names_the_part_that_is_cut_s5_s9b() {
    let bench = Bench::new();
    let whole = multipart(&[image("1.2.3.4.1"), image("1.2.3.4.2")]);
    let content_type = format!("multipart/related; type=application/dicom; boundary={BOUNDARY}");
    let request = Request::post(STUDIES).header(CONTENT_TYPE, content_type);
    let reply = bench.send(request.body(body::full(whole[..whole.len() - 40].to_vec())).unwrap()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert_eq!(reply.json()["00081199"]["Value"][0]["00081155"]["Value"][0], "1.2.3.4.1");
    assert_eq!(reply.json()["0008119A"]["Value"][0]["00081197"]["Value"][0], 0x0110);
}
