//! Retrieval: instances, frames and bulk data in every form.

use dicom_core::value::{PixelFragmentSequence, Value as ElementValue};

use super::*;

fn in_syntax(syntax: &str, mut object: InMemDicomObject, own: Vec<DataElement<InMemDicomObject>>) -> Vec<u8> {
    own.into_iter().for_each(|element| drop(object.put(element)));
    let mut written = Vec::new();
    let meta = FileMetaTableBuilder::new().transfer_syntax(syntax);
    object.with_meta(meta).unwrap().write_all(&mut written).unwrap();
    written
}

fn elements(file: &[u8]) -> InMemDicomObject {
    dicom_object::from_reader(file).unwrap().into_inner()
}

fn fragments(fragments: Vec<Vec<u8>>) -> DataElement<InMemDicomObject> {
    let pixels = PixelFragmentSequence::new_fragments(fragments);
    DataElement::new(tags::PIXEL_DATA, VR::OB, ElementValue::PixelSequence(pixels))
}

/// One fragment of two bytes per frame: the number of the frame.
fn many_frames(instance: &str, frames: u16) -> Vec<u8> {
    let count = DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, frames.to_string());
    let pixels = fragments((1..=frames).map(|number| number.to_le_bytes().to_vec()).collect());
    in_syntax(uids::JPEG2000, elements(&image(instance)), vec![count, pixels])
}

#[tokio::test]
async fn one_frame_of_many_is_found_whatever_its_number() {
    let bench = Bench::new();
    assert_eq!(bench.store(&[many_frames("1.2.3.4.1", 1500)]).await.status, StatusCode::OK);
    for number in [1_u16, 512, 513, 1500] {
        let path = format!("{SERIES}/instances/1.2.3.4.1/frames/{number}");
        let frame = bench.accepting(&path, "image/jp2; transfer-syntax=*").await;
        assert_eq!((frame.status, frame.body.to_vec()), (StatusCode::OK, number.to_le_bytes().to_vec()));
    }
    let beyond = bench.get(&format!("{SERIES}/instances/1.2.3.4.1/frames/1,1501"), &[]).await;
    assert_eq!(beyond.status, StatusCode::NOT_FOUND);
}

fn instance_path(instance: &str) -> String {
    format!("{SERIES}/instances/{instance}")
}

/// The transfer syntax and the data set of a Part 10 file.
fn read(file: &[u8]) -> (String, InMemDicomObject) {
    let object = dicom_object::from_reader(file).unwrap();
    (object.meta().transfer_syntax().to_owned(), object.into_inner())
}

fn pixels(object: &InMemDicomObject) -> Vec<u8> {
    object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned()
}

async fn holding(files: &[Vec<u8>]) -> Bench {
    let bench = Bench::new();
    let reply = bench.store(files).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    bench
}

fn implicit(instance: &str) -> Vec<u8> {
    in_syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN, elements(&image(instance)), Vec::new())
}

#[tokio::test]
async fn stored_implicit_comes_back_explicit_g10_g12() {
    let bench = holding(&[implicit("1.2.3.4.1")]).await;
    let path = instance_path("1.2.3.4.1");
    let default = bench.accepting(&path, "application/dicom").await;
    let (syntax, object) = read(&default.body);
    assert_eq!((syntax.as_str(), pixels(&object)), (uids::EXPLICIT_VR_LITTLE_ENDIAN, little_endian(0..48)));
    assert_eq!(default.header(CONTENT_TYPE), "application/dicom; transfer-syntax=1.2.840.10008.1.2.1");
    assert_eq!(default.header(CONTENT_LENGTH), default.body.len().to_string());
    let any = bench.accepting(&path, "application/dicom; transfer-syntax=*").await;
    assert_eq!(any.body, default.body);
    let named = bench.accepting(&path, "application/dicom; transfer-syntax=1.2.840.10008.1.2").await;
    assert_eq!(named.status, StatusCode::NOT_ACCEPTABLE);
    let as_stored = bench.configured(|settings| settings.retired_as_stored = true);
    let stored = as_stored.accepting(&path, "application/dicom; transfer-syntax=*").await;
    assert_eq!(stored.body, implicit("1.2.3.4.1"));
    assert_eq!(stored.header(CONTENT_TYPE), "application/dicom; transfer-syntax=1.2.840.10008.1.2");
}

