//! From a stream of bytes to a staged file and everything the index wants to know about it.
//! Blocking.

mod describe;
mod inflated;
mod spool;

use std::io::{self, BufReader, Seek, SeekFrom};
use std::sync::Arc;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::transfer_syntax::{TransferSyntax, TransferSyntaxIndex};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::build::MadeFrom;
use super::{Digests, InstanceIdentity, Policy, Refusal, Refused, StoreCommand};
use crate::blobs::{Blobs, Room, Staged, is_away};
use crate::dicom::file_meta::{self, FileMeta, Identity};
use crate::dicom::header::{self, Header, HeaderError};
use crate::dicom::sop_class::is_stored;
use crate::dicom::uid::{SopClassUid, StudyUid, TransferSyntaxUid, UidError};

use describe::describe;
use inflated::Inflated;
use spool::{Spool, Spooled};

const DEFLATED_EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1.99";
pub(super) const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
/// File meta longer than this is no file meta.
const META_BYTES_MAX: usize = 1 << 16;

/// A staged object and its description; nothing of it is visible yet.
pub(super) struct Prepared {
    pub staged: Staged,
    pub identity: InstanceIdentity,
    pub transfer_syntax: TransferSyntaxUid,
    pub size_bytes: u64,
    /// Of what stands in front of the data set and of the digest of the data set: it differs when
    /// the file does, and each byte is hashed once.
    pub sha256: [u8; 32],
    pub dataset_sha256: [u8; 32],
    pub made_from: Option<MadeFrom>,
    /// The File Meta Information is ours although the object came with its own, or with none.
    pub rebuilt_meta: bool,
    /// Zeros follow the last element.
    pub padded: bool,
    pub layout: Vec<u8>,
    /// The frame table, where it is too long for the layout.
    pub frame_chunks: Vec<Vec<u8>>,
    /// DICOM JSON, zstd.
    pub metadata: Vec<u8>,
    pub json: serde_json::Map<String, serde_json::Value>,
    pub elements: InMemDicomObject,
}

impl Prepared {
    pub(super) fn digests(&self) -> Digests {
        let received = self.made_from.as_ref().map(|made_from| made_from.received_sha256);
        Digests { dataset: self.dataset_sha256, received }
    }
}

/// What stands in front of the data set.
#[derive(Clone)]
pub(super) enum Head {
    /// What comes with it; who it is, once its beginning has been seen.
    InFile(Option<Identity>),
    /// Our own, after what a C-STORE-RQ says.
    Command(StoreCommand),
    /// Our own, after what was put together.
    Built(StoreCommand, MadeFrom),
}

impl Head {
    fn command(&self) -> Option<&StoreCommand> {
        match self {
            Self::InFile(_) => None,
            Self::Command(command) | Self::Built(command, _) => Some(command),
        }
    }

    fn made_from(&self) -> Option<MadeFrom> {
        match self {
            Self::Built(_, made_from) => Some(made_from.clone()),
            _ => None,
        }
    }

    /// A refusal about what the sender said it would send, or what the object begins with.
    pub(super) fn refused(&self, refusal: Refusal) -> Refused {
        let (sop_class, sop_instance) = match self {
            Self::InFile(None) => (None, None),
            Self::InFile(Some(identity)) => (Some(&identity.sop_class), Some(&identity.sop_instance)),
            Self::Command(command) | Self::Built(command, _) => {
                (Some(&command.sop_class), Some(&command.sop_instance))
            }
        };
        Refused { refusal, sop_class: sop_class.cloned(), sop_instance: sop_instance.cloned() }
    }
}

/// An object on its way to the disk: fed chunk by chunk, each on a blocking thread, so that a peer
/// that stalls holds none.
pub(super) struct Intake {
    pub blobs: Blobs,
    pub policy: Arc<Policy>,
    pub head: Head,
    pub only_study: Option<StudyUid>,
    /// Asked before anything is written.
    room: Option<Room>,
    spool: Option<Spool>,
}

impl Intake {
    pub(super) fn new(blobs: Blobs, policy: Arc<Policy>, head: Head, only_study: Option<StudyUid>) -> Self {
        let room = Some(blobs.room().clone());
        Self { blobs, policy, head, only_study, room, spool: None }
    }

    /// Of bytes that are under their key already: they are read, and nothing is written.
    pub(super) fn of_stored(blobs: Blobs, policy: Arc<Policy>, staged: Staged) -> Self {
        let spool = Some(Spool::over_stored(staged, &policy));
        Self { blobs, policy, head: Head::InFile(None), only_study: None, room: None, spool }
    }

