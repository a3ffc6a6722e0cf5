//! Which representation a client takes, PS3.18 8.7.
//!
//! A handler lists its [`Offer`]s in order of preference; [`Accept::choose`] finds the one that
//! the client likes best. The `accept` query parameter wins over the header (8.3.3.1), since
//! browsers cannot set the header of an `<img>`.

use http::HeaderMap;
use http::header::ACCEPT;

use super::charset;

/// A parsed media type with its parameters, names in lower case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MediaType {
    /// `application/dicom`, in lower case, without parameters.
    pub(crate) essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Quoted and unquoted parameter values are equal, PS3.18 8.7.1.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = split_unquoted(text, ';');
        let essence = parts.next()?.trim().to_ascii_lowercase();
        if !essence.contains('/') {
            return None;
        }
        let parameters = parts.filter_map(parameter).collect();
        Some(Self { essence, parameters })
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn quality(&self) -> f32 {
        self.parameter("q").and_then(|q| q.parse().ok()).unwrap_or(1.0)
    }
}

fn parameter(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let value = value.trim();
    let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    Some((name.trim().to_ascii_lowercase(), unquoted.to_owned()))
}

/// Splits where the separator does not stand between double quotes.
pub(super) fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// One representation that a resource has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Of the content, of each part for multipart.
    pub(crate) media_type: &'static str,
    pub(crate) packaging: Packaging,
    pub(crate) transfer_syntax: Option<String>,
    /// What lies in the archive: the first choice for `transfer-syntax=*`.
    pub(crate) is_stored: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packaging {
    Single,
    Multipart,
}

impl Offer {
    pub(crate) fn single(media_type: &'static str) -> Self {
        Self { media_type, packaging: Packaging::Single, transfer_syntax: None, is_stored: false }
    }

    pub(crate) fn multipart(media_type: &'static str) -> Self {
        Self { media_type, packaging: Packaging::Multipart, transfer_syntax: None, is_stored: false }
    }

    pub(crate) fn in_syntax(mut self, transfer_syntax: &str) -> Self {
        self.transfer_syntax = Some(transfer_syntax.to_owned());
        self
    }

    pub(crate) fn in_stored_syntax(mut self) -> Self {
        self.is_stored = true;
        self
    }

    /// `application/dicom; transfer-syntax=…`: what stands in `Content-Type` of the content.
    pub(crate) fn content_type(&self) -> String {
        match &self.transfer_syntax {
            Some(uid) => format!("{}; transfer-syntax={uid}", self.media_type),
            None => self.media_type.to_owned(),
        }
    }

    fn described(&self) -> String {
        match self.packaging {
            Packaging::Single => self.media_type.to_owned(),
            Packaging::Multipart => format!("multipart/related; type=\"{}\"", self.media_type),
        }
    }
}

/// Nothing on offer is acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("none of the available representations is acceptable; available: {available}")]
pub(crate) struct NotAcceptable {
    pub(crate) available: String,
}

/// Whether the `accept` parameter names a range of types, which only the header may (PS3.18 8.3.3.1).
pub(crate) fn is_range(accept: &str) -> bool {
    split_unquoted(accept, ',').filter_map(MediaType::parse).any(|media_type| {
        let inner = media_type.parameter("type").unwrap_or("");
        media_type.essence.contains('*') || inner.contains('*')
    })
}

/// The media ranges of a request, best first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Accept {
    ranges: Vec<MediaType>,
    wants_other_charset: bool,
    /// Types of weight 0, which no wildcard lets in again (RFC 9110 12.5.1).
    refused: Vec<MediaType>,
}

impl Accept {
    /// No header and no parameter accept everything.
    pub(crate) fn of(headers: &HeaderMap, query_accept: Option<&str>) -> Self {
        let header: Vec<&str> =
            headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let text = query_accept.map_or_else(|| header.join(","), str::to_owned);
        let mut ranges: Vec<MediaType> = split_unquoted(&text, ',').filter_map(MediaType::parse).collect();
        if text.trim().is_empty() {
            ranges.extend(MediaType::parse("*/*"));
        }
        let (mut ranges, mut refused): (Vec<_>, Vec<_>) =
            ranges.into_iter().partition(|range| range.quality() > 0.0);
        refused.retain(|range| !is_wildcard(range));
        let asked = ranges.len();
        ranges.retain(|range| range.parameter("charset").is_none_or(charset::is_supported));
        let wants_other_charset = ranges.is_empty() && asked > 0;
        ranges.sort_by(|a, b| b.quality().total_cmp(&a.quality()));
        Self { ranges, wants_other_charset, refused }
    }

    /// Every range names a character set that no answer has.
    pub(crate) fn wants_other_charset(&self) -> bool {
        self.wants_other_charset
    }

