//! Content codings: what is compressed, and how its entity tag stays strong (RFC 9110 8.8.3.3).
//!
//! Handlers and their tags know nothing of codings. On the way out the tag of a compressed answer
//! is marked with its coding, `"…-gzip"`; on the way in the mark is taken off again, where the
//! client would still get that coding.

use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH, VARY,
};
use http::{Extensions, Response, StatusCode, Version, header::CONTENT_TYPE};

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

/// Pixels are compressed already or cost more time than they save.
pub(super) fn is_text(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    // A stream would be held back until there is enough of it to compress.
    let is_stream = content_type == "text/event-stream";
    !is_stream
        && (content_type.starts_with("text/")
            || content_type.contains("json")
            || content_type.contains("xml"))
}

/// The tags of a request as they came.
#[derive(Debug, Default)]
pub(super) struct Marked(Vec<String>);

impl Marked {
    /// Takes the marks off.
    pub(super) fn take_off(headers: &mut HeaderMap) -> Self {
        let listed = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let tags: Vec<String> =
            listed.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect();
        let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
        let plain: Vec<String> = tags.iter().map(|tag| plain(tag, accepted)).collect();
        if plain != tags
            && let Ok(value) = HeaderValue::from_str(&plain.join(", "))
        {
            headers.insert(IF_NONE_MATCH, value);
        }
        take_off_conditions(headers);
        Self(tags)
    }

    /// Puts the marks on: that of the coding of this answer, or that under which the client knows
    /// what has not changed.
    pub(super) fn put_on<B>(&self, mut response: Response<B>) -> Response<B> {
        let not_modified = response.status() == StatusCode::NOT_MODIFIED;
        let headers = response.headers_mut();
        let coding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        let tag = headers.get(ETAG).and_then(|value| value.to_str().ok());
        let marked = match (tag, coding) {
            (Some(tag), Some(coding)) => mark(tag, coding),
            (Some(tag), None) if not_modified => self.known_as(tag),
            _ => None,
        };
        if let Some(value) = marked.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
            headers.insert(ETAG, value);
        }
        unite_vary(headers, not_modified);
        response
    }

    fn known_as(&self, tag: &str) -> Option<String> {
        CODINGS.iter().filter_map(|coding| mark(tag, coding)).find(|marked| self.0.contains(marked))
    }
}

/// Weak tags promise nothing about bytes and stay as they are.
fn mark(tag: &str, coding: &str) -> Option<String> {
    let bare = tag.strip_prefix('"')?.strip_suffix('"')?;
    Some(format!("\"{bare}-{coding}\""))
}

fn plain(tag: &str, accepted: &str) -> String {
    let is_accepted = |coding: &&&str| accepted.contains(**coding) || accepted.contains('*');
    let bare =
        CODINGS.iter().filter(is_accepted).find_map(|coding| tag.strip_suffix(&format!("-{coding}\"")));
    bare.map_or_else(|| tag.to_owned(), |bare| format!("{bare}\""))
}

/// A change names the version that was read, in whichever coding.
fn take_off_conditions(headers: &mut HeaderMap) {
    let Some(value) = headers.get(IF_MATCH).and_then(|value| value.to_str().ok()) else { return };
    let plain: Vec<String> = value.split(',').map(|tag| plain(tag.trim(), "*")).collect();
    if let Ok(value) = HeaderValue::from_str(&plain.join(", ")) {
        headers.insert(IF_MATCH, value);
    }
}

/// One line, each name once. What has not changed may have been compressed when it was sent.
fn unite_vary(headers: &mut HeaderMap, not_modified: bool) {
    let lines: Vec<String> = headers
        .get_all(VARY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .map(str::to_ascii_lowercase)
        .collect();
    let names = |name: &&&str| {
        let listed = lines.iter().any(|line| line.split(',').any(|one| one.trim() == **name));
        listed || (not_modified && **name == "accept-encoding")
    };
    let known = [("accept", "Accept"), ("accept-encoding", "Accept-Encoding"), ("origin", "Origin")];
    let united: Vec<&str> =
        known.iter().filter(|(lower, _)| names(&lower)).map(|(_, written)| *written).collect();
    if let Ok(value) = HeaderValue::from_str(&united.join(", "))
        && !united.is_empty()
    {
        headers.insert(VARY, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(accepted: &'static str, tags: &'static str) -> HeaderMap {
        HeaderMap::from_iter([
            (ACCEPT_ENCODING, HeaderValue::from_static(accepted)),
            (IF_NONE_MATCH, HeaderValue::from_static(tags)),
        ])
    }

    #[track_caller]
    fn check(accepted: &'static str, tags: &'static str, expected: &str) {
        let mut headers = asking(accepted, tags);
        Marked::take_off(&mut headers);
        assert_eq!(headers[IF_NONE_MATCH], expected);
    }

    #[test]
    fn a_mark_is_taken_off_where_the_coding_would_be_sent_again_g19_g20() {
        check("gzip, br", "\"a-gzip\", W/\"b\"", "\"a\", W/\"b\"");
        check("gzip", "\"a\"", "\"a\"");
        check("identity", "\"a-gzip\"", "\"a-gzip\"");
        check("gzip", "*", "*");
    }

    #[test]
    fn a_change_may_name_the_tag_of_any_coding() {
        let mut headers = HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static("\"a-br\""))]);
        Marked::take_off(&mut headers);
        assert_eq!(headers[IF_MATCH], "\"a\"");
    }

    #[test]
    fn each_coding_has_a_tag_of_its_own_g20() {
        let mut response = Response::new(());
        response.headers_mut().insert(ETAG, HeaderValue::from_static("\"a\""));
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        response.headers_mut().append(VARY, HeaderValue::from_static("accept"));
        response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
        let response = Marked::default().put_on(response);
        assert_eq!(
            (&response.headers()[ETAG], &response.headers()[VARY]),
            (&HeaderValue::from_static("\"a-br\""), &HeaderValue::from_static("Accept, Accept-Encoding"),)
        );
        assert_eq!(response.headers().get_all(VARY).iter().count(), 1);
    }

    #[test]
    fn what_has_not_changed_is_named_as_the_client_knows_it_g19() {
        let marked = Marked::take_off(&mut asking("gzip", "\"x\", \"a-gzip\""));
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert(ETAG, HeaderValue::from_static("\"a\""));
        let response = marked.put_on(response);
        assert_eq!(response.headers()[ETAG], "\"a-gzip\"");
    }
}