    /// Into what the marks of the disk keep free: results of what is here already.
    pub(super) fn into_reserve(self) -> Self {
        Self { room: None, ..self }
    }

    pub(super) fn write(mut self, bytes: &[u8]) -> Result<Self, Refused> {
        let mut spool = self.spool().map_err(|refusal| self.head.refused(refusal))?;
        let written = match self.require_room() {
            Ok(()) => spool.write(bytes),
            // As far as it takes to say which object it is.
            Err(refusal) => spool.write(bytes).and_then(|()| spool.begin_file_at_end()).and(Err(refusal)),
        };
        self.recognise(&spool);
        written.map_err(|refusal| self.head.refused(refusal))?;
        self.spool = Some(spool);
        Ok(self)
    }

    /// Again and again, while there are more bytes: one object may be what fills the disk.
    fn require_room(&self) -> Result<(), Refusal> {
        match self.room.as_ref().is_none_or(Room::admits) {
            true => Ok(()),
            false => Err(Refusal::OutOfSpace(io::ErrorKind::StorageFull.into())),
        }
    }

    /// From here on a refusal can say which object it is about.
    fn recognise(&mut self, spool: &Spool) {
        if let (Head::InFile(known), Some(identity)) = (&mut self.head, &spool.identity) {
            *known = Some(identity.clone());
        }
    }

    pub(super) fn finish(mut self) -> Result<Prepared, Refused> {
        let mut spool = self.spool().map_err(|refusal| self.head.refused(refusal))?;
        let begun = spool.begin_file_at_end();
        self.recognise(&spool);
        let spooled = begun.and_then(|()| spool.finish());
        let parsed = spooled.and_then(|spooled| parse(&self.policy, spooled));
        let parsed = parsed.map_err(|refusal| self.head.refused(refusal))?;
        let identified = |refusal| Refused {
            refusal,
            sop_class: text(&parsed.header.elements, tags::SOP_CLASS_UID).parse().ok(),
            sop_instance: text(&parsed.header.elements, tags::SOP_INSTANCE_UID).parse().ok(),
        };
        let identity = identify(&parsed.header.elements).map_err(identified)?;
        check(&identity, &self.policy, self.head.command(), self.only_study.as_ref()).map_err(identified)?;
        let prepared = describe(parsed, identity).map_err(|refusal| self.head.refused(refusal))?;
        Ok(Prepared { made_from: self.head.made_from(), ..prepared })
    }

    /// The file, begun with our file meta where the data set comes without.
    fn spool(&mut self) -> Result<Spool, Refusal> {
        if let Some(spool) = self.spool.take() {
            return Ok(spool);
        }
        let staged = self.blobs.stage().map_err(write_refusal)?;
        let mut spool = Spool::new(staged, &self.policy);
        if let Some(StoreCommand { sop_class, sop_instance, transfer_syntax }) = self.head.command() {
            let front = file_meta::write(sop_class, sop_instance, transfer_syntax);
            let meta =
                FileMeta { transfer_syntax: transfer_syntax.clone(), dataset_offset: front.len() as u64 };
            spool.begin_dataset(&front, meta)?;
        }
        Ok(spool)
    }
}

pub(super) fn write_refusal(error: io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::OutOfSpace(error),
        _ if is_away(&error) => Refusal::StoreAway(error),
        _ => Refusal::Storage(error),
    }
}

struct Parsed {
    spooled: Spooled,
    header: Header,
    deflated: bool,
    /// Inflated where it is deflated, and without padding.
    dataset_length: u64,
}

fn parse(policy: &Policy, spooled: Spooled) -> Result<Parsed, Refusal> {
    let deflated = spooled.meta.transfer_syntax.as_str() == DEFLATED_EXPLICIT_LITTLE_ENDIAN;
    let syntax = parsing_syntax(spooled.meta.transfer_syntax.as_str())?;
    let mut file = BufReader::with_capacity(1 << 16, &spooled.staged.file);
    let begin = SeekFrom::Start(spooled.meta.dataset_offset);
    file.seek(begin).map_err(Refusal::Storage)?;
    let length = spooled.size_bytes.saturating_sub(spooled.meta.dataset_offset);
    let (header, dataset_length) = match deflated {
        true => {
            // It is inflated again for every retrieval: what hides behind its end would come along.
            let limit = policy.header.header_bytes_max;
            if length > limit {
                return Err(Refusal::LimitExceeded { what: "the deflated data set", limit });
            }
            // No image worth its pixels is sent this way: all of it may be no longer than a header.
            let mut data = Inflated::open(file, limit).map_err(header_refusal)?;
            (header::read(&mut data, syntax, policy.header), data.length())
        }
        false => (header::read(&mut file, syntax, policy.header), length),
    };
    let header = header.map_err(header_refusal)?;
    let dataset_length = dataset_length.saturating_sub(header.padding_bytes);
    Ok(Parsed { header, spooled, deflated, dataset_length })
}