#[tokio::test]
async fn every_encodable_syntax_gives_back_the_pixels_g9_w37() {
    let bench = holding(&[image("1.2.3.4.1")]).await;
    let path = instance_path("1.2.3.4.1");
    for encoding in [
        uids::RLE_LOSSLESS,
        uids::JPEG_LOSSLESS_SV1,
        uids::JPEGXL_LOSSLESS,
        uids::DEFLATED_IMAGE_FRAME_COMPRESSION,
    ] {
        let reply = bench.accepting(&path, &format!("application/dicom; transfer-syntax={encoding}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{encoding} {:?}", reply.body);
        let (syntax, _) = read(&reply.body);
        assert_eq!(syntax, encoding);
        // Stored as it was given, it decodes to what it was.
        let again = holding(&[reply.body.to_vec()]).await;
        let frames = again
            .accepting(&format!("{path}/frames/2,1"), "multipart/related; type=\"application/octet-stream\"")
            .await;
        assert_eq!(parts(&frames).await, [little_endian(24..48), little_endian(0..24)], "{encoding}");
        let explicit = again.accepting(&path, "application/dicom").await;
        assert_eq!(pixels(&read(&explicit.body).1), little_endian(0..48), "{encoding}");
    }
    for refused in [uids::JPEG_BASELINE8_BIT, uids::JPEG2000_LOSSLESS, uids::MPEG4HP41] {
        let reply = bench.accepting(&path, &format!("application/dicom; transfer-syntax={refused}")).await;
        assert_eq!(reply.status, StatusCode::NOT_ACCEPTABLE, "{refused}");
    }
}

#[tokio::test]
async fn a_deflated_object_inflates_and_deflates_g10() {
    let bench = holding(&[image("1.2.3.4.1")]).await;
    let path = instance_path("1.2.3.4.1");
    let deflated = bench.accepting(&path, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1.99").await;
    let again = holding(&[deflated.body.to_vec()]).await;
    let (syntax, object) = read(&again.accepting(&path, "application/dicom").await.body);
    assert_eq!((syntax.as_str(), pixels(&object)), (uids::EXPLICIT_VR_LITTLE_ENDIAN, little_endian(0..48)));
}

/// Grey of 8 bits, 16 by 16.
fn gray(instance: &str) -> Vec<u8> {
    let number = |tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [value]));
    let own = vec![
        number(tags::ROWS, 16),
        number(tags::COLUMNS, 16),
        number(tags::BITS_ALLOCATED, 8),
        number(tags::BITS_STORED, 8),
        number(tags::HIGH_BIT, 7),
        DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, "1"),
        DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from((0..=255).collect::<Vec<u8>>())),
    ];
    in_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN, elements(&image(instance)), own)
}

#[tokio::test]
async fn a_lossy_copy_is_another_instance_that_names_its_source() {
    let bench = holding(&[gray("1.2.3.4.1")]).await;
    let accept = "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50";
    let reply = bench.accepting(&instance_path("1.2.3.4.1"), accept).await;
    let (syntax, object) = read(&reply.body);
    let text = |tag| object.element(tag).unwrap().to_str().unwrap().into_owned();
    assert_eq!(
        (syntax.as_str(), text(tags::LOSSY_IMAGE_COMPRESSION).as_str()),
        (uids::JPEG_BASELINE8_BIT, "01")
    );
    assert_eq!(text(tags::LOSSY_IMAGE_COMPRESSION_METHOD), "ISO_10918_1");
    assert_ne!(text(tags::SOP_INSTANCE_UID), "1.2.3.4.1");
    let source = object.element(tags::SOURCE_IMAGE_SEQUENCE).unwrap().items().unwrap();
    let referenced = source[0].element(tags::REFERENCED_SOP_INSTANCE_UID).unwrap().to_str().unwrap();
    assert_eq!(referenced, "1.2.3.4.1");
    let again = bench.accepting(&instance_path("1.2.3.4.1"), accept).await;
    assert_eq!(again.body, reply.body);
}

