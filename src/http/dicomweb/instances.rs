//! Instances, PS3.18 10.4.1.1.1: `application/dicom` in one part or many, or a ZIP.
//!
//! A client that names no transfer syntax gets Explicit VR Little Endian, unless only that would
//! be lost to it what is stored in a lossy syntax, is too large or cannot be decoded (8.7.3.4).
//! `*` gives the stored bytes, but Implicit VR and Big Endian, which are not to be sent (8.7.3),
//! only where the configuration says so.

use std::sync::Arc;

use dicom_dictionary_std::uids;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use http::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};

use super::Content;
use super::archive::{self, ZIP};
use super::etag::Etag;
use super::ranged::Selected;
use super::redirect;
use super::stored;
use crate::causes;
use crate::db;
use crate::http::State;
use crate::http::body::{self, Body, BoxError};
use crate::http::error::HttpError;
use crate::http::multipart::{Part, Writer};
use crate::http::negotiation::{Accept, NotAcceptable, Offer, Packaging};
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::query::Scope;
use crate::query::retrieve::StoredInstance;
use crate::query::stored_object::StoredObject;
use crate::query::transcoding::{TranscodeError, Transcoder, is_lossy};
use crate::volume::pixels::encode::Encoding;

const DICOM: &str = "application/dicom";

/// In which transfer syntax instances go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What the standard says for a client that names none.
    Default,
    Stored,
    Syntax(String),
}

impl Wanted {
    fn of(offer: &Offer) -> Self {
        match &offer.transfer_syntax {
            _ if offer.is_stored => Self::Stored,
            Some(syntax) if syntax != DEFAULT => Self::Syntax(syntax.clone()),
            _ => Self::Default,
        }
    }
}

/// No client can name it; the instance decides what it stands for.
const DEFAULT: &str = "default";

pub(super) async fn retrieve(state: Arc<State>, scope: Scope, asked: &Asked) -> Answer {
    let first = stored::first_page(&state, &scope).await?;
    let offers = offers(&scope, &first);
    let offer = Accept::of(&asked.headers, asked.query.get("accept")).choose(&offers)?.clone();
    answer(state, scope, first, &offer, asked).await
}

async fn answer(
    state: Arc<State>,
    scope: Scope,
    first: Vec<StoredInstance>,
    offer: &Offer,
    asked: &Asked,
) -> Answer {
    let wanted = Wanted::of(offer);
    let version = match (&scope, &first[..]) {
        (Scope::Instance(..), [only]) => only.sha256.clone(),
        _ => stored::held(&state, &scope).await?.version,
    };
    let form = format!("{}{:?}{wanted:?}{}", offer.media_type, offer.packaging, asked.urls.of_scope(&scope));
    let etag = Etag::of([version.as_slice()], &form);
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let mut response = match (offer.packaging, offer.media_type) {
        (_, ZIP) => archive::response(state, scope, wanted).await?,
        (Packaging::Single, _) => {
            match redirect::to_bucket(&state, &first[0], &wanted, &asked.headers).await? {
                Some(elsewhere) => return Ok(elsewhere),
                None => single(&state, &first[0], &wanted, &etag, asked).await?,
            }
        }
        (Packaging::Multipart, _) => {
            let urls = asked.urls.clone();
            match scope {
                Scope::Instance(..) => multipart_of_one(&state, &first[0], &urls, &wanted, &etag).await?,
                scope => multipart(state, scope, urls, wanted, &etag).await?,
            }
        }
    };
    etag.mark(&mut response);
    Ok(response)
}

/// One instance in a transfer syntax that the query names, for WADO-URI.
pub(super) async fn instance(
    state: Arc<State>,
    scope: Scope,
    transfer_syntax: Option<&str>,
    asked: &Asked,
) -> Answer {
    let first = stored::first_page(&state, &scope).await?;
    let syntax = transfer_syntax.map(|syntax| format!("; transfer-syntax={syntax}")).unwrap_or_default();
    let accept = Accept::of(&asked.headers, Some(&format!("{DICOM}{syntax}")));
    let offer = accept.choose(&offers(&scope, &first))?.clone();
    answer(state, scope, first, &offer, asked).await
}

