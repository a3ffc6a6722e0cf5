//! The associations that asked for storage commitment and still stand: reports go back on them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::dicom::commitment::Report;

/// A report on its way to an association.
#[derive(Debug)]
pub struct Delivery {
    /// The presentation context of the request.
    pub context_id: u8,
    pub report: Report,
    /// Takes the status of the N-EVENT-REPORT-RSP; dropped when there will be none.
    pub confirmed: oneshot::Sender<u16>,
}

/// Back to whom asked.
#[derive(Debug, Clone)]
pub struct ReturnPath {
    pub context_id: u8,
    pub deliveries: mpsc::Sender<Delivery>,
}

impl ReturnPath {
    /// The status with which the report was confirmed; none when the association ended before.
    pub(super) async fn deliver(&self, report: Report) -> Option<u16> {
        let (confirmed, status) = oneshot::channel();
        let delivery = Delivery { context_id: self.context_id, report, confirmed };
        self.deliveries.send(delivery).await.ok()?;
        status.await.ok()
    }
}

/// By the id of the transaction.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<BTreeMap<String, ReturnPath>>);

impl Standing {
    /// Those that have ended go on the way.
    pub(super) fn add(&self, commitment: &str, path: ReturnPath) {
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paths.retain(|_, path| !path.deliveries.is_closed());
        paths.insert(commitment.to_owned(), path);
    }

    pub(super) fn of(&self, commitment: &str) -> Option<ReturnPath> {
        let paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paths.get(commitment).filter(|path| !path.deliveries.is_closed()).cloned()
    }

    pub(super) fn remove(&self, commitment: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(commitment);
    }
}
