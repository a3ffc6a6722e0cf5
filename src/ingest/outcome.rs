//! What became of an object.

use super::{InstanceIdentity, Refusal, Source};
use crate::dicom::uid::{SopClassUid, SopInstanceUid};
use crate::telemetry::limits;
use crate::telemetry::metrics::ingest as metric;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub instance: InstanceIdentity,
    pub outcome: Outcome,
    /// The stored object is not what was received; it says itself what was changed.
    pub coerced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    New,
    /// The same data set was here already.
    SameAgain,
    /// Another data set with this UID was here already, and stays.
    KeptFirst,
    /// Another data set with this UID was here, and is gone.
    Replaced,
}

/// Warning Reason (0008,1196), PS3.18 Table I.2-1; the same numbers as status of C-STORE,
/// PS3.4 Table B.2-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    CoercionOfDataElements,
    ElementsDiscarded,
}

impl Warning {
    pub fn code(self) -> u16 {
        match self {
            Self::CoercionOfDataElements => 0xB000,
            Self::ElementsDiscarded => 0xB006,
        }
    }
}

impl Stored {
    /// What the sender should know about the object that is stored now.
    pub fn warning(&self) -> Option<Warning> {
        match self.outcome {
            Outcome::KeptFirst => Some(Warning::ElementsDiscarded),
            _ if self.coerced => Some(Warning::CoercionOfDataElements),
            _ => None,
        }
    }

    /// Whether the archive holds something that it did not hold before.
    pub fn is_new(&self) -> bool {
        matches!(self.outcome, Outcome::New | Outcome::Replaced)
    }
}

/// A refusal, with as much of the identity as could be read.
#[derive(Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct Refused {
    #[source]
    pub refusal: Refusal,
    pub sop_class: Option<SopClassUid>,
    pub sop_instance: Option<SopInstanceUid>,
}

impl Refused {
    pub(super) fn about(identity: &InstanceIdentity, refusal: Refusal) -> Self {
        Self {
            refusal,
            sop_class: Some(identity.sop_class.clone()),
            sop_instance: Some(identity.sop_instance.clone()),
        }
    }

    pub(super) fn anonymous(refusal: Refusal) -> Self {
        Self { refusal, sop_class: None, sop_instance: None }
    }
}

pub(super) fn count(source: Source, outcome: Result<&Stored, &Refused>) {
    let word = match outcome {
        Ok(stored) => match stored.outcome {
            Outcome::New => "new",
            Outcome::SameAgain => "same",
            Outcome::KeptFirst => "kept-first",
            Outcome::Replaced => "replaced",
        },
        Err(refused) => {
            metrics::counter!(metric::REFUSALS, "reason" => refused.refusal.name()).increment(1);
            refused.refusal.limit().into_iter().for_each(limits::hit);
            "refused"
        }
    };
    metrics::counter!(metric::OBJECTS, "source" => source.as_str(), "outcome" => word).increment(1);
}

/// The words of a panic may quote a value: they stay out of the answer.
pub(super) fn stopped_unexpectedly() -> Refused {
    Refused::anonymous(Refusal::Unparsable("the parser stopped unexpectedly".to_owned()))
}