/// The default comes first, so that it is what a client gets that leaves the choice to us.
fn offers(scope: &Scope, first: &[StoredInstance]) -> Vec<Offer> {
    let mut syntaxes: Vec<&str> =
        vec![uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN];
    let made = Encoding::COMPRESSED.into_iter().filter(|encoding| encoding.is_available());
    made.for_each(|encoding| syntaxes.push(encoding.transfer_syntax()));
    for instance in first {
        let stored = instance.transfer_syntax.as_str();
        if !syntaxes.contains(&stored) {
            syntaxes.push(stored);
        }
    }
    let mut packagings: Vec<fn() -> Offer> = vec![|| Offer::multipart(DICOM)];
    if matches!(scope, Scope::Instance(..)) {
        packagings.push(|| Offer::single(DICOM));
    }
    packagings.push(|| Offer::single(ZIP));
    let in_all = packagings.into_iter().flat_map(|offer| {
        let named = syntaxes.iter().map(move |syntax| offer().in_syntax(syntax));
        [offer().in_syntax(DEFAULT), offer().in_syntax("*").in_stored_syntax()].into_iter().chain(named)
    });
    in_all.collect()
}

/// An instance as it goes out.
pub(super) struct Outgoing {
    pub(super) transfer_syntax: String,
    /// Unknown while frames are still to be compressed.
    pub(super) length: Option<u64>,
    is_stored: bool,
    pub(super) content: Content,
}

impl Outgoing {
    /// # Errors
    /// 406 for what cannot be made, before anything is sent.
    pub(super) async fn open(
        state: &State,
        instance: StoredInstance,
        wanted: &Wanted,
    ) -> Result<Self, HttpError> {
        match wanted {
            wanted if is_as_stored(state, &instance, wanted) => Self::stored(state, &instance).await,
            Wanted::Syntax(syntax) => match Self::transcoded(state, instance.clone(), syntax).await? {
                Ok(outgoing) => Ok(outgoing),
                Err(reason) => Err(refused(&instance, &reason)),
            },
            Wanted::Default | Wanted::Stored => {
                let explicit = uids::EXPLICIT_VR_LITTLE_ENDIAN;
                match Self::transcoded(state, instance.clone(), explicit).await? {
                    Ok(outgoing) => Ok(outgoing),
                    Err(reason) => {
                        log_untranscodable(&instance, &reason);
                        Self::stored(state, &instance).await
                    }
                }
            }
        }
    }

    async fn stored(state: &State, instance: &StoredInstance) -> Result<Self, HttpError> {
        let content = StoredObject::file(&state.blobs, instance, None).await?;
        Ok(Self {
            transfer_syntax: instance.transfer_syntax.to_string(),
            length: Some(instance.size_bytes),
            is_stored: true,
            content: content.map_err(BoxError::from).boxed(),
        })
    }

    /// The inner error says that there is no such form, the outer one is ours.
    async fn transcoded(
        state: &State,
        instance: StoredInstance,
        syntax: &str,
    ) -> Result<Result<Self, TranscodeError>, HttpError> {
        let sop_instance = instance.sop_instance.clone();
        let object = stored::open(state, instance).await?;
        let transcoder = Transcoder { db: &state.db, decodes: &state.decodes };
        match transcoder.transcode(object, syntax).await {
            Ok(made) => {
                let log = move |error: &std::io::Error| {
                    tracing::error!(instance = %sop_instance, error = causes::chain(error), "an answer broke off");
                };
                let content = made.content.inspect_err(log).map_err(BoxError::from).boxed();
                let transfer_syntax = made.transfer_syntax.to_string();
                Ok(Ok(Self { transfer_syntax, length: made.length, is_stored: false, content }))
            }
            Err(error) if error.is_about_the_object() => Ok(Err(error)),
            Err(error) => Err(HttpError::internal("transcoding")(error)),
        }
    }

    pub(super) fn content_type(&self) -> String {
        content_type(&self.transfer_syntax)
    }
}

pub(super) fn content_type(transfer_syntax: &str) -> String {
    format!("{DICOM}; transfer-syntax={transfer_syntax}")
}

/// Whether nothing of an instance is changed on its way out.
pub(super) fn is_as_stored(state: &State, instance: &StoredInstance, wanted: &Wanted) -> bool {
    let stored = instance.transfer_syntax.as_str();
    match wanted {
        Wanted::Stored => !is_retired(stored) || state.settings.retired_as_stored,
        Wanted::Syntax(syntax) => syntax == stored,
        Wanted::Default => is_kept(instance, state.settings.decompress_bytes_max),
    }
}