    /// # Errors
    /// No range fits an offer; the error lists what there is (PS3.18 8.7.5).
    pub(crate) fn choose<'a>(&self, offers: &'a [Offer]) -> Result<&'a Offer, NotAcceptable> {
        let best = self.ranges.iter().find_map(|range| {
            let is_refused = |offer: &Offer| self.refused.iter().any(|refused| takes(refused, offer));
            let mut taken = offers.iter().filter(|offer| takes(range, offer) && !is_refused(offer));
            match range.parameter("transfer-syntax") {
                Some("*") => taken.clone().find(|offer| offer.is_stored).or_else(|| taken.next()),
                _ => taken.next(),
            }
        });
        best.ok_or_else(|| NotAcceptable { available: described(offers) })
    }
}

/// What is wrong with the media types of a request before any resource is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadAccept {
    #[error("the accept parameter takes no wildcards")]
    Wildcard,
    #[error("Accept names media types of DICOM and rendered ones")]
    Mixed,
    #[error("a media type names one transfer syntax; alternatives are media types of their own")]
    Syntaxes,
}

impl Accept {
    /// A request is about DICOM or about something rendered of it, not both (PS3.18 8.7.5); the
    /// query parameter names what it wants (8.3.3.1).
    pub(crate) fn check(headers: &HeaderMap, query_accept: Option<&str>) -> Result<(), BadAccept> {
        let accept = Self::of(headers, query_accept);
        if query_accept.is_some_and(|text| !text.is_empty()) && accept.ranges.iter().any(is_wildcard) {
            return Err(BadAccept::Wildcard);
        }
        if accept.ranges.iter().any(names_several_syntaxes) {
            return Err(BadAccept::Syntaxes);
        }
        match accept.ranges.iter().any(is_dicom) && accept.ranges.iter().any(is_rendered) {
            true => Err(BadAccept::Mixed),
            false => Ok(()),
        }
    }
}

fn names_several_syntaxes(range: &MediaType) -> bool {
    range.parameters.iter().filter(|(name, _)| name == "transfer-syntax").count() > 1
}

fn is_wildcard(range: &MediaType) -> bool {
    range.essence.ends_with("/*") || range.parameter("type").is_some_and(|inner| inner.ends_with("/*"))
}

fn is_dicom(range: &MediaType) -> bool {
    let of_type = || range.parameter("type").is_some_and(|inner| inner.starts_with("application/dicom"));
    range.essence.starts_with("application/dicom") || range.essence == "multipart/related" && of_type()
}

/// Single frames are asked for as `image/jpeg` too, but not beside `application/dicom`.
fn is_rendered(range: &MediaType) -> bool {
    const RENDERED: [&str; 8] = [
        "image/jpeg",
        "image/png",
        "image/gif",
        "video/mp4",
        "text/html",
        "text/plain",
        "text/xml",
        "application/pdf",
    ];
    RENDERED.contains(&range.essence.as_str())
}

/// Retired from sending (PS3.18 8.7.3): given as stored, never for their names.
#[expect(deprecated, reason = "still found in archives")]
const NEVER_NAMED: [&str; 2] = [
    dicom_dictionary_std::uids::IMPLICIT_VR_LITTLE_ENDIAN,
    dicom_dictionary_std::uids::EXPLICIT_VR_BIG_ENDIAN,
];

fn described(offers: &[Offer]) -> String {
    let mut all: Vec<String> = offers.iter().map(Offer::described).collect();
    all.dedup();
    all.join(", ")
}

fn takes(range: &MediaType, offer: &Offer) -> bool {
    let fits = match (range.essence.as_str(), offer.packaging) {
        ("*/*", _) => true,
        ("multipart/related" | "multipart/*", Packaging::Multipart) => range
            .parameter("type")
            .is_none_or(|inner| matches_range(&inner.to_ascii_lowercase(), offer.media_type)),
        (essence, Packaging::Single) => matches_range(essence, offer.media_type),
        (_, Packaging::Multipart) => false,
    };
    fits && takes_syntax(range, offer)
}

/// `*/*`, `image/*` or the type itself.
fn matches_range(range: &str, media_type: &str) -> bool {
    let same_family = |family: &str| media_type.split('/').next() == Some(family);
    range == "*/*" || range == media_type || range.strip_suffix("/*").is_some_and(same_family)
}

