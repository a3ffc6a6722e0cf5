//! What the Content-Type of a request says about its body, PS3.18 8.6.1 and 10.5.1.

use http::header::HeaderValue;

use super::super::json;
use crate::dicom::xml;
use crate::http::error::HttpError;
use crate::http::negotiation::MediaType;

pub(super) const DICOM: &str = "application/dicom";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packaging {
    /// One object is the body; outside the standard, and what several clients send.
    Single,
    Multipart {
        boundary: String,
        root: Root,
    },
}

/// What the first part of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// Every part is an object.
    Object,
    /// Metadata of objects; their bulk data follows.
    Json,
    Xml,
}

impl Root {
    fn of(media_type: &str) -> Option<Self> {
        match media_type {
            DICOM => Some(Self::Object),
            json::MEDIA_TYPE | "application/json" => Some(Self::Json),
            xml::MEDIA_TYPE => Some(Self::Xml),
            _ => None,
        }
    }

    /// Whether a part of this media type is metadata.
    pub(super) fn names(self, media_type: &str) -> bool {
        self != Self::Object && Self::of(media_type) == Some(self)
    }
}

impl Packaging {
    pub(super) fn of(content_type: Option<&HeaderValue>) -> Result<Self, HttpError> {
        let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or("");
        let media_type = MediaType::parse(text);
        match media_type.as_ref().map(|parsed| (parsed.essence.as_str(), parsed)) {
            Some((DICOM, _)) => Ok(Self::Single),
            Some(("multipart/related", parsed)) => Self::multipart(parsed),
            _ => Err(HttpError::UnsupportedMediaType(
                "objects are stored as multipart/related; type=\"application/dicom\"",
            )),
        }
    }

    fn multipart(media_type: &MediaType) -> Result<Self, HttpError> {
        let named = media_type.parameter("type").unwrap_or(DICOM).to_ascii_lowercase();
        let root = Root::of(&named).ok_or(HttpError::UnsupportedMediaType(
            "what is stored is of type application/dicom, application/dicom+json or application/dicom+xml",
        ))?;
        let boundary = media_type.parameter("boundary").filter(|text| is_boundary(text));
        let boundary = boundary
            .ok_or_else(|| HttpError::bad_request("the boundary has 1 to 70 characters of RFC 2046"))?;
        Ok(Self::Multipart { boundary: boundary.to_owned(), root })
    }
}

/// RFC 2046 5.1.1.
fn is_boundary(text: &str) -> bool {
    let is_bchar = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    (1..=70).contains(&text.len()) && text.bytes().all(is_bchar) && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[track_caller]
    fn check(content_type: &str, expected: Result<Packaging, StatusCode>) {
        let value = HeaderValue::from_str(content_type).unwrap();
        assert_eq!(Packaging::of(Some(&value)).map_err(|error| error.status()), expected);
    }

    fn of(root: Root) -> Result<Packaging, StatusCode> {
        Ok(Packaging::Multipart { boundary: "b".into(), root })
    }

    #[test]
    fn quoted_and_unquoted_types_are_taken_s10_s11_s14_g8() {
        let multipart = || of(Root::Object);
        check(r#"multipart/related; type="application/dicom"; boundary="b""#, multipart());
        check("multipart/related;type=application/dicom;boundary=b", multipart());
        check("multipart/related; type=\"application/dicom+JSON\"; boundary=b", of(Root::Json));
        check("multipart/related; type=\"application/dicom+xml\"; boundary=b", of(Root::Xml));
        check("application/dicom", Ok(Packaging::Single));
        check("application/json", Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        check("multipart/related; type=\"application/dicom\"", Err(StatusCode::BAD_REQUEST));
        check("multipart/related; type=image/png; boundary=b", Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }

    #[test]
    fn a_boundary_has_1_to_70_characters_of_its_own_g14() {
        let with =
            |boundary: &str| format!("multipart/related; type=application/dicom; boundary=\"{boundary}\"");
        check(&with("a 'b?"), Ok(Packaging::Multipart { boundary: "a 'b?".into(), root: Root::Object }));
        for bad in ["", "x{", "end ", &"b".repeat(71)] {
            check(&with(bad), Err(StatusCode::BAD_REQUEST));
        }
    }
}