/// Objects without pixel data have no compressed form: among others they go out as they would
/// without a compressed syntax being asked.
async fn open_among(state: &State, instance: StoredInstance, wanted: &Wanted) -> Result<Outgoing, HttpError> {
    let native = |syntax: &str| Encoding::of(syntax) == Some(Encoding::Native);
    match wanted {
        Wanted::Syntax(syntax) if !native(syntax) => {
            let object = stored::open(state, instance.clone()).await?;
            let wanted = if object.layout.pixel_data.is_some() { wanted } else { &Wanted::Default };
            Outgoing::open(state, instance, wanted).await
        }
        _ => Outgoing::open(state, instance, wanted).await,
    }
}

/// Not to be sent by web services (PS3.18 8.7.3).
#[expect(deprecated, reason = "still found in archives")]
fn is_retired(transfer_syntax: &str) -> bool {
    [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_BIG_ENDIAN].contains(&transfer_syntax)
}

/// Stored in the default form already, or to be kept from the loss or the size of another.
fn is_kept(instance: &StoredInstance, decompress_bytes_max: u64) -> bool {
    let syntax = instance.transfer_syntax.as_str();
    let too_large = !is_retired(syntax) && instance.size_bytes > decompress_bytes_max;
    syntax == uids::EXPLICIT_VR_LITTLE_ENDIAN || is_lossy(syntax) || too_large
}

fn refused(instance: &StoredInstance, reason: &TranscodeError) -> HttpError {
    log_untranscodable(instance, reason);
    let available = format!("{DICOM}; transfer-syntax=* ({})", instance.transfer_syntax);
    HttpError::NotAcceptable(NotAcceptable { available })
}

fn log_untranscodable(instance: &StoredInstance, reason: &TranscodeError) {
    tracing::info!(
        reason = causes::chain(reason),
        instance = %instance.sop_instance,
        "an object could not be transcoded"
    );
}

async fn single(
    state: &State,
    instance: &StoredInstance,
    wanted: &Wanted,
    etag: &Etag,
    asked: &Asked,
) -> Answer {
    let outgoing = Outgoing::open(state, instance.clone(), wanted).await?;
    let content_type = outgoing.content_type();
    let stored_form = outgoing.is_stored;
    match outgoing.length {
        Some(_) if stored_form => {
            let selected = Selected::of(&asked.headers, etag, instance.size_bytes)?;
            let file = StoredObject::file(&state.blobs, instance, Some(selected.part.clone())).await?;
            Ok(selected.response(file.map_err(BoxError::from).boxed(), &content_type))
        }
        Some(length) => {
            let selected = Selected::of(&asked.headers, etag, length)?;
            let content = selected.cut(outgoing.content);
            Ok(selected.response(content, &content_type))
        }
        None => {
            let mut response = Response::new(body::streamed(outgoing.content));
            set_content_type(&mut response, &content_type);
            Ok(response)
        }
    }
}

/// With its length, where it is known.
async fn multipart_of_one(
    state: &State,
    instance: &StoredInstance,
    urls: &Urls,
    wanted: &Wanted,
    etag: &Etag,
) -> Answer {
    let only = part(urls, instance, Outgoing::open(state, instance.clone(), wanted).await?);
    let writer = Writer::with_boundary(etag.boundary());
    let (content_type, length) = (writer.content_type(DICOM), writer.length(&only));
    let mut response = Response::new(writer.body(stream::iter([Ok(only)])));
    set_content_type(&mut response, &content_type);
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    Ok(response)
}

/// The first part is made before the status leaves: what cannot be made is 406. One that fails
/// later breaks the answer off (PS3.18 10.4.3.1).
async fn multipart(state: Arc<State>, scope: Scope, urls: Urls, wanted: Wanted, etag: &Etag) -> Answer {
    let writer = Writer::with_boundary(etag.boundary());
    let content_type = writer.content_type(DICOM);
    let mut instances = all(Arc::clone(&state), scope).boxed();
    let first = instances.try_next().await.map_err(HttpError::internal("the index"))?;
    let first = first.ok_or(HttpError::NotFound("instance"))?;
    let opened = open_among(&state, first.clone(), &wanted).await?;
    let first = part(&urls, &first, opened);
    let rest = instances.then(move |instance| {
        let (state, urls, wanted) = (Arc::clone(&state), urls.clone(), wanted.clone());
        async move { later_part(&state, &urls, instance?, &wanted).await }
    });
    let mut response = Response::new(writer.body(stream::iter([Ok(first)]).chain(rest)));
    set_content_type(&mut response, &content_type);
    Ok(response)
}

