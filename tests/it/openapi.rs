//! The description of the REST API is kept, so that a change of it is seen.

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/openapi.json");

/// `RADIANT_WRITE=1` writes it anew.
#[test]
fn the_description_of_the_api_is_the_one_that_is_kept() {
    let document = radiant::http::api_document();
    if std::env::var_os("RADIANT_WRITE").is_some() {
        std::fs::write(PATH, &document).unwrap();
    }
    let kept = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(kept == document, "schema/openapi.json is old: RADIANT_WRITE=1 cargo test --test it openapi");
}
