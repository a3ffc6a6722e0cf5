//! The association server: the services of PS3.4 as SCP over PS3.8.
//!
//! One task per association, one future per task: negotiate, then serve messages one after
//! the other. A data set streams from the socket into [`StoreSink::receive`]; the response
//! leaves when what that gives is done.

mod admission;
mod association;
mod audited;
mod commitment;
mod echo;
mod extended;
mod find;
mod listener;
mod negotiation;
mod operation;
mod outstanding;
mod retrieve;
mod roles;
mod services;
mod standing;
pub mod statement;
mod store;
mod turned_away;
mod user_identity;
mod users;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::AsyncRead;

use crate::audit::Recorder;
use crate::auth::Reach;
use crate::blobs::Blobs;
use crate::config::{self, Node, Service};
use crate::db::Db;
use crate::dicom::sop_class::is_standard_storage;
use crate::export::commitment::Commitments;
use crate::export::scu::Directory;
use crate::export::scu::outgoing::Source;
use crate::ingest::{Ingest, Received, Refused, Stored};
use crate::query::decoding::Decodes;
use crate::telemetry::metrics::dimse as metric;

pub use find::FindSettings;
pub use listener::{Listeners, serve};
pub use user_identity::{Identified, Identify, UserIdentity, everybody};
pub use users::{Users, known_to};

use services::ServiceClass;

/// Done when a received object is durable, or with why it is not kept.
pub type Placing = BoxFuture<'static, Result<Stored, Refused>>;

/// Where received objects go.
pub trait StoreSink: Send + Sync + 'static {
    /// Reads an object that somebody of this reach brings to its end; the rest is left to what it returns.
    fn receive<R: AsyncRead + Unpin + Send>(
        &self,
        received: Received<'_, R>,
        reach: &Reach,
    ) -> impl Future<Output = Result<Placing, Refused>> + Send;
}

impl StoreSink for Ingest {
    async fn receive<R: AsyncRead + Unpin + Send>(
        &self,
        received: Received<'_, R>,
        reach: &Reach,
    ) -> Result<Placing, Refused> {
        Ok(Box::pin(Ingest::receive(&self.within(reach), received).await?.outcome()))
    }
}

/// Told the delivery id of each association that stored something, when it has ended.
pub type AssociationEnded = Arc<dyn Fn(String) + Send + Sync>;

/// What an association server is made of.
pub struct Server<K> {
    pub settings: Settings,
    pub sink: Arc<K>,
    pub association_ended: AssociationEnded,
    /// What queries, retrievals and commitments read.
    pub db: Db,
    pub blobs: Blobs,
    /// Where retrieved objects are made into what a peer takes.
    pub decodes: Decodes,
    /// The nodes that are called.
    pub directory: Directory,
    /// Says whether a user is let in.
    pub identify: Identify,
    /// Told of associations, and of what is asked on them.
    pub audit: Recorder,
    pub commitments: Arc<Commitments>,
}

impl<K> Server<K> {
    fn source(&self) -> Source {
        Source { db: self.db.clone(), blobs: self.blobs.clone(), decodes: self.decodes.clone() }
    }
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub ae_title: String,
    /// Reject associations that call another AE title.
    pub called_aet_strict: bool,
    pub sop_classes: SopClasses,
    pub associations_max: usize,
    /// C-STORE operations of one association at a time, where the peer asks for several.
    pub operations_max: u16,
    /// The largest P-DATA-TF accepted, announced as Maximum Length (PS3.8 D.1).
    pub pdu_bytes_max: u32,
    /// How long a peer may take to send a whole PDU or to take a response.
    pub idle_timeout: Duration,
    /// The fewest bytes per second of a message that has been waited for longer than that.
    pub data_rate_min: u64,
    /// Before negotiation and while closing, PS3.8 9.1.5.
    pub artim_timeout: Duration,
    /// How long objects in flight may take once the server stops.
    pub stop_timeout: Duration,
    /// Identifiers and other data sets that are taken in as a whole.
    pub identifier_bytes_max: u64,
    /// What those may do that are none of the nodes.
    pub unknown_callers_may: BTreeSet<Service>,
    pub nodes: Vec<Node>,
    pub find: FindSettings,
    pub users: Users,
    /// A passcode is taken over a connection that others can read.
    pub passcode_plain_ok: bool,
    /// How long it holds what was found out about a user.
    pub recheck: Duration,
    /// Rejections of one address within it share a row of the audit trail …
    pub rejections_recorded_every: Duration,
    /// … of so many addresses and reasons.
    pub rejections_remembered_max: usize,
}

impl Settings {
    pub fn new(config: &config::Config) -> Self {
        let section = &config.dimse;
        Self {
            ae_title: section.ae_title.clone(),
            called_aet_strict: section.called_aet_strict,
            sop_classes: SopClasses::standard_and(section.sop_classes_extra.iter().cloned()),
            associations_max: section.associations_max,
            operations_max: section.operations_max,
            pdu_bytes_max: section.pdu_bytes_max,
            idle_timeout: section.idle_timeout(),
            data_rate_min: section.data_rate_min,
            artim_timeout: section.artim_timeout(),
            stop_timeout: config.server.stop_timeout(),
            identifier_bytes_max: section.identifier_bytes_max,
            unknown_callers_may: section.unknown_callers_may.clone(),
            nodes: section.nodes.clone(),
            find: FindSettings::new(config),
            users: Users::new(config),
            passcode_plain_ok: section.passcode_plain_ok,
            recheck: config.auth.token_recheck(),
            rejections_recorded_every: section.rejections_recorded_every(),
            rejections_remembered_max: section.rejections_remembered_max,
        }
    }
}

/// Which abstract syntaxes are accepted: the services, the standard's storage classes, and more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SopClasses {
    any: bool,
    extra: BTreeSet<String>,
}

impl SopClasses {
    /// `*` among the extra ones accepts any.
    pub fn standard_and(extra: impl IntoIterator<Item = String>) -> Self {
        let extra: BTreeSet<String> = extra.into_iter().collect();
        Self { any: extra.contains("*"), extra }
    }

    /// What an abstract syntax is for; none when it is not accepted.
    fn service(&self, uid: &str) -> Option<ServiceClass> {
        let storage = || self.any || self.extra.contains(uid) || is_standard_storage(uid);
        ServiceClass::of(uid).or_else(|| storage().then_some(ServiceClass::Storage))
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod sop_class_tests {
    use dicom_dictionary_std::uids;

    use super::*;

    #[track_caller]
    fn check(extra: &[&str], uid: &str, service: Option<ServiceClass>) {
        let classes = SopClasses::standard_and(extra.iter().map(|uid| (*uid).to_owned()));
        assert_eq!(classes.service(uid), service, "{uid}");
    }

    #[test]
    fn services_and_the_storage_classes_are_accepted() {
        check(&[], uids::VERIFICATION, Some(ServiceClass::Verification));
        check(&[], uids::STORAGE_COMMITMENT_PUSH_MODEL, Some(ServiceClass::StorageCommitment));
        check(&[], uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION, Some(ServiceClass::Storage));
    }

    #[test]
    fn others_only_by_configuration() {
        check(&[], uids::MODALITY_WORKLIST_INFORMATION_MODEL_FIND, None);
        check(&[], "1.2.3.4", None);
        check(&["1.2.3.4"], "1.2.3.4", Some(ServiceClass::Storage));
        check(&["*"], "1.2.3.5", Some(ServiceClass::Storage));
    }
}