async fn later_part(
    state: &State,
    urls: &Urls,
    instance: StoredInstance,
    wanted: &Wanted,
) -> Result<Part, BoxError> {
    let opened = open_among(state, instance.clone(), wanted).await;
    let opened = opened.inspect_err(|error| log_broken(&instance, error))?;
    Ok(part(urls, &instance, opened))
}

pub(super) fn log_broken(instance: &StoredInstance, error: &HttpError) {
    tracing::error!(
        instance = %instance.sop_instance,
        error = causes::chain(error),
        "an answer broke off at an instance that cannot be given"
    );
}

fn part(urls: &Urls, instance: &StoredInstance, outgoing: Outgoing) -> Part {
    Part {
        content_type: outgoing.content_type(),
        location: urls.of_instance(instance),
        length: outgoing.length,
        content: outgoing.content,
    }
}

/// Every instance of the scope, page by page.
pub(super) fn all(
    state: Arc<State>,
    scope: Scope,
) -> impl Stream<Item = Result<StoredInstance, BoxError>> + Send + 'static {
    let pages = stream::try_unfold(0, move |after| {
        let (state, scope) = (Arc::clone(&state), scope.clone());
        async move {
            let page = db::retrieve::instances(&state.db, &scope, after).await?;
            Ok::<_, BoxError>(page.last().map(|last| last.row).map(|last| (page, last)))
        }
    });
    pages.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten()
}

pub(super) fn set_content_type(response: &mut Response<Body>, content_type: &str) {
    if let Ok(value) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use http::header::ACCEPT;

    const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";

    fn instance(transfer_syntax: &str, size_bytes: u64) -> StoredInstance {
        StoredInstance {
            row: 1,
            study: "1.1".parse().unwrap(),
            series: "1.2".parse().unwrap(),
            sop_instance: "1.3".parse().unwrap(),
            sop_class: "1.4".parse().unwrap(),
            transfer_syntax: transfer_syntax.parse().unwrap(),
            blob_key: String::new(),
            size_bytes,
            sha256: Vec::new(),
        }
    }

    #[track_caller]
    fn check(accept: &str, expected: Option<(Packaging, Wanted)>) {
        let scope = Scope::Instance("1.1".parse().unwrap(), "1.2".parse().unwrap(), "1.3".parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let offers = offers(&scope, &[instance(JPEG_2000, 0)]);
        let chosen = Accept::of(&headers, None).choose(&offers).ok();
        assert_eq!(chosen.map(|offer| (offer.packaging, Wanted::of(offer))), expected, "{accept}");
    }

    #[test]
    fn the_accepted_syntax_is_told_from_the_default_w4_w37_g9_g10() {
        let named = |uid: &str| Wanted::Syntax(uid.to_owned());
        check("*/*", Some((Packaging::Multipart, Wanted::Default)));
        check("application/dicom", Some((Packaging::Single, Wanted::Default)));
        check(
            "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
            Some((Packaging::Multipart, Wanted::Stored)),
        );
        for uid in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::RLE_LOSSLESS, JPEG_2000] {
            check(
                &format!("application/dicom; transfer-syntax={uid}"),
                Some((Packaging::Single, named(uid))),
            );
        }
        check("application/dicom; transfer-syntax=1.2.840.10008.1.2.4.91", None);
        check("application/dicom; transfer-syntax=1.2.840.10008.1.2", None);
        check("application/zip", Some((Packaging::Single, Wanted::Default)));
        check("image/jpeg", None);
    }

    #[test]
    fn only_what_would_lose_or_grow_is_kept_from_explicit_little_endian_g11() {
        let kept = |syntax, size| is_kept(&instance(syntax, size), 100);
        assert!(kept(uids::EXPLICIT_VR_LITTLE_ENDIAN, 1000) && kept(uids::JPEG_BASELINE8_BIT, 10));
        assert!(!kept(JPEG_2000, 10) && kept(JPEG_2000, 1000));
        assert!(!kept(uids::IMPLICIT_VR_LITTLE_ENDIAN, 1000));
    }
}
