//! What the readiness probe hears of the parts of the server.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::vitals::Vital;
use crate::ai::Health;
use crate::analysis::{Lack, Model};
use crate::blobs::{Room, Space};
use crate::config::Role;
use crate::http::{HookFuture, ProbeOutcome, Readiness};

pub(super) struct PartsReadiness {
    pub(super) database: Arc<Vital>,
    pub(super) storage: Arc<Vital>,
    pub(super) room: Room,
    pub(super) role: Role,
    pub(super) model: Model,
    /// Cancelled when a balancer is to send others elsewhere.
    pub(super) leaving: CancellationToken,
}

impl PartsReadiness {
    /// A listener that ends by itself ends the server: what answers has all of them.
    fn listeners(&self) -> ProbeOutcome {
        match self.leaving.is_cancelled() {
            true => ProbeOutcome::Failed("the server is stopping".to_owned()),
            false => ProbeOutcome::Ready,
        }
    }

    /// What is stored is given out for as long as it can be read: a full disk takes no server out of
    /// a balancer.
    fn storage(&self) -> ProbeOutcome {
        let seen = self.room.look();
        match (seen.space, self.storage.outcome()) {
            (Space::Out, _) => ProbeOutcome::Degraded(format!(
                "new objects are refused: {} bytes of the disk are free",
                seen.free_bytes
            )),
            (Space::Low, ProbeOutcome::Ready) => {
                ProbeOutcome::Degraded(format!("the disk is filling up: {} bytes are free", seen.free_bytes))
            }
            (_, outcome) => outcome,
        }
    }

    /// Without a model the archive is as ready as with one.
    fn model(&self) -> ProbeOutcome {
        match self.model.engine() {
            Ok(engine) => match engine.health() {
                Health::Ready => ProbeOutcome::Ready,
                Health::Degraded(reason) => ProbeOutcome::Degraded(reason),
            },
            Err(lack @ Lack::Loading) => ProbeOutcome::Loading(waits(lack, "")),
            Err(lack @ Lack::Failed(reason)) => ProbeOutcome::Lost(waits(lack, reason)),
            Err(Lack::OfOthers) => ProbeOutcome::Ready,
            Err(lack @ Lack::Absent) => ProbeOutcome::Degraded(waits(lack, "")),
        }
    }
}

fn waits(lack: Lack<'_>, reason: &str) -> String {
    let of = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    format!("{}{of}: studies wait for analysis", lack.words())
}

impl Readiness for PartsReadiness {
    fn role(&self) -> &'static str {
        self.role.as_str()
    }

    fn probes(&self) -> HookFuture<'_, Vec<(&'static str, ProbeOutcome)>> {
        let mut probes = vec![
            ("database", self.database.outcome()),
            ("storage", self.storage()),
            ("listeners", self.listeners()),
        ];
        if self.role.works() {
            probes.push(("model", self.model()));
        }
        Box::pin(async move { probes })
    }
}
