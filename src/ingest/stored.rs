//! Rows about objects that are stored and have none: the index made anew from its objects.
//!
//! What is derived is what was derived when they came; the bytes stay where they are.

use std::io::{self, BufReader, Read, Seek};
use std::sync::Arc;

use dicom_dictionary_std::tags;

use super::prepare::{Intake, Prepared, text};
use super::{Ingest, Origin, Outcome, Policy, Refusal, Refused, Stored, placing, rows};
use crate::blobs::{BlobError, BlobKey, Listed, Staged, is_away};
use crate::config::{OnDuplicate, Preamble};
use crate::db::instances;
use crate::query::integrity::digest_of_all;
use crate::report::document::MANUFACTURER;

/// One read of the disk.
const READ_BYTES: usize = 256 << 10;

/// Why an object gets no row.
#[derive(Debug, thiserror::Error)]
pub enum NotIndexed {
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Open(#[from] BlobError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("its bytes are not those that its name was made of")]
    OtherBytes,
    #[error("it is of another instance than its name says")]
    OtherInstance,
    /// Without the index nothing says any more that not everybody may see it.
    #[error("it is a draft that nobody has signed")]
    Draft,
    #[error("another object of this instance is in the index")]
    Second,
    #[error("the work on it stopped unexpectedly")]
    Stopped,
}

impl NotIndexed {
    /// Whether it says nothing about the object, which may be taken another time.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(refused) => refused.refusal.is_ours(),
            Self::Read(error) | Self::Open(BlobError::Read { source: error, .. }) => is_away(error),
            Self::Stopped => true,
            _ => false,
        }
    }
}

impl Ingest {
    /// Makes the rows of an object that is stored already, as if it had come when it was written. No
    /// analysis follows from it.
    pub async fn index_stored(&self, object: &Listed, origin: &Origin) -> Result<Stored, NotIndexed> {
        let (ingest, object, origin) = (self.as_it_is(), object.clone(), origin.clone());
        let here = tokio::runtime::Handle::current();
        let work = tokio::task::spawn_blocking(move || {
            let prepared = ingest.described(&object.key)?;
            here.block_on(ingest.add_rows(prepared, &object, &origin))
        });
        work.await.unwrap_or(Err(NotIndexed::Stopped))
    }

    /// Limits and rules about new objects say nothing about those that were taken once.
    fn as_it_is(&self) -> Self {
        let policy = Policy {
            on_duplicate: OnDuplicate::Reject,
            preamble: Preamble::Keep,
            sop_classes_extra: vec!["*".to_owned()],
            instance_bytes_max: u64::MAX,
            ..Policy::clone(&self.policy)
        };
        Self { policy: Arc::new(policy), ..self.clone() }
    }

    /// Blocking.
    fn described(&self, key: &BlobKey) -> Result<Prepared, NotIndexed> {
        let staged = self.blobs.stored(key).map_err(NotIndexed::Read)?;
        let mut file = self.opened(key, &staged)?;
        let mut intake = Intake::of_stored(self.blobs.clone(), Arc::clone(&self.policy), staged);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match file.read(&mut buffer).map_err(NotIndexed::Read)? {
                0 => break,
                read => intake = intake.write(&buffer[..read])?,
            }
        }
        let prepared = intake.finish()?;
        self.require_name(key, &prepared)?;
        match is_draft(&prepared) {
            true => Err(NotIndexed::Draft),
            false => Ok(prepared),
        }
    }

    /// From where it lies for good; what was fetched from a bucket is here already.
    fn opened(&self, key: &BlobKey, staged: &Staged) -> Result<Box<dyn Read + Send>, NotIndexed> {
        if self.blobs.is_in_folder() {
            return Ok(self.blobs.open_on_disk(key)?);
        }
        let begun = staged.file.try_clone().and_then(|mut file| file.rewind().map(|()| file));
        begun.map(|file| Box::new(file) as Box<dyn Read + Send>).map_err(NotIndexed::Read)
    }

    /// The name has the beginning of a digest: of the parts, or of the file as the first version took it.
    fn require_name(&self, key: &BlobKey, prepared: &Prepared) -> Result<(), NotIndexed> {
        let identity = &prepared.identity;
        let named = |digest: &[u8]| BlobKey::new(&identity.study, &identity.sop_instance, digest);
        if key.instance() != identity.sop_instance.as_str() {
            return Err(NotIndexed::OtherInstance);
        }
        if key.is_of(&named(&prepared.sha256)) {
            return Ok(());
        }
        let file = self.blobs.open_on_disk(key)?;
        let (whole, _) = digest_of_all(&mut BufReader::new(file)).map_err(NotIndexed::Read)?;
        if key.is_of(&named(&whole)) { Ok(()) } else { Err(NotIndexed::OtherBytes) }
    }

    async fn add_rows(
        &self,
        prepared: Prepared,
        object: &Listed,
        origin: &Origin,
    ) -> Result<Stored, NotIndexed> {
        let identity = prepared.identity.clone();
        let about = |refusal| NotIndexed::Refused(Refused::about(&identity, refusal));
        let known = instances::known(&self.db, &identity.sop_instance).await;
        if let Some(known) = known.map_err(|error| about(Refusal::Index(error)))? {
            return match known.blob_key == object.key {
                true => Ok(Stored { instance: identity, outcome: Outcome::SameAgain, coerced: false }),
                false => Err(NotIndexed::Second),
            };
        }
        let mut row = rows::instance(&prepared, origin).map_err(about)?;
        row.blob_key = object.key.clone();
        row.owners = self.assignment.owners(&prepared, origin, &self.reach);
        let batch = instances::arrived(instances::insert(&row, self.clock.now()), &row, object.written);
        let inserted = self.db.run_here(batch).await;
        inserted.map_err(|error| about(placing::index_refusal(error, &self.reach)))?;
        Ok(Stored { instance: identity, outcome: Outcome::New, coerced: false })
    }
}

/// SR and PDF of a report of this program are unverified until somebody has signed it.
fn is_draft(prepared: &Prepared) -> bool {
    let value = |tag| text(&prepared.elements, tag);
    value(tags::MANUFACTURER) == MANUFACTURER && value(tags::VERIFICATION_FLAG) == "UNVERIFIED"
}
