mod stored;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dicom_dictionary_std::uids;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::association::Peer;
use super::part10::Part10;
use super::*;
use crate::ul::command::{CommandSet, field};
use crate::ul::connection::Connection;
use crate::ul::data_set::DataSet;
use crate::ul::{Incoming, MessagePart};
use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, Pdu, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason,
};

/// Answers `status`, and hangs up after `stores` objects.
struct Archive {
    status: u16,
    stores: usize,
    /// Transfer syntaxes; empty: any.
    accepts: &'static [&'static str],
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    commands: Arc<Mutex<Vec<CommandSet>>>,
    /// How many each association proposed.
    contexts: Arc<Mutex<Vec<usize>>>,
}

impl Default for Archive {
    fn default() -> Self {
        let (received, commands, contexts) = Default::default();
        Self { status: 0, stores: 9, accepts: &[], received, commands, contexts }
    }
}

impl Archive {
    async fn listen(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                self.serve(Connection::new(stream, 1 << 20, Duration::from_secs(20))).await;
            }
        });
        address
    }

    fn acceptance(&self, request: AssociationRQ) -> AssociationAC {
        let result = |context: &PresentationContextProposed| PresentationContextResult {
            id: context.id,
            reason: match self.accepts {
                [] => PresentationContextResultReason::Acceptance,
                some if some.contains(&context.transfer_syntaxes[0].as_str()) => {
                    PresentationContextResultReason::Acceptance
                }
                _ => PresentationContextResultReason::TransferSyntaxesNotSupported,
            },
            transfer_syntax: context.transfer_syntaxes[0].clone(),
        };
        AssociationAC {
            protocol_version: 1,
            calling_ae_title: request.calling_ae_title,
            called_ae_title: request.called_ae_title,
            application_context_name: request.application_context_name,
            presentation_contexts: request.presentation_contexts.iter().map(result).collect(),
            user_variables: vec![dicom_ul::pdu::UserVariableItem::MaxLength(1000)],
        }
    }

    async fn serve(&self, mut connection: Connection<TcpStream>) {
        let Ok(Incoming::Pdu(Pdu::AssociationRQ(request))) = connection.next().await else {
            return;
        };
        self.contexts.lock().unwrap().push(request.presentation_contexts.len());
        connection.send(&self.acceptance(request).into()).await.unwrap();
        connection.establish(0, Duration::from_secs(20));
        for _ in 0..self.stores {
            match connection.next().await {
                Ok(Incoming::Fragment(command)) => self.store(&mut connection, &command).await,
                _ => break,
            }
        }
        // A release that was not consumed above is answered here; otherwise the peer is cut off.
        let _ = connection.send(&Pdu::ReleaseRP).await;
    }

    async fn store(&self, connection: &mut Connection<TcpStream>, command: &crate::ul::Fragment) {
        assert_eq!((command.part, command.last), (MessagePart::Command, true));
        let request = CommandSet::decode(command.bytes.clone()).unwrap();
        assert_eq!(request.command_field().unwrap(), field::C_STORE);
        let mut bytes = Vec::new();
        DataSet::new(connection, command.context_id).read_to_end(&mut bytes).await.unwrap();
        self.received.lock().unwrap().push(bytes);
        self.commands.lock().unwrap().push(request.clone());
        let response = request.response(self.status).unwrap().with_error_comment("because");
        connection.send_command(command.context_id, &response).await.unwrap();
    }
}

fn write_part10(folder: &TempDir, name: &str, transfer_syntax: &str, data_set: &[u8]) -> PathBuf {
    let meta = dicom_object::meta::FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
        .media_storage_sop_instance_uid("1.2.3")
        .transfer_syntax(transfer_syntax)
        .build()
        .unwrap();
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    meta.write(&mut bytes).unwrap();
    bytes.extend(data_set);
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

async fn send(archive: Archive, files: Vec<PathBuf>) -> Vec<SendOutcome> {
    let address = archive.listen().await.to_string();
    let peer = Peer::new(address, "ANY", "RADIANT");
    let mut told = 0;
    let outcomes = send_files(&peer, files, |_| told += 1).await;
    assert_eq!(told, outcomes.len());
    outcomes
}

#[tokio::test]
async fn data_sets_arrive_as_they_are_in_the_files() {
    let (folder, received) = (TempDir::new().unwrap(), Arc::default());
    let large: Vec<u8> = (0..100_001).map(|i| (i % 253) as u8).collect();
    let first = write_part10(&folder, "a", uids::JPEG2000, &large);
    let second = write_part10(&folder, "b", uids::RLE_LOSSLESS, b"");
    let outcomes =
        send(Archive { received: Arc::clone(&received), ..Archive::default() }, vec![first, second]).await;
    assert!(outcomes.iter().all(SendOutcome::is_stored), "{outcomes:?}");
    assert_eq!(*received.lock().unwrap(), [large, Vec::new()]);
}

#[tokio::test]
async fn a_refusal_is_told_with_status_and_comment() {
    let folder = TempDir::new().unwrap();
    let file = write_part10(&folder, "a", uids::JPEG2000, b"x");
    let outcomes = send(Archive { status: 0xA700, ..Archive::default() }, vec![file]).await;
    let reply = outcomes[0].result.as_ref().unwrap();
    assert_eq!((reply.status, reply.comment.as_deref(), reply.is_stored()), (0xA700, Some("because"), false));
}

#[tokio::test]
async fn a_file_that_is_not_dicom_does_not_stop_the_others() {
    let folder = TempDir::new().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, [b'x'; 500]).unwrap();
    let good = write_part10(&folder, "a", uids::JPEG2000, b"x");
    let outcomes = send(Archive::default(), vec![text, good]).await;
    assert!(matches!(outcomes[0].result, Err(ScuError::Part10(Part10Error::NoPrefix))), "{outcomes:?}");
    assert!(outcomes[1].is_stored());
}

#[tokio::test]
async fn a_broken_association_is_opened_again() {
    let (folder, received) = (TempDir::new().unwrap(), Arc::default());
    let files =
        ["a", "b", "c"].map(|name| write_part10(&folder, name, uids::JPEG2000, name.as_bytes())).to_vec();
    let outcomes =
        send(Archive { stores: 1, received: Arc::clone(&received), ..Archive::default() }, files).await;
    let stored: Vec<bool> = outcomes.iter().map(SendOutcome::is_stored).collect();
    assert_eq!(stored, [true, false, true]);
    assert_eq!(*received.lock().unwrap(), [b"a", b"c"]);
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let peer = Peer::new(address.as_str(), "ANY", "RADIANT");
    let error = Association::connect(&peer, &[]).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("{address} cannot be reached")), "{error}");
}

#[tokio::test]
async fn behind_a_peer_that_cannot_be_reached_nothing_is_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let folder = TempDir::new().unwrap();
    let files = ["a", "b"].map(|name| write_part10(&folder, name, uids::JPEG2000, b"x")).to_vec();
    let outcomes = send_files(&Peer::new(address, "ANY", "RADIANT"), files, |_| {}).await;
    let errors: Vec<&ScuError> =
        outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err()).collect();
    assert!(matches!(errors[..], [ScuError::Connect { .. }, ScuError::NotTried]), "{errors:?}");
}

#[tokio::test]
async fn a_cut_file_says_what_is_missing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cut");
    std::fs::write(&path, [&[0; 128][..], b"DICM\x02\0\0\0UL\x04\0\xff\xff\xff\x7f"].concat()).unwrap();
    let error = Part10::open(Path::new(&path)).await.unwrap_err();
    assert!(matches!(error, Part10Error::MetaTooLong(0x7FFF_FFFF)), "{error}");
}
