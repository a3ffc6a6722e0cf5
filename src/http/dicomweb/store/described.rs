//! Metadata and bulk data: what belongs together is known when the whole message is there
//! (PS3.18 10.5.1.1.1, 10.5.2).

use serde_json::{Map, Value};
use tokio_util::io::StreamReader;

use super::Request;
use super::answers::{Answers, Pending, unreadable};
use super::packaging::Root;
use super::report::{Item, Report};
use crate::dicom::xml;
use crate::http::body::BodyStopped;
use crate::http::error::HttpError;
use crate::http::limit_hit;
use crate::http::multipart::{Content, PartHead, Parts};
use crate::http::negotiation::MediaType;
use crate::ingest::build::bulk::{BulkData, BulkType, BulkValue};
use crate::ingest::{Received, Refusal};

type Metadata = Map<String, Value>;

/// The parts of a message, sorted.
struct Message {
    root: Root,
    metadata: Vec<BulkValue>,
    bulk: Vec<(String, Result<BulkValue, Refusal>)>,
    /// Parts that cannot be used.
    refused: Vec<Item>,
}

impl Request<'_> {
    /// # Errors
    /// The message or its metadata cannot be read; nothing of it is stored.
    pub(super) async fn store_described(&self, mut parts: Parts, root: Root) -> Result<Report, HttpError> {
        let mut message = Message { root, metadata: Vec::new(), bulk: Vec::new(), refused: Vec::new() };
        let mut count = 0;
        while let Some(head) = parts.next().await.map_err(|error| unreadable(&error))? {
            count += 1;
            if count > self.state.settings.parts_max {
                limit_hit("http.parts_max");
                return Err(HttpError::TooManyParts { parts_max: self.state.settings.parts_max });
            }
            self.sort(&mut message, &head, parts.content()).await?;
        }
        match message.metadata.is_empty() {
            true => Err(HttpError::bad_request("the message has no metadata")),
            false => self.store_message(message).await,
        }
    }

    /// A part without Content-Type is of the type that the whole message names (RFC 2387 3.1).
    async fn sort(
        &self,
        message: &mut Message,
        head: &PartHead,
        content: Content<'_>,
    ) -> Result<(), HttpError> {
        let media_type = head.content_type.as_deref().map(MediaType::parse);
        match (media_type, &head.content_location) {
            (None, _) => self.stage_metadata(message, content).await,
            (Some(Some(named)), _) if message.root.names(&named.essence) => {
                check_charset(&named)?;
                self.stage_metadata(message, content).await
            }
            (Some(Some(named)), Some(location)) => {
                self.stage(message, &named, location, content).await;
                Ok(())
            }
            _ => {
                message.refused.push(Item::unrelated());
                Ok(())
            }
        }
    }

    async fn stage_metadata(&self, message: &mut Message, content: Content<'_>) -> Result<(), HttpError> {
        let bytes_max = self.state.settings.metadata_bytes_max as u64;
        let seen: u64 = message.metadata.iter().map(BulkValue::length).sum();
        let staged = self.state.ingest.stage_metadata(StreamReader::new(content), bytes_max - seen).await;
        message.metadata.push(staged.map_err(|refusal| unstaged(refusal, bytes_max))?);
        Ok(())
    }

    fn xml_limits(&self) -> xml::Limits {
        let limits = self.state.ingest.header_limits();
        xml::Limits { depth_max: limits.depth_max, elements_max: limits.elements_max }
    }

    async fn stage(&self, message: &mut Message, named: &MediaType, location: &str, content: Content<'_>) {
        let Some(media_type) = BulkType::of(&named.essence) else {
            message.refused.push(Item::unsupported_media_type());
            return;
        };
        let syntax = named.parameter("transfer-syntax").map(str::parse);
        let Ok(syntax) = syntax.transpose() else {
            message.refused.push(Item::unsupported_media_type());
            return;
        };
        let reader = StreamReader::new(content);
        let staged = self.state.ingest.stage_bulk(reader, media_type, syntax).await;
        message.bulk.push((location.trim().to_owned(), staged));
    }

    /// # Errors
    /// The first metadata cannot be read. Later metadata that cannot is an item of the report.
    async fn store_message(&self, message: Message) -> Result<Report, HttpError> {
        let turn = self.state.ingest.turn_to_build().await;
        let _turn = turn.map_err(HttpError::internal("putting objects together"))?;
        let bulk = BulkData::of(message.bulk);
        let parts_max = self.state.settings.parts_max;
        let mut answers = Answers::new(self.state.settings.parts_in_flight);
        for document in message.metadata {
            match self.read_metadata(message.root, document).await {
                Ok(instances) if answers.expected + instances.len() > parts_max => {
                    limit_hit("http.parts_max");
                    match answers.expected {
                        0 => return Err(HttpError::TooManyParts { parts_max }),
                        _ => answers.add(Pending::Settled(Item::too_many_parts())).await,
                    }
                }
                Ok(instances) => {
                    for metadata in instances {
                        answers.add(self.store_built(metadata, &bulk).await).await;
                    }
                }
                Err(error) if answers.expected == 0 => return Err(error),
                Err(_) => answers.add(Pending::Settled(Item::unreadable())).await,
            }
        }
        for item in message.refused {
            answers.add(Pending::Settled(item)).await;
        }
        for _ in 0..bulk.unused() {
            answers.add(Pending::Settled(Item::unrelated())).await;
        }
        Ok(answers.finish().await)
    }

    async fn read_metadata(&self, root: Root, document: BulkValue) -> Result<Vec<Metadata>, HttpError> {
        let limits = self.xml_limits();
        let read = tokio::task::spawn_blocking(move || {
            let document = document.read().map_err(HttpError::internal("reading metadata"))?;
            parse(root, &document, limits)
        });
        read.await.map_err(HttpError::internal("reading metadata"))?
    }

    async fn store_built(&self, metadata: Metadata, bulk: &BulkData) -> Pending {
        let built = match self.state.ingest.build(metadata, bulk).await {
            Ok(built) => built,
            Err(refused) => return Pending::of(Err(refused)),
        };
        let (body, only_study) = (built.into_body(), self.only_study.as_ref());
        Pending::of(self.ingest.receive(Received { body, origin: &self.origin, only_study }).await)
    }
}

