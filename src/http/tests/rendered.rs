//! Rendered resources and thumbnails, through the whole stack.

use dicom_core::value::DataSetSequence;
use image::AnimationDecoder;
use image::codecs::gif::GifDecoder;

use super::*;
use crate::blobs::BlobKey;

const INSTANCE: &str = "/dicom-web/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1";
const STATE: &str = "/dicom-web/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.9";

fn levels(reply: &Reply) -> Vec<u8> {
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    image::load_from_memory(&reply.body).unwrap().into_luma8().into_raw()
}

async fn statuses(bench: &Bench, paths: &[&str]) -> Vec<StatusCode> {
    let mut statuses = Vec::new();
    for path in paths {
        statuses.push(bench.get(&format!("{INSTANCE}{path}"), &[]).await.status);
    }
    statuses
}

#[tokio::test]
async fn jpeg_is_the_default_and_png_and_gif_are_there_w28_w29() {
    let bench = Bench::filled().await;
    let default = bench.get(&format!("{INSTANCE}/frames/1/rendered"), &[]).await;
    assert_eq!(default.header(CONTENT_TYPE), "image/jpeg");
    for media_type in ["image/png", "image/gif"] {
        let reply = bench.accepting(&format!("{INSTANCE}/frames/1/rendered"), media_type).await;
        assert_eq!((reply.header(CONTENT_TYPE), levels(&reply)[0]), (media_type, 0));
    }
    assert_eq!(bench.accepting(&format!("{INSTANCE}/rendered"), "image/jp2").await.status, 406);
}