#[tokio::test]
async fn frames_are_given_in_the_media_type_asked_w14b() {
    let bench = holding(&[image("1.2.3.4.1")]).await;
    let path = format!("{}/frames/1", instance_path("1.2.3.4.1"));
    for (media_type, syntax, begin) in [
        ("image/dicom-rle", uids::RLE_LOSSLESS, [2, 0]),
        ("image/jpeg", uids::JPEG_LOSSLESS_SV1, [0xFF, 0xD8]),
        ("image/jxl", uids::JPEGXL_LOSSLESS, [0xFF, 0x0A]),
    ] {
        let reply = bench.accepting(&path, media_type).await;
        assert_eq!(reply.header(CONTENT_TYPE), format!("{media_type}; transfer-syntax={syntax}"));
        assert_eq!(reply.body[..2], begin, "{media_type}");
    }
    let octets = bench.accepting(&path, "*/*").await;
    let part_type = "multipart/related; type=\"application/octet-stream\"";
    assert!(octets.header(CONTENT_TYPE).starts_with(part_type), "{}", octets.header(CONTENT_TYPE));
    let jp2 = bench.accepting(&path, "image/jp2").await;
    assert_eq!(jp2.status, StatusCode::NOT_ACCEPTABLE);
    assert!(String::from_utf8_lossy(&jp2.body).contains("image/dicom-rle"), "{:?}", jp2.body);
}

