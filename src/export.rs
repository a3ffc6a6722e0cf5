//! Pushing objects out to other systems, and telling them what happened here.
//!
//! What is to be sent is queued in the index by [`plan`], in the batch of what causes it. Each
//! destination has one job; [`worker`] works its rows off, over as many associations or requests at
//! a time as the destination allows. [`crate::outbound::breaker`] leaves a destination alone that fails. Nothing
//! that stores or analyses ever waits for any of it.

pub mod commitment;
mod committing;
pub mod content;
mod control;
mod courier;
mod destination;
mod dicom;
pub mod event;
pub mod plan;
pub mod scu;
mod status;
mod stow;
mod webhook;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config;
use crate::db::{Db, DbError};
use crate::jobs::Bell;
use crate::outbound::AccessError;
use crate::query::decoding::Decodes;

use commitment::Commitments;
pub use control::{ControlError, Queued, State};
pub use destination::Condition;
use destination::{Destination, Kind};
use scu::Directory;

/// Why exports cannot begin: all of it is said at the start.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("{name}: {url} is not a URL")]
    Url { name: String, url: String },
    #[error("{name}: there is no node {node:?} with a host")]
    Node { name: String, node: String },
}

/// What exports are made of.
#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub blobs: Blobs,
    pub clock: Clock,
    pub bell: Bell,
    pub decodes: Decodes,
    /// How nodes are called.
    pub directory: Directory,
    /// Where nodes are asked to commit to what they took.
    pub commitments: Arc<Commitments>,
}

/// Every destination, and the work for them.
pub struct Exports {
    parts: Parts,
    settings: config::Export,
    destinations: Vec<Arc<Destination>>,
}

impl Exports {
    /// # Errors
    /// A file of a destination cannot be used, or something in its configuration.
    pub fn new(parts: Parts, config: &config::Config) -> Result<Self, ExportError> {
        let destinations = config.export.all_destinations(&config.dimse.nodes);
        let objects = destinations.iter().map(|one| Destination::of_objects(one, config, &parts.directory));
        let events = config.export.webhooks.iter().map(|webhook| Destination::of_events(webhook, config));
        let destinations = objects.chain(events).map(|made| made.map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self { parts, settings: config.export.clone(), destinations })
    }

    /// One for each destination: none waits for another.
    pub fn workers(&self) -> usize {
        self.destinations.len()
    }

    /// At the start: whatever is queued for a destination finds its worker.
    pub async fn wake_all(&self) -> Result<(), DbError> {
        let now = self.parts.clock.now();
        let wake = |destination: &Arc<Destination>| crate::db::exports::wake(&destination.name, now);
        let batch = self.destinations.iter().map(wake).fold(crate::db::Batch::new(), crate::db::Batch::then);
        self.parts.db.run(batch).await?;
        self.parts.bell.ring();
        Ok(())
    }

    fn named(&self, name: &str) -> Option<&Arc<Destination>> {
        self.destinations.iter().find(|destination| destination.name == name)
    }

    fn of_objects(&self, name: &str) -> Option<&Arc<Destination>> {
        self.named(name).filter(|destination| !matches!(destination.kind, Kind::Webhook(_)))
    }
}