#[tokio::test]
async fn several_frames_are_parts_or_one_animation_w28() {
    let bench = Bench::filled().await;
    let animated = bench.accepting(&format!("{INSTANCE}/rendered"), "image/gif").await;
    let frames = GifDecoder::new(std::io::Cursor::new(animated.body.to_vec())).unwrap().into_frames();
    assert_eq!(frames.collect_frames().unwrap().len(), 2);
    let each = "multipart/related; type=\"image/png\"";
    assert_eq!(parts(&bench.accepting(&format!("{INSTANCE}/rendered"), each).await).await.len(), 2);
    let asked = bench.accepting(&format!("{INSTANCE}/frames/2,1,2/rendered"), each).await;
    assert_eq!(parts(&asked).await.len(), 3);
    let missing = bench.get(&format!("{INSTANCE}/frames/3/rendered"), &[]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_window_a_region_and_a_flip_are_applied_w30_w32() {
    let bench = Bench::filled().await;
    let frame = format!("{INSTANCE}/frames/1/rendered?accept=image/png");
    let windowed = bench.get(&format!("{frame}&window=3,2,linear-exact"), &[]).await;
    assert_eq!(levels(&windowed)[..6], [0, 0, 0, 128, 255, 255]);
    let flipped = format!("{frame}&window=12,24,linear-exact&viewport=2,1,0,0,-2,1");
    assert_eq!(levels(&bench.get(&flipped, &[]).await), [11, 0]);
    let beyond = bench.get(&format!("{frame}&viewport=2,1,6,0,,"), &[]).await;
    assert_eq!(beyond.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn bad_parameters_are_refused_w31_w32_w33_w33c() {
    let bench = Bench::filled().await;
    let bad = [
        "/rendered?window=40,400",
        "/rendered?quality=0",
        "/rendered?quality=101",
        "/rendered?viewport=0,5",
        "/rendered?iccprofile=maybe",
        "/rendered?iccprofile=srgb&accept=image/gif",
        "/thumbnail?viewport=5,5,1,1,2,2",
    ];
    assert_eq!(statuses(&bench, &bad).await, [StatusCode::BAD_REQUEST; 7]);
    assert_eq!(statuses(&bench, &["/rendered?unheard=of"]).await, [StatusCode::OK]);
}

#[tokio::test]
async fn annotation_is_burnt_in_and_an_unknown_one_warned_of_w33b() {
    let bench = Bench::filled().await;
    let picture =
        format!("{INSTANCE}/frames/1/rendered?accept=image/png&viewport=120,80&window=1000,1,linear");
    assert!(levels(&bench.get(&picture, &[]).await).iter().all(|level| *level == 0));
    let annotated = bench.get(&format!("{picture}&annotation=patient,weather"), &[]).await;
    assert!(levels(&annotated).iter().any(|level| *level > 200));
    assert!(annotated.headers["warning"].to_str().unwrap().starts_with("299 "));
}

#[tokio::test]
async fn thumbnails_are_small_and_without_text_w35() {
    let bench = Bench::filled().await;
    for path in ["/studies/1.2.3", "/studies/1.2.3/series/1.2.3.4"] {
        let reply = bench.get(&format!("/dicom-web{path}/thumbnail?annotation=patient"), &[]).await;
        assert_eq!((reply.status, reply.header(CONTENT_TYPE)), (StatusCode::OK, "image/jpeg"));
    }
    let small = bench.get(&format!("{INSTANCE}/frames/1/thumbnail?viewport=3,3"), &[]).await;
    assert_eq!(levels(&small).len(), 6);
}

#[tokio::test]
async fn a_study_is_rendered_image_by_image_w34() {
    let bench = Bench::filled().await;
    let reply = bench.get("/dicom-web/studies/1.2.3/rendered", &[]).await;
    assert!(reply.header(CONTENT_TYPE).starts_with("multipart/related; type=\"image/jpeg\""));
    assert_eq!(parts(&reply).await.len(), 2);
    let of_one_type = bench.accepting("/dicom-web/studies/1.2.3/rendered", "image/png").await;
    assert!(of_one_type.header(CONTENT_TYPE).starts_with("multipart/related; type=\"image/png\""));
}

#[tokio::test]
async fn a_picture_has_a_tag_of_its_parameters_g19() {
    let bench = Bench::filled().await;
    let tag = |reply: &Reply| reply.header(ETAG).to_owned();
    let path = format!("{INSTANCE}/frames/1/rendered");
    let known = tag(&bench.get(&path, &[]).await);
    assert_eq!(bench.get(&path, &[(IF_NONE_MATCH, &known)]).await.status, StatusCode::NOT_MODIFIED);
    assert_ne!(tag(&bench.get(&format!("{path}?quality=50"), &[]).await), known);
    assert_ne!(tag(&bench.accepting(&path, "image/png").await), known);
}

fn sequence(tag: dicom_core::Tag, items: Vec<InMemDicomObject>) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// Turns the first frame of the image by 90 degrees.
fn state(image: &str) -> Vec<u8> {
    let image = InMemDicomObject::from_element_iter([
        DataElement::new(tags::REFERENCED_SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
        DataElement::new(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, image),
        DataElement::new(tags::REFERENCED_FRAME_NUMBER, VR::IS, "1"),
    ]);
    let series = InMemDicomObject::from_element_iter([
        DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4"),
        sequence(tags::REFERENCED_IMAGE_SEQUENCE, vec![image]),
    ]);
    let own = vec![
        sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![series]),
        DataElement::new(tags::IMAGE_ROTATION, VR::US, dicom_value!(U16, [90])),
        DataElement::new(tags::PRESENTATION_LUT_SHAPE, VR::CS, "INVERSE"),
    ];
    file(uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE, "1.2.3.4.9", own)
}

#[tokio::test]
async fn a_presentation_state_shows_its_image_w34c() {
    let bench = Bench::filled().await;
    bench.store(&[state("1.2.3.4.1")]).await;
    let reply = bench.accepting(&format!("{STATE}/rendered"), "image/png").await;
    let picture = image::load_from_memory(&reply.body).unwrap().into_luma8();
    assert_eq!((picture.width(), picture.height()), (4, 6));
    // Frame 1 runs from 0 at the upper left to 23 at the lower right.
    assert_eq!((picture.get_pixel(3, 0).0, picture.get_pixel(0, 5).0), ([255], [0]));
}

#[tokio::test]
async fn a_presentation_state_takes_a_size_alone_and_needs_its_image_w32() {
    let bench = Bench::filled().await;
    bench.store(&[state("1.9.9")]).await;
    assert_eq!(bench.get(&format!("{STATE}/rendered"), &[]).await.status, StatusCode::NOT_FOUND);
    let cropped = bench.get(&format!("{STATE}/rendered?viewport=5,5,1,1,2,2"), &[]).await;
    assert_eq!(cropped.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_large_voi_table_in_a_sequence_is_applied_w34c() {
    let bench = Bench::new();
    let table = InMemDicomObject::from_element_iter([
        DataElement::new(tags::LUT_DESCRIPTOR, VR::US, dicom_value!(U16, [64, 0, 8])),
        DataElement::new(tags::LUT_DATA, VR::OW, PrimitiveValue::U16((0..64).map(|n| 255 - n).collect())),
    ]);
    let mut own = image_elements();
    own.push(sequence(tags::VOILUT_SEQUENCE, vec![table]));
    bench.store(&[file(uids::CT_IMAGE_STORAGE, "1.2.3.4.1", own)]).await;
    let reply = bench.accepting(&format!("{INSTANCE}/frames/1/rendered"), "image/png").await;
    assert_eq!(levels(&reply)[..3], [255, 254, 253]);
}

#[tokio::test]
async fn a_picture_is_drawn_once_and_kept() {
    let bench = Bench::filled().await;
    let thumbnail = format!("{INSTANCE}/thumbnail");
    let drawn = bench.get(&thumbnail, &[]).await;
    let kept = bench.state.answers.get(drawn.header(ETAG)).unwrap();
    assert_eq!(kept, drawn.body);
    let again = bench.get(&thumbnail, &[]).await;
    assert_eq!((again.body.as_ptr(), again.header(CONTENT_TYPE)), (kept.as_ptr(), "image/jpeg"));
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_picture_on_the_disk_needs_its_object_no_more_and_goes_with_it() {
    let bench = Bench::filled().await;
    let pictures = bench.dir.path().join("cache").join("pictures");
    let all = |instance| format!("{}.{instance}/frames/1,2/rendered", INSTANCE.strip_suffix(".1").unwrap());
    let each = "multipart/related; type=\"image/png\"";
    let drawn = bench.accepting(&all(2), each).await;
    bench.accepting(&all(1), each).await;
    assert_eq!((parts(&drawn).await.len(), files(&pictures).len()), (2, 4));
    let study = crate::query::Scope::Study("1.2.3".parse().unwrap());
    let instances = crate::db::retrieve::instances(&bench.state.db, &study, 0).await.unwrap();
    let first = instances.iter().find(|instance| instance.sop_instance.as_str().ends_with(".4.1")).unwrap();
    bench.state.blobs.delete(&BlobKey::from_index(&first.blob_key)).await.unwrap();
    assert_eq!(files(&pictures).len(), 2);
    files(&bench.dir.path().join("objects")).iter().for_each(|object| std::fs::remove_file(object).unwrap());
    assert_eq!(bench.accepting(&all(2), each).await.body, drawn.body);
    assert_eq!(bench.accepting(&all(1), each).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}
