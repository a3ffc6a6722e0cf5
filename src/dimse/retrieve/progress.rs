//! How the sub-operations of a retrieval stand, and the responses that tell it (PS3.7 9.1.3.1 and
//! 9.1.4.1).

use std::fmt;
use std::time::Duration;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use tokio::time::Instant;

use crate::dicom::uid::{SopInstanceUid, TransferSyntaxUid};
use crate::ul::command::{CommandError, CommandSet, status};

/// As many bytes as a value of VR UI has in an explicit VR.
const FAILED_BYTES_MAX: usize = 0xFFFE;
/// Pending responses come not closer than this …
const PENDING_APART: Duration = Duration::from_millis(250);
/// … and not further apart, however long a sub-operation takes.
pub(super) const PENDING_AT_LEAST: Duration = Duration::from_secs(3);

const COMPLETE_WITH_FAILURES: u16 = 0xB000;
const NOTHING_PERFORMED: u16 = 0xA702;

/// What became of a sub-operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Completed,
    Warning,
    Failed,
}

impl Done {
    /// By the status of the C-STORE response.
    pub(super) fn of(store_status: u16) -> Self {
        match store_status {
            status::SUCCESS => Self::Completed,
            warning if status::is_warning(warning) => Self::Warning,
            _ => Self::Failed,
        }
    }
}

/// How a retrieval came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Through,
    Cancelled,
}