/// Without the parameter the server chooses; `*` takes the stored one (PS3.18 8.7.3.5.2).
fn takes_syntax(range: &MediaType, offer: &Offer) -> bool {
    match (range.parameter("transfer-syntax"), &offer.transfer_syntax) {
        (None | Some("*"), _) | (Some(_), None) => true,
        (Some(asked), Some(offered)) => asked == offered && !NEVER_NAMED.contains(&asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
    const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";

    fn accept(text: &str) -> Accept {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, text.parse().unwrap());
        Accept::of(&headers, None)
    }

    fn frame_offers() -> Vec<Offer> {
        vec![
            Offer::multipart("image/jls").in_syntax(JPEG_LS),
            Offer::multipart("application/octet-stream").in_syntax(LITTLE_ENDIAN),
            Offer::single("application/octet-stream").in_syntax(LITTLE_ENDIAN),
        ]
    }

    #[track_caller]
    fn check(text: &str, expected: Option<usize>) {
        let offers = frame_offers();
        let chosen = accept(text).choose(&offers).ok();
        assert_eq!(chosen, expected.map(|at| &offers[at]), "{text}");
    }

    #[test]
    fn what_clients_send_is_understood() {
        check(r#"multipart/related; type="application/octet-stream"; transfer-syntax="*""#, Some(1));
        check("multipart/related; type=application/octet-stream; transfer-syntax=*", Some(1));
        check(r#"multipart/related; type="image/jls"; transfer-syntax="1.2.840.10008.1.2.4.80""#, Some(0));
        check(r#"multipart/related; type="*/*""#, Some(0));
        check("application/octet-stream", Some(2));
        check("*/*", Some(0));
    }

    #[test]
    fn what_cannot_be_given_is_refused_with_a_list_g6() {
        check("multipart/related; type=image/jp2", None);
        check("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.2", None);
        let refusal = accept("text/html").choose(&[Offer::multipart("application/dicom")]).unwrap_err();
        assert_eq!(refusal.available, "multipart/related; type=\"application/dicom\"");
    }

    #[test]
    fn quality_orders_the_ranges_g7() {
        check(r#"multipart/related; type="image/jls"; q=0.5, application/octet-stream"#, Some(2));
        check("application/octet-stream;q=0, multipart/related;q=0.1", Some(0));
        check("image/jls;q=0, multipart/related; type=\"image/jls\";q=0, */*;q=0.1", Some(1));
        check("*/*;q=0", None);
    }

    #[track_caller]
    fn refused(accept: &str, query: Option<&str>, expected: Result<(), BadAccept>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        assert_eq!(Accept::check(&headers, query), expected, "{accept} {query:?}");
    }

    #[test]
    fn dicom_and_rendered_media_types_are_not_mixed_g5() {
        refused("application/dicom, image/jpeg", None, Err(BadAccept::Mixed));
        refused(
            "multipart/related; type=\"application/dicom\", image/png;q=0.5",
            None,
            Err(BadAccept::Mixed),
        );
        refused("application/dicom+json, application/json", None, Ok(()));
        let twice = "application/dicom; transfer-syntax=1.2.840.10008.1.2.1; transfer-syntax=*";
        refused(twice, None, Err(BadAccept::Syntaxes));
        refused("image/avif,image/webp,image/png,*/*;q=0.8", None, Ok(()));
    }

    #[test]
    fn the_query_parameter_names_media_types_g3() {
        refused("*/*", Some("image/*"), Err(BadAccept::Wildcard));
        refused("*/*", Some("*/*"), Err(BadAccept::Wildcard));
        refused("*/*", Some("multipart/related; type=\"application/dicom\"; transfer-syntax=*"), Ok(()));
    }

    #[test]
    fn the_stored_form_is_the_first_choice_for_any_syntax_g9() {
        let offers = [
            Offer::single("application/dicom").in_syntax(LITTLE_ENDIAN),
            Offer::single("application/dicom").in_syntax(JPEG_LS).in_stored_syntax(),
        ];
        let chosen = |text| accept(text).choose(&offers).unwrap().transfer_syntax.clone().unwrap();
        assert_eq!(chosen("application/dicom; transfer-syntax=*"), JPEG_LS);
        assert_eq!(chosen("application/dicom"), LITTLE_ENDIAN);
        assert_eq!(
            chosen(
                "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90;q=0.9, application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80;q=0.5"
            ),
            JPEG_LS
        );
    }

    #[test]
    fn the_query_parameter_names_types_alone_g3() {
        for range in ["*/*", "image/*", "image/png, */*", r#"multipart/related; type="*/*""#] {
            assert!(is_range(range), "{range}");
        }
        assert!(!is_range(r#"multipart/related; type="application/dicom"; transfer-syntax=*"#));
    }

    #[test]
    fn the_query_parameter_wins_over_the_header_g3() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, "multipart/related; type=\"application/octet-stream\"".parse().unwrap());
        let offers = [Offer::single("image/png"), Offer::single("image/jpeg")];
        let chosen = Accept::of(&headers, Some("image/jpeg")).choose(&offers).unwrap();
        assert_eq!(chosen.media_type, "image/jpeg");
    }
}