/// How to read the data set: an unknown compressed syntax still has an explicit little-endian
/// header around its fragments (PS3.5 A.4).
fn parsing_syntax(uid: &str) -> Result<&'static TransferSyntax, Refusal> {
    let known = match uid {
        DEFLATED_EXPLICIT_LITTLE_ENDIAN => EXPLICIT_LITTLE_ENDIAN,
        other => other,
    };
    TransferSyntaxRegistry
        .get(known)
        .or_else(|| TransferSyntaxRegistry.get(EXPLICIT_LITTLE_ENDIAN))
        .ok_or_else(|| Refusal::TransferSyntaxNotAccepted(uid.to_owned()))
}

fn header_refusal(error: HeaderError) -> Refusal {
    match error {
        HeaderError::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Refusal::Truncated("the data set".to_owned())
        }
        HeaderError::Read(error) => Refusal::Unparsable(error.to_string()),
        HeaderError::Parse(reason) => Refusal::Unparsable(reason),
        HeaderError::Truncated(place) => Refusal::Truncated(place),
        HeaderError::Limit { what, limit } => Refusal::LimitExceeded { what, limit },
    }
}

fn identify(elements: &InMemDicomObject) -> Result<InstanceIdentity, Refusal> {
    // Behind our own file meta a reader would take it for part of that (PS3.10 7.1).
    if elements.iter().any(|element| element.header().tag.group() == 2) {
        return Err(Refusal::Unparsable("File Meta Information within the data set".to_owned()));
    }
    Ok(InstanceIdentity {
        study: uid(elements, tags::STUDY_INSTANCE_UID, "Study Instance UID")?,
        series: uid(elements, tags::SERIES_INSTANCE_UID, "Series Instance UID")?,
        sop_instance: uid(elements, tags::SOP_INSTANCE_UID, "SOP Instance UID")?,
        sop_class: uid(elements, tags::SOP_CLASS_UID, "SOP Class UID")?,
    })
}

pub(super) fn uid<T: std::str::FromStr<Err = UidError>>(
    elements: &InMemDicomObject,
    tag: Tag,
    attribute: &'static str,
) -> Result<T, Refusal> {
    match text(elements, tag).parse() {
        Err(UidError::Empty) => Err(Refusal::MissingAttribute(attribute)),
        Err(source) => Err(Refusal::BadUid { attribute, source }),
        Ok(uid) => Ok(uid),
    }
}

/// The first value of an attribute as text without padding; '' when absent.
pub(super) fn text(elements: &InMemDicomObject, tag: Tag) -> String {
    let Some(element) = elements.get(tag) else { return String::new() };
    // Some writers send attributes that they do not know as UN, their bytes unchanged.
    let value = match element.vr() {
        VR::UN => String::from_utf8_lossy(&element.to_bytes().unwrap_or_default()).into_owned().into(),
        _ => element.to_str().unwrap_or_default(),
    };
    let first = value.split('\\').next().unwrap_or_default();
    first.trim_matches([' ', '\0']).to_owned()
}

fn check(
    identity: &InstanceIdentity,
    policy: &Policy,
    command: Option<&StoreCommand>,
    only_study: Option<&StudyUid>,
) -> Result<(), Refusal> {
    if !policy.accepts(&identity.sop_class) {
        return Err(Refusal::SopClassNotAccepted(identity.sop_class.to_string()));
    }
    match command {
        Some(c) if c.sop_class != identity.sop_class => {
            return Err(Refusal::CommandMismatch { attribute: "SOP Class UID" });
        }
        Some(c) if c.sop_instance != identity.sop_instance => {
            return Err(Refusal::CommandMismatch { attribute: "SOP Instance UID" });
        }
        _ => {}
    }
    match only_study {
        Some(study) if *study != identity.study => Err(Refusal::OtherStudy(study.clone())),
        _ => Ok(()),
    }
}

impl Policy {
    fn accepts(&self, sop_class: &SopClassUid) -> bool {
        is_stored(sop_class.as_str(), &self.sop_classes_extra)
    }
}
