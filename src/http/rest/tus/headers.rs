//! The headers of tus 1.0.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::http::error::HttpError;
use crate::uploads::resume::Expected;

pub(in crate::http::rest) const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(super) const VERSION: HeaderName = HeaderName::from_static("tus-version");
pub(super) const EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
pub(super) const MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
pub(super) const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
pub(in crate::http::rest) const LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub(in crate::http::rest) const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(in crate::http::rest) const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub(in crate::http::rest) const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
pub(super) const CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
pub(super) const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

pub(super) const EXTENSIONS: &str = "creation,creation-with-upload,termination,expiration,checksum";
pub(super) const ALGORITHMS: &str = "sha1,sha256,sha512";

const METADATA_BYTES_MAX: usize = 8192;

pub(super) fn one_point_zero(headers: &HeaderMap) -> bool {
    headers.get(RESUMABLE).is_some_and(|version| version == "1.0.0")
}

pub(super) fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, HttpError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok()).filter(|number| i64::try_from(*number).is_ok());
    number.map(Some).ok_or_else(|| HttpError::bad_request(format!("{name} is a whole number from 0")))
}

/// `Upload-Metadata`: keys with values in base64, separated by commas.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) as_it_came: Option<String>,
    /// Of the key `filename`, or `name`.
    pub(super) name: Option<String>,
}

pub(super) fn metadata(headers: &HeaderMap) -> Result<Metadata, HttpError> {
    let Some(value) = headers.get(METADATA) else { return Ok(Metadata::default()) };
    let refused = || HttpError::bad_request("Upload-Metadata is a list of keys with values in base64");
    let text = value.to_str().ok().filter(|text| text.len() <= METADATA_BYTES_MAX).ok_or_else(refused)?;
    let mut metadata = Metadata { as_it_came: Some(text.to_owned()), name: None };
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = STANDARD.decode(value.trim()).map_err(|_| refused())?;
        if key == "filename" || (key == "name" && metadata.name.is_none()) {
            metadata.name = Some(String::from_utf8_lossy(&value).into_owned());
        }
    }
    Ok(metadata)
}

/// `Upload-Checksum`: an algorithm and a digest in base64.
pub(super) fn checksum(value: &HeaderValue) -> Result<Expected, HttpError> {
    let refused = || HttpError::bad_request(format!("Upload-Checksum is one of {ALGORITHMS} and base64"));
    let (name, digest) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refused)?;
    let algorithm = match name {
        "sha1" => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha256" => &ring::digest::SHA256,
        "sha512" => &ring::digest::SHA512,
        _ => return Err(refused()),
    };
    let digest = STANDARD.decode(digest.trim()).map_err(|_| refused())?;
    Ok(Expected { algorithm, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn metadata_has_the_name_of_the_file() {
        let read = |value| metadata(&with(METADATA, value));
        assert_eq!(read("filename YS56aXA=,x").unwrap().name.as_deref(), Some("a.zip"));
        assert_eq!(read("name YQ==,filename Yg==").unwrap().name.as_deref(), Some("b"));
        assert!(read("filename !").is_err());
    }

    #[test]
    fn numbers_are_digits() {
        for (value, expected) in [("0", Some(0)), ("12", Some(12))] {
            assert_eq!(number(&with(OFFSET, value), &OFFSET).unwrap(), expected);
        }
        for value in ["-1", "+1", "1.0", "", "99999999999999999999"] {
            assert!(number(&with(OFFSET, value), &OFFSET).is_err(), "{value}");
        }
        assert_eq!(number(&HeaderMap::new(), &OFFSET).unwrap(), None);
    }

    #[test]
    fn checksums_name_a_known_algorithm() {
        let read = |value| checksum(&HeaderValue::from_static(value));
        assert_eq!(read("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").unwrap().digest.len(), 20);
        assert!(read("md5 AAAA").is_err() && read("sha1").is_err() && read("sha1 !").is_err());
    }
}
