//! Stored instances to a peer that takes what the test says.

use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::*;
use crate::blobs::Blobs;
use crate::db::{self, Db};
use crate::export::scu::association::{MoveOriginator, StoreReply};
use crate::export::scu::outgoing::Source;
use crate::ingest::testing::{file, hold, image};
use crate::query::Scope;
use crate::query::decoding::Decodes;
use crate::query::retrieve::StoredInstance;

const EXPLICIT: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;
const IMPLICIT: &str = uids::IMPLICIT_VR_LITTLE_ENDIAN;

struct Bench {
    _dir: TempDir,
    source: Source,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let db = Db::for_test(dir.path());
        let blobs = Blobs::open_local(dir.path()).unwrap();
        Self { _dir: dir, source: Source { db, blobs, decodes: Decodes::new(1) } }
    }

    async fn holding(files: &[Vec<u8>]) -> Self {
        let bench = Self::new();
        hold(&bench.source.db, &bench.source.blobs, files).await;
        bench
    }

    async fn instances(&self) -> Vec<StoredInstance> {
        let study = Scope::Study("1.2.3".parse().unwrap());
        db::retrieve::instances(&self.source.db, &study, 0).await.unwrap()
    }

    /// Sends all that is held.
    async fn send(&self, archive: Archive, preferred: &[&str]) -> Vec<Result<StoreReply, ScuError>> {
        let address = archive.listen().await.to_string();
        let destination = Destination {
            peer: Peer::new(address, "ANY", "RADIANT"),
            transfer_syntaxes: preferred.iter().map(|uid| uid.parse().unwrap()).collect(),
            originator: Some(MoveOriginator { ae_title: "ASKER".into(), message_id: 7 }),
        };
        let (mut sender, instances) = (Sender::new(self.source.clone(), destination), self.instances().await);
        let mut results = Vec::new();
        for (index, instance) in instances.iter().enumerate() {
            results.push(sender.send(instance, &instances[index..]).await);
        }
        sender.finish().await;
        results
    }
}

fn ct(instance: &str) -> InMemDicomObject {
    image(uids::CT_IMAGE_STORAGE, instance)
}

/// The data set as it stands in a file of this syntax.
fn written(object: &InMemDicomObject, syntax: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.write_dataset_with_ts(&mut bytes, TransferSyntaxRegistry.get(syntax).unwrap()).unwrap();
    bytes
}

#[tokio::test]
async fn stored_data_sets_arrive_as_they_are_where_the_peer_takes_them() {
    let bench = Bench::holding(&[file(ct("1.2.3.4.1"), EXPLICIT), file(ct("1.2.3.4.2"), IMPLICIT)]).await;
    let (archive, received, contexts) = listening(&[]);
    let results = bench.send(archive, &[]).await;
    assert!(results.iter().all(|result| result.as_ref().unwrap().is_stored()), "{results:?}");
    let expected = [written(&ct("1.2.3.4.1"), EXPLICIT), written(&ct("1.2.3.4.2"), IMPLICIT)];
    assert_eq!(*received.lock().unwrap(), expected);
    // Both syntaxes and Verification, in one association.
    assert_eq!(*contexts.lock().unwrap(), [3]);
}

type Seen<T> = Arc<Mutex<Vec<T>>>;

fn listening(accepts: &'static [&'static str]) -> (Archive, Seen<Vec<u8>>, Seen<usize>) {
    let archive = Archive { accepts, ..Archive::default() };
    let (received, contexts) = (Arc::clone(&archive.received), Arc::clone(&archive.contexts));
    (archive, received, contexts)
}

#[tokio::test]
async fn a_peer_that_takes_implicit_alone_gets_it() {
    let bench = Bench::holding(&[file(ct("1.2.3.4.1"), EXPLICIT)]).await;
    let (archive, received, _) = listening(&[IMPLICIT]);
    assert!(bench.send(archive, &[]).await[0].as_ref().unwrap().is_stored());
    assert_eq!(*received.lock().unwrap(), [written(&ct("1.2.3.4.1"), IMPLICIT)]);
}

#[tokio::test]
async fn what_a_node_prefers_comes_before_what_is_stored() {
    let bench = Bench::holding(&[file(ct("1.2.3.4.1"), EXPLICIT)]).await;
    let (archive, received, _) = listening(&[]);
    bench.send(archive, &[uids::JPEG_BASELINE8_BIT, uids::RLE_LOSSLESS]).await;
    let bytes = received.lock().unwrap().remove(0);
    let syntax = TransferSyntaxRegistry.get(uids::RLE_LOSSLESS).unwrap();
    let object = InMemDicomObject::read_dataset_with_ts(bytes.as_slice(), syntax).unwrap();
    assert_eq!(object.element(tags::PIXEL_DATA).unwrap().fragments().unwrap().len(), 1);
}

