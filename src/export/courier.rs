//! What brings rows of the queue to a destination, whatever it speaks.

use std::time::Duration;

use super::destination::{Destination, Kind};
use super::dicom::DicomCourier;
use super::{Parts, stow, webhook};
use crate::db::exports::{Claimed, Matter};
use crate::db::{DbError, retrieve};
use crate::query::Scope;
use crate::query::retrieve::StoredInstance;

/// What became of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// The destination has it; perhaps with a warning.
    Taken { note: Option<String>, bytes: u64 },
    /// It will never take it.
    Refused(String),
    /// It did not take it this time.
    Failed(String),
    /// It was not tried.
    Untried,
    /// It is not stored here any more.
    Gone,
}

/// What went wrong with the destination rather than with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub reason: String,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
    /// It does not want us: to ask again at once is of no use.
    pub is_refusal: bool,
}

impl Trouble {
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry_after: None, is_refusal: false }
    }

    pub(super) fn refusal(reason: impl Into<String>) -> Self {
        Self { is_refusal: true, ..Self::passing(reason) }
    }
}

/// What became of some rows, in their order.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub fates: Vec<Fate>,
    pub trouble: Option<Trouble>,
}

impl Round {
    /// All rows alike.
    pub(super) fn all(rows: usize, fate: &Fate, trouble: Option<Trouble>) -> Self {
        Self { fates: vec![fate.clone(); rows], trouble }
    }
}

/// One association or sequence of requests to a destination.
pub(super) enum Courier<'a> {
    Dicom(Box<DicomCourier<'a>>),
    Stow(stow::StowCourier<'a>),
    Webhook(webhook::WebhookCourier<'a>),
}

impl<'a> Courier<'a> {
    pub(super) fn to(destination: &'a Destination, parts: &'a Parts) -> Self {
        match &destination.kind {
            Kind::Node(node) => Self::Dicom(Box::new(DicomCourier::new(node, destination, parts))),
            Kind::Stow(service) => Self::Stow(stow::StowCourier { service, destination, parts }),
            Kind::Webhook(hook) => Self::Webhook(webhook::WebhookCourier { hook, clock: &parts.clock }),
        }
    }

    /// Rows that are best brought at one time.
    pub(super) fn rows_max(&self) -> usize {
        match self {
            Self::Dicom(_) => 16,
            Self::Stow(courier) => courier.service.instances_max,
            Self::Webhook(_) => 1,
        }
    }

    pub(super) async fn bring(&mut self, rows: &[Claimed]) -> Result<Round, DbError> {
        match self {
            Self::Dicom(courier) => courier.bring(rows).await,
            Self::Stow(courier) => courier.bring(rows).await,
            Self::Webhook(courier) => Ok(courier.bring(rows).await),
        }
    }

    /// Whether the destination is there. What cannot be asked is tried with one row.
    pub(super) async fn ask(&mut self) -> Result<(), Trouble> {
        match self {
            Self::Dicom(courier) => courier.ask().await,
            Self::Stow(courier) => courier.ask().await,
            Self::Webhook(_) => Ok(()),
        }
    }

    /// Nothing is there to be brought for now.
    pub(super) async fn rest(&mut self) {
        if let Self::Dicom(courier) = self {
            courier.rest().await;
        }
    }

    /// Nothing more is to be brought.
    pub(super) async fn finish(&mut self) {
        if let Self::Dicom(courier) = self {
            courier.finish().await;
        }
    }
}

/// The stored instance that a row is about; `None` when it is gone.
pub(super) async fn stored(parts: &Parts, row: &Claimed) -> Result<Option<StoredInstance>, DbError> {
    let Matter::Object { series, instance } = &row.matter else { return Ok(None) };
    let scope = Scope::Instance(row.study.clone(), series.clone(), instance.clone());
    Ok(retrieve::instances(&parts.db, &scope, 0).await?.into_iter().next())
}