#[derive(Debug, Default)]
pub(super) struct Progress {
    total: u64,
    completed: u64,
    failed: u64,
    warnings: u64,
    failed_instances: Vec<SopInstanceUid>,
    failed_bytes: usize,
    told: Option<Instant>,
}

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        Self { total, ..Self::default() }
    }

    pub(super) fn count(&mut self, instance: &SopInstanceUid, done: Done) {
        match done {
            Done::Completed => self.completed += 1,
            Done::Warning => self.warnings += 1,
            Done::Failed => {
                self.failed += 1;
                self.remember(instance);
            }
        }
    }

    /// The list is cut where it fits no element.
    fn remember(&mut self, instance: &SopInstanceUid) {
        let bytes = self.failed_bytes + instance.as_str().len() + 1;
        if bytes <= FAILED_BYTES_MAX {
            self.failed_bytes = bytes;
            self.failed_instances.push(instance.clone());
        }
    }

    fn done(&self) -> u64 {
        self.completed + self.failed + self.warnings
    }

    /// Whether it is time for a pending response; nothing is pending behind the last sub-operation.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_long_ago = self.told.is_none_or(|told| now.duration_since(told) >= PENDING_APART);
        is_long_ago && self.done() < self.total
    }

    pub(super) fn pending(&mut self, request: &CommandSet, now: Instant) -> Result<CommandSet, CommandError> {
        self.told = Some(now);
        Ok(self.counted(request.response(status::PENDING)?, true))
    }

    /// PS3.4 C.4.2.3.1: warnings and failures among others, or nothing but failures.
    pub(super) fn status(&self, ended: Ended) -> u16 {
        match (ended, self.failed, self.warnings) {
            (Ended::Cancelled, ..) => status::CANCEL,
            (Ended::Through, 0, 0) => status::SUCCESS,
            (Ended::Through, failed, _) if failed == self.done() => NOTHING_PERFORMED,
            _ => COMPLETE_WITH_FAILURES,
        }
    }

    /// The last response; what remains is told only of what was cancelled (PS3.7 9.1.4.1.6).
    pub(super) fn last(&self, request: &CommandSet, ended: Ended) -> Result<CommandSet, CommandError> {
        Ok(self.counted(request.response(self.status(ended))?, ended == Ended::Cancelled))
    }

    fn counted(&self, response: CommandSet, remaining: bool) -> CommandSet {
        let told = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
        let response = response
            .with_u16(tags::NUMBER_OF_COMPLETED_SUBOPERATIONS, told(self.completed))
            .with_u16(tags::NUMBER_OF_FAILED_SUBOPERATIONS, told(self.failed))
            .with_u16(tags::NUMBER_OF_WARNING_SUBOPERATIONS, told(self.warnings));
        let left = self.total.saturating_sub(self.done());
        match remaining {
            true => response.with_u16(tags::NUMBER_OF_REMAINING_SUBOPERATIONS, told(left)),
            false => response,
        }
    }

    /// The identifier of the last response: Failed SOP Instance UID List (0008,0058), where some
    /// failed.
    pub(super) fn identifier(&self, syntax: &TransferSyntaxUid) -> Option<Vec<u8>> {
        if self.failed_instances.is_empty() {
            return None;
        }
        let uids = PrimitiveValue::Strs(self.failed_instances.iter().map(ToString::to_string).collect());
        let list = DataElement::new(tags::FAILED_SOP_INSTANCE_UID_LIST, VR::UI, uids);
        let mut bytes = Vec::new();
        let syntax = TransferSyntaxRegistry.get(syntax.as_str())?;
        InMemDicomObject::from_element_iter([list]).write_dataset_with_ts(&mut bytes, syntax).ok()?;
        Some(bytes)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total, completed, failed, warnings, .. } = self;
        write!(f, "{completed} of {total} sent, {warnings} with a warning, {failed} failed")
    }
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use super::*;
    use crate::ul::command::field;

    fn request() -> CommandSet {
        CommandSet::request(field::C_MOVE, 7)
    }

    fn progress(total: u64, done: &[Done]) -> Progress {
        let mut progress = Progress::new(total);
        for (number, done) in done.iter().enumerate() {
            progress.count(&format!("1.2.{number}").parse().unwrap(), *done);
        }
        progress
    }

    #[track_caller]
    fn check_status(done: &[Done], ended: Ended, expected: u16) {
        assert_eq!(progress(3, done).status(ended), expected);
    }

    #[test]
    fn the_last_status_says_how_it_went() {
        use Done::{Completed, Failed, Warning};
        check_status(&[], Ended::Through, 0x0000);
        check_status(&[Completed; 3], Ended::Through, 0x0000);
        check_status(&[Completed, Warning], Ended::Through, 0xB000);
        check_status(&[Completed, Failed], Ended::Through, 0xB000);
        check_status(&[Warning, Failed], Ended::Through, 0xB000);
        check_status(&[Failed; 3], Ended::Through, 0xA702);
        check_status(&[Completed, Failed], Ended::Cancelled, 0xFE00);
    }

    #[test]
    fn what_remains_is_told_while_something_does() {
        let mut progress = progress(70_003, &[Done::Completed, Done::Failed]);
        let pending = progress.pending(&request(), Instant::now()).unwrap();
        let count = |response: &CommandSet, tag| response.u16(tag).unwrap();
        assert_eq!(count(&pending, tags::NUMBER_OF_REMAINING_SUBOPERATIONS), Some(u16::MAX));
        assert_eq!(count(&pending, tags::NUMBER_OF_COMPLETED_SUBOPERATIONS), Some(1));
        let last = progress.last(&request(), Ended::Through).unwrap();
        assert_eq!(count(&last, tags::NUMBER_OF_REMAINING_SUBOPERATIONS), None);
        assert_eq!(count(&last, tags::NUMBER_OF_FAILED_SUBOPERATIONS), Some(1));
        let cancelled = progress.last(&request(), Ended::Cancelled).unwrap();
        assert!(count(&cancelled, tags::NUMBER_OF_REMAINING_SUBOPERATIONS).is_some());
    }

    #[test]
    fn pending_responses_are_apart_and_end_before_the_last() {
        let (mut progress, now) = (progress(2, &[Done::Completed]), Instant::now());
        assert!(progress.is_due(now));
        progress.pending(&request(), now).unwrap();
        assert!(!progress.is_due(now) && progress.is_due(now + PENDING_APART));
        progress.count(&"1.3".parse().unwrap(), Done::Failed);
        assert!(!progress.is_due(now + PENDING_APART));
    }

    #[test]
    fn failed_instances_are_listed_as_far_as_an_element_holds_them() {
        let explicit = uids::EXPLICIT_VR_LITTLE_ENDIAN.parse().unwrap();
        assert_eq!(progress(1, &[Done::Completed]).identifier(&explicit), None);
        let list = progress(9, &[Done::Failed, Done::Completed, Done::Failed]).identifier(&explicit).unwrap();
        assert_eq!(list, b"\x08\0\x58\0UI\x0c\x001.2.0\\1.2.2\0");
        let mut many = Progress::new(20_000);
        (0..20_000).for_each(|n| many.count(&format!("1.2.{n}").parse().unwrap(), Done::Failed));
        let list = many.identifier(&explicit).unwrap();
        assert!((60_000..=8 + FAILED_BYTES_MAX).contains(&list.len()), "{}", list.len());
    }
}