#[tokio::test]
async fn media_types_of_two_kinds_and_wildcards_in_the_query_are_refused_g3_g5() {
    let bench = holding(&[image("1.2.3.4.1")]).await;
    let path = instance_path("1.2.3.4.1");
    assert_eq!(bench.accepting(&path, "application/dicom, image/jpeg").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(bench.get(&format!("{path}?accept=*/*"), &[]).await.status, StatusCode::BAD_REQUEST);
    let query = format!("{path}?accept=application/dicom%3Btransfer-syntax=*");
    assert_eq!(bench.accepting(&query, "text/html").await.body, image("1.2.3.4.1"));
}

#[tokio::test]
async fn a_request_without_accept_is_refused_only_where_configured_g4() {
    let bench = holding(&[image("1.2.3.4.1")]).await;
    let path = instance_path("1.2.3.4.1");
    assert_eq!(bench.get(&path, &[]).await.status, StatusCode::OK);
    let strict = bench.configured(|settings| settings.accept_required = true);
    assert_eq!(strict.get(&path, &[]).await.status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(strict.accepting(&path, "*/*").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_scope_comes_as_zip_w36() {
    let bench = Bench::filled().await;
    let reply = bench.accepting("/dicom-web/studies/1.2.3", "application/zip").await;
    assert_eq!(reply.header(CONTENT_TYPE), "application/zip");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(reply.body.to_vec())).unwrap();
    let mut files = Vec::new();
    for at in 0..archive.len() {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut archive.by_index(at).unwrap(), &mut bytes).unwrap();
        files.push(bytes);
    }
    files.sort();
    let mut expected = [image("1.2.3.4.1"), image("1.2.3.4.2"), document("1.2.3.4.3")];
    expected.sort();
    assert_eq!(files, expected);
    assert!(archive.file_names().all(|name| name.unwrap().starts_with("SE000001/IM00000")));
}

#[tokio::test]
async fn a_part_of_an_instance_or_a_frame_is_given_w17() {
    let bench = holding(&[image("1.2.3.4.1")]).await;
    let path = instance_path("1.2.3.4.1");
    let part = bench.get(&path, &[(ACCEPT, "application/dicom"), (RANGE, "bytes=128-131")]).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &b"DICM"[..]));
    let headers = [(ACCEPT, "application/octet-stream"), (RANGE, "bytes=-4")];
    let part = bench.get(&format!("{path}/frames/1"), &headers).await;
    assert_eq!((part.status, part.body), (StatusCode::PARTIAL_CONTENT, little_endian(22..24).into()));
    let beyond = bench.get(&path, &[(ACCEPT, "application/dicom"), (RANGE, "bytes=99999-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn documents_are_given_as_what_they_are_and_as_octets() {
    let bench = Bench::filled().await;
    let path = format!("{}/bulkdata/00420011", instance_path("1.2.3.4.3"));
    let pdf =
        "multipart/related; type=\"application/pdf\", multipart/related; type=\"application/octet-stream\"";
    let reply = bench.accepting(&path, pdf).await;
    assert!(reply.header(CONTENT_TYPE).starts_with("multipart/related; type=\"application/pdf\""));
    assert_eq!(parts(&reply).await, [pdf_bytes()]);
    assert_eq!(reply.header(CONTENT_LENGTH), reply.body.len().to_string());
    let octets = bench.accepting(&path, "application/octet-stream").await;
    assert_eq!(octets.body, pdf_bytes());
}

#[tokio::test]
async fn pixel_data_and_bulk_data_of_a_scope_come_in_parts() {
    let bench = Bench::filled().await;
    let frames = bench.accepting("/dicom-web/studies/1.2.3/pixeldata", "*/*").await;
    assert_eq!(parts(&frames).await.len(), 4);
    let values = bench.accepting(&format!("{SERIES}/bulkdata"), "*/*").await;
    let mut lengths: Vec<usize> = parts(&values).await.iter().map(Bytes::len).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [96, 96, 400]);
    let none = format!("{}/pixeldata", instance_path("1.2.3.4.3"));
    assert_eq!(bench.get(&none, &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_a_cache_may_do_is_said_with_every_entity_tag_g19() {
    let bench = holding(&[image("1.2.3.4.1"), image("1.2.3.4.2")]).await;
    let path = instance_path("1.2.3.4.1");
    let of_instance = [
        "",
        "/frames/1",
        "/bulkdata/7FE00010",
        "/metadata",
        "/rendered",
        "/frames/1,2/rendered",
        "/thumbnail",
    ];
    let of_series = ["", "/metadata", "/rendered", "/thumbnail", "/pixeldata", "/bulkdata"];
    let of_instance = of_instance.map(|resource| format!("{path}{resource}"));
    let of_series = of_series.map(|resource| format!("{SERIES}{resource}"));
    for path in of_instance.into_iter().chain(of_series) {
        let reply = bench.get(&path, &[]).await;
        assert_eq!(reply.headers[http::header::CACHE_CONTROL], "private, no-cache", "{path}");
        let again = bench.get(&path, &[(IF_NONE_MATCH, reply.header(ETAG))]).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!(again.header(ETAG), reply.header(ETAG));
        assert_eq!(bench.get(&path, &[]).await.body, reply.body, "{path}");
    }
    for path in [format!("{SERIES}/metadata"), "/dicom-web/instances".to_owned()] {
        let xml = "multipart/related; type=\"application/dicom+xml\"";
        let twice = [bench.accepting(&path, xml).await, bench.accepting(&path, xml).await];
        assert_eq!((twice[0].header(ETAG), &twice[0].body), (twice[1].header(ETAG), &twice[1].body));
    }
}

#[tokio::test]
async fn a_shared_cache_keeps_what_is_configured_and_neither_matches_nor_errors_g19() {
    let bench = holding(&[image("1.2.3.4.1")]).await;
    let bench = bench.configured(|settings| settings.cache_control = "public, max-age=300".into());
    let uids = "studyUID=1.2.3&seriesUID=1.2.3.4&objectUID=1.2.3.4.1";
    for (path, expected) in [
        (instance_path("1.2.3.4.1"), "public, max-age=300"),
        (format!("{SERIES}/thumbnail"), "public, max-age=300"),
        (format!("/wado?requestType=WADO&{uids}"), "public, max-age=300"),
        ("/dicom-web/studies".to_owned(), "private, no-cache"),
        (instance_path("1.9"), "no-store"),
    ] {
        let reply = bench.get(&path, &[]).await;
        assert_eq!(reply.headers[http::header::CACHE_CONTROL], expected, "{path}");
    }
}

#[tokio::test]
async fn parts_that_tell_another_address_have_another_tag_g20() {
    let bench = holding(&[image("1.2.3.4.1")]).await;
    let path = instance_path("1.2.3.4.1");
    for (resource, media_type) in
        [("rendered", "image/png"), ("bulkdata/7FE00010", "application/octet-stream")]
    {
        let (path, accept) =
            (format!("{path}/{resource}"), format!("multipart/related; type=\"{media_type}\""));
        let mut tags = Vec::new();
        for host in ["a:1", "b:1"] {
            let reply = bench.get(&path, &[(http::header::HOST, host), (ACCEPT, &accept)]).await;
            tags.push(reply.header(ETAG).to_owned());
        }
        assert_ne!(tags[0], tags[1], "{resource}");
    }
}

#[tokio::test]
async fn a_document_with_scripts_in_it_runs_nothing() {
    let bench = Bench::new();
    let page = b"<x xmlns='http://www.w3.org/1999/xhtml'><script>1</script></x>".to_vec();
    let own = vec![
        DataElement::new(tags::ENCAPSULATED_DOCUMENT, VR::OB, PrimitiveValue::from(page)),
        DataElement::new(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, "text/xml"),
    ];
    bench.store(&[file(uids::ENCAPSULATED_CDA_STORAGE, "1.2.3.4.5", own)]).await;
    let reply = bench.get(&format!("{}/bulkdata/00420011", instance_path("1.2.3.4.5")), &[]).await;
    assert_eq!(reply.header(CONTENT_TYPE), "text/xml");
    assert!(reply.header(http::header::CONTENT_SECURITY_POLICY).starts_with("default-src 'none';"));
    assert_eq!(reply.header(http::header::X_CONTENT_TYPE_OPTIONS), "nosniff");
}

#[tokio::test]
async fn an_instance_that_cannot_be_read_breaks_a_study_off_w44() {
    let bench = Bench::filled().await;
    bench.lose_one_object();
    let broken =
        bench.broken("/dicom-web/studies/1.2.3", "multipart/related; type=\"application/dicom\"").await;
    let zip = bench.broken("/dicom-web/studies/1.2.3", "application/zip").await;
    assert!(broken && zip);
}

#[tokio::test]
async fn an_object_is_retrieved_by_the_parameters_of_a_query_w45() {
    let bench = Bench::filled().await;
    let uids = "studyUID=1.2.3&seriesUID=1.2.3.4&objectUID=1.2.3.4.1";
    for root in ["/dicom-web", "/wado", "/dicom-web/wado"] {
        let query =
            format!("{root}?requestType=WADO&{uids}&contentType=application/dicom&transferSyntax=*&x=y");
        assert_eq!(bench.get(&query, &[]).await.body, image("1.2.3.4.1"), "{root}");
    }
    let wado = |query: &str| format!("/wado?requestType=WADO&{uids}&{query}");
    let picture = bench.get(&wado("contentType=image/jpeg&frameNumber=2&rows=2"), &[]).await;
    assert_eq!((picture.status, picture.header(CONTENT_TYPE)), (StatusCode::OK, "image/jpeg"));
    let png = bench.get(&wado("contentType=image/png,image/jpeg&windowCenter=20&windowWidth=40"), &[]).await;
    assert_eq!(png.header(CONTENT_TYPE), "image/png");
    for (query, expected) in [
        ("frameNumber=3", StatusCode::NOT_FOUND),
        ("frameNumber=0", StatusCode::BAD_REQUEST),
        ("windowCenter=1", StatusCode::BAD_REQUEST),
        ("anonymize=yes", StatusCode::BAD_REQUEST),
        ("contentType=application/dicom&transferSyntax=1.2.840.10008.1.2.4.90", StatusCode::NOT_ACCEPTABLE),
        ("contentType=text/html", StatusCode::NOT_ACCEPTABLE),
    ] {
        assert_eq!(bench.get(&wado(query), &[]).await.status, expected, "{query}");
    }
    assert_eq!(bench.get(&format!("/wado?{uids}"), &[]).await.status, StatusCode::BAD_REQUEST);
    let other = "/wado?requestType=WADO&studyUID=1.2.3&seriesUID=1.2.3.4&objectUID=9";
    assert_eq!(bench.get(other, &[]).await.status, StatusCode::NOT_FOUND);
}

impl Bench {
    /// The same archive under other settings.
    fn configured(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut Arc::get_mut(&mut self.state).unwrap().settings);
        self
    }

    /// The bytes of one stored object are gone, its row is not.
    fn lose_one_object(&self) {
        let mut folders = vec![self.dir.path().join("objects")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                match entry.is_dir() {
                    true => folders.push(entry),
                    false if entry.to_string_lossy().contains("1.2.3.4.2.") => {
                        std::fs::remove_file(entry).unwrap()
                    }
                    false => {}
                }
            }
        }
    }

    /// Whether an answer ends before its end, or is an error from the start.
    async fn broken(&self, path: &str, accept: &str) -> bool {
        let request =
            Request::get(path).header(HOST, "h:1").header(ACCEPT, accept).body(body::empty()).unwrap();
        let service = service::service(Arc::clone(&self.state), ends());
        let response = service.oneshot(request).await.unwrap();
        response.status() == StatusCode::INTERNAL_SERVER_ERROR
            || response.into_body().collect().await.is_err()
    }
}
