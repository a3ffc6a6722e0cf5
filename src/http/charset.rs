//! Character sets of answers: UTF-8 and no other (PS3.18 8.8.5).

use http::HeaderMap;
use http::header::ACCEPT_CHARSET;

use super::error::HttpError;
use super::negotiation::{Accept, NotAcceptable};
use super::query_string::QueryString;

const SUPPORTED: [&str; 2] = ["utf-8", "utf8"];

pub(super) fn is_supported(name: &str) -> bool {
    SUPPORTED.iter().any(|known| name.trim().eq_ignore_ascii_case(known))
}

/// # Errors
/// 400 when every character set that the client names is unknown here, 406 when it only takes
/// others.
pub(super) fn check(headers: &HeaderMap, query: &QueryString) -> Result<(), HttpError> {
    if query.get("charset").is_some_and(|listed| !listed.split(',').any(is_supported)) {
        return Err(HttpError::bad_request("answers have the charset utf-8"));
    }
    if Accept::of(headers, query.get("accept")).wants_other_charset() {
        return Err(HttpError::bad_request("answers have the charset utf-8"));
    }
    let listed: Vec<&str> =
        headers.get_all(ACCEPT_CHARSET).iter().filter_map(|value| value.to_str().ok()).collect();
    let takes = |one: &str| is_supported(name_of(one)) || name_of(one) == "*";
    if listed.is_empty() || listed.iter().any(|line| line.split(',').any(takes)) {
        return Ok(());
    }
    Err(NotAcceptable { available: "charset=utf-8".to_owned() }.into())
}

/// Without its quality.
fn name_of(listed: &str) -> &str {
    listed.split(';').next().unwrap_or("").trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{ACCEPT, HeaderName};

    #[track_caller]
    fn check_one(header: HeaderName, value: &'static str, query: &str, expected: Option<u16>) {
        let headers = HeaderMap::from_iter([(header, value.parse().unwrap())]);
        let found = check(&headers, &QueryString::parse(query).unwrap()).err();
        assert_eq!(found.map(|error| error.status().as_u16()), expected, "{value} {query}");
    }

    #[test]
    fn utf8_is_the_only_character_set_g17() {
        check_one(ACCEPT, "application/dicom+json", "", None);
        check_one(ACCEPT, "application/dicom+json; charset=\"UTF-8\"", "charset=utf-8", None);
        check_one(ACCEPT, "application/dicom+json; charset=iso-8859-1", "", Some(400));
        check_one(ACCEPT, "application/dicom+xml; charset=latin1, application/dicom+json", "", None);
        check_one(ACCEPT, "*/*", "charset=shift_jis", Some(400));
        check_one(ACCEPT_CHARSET, "iso-8859-1, utf-8;q=0.5", "", None);
        check_one(ACCEPT_CHARSET, "iso-8859-1", "", Some(406));
        check_one(ACCEPT_CHARSET, "*", "", None);
    }
}