#[tokio::test]
async fn a_lossy_object_is_never_encoded_again_and_its_neighbour_is_sent() {
    let damaged = DataElement::new(tags::PIXEL_DATA, VR::OB, pixels(vec![vec![1, 2, 3, 4]]));
    let mut lossy = ct("1.2.3.4.1");
    lossy.put(damaged);
    let bench =
        Bench::holding(&[file(lossy, uids::JPEG_BASELINE8_BIT), file(ct("1.2.3.4.2"), EXPLICIT)]).await;
    let (archive, received, _) = listening(&[EXPLICIT, uids::JPEG_BASELINE8_BIT]);
    let results = bench.send(archive, &[uids::JPEG_BASELINE8_BIT]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    // The frames of the one as they are stored, the other in its own syntax.
    assert!(received.lock().unwrap()[0].windows(4).any(|bytes| bytes == [1, 2, 3, 4]));
    assert_eq!(received.lock().unwrap()[1], written(&ct("1.2.3.4.2"), EXPLICIT));
}

fn pixels(fragments: Vec<Vec<u8>>) -> dicom_core::value::Value<InMemDicomObject> {
    dicom_core::value::Value::PixelSequence(dicom_core::value::PixelFragmentSequence::new_fragments(
        fragments,
    ))
}

#[tokio::test]
async fn an_object_that_has_no_form_for_the_peer_fails_alone() {
    let damaged = DataElement::new(tags::PIXEL_DATA, VR::OB, pixels(vec![vec![1, 2, 3, 4]]));
    let mut broken = ct("1.2.3.4.1");
    broken.put(damaged);
    let bench =
        Bench::holding(&[file(broken, uids::JPEG2000_LOSSLESS), file(ct("1.2.3.4.2"), EXPLICIT)]).await;
    let (archive, _, contexts) = listening(&[EXPLICIT, IMPLICIT]);
    let results = bench.send(archive, &[]).await;
    assert!(matches!(results[0], Err(ScuError::NoCommonSyntax { .. })), "{results:?}");
    assert!(results[1].as_ref().unwrap().is_stored());
    assert_eq!(contexts.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_class_that_the_peer_does_not_take_is_named() {
    let bench = Bench::holding(&[file(ct("1.2.3.4.1"), EXPLICIT)]).await;
    let (archive, ..) = listening(&["1.2.3.4.5.6"]);
    let error = bench.send(archive, &[]).await.remove(0).unwrap_err();
    assert_eq!(error.to_string(), "the peer does not take 1.2.840.10008.5.1.4.1.1.2");
}

#[tokio::test]
async fn a_sub_operation_names_who_asked_for_it() {
    let bench = Bench::holding(&[file(ct("1.2.3.4.1"), EXPLICIT)]).await;
    let archive = Archive::default();
    let commands = Arc::clone(&archive.commands);
    bench.send(archive, &[]).await;
    let command = commands.lock().unwrap().remove(0);
    let title = command.text(tags::MOVE_ORIGINATOR_APPLICATION_ENTITY_TITLE);
    assert_eq!(title.as_deref(), Some("ASKER"));
    assert_eq!(command.u16(tags::MOVE_ORIGINATOR_MESSAGE_ID), Ok(Some(7)));
}

#[tokio::test]
async fn more_contexts_than_fit_are_spread_over_associations() {
    let files: Vec<Vec<u8>> =
        (1..=100).map(|n| file(image(&format!("1.2.9.{n}"), &format!("1.2.3.4.{n}")), EXPLICIT)).collect();
    let bench = Bench::holding(&files).await;
    let (archive, received, contexts) = listening(&[]);
    let results = bench.send(Archive { stores: 1000, ..archive }, &[]).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(StoreReply::is_stored)));
    assert_eq!((results.len(), received.lock().unwrap().len()), (100, 100));
    // 64 classes in two syntaxes, then 36 with Verification.
    assert_eq!(*contexts.lock().unwrap(), [128, 73]);
}

#[tokio::test]
async fn an_instance_that_was_deleted_meanwhile_fails_alone() {
    let bench = Bench::holding(&[file(ct("1.2.3.4.1"), EXPLICIT)]).await;
    let mut gone = bench.instances().await.remove(0);
    gone.row += 1;
    let address = Archive::default().listen().await.to_string();
    let destination = Destination {
        peer: Peer::new(address, "ANY", "RADIANT"),
        transfer_syntaxes: Vec::new(),
        originator: None,
    };
    let mut sender = Sender::new(bench.source.clone(), destination);
    let error = sender.send(&gone, &[]).await.unwrap_err();
    assert!(matches!(error, ScuError::Open(_)) && error.spares_association(), "{error}");
    let held = bench.instances().await;
    assert!(sender.send(&held[0], &held).await.unwrap().is_stored());
}