/// JSON and XML are read as UTF-8, PS3.18 8.8.5.
fn check_charset(named: &MediaType) -> Result<(), HttpError> {
    let charset = named.parameter("charset").map(str::to_ascii_lowercase);
    match charset.as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(()),
        Some(_) => Err(HttpError::bad_request("metadata is read in UTF-8 only")),
    }
}

/// The words of the readers quote values: only the place is repeated.
fn parse(root: Root, document: &[u8], limits: xml::Limits) -> Result<Vec<Metadata>, HttpError> {
    let not_text = || HttpError::bad_request("the metadata is not UTF-8");
    let text = std::str::from_utf8(document).map_err(|_| not_text())?;
    if root == Root::Xml {
        return Ok(vec![xml::read(text, limits).map_err(HttpError::bad_request)?]);
    }
    if values(text) > limits.elements_max {
        return Err(HttpError::bad_request("the metadata has too many attributes and values"));
    }
    let read: Result<OneOrMany, _> = serde_json::from_str(text.trim_start_matches('\u{FEFF}'));
    match read {
        Ok(OneOrMany::Many(instances)) => Ok(instances),
        Ok(OneOrMany::One(instance)) => Ok(vec![instance]),
        Err(_) => Err(HttpError::bad_request("the metadata is not an array of DICOM JSON objects")),
    }
}

/// At least the objects, arrays and values in arrays of a JSON text, told by its punctuation: a value
/// of two bytes takes a hundred in memory, so that they are counted before they are read.
fn values(text: &str) -> usize {
    let (mut in_arrays, mut in_string, mut escaped, mut count) = (Vec::new(), false, false, 0);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                in_arrays.push(byte == b'[');
                count += 1;
            }
            b'}' | b']' => {
                in_arrays.pop();
            }
            b',' if in_arrays.last() == Some(&true) => count += 1,
            _ => {}
        }
    }
    count
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Metadata>),
    One(Metadata),
}

fn unstaged(refusal: Refusal, bytes_max: u64) -> HttpError {
    match refusal {
        Refusal::TooLarge { .. } => {
            limit_hit("http.metadata_bytes_max");
            HttpError::TooLarge { bytes_max }
        }
        Refusal::Interrupted(error) => match BodyStopped::find(&error) {
            Some(stopped) => stopped.into(),
            None => HttpError::bad_request("the body ends within the metadata"),
        },
        ours => HttpError::internal("keeping metadata")(ours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: xml::Limits = xml::Limits { depth_max: 8, elements_max: 100 };

    #[track_caller]
    fn check(root: Root, document: &str, expected: Option<usize>) {
        let read = parse(root, document.as_bytes(), LIMITS);
        assert_eq!(read.ok().map(|instances| instances.len()), expected, "{document}");
    }

    #[test]
    fn metadata_is_an_array_of_data_sets_or_a_document_for_each_s15() {
        check(Root::Json, r#"[{"00100020": {"vr": "LO"}}, {}]"#, Some(2));
        check(Root::Json, r#"{"00100020": {"vr": "LO"}}"#, Some(1));
        check(Root::Json, "[1]", None);
        check(Root::Json, &"[".repeat(100_000), None);
        check(Root::Xml, "<NativeDicomModel/>", Some(1));
        check(Root::Xml, "<html/>", None);
    }

    #[test]
    fn values_are_counted_before_they_are_read() {
        assert_eq!(values(r#"[{"00100020": {"vr": "LO", "Value": ["a,[{\\\",b", "c"]}}]"#), 5);
        let many = |count: usize| {
            format!(r#"[{{"00100020": {{"vr": "DS", "Value": [{}]}}}}]"#, vec!["0"; count].join(","))
        };
        check(Root::Json, &many(97), Some(1));
        check(Root::Json, &many(98), None);
    }

    #[test]
    fn metadata_in_another_charset_than_utf_8_is_refused_g17() {
        let charset = |text: &str| check_charset(&MediaType::parse(text).unwrap()).is_ok();
        assert!(charset("application/dicom+json; charset=\"UTF-8\"") && charset("application/dicom+json"));
        assert!(!charset("application/dicom+json; charset=utf-16"));
    }
}
