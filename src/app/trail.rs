//! The audit trail of a server that runs: its start and its end, what is recorded between, retention,
//! and the ends that are noted elsewhere.

use tokio_util::sync::CancellationToken;

use super::{App, AppError};
use crate::audit::{Action, Actor, Collector, Entry, Heads, ObjectKind, Recorder, recorder};
use crate::clock::Clock;
use crate::config::{Audit, AuthMode};
use crate::db::{Batch, Db, audit};
use crate::lifecycle::Lifecycle;

impl App {
    /// The recorder for everything that answers requests. The task that writes ends after the last
    /// of them.
    pub(super) fn start_trail(&self, lifecycle: &mut Lifecycle) -> Result<Recorder, AppError> {
        let section = &self.config.audit;
        let settings = recorder::Settings {
            queue_max: section.queue_max,
            linger: section.linger(),
            patience: section.patience(),
            before: section.before,
        };
        let (db, clock) = (self.archive.db.clone(), self.archive.clock.clone());
        let (recorder, writing) = Recorder::new(db.clone(), clock.clone(), settings);
        let told = Told {
            db: db.clone(),
            clock: clock.clone(),
            server: self.archive.serial_number.clone(),
            heads: Heads::in_file(section.heads_file(&self.config.server.data_dir)),
        };
        let (start, configured) = (self.start_detail(), self.config.changed.join(" "));
        lifecycle.spawn("audit trail", async move {
            told.start(&start, &configured).await;
            writing.run().await;
            told.stop().await;
        });
        let heads = Heads::in_file(section.heads_file(&self.config.server.data_dir));
        let (section, stop) = (section.clone(), lifecycle.stop_token());
        lifecycle.spawn("care of the audit trail", async move {
            care(&db, &clock, &section, heads, &stop).await;
        });
        self.start_collector(lifecycle)?;
        Ok(recorder)
    }

    fn start_collector(&self, lifecycle: &mut Lifecycle) -> Result<(), AppError> {
        let settings = self.config.audit.syslog.clone();
        if settings.is_configured() {
            let (db, clock) = (self.archive.db.clone(), self.archive.clock.clone());
            let collector = Collector::new(db, clock, settings, &self.config.dimse.ae_title)?;
            let stop = lifecycle.stop_token();
            lifecycle.spawn("sender of audit messages", async move { collector.run(stop).await });
        }
        Ok(())
    }

    fn start_detail(&self) -> String {
        let access = match self.config.auth.mode {
            AuthMode::On => "on",
            AuthMode::Off => "off",
        };
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "version {version}, role {}, http {}, dimse {}, access control {access}",
            self.config.server.role.as_str(),
            self.http_address,
            self.dimse_address.map_or_else(|| "none".to_owned(), |address| address.to_string())
        )
    }
}

/// What the server says of itself.
struct Told {
    db: Db,
    clock: Clock,
    server: String,
    heads: Heads,
}

impl Told {
    async fn start(&self, detail: &str, configured: &str) {
        self.append(Action::StartServer, detail).await;
        if !configured.is_empty() {
            self.append(Action::Configure, configured).await;
        }
        self.heads.note(&self.db, self.clock.now()).await;
    }

    async fn stop(&self) {
        self.append(Action::StopServer, "").await;
        self.heads.note(&self.db, self.clock.now()).await;
    }

    async fn append(&self, action: Action, detail: &str) {
        let system = Actor::system();
        let entry = Entry::new(&system, action).object(ObjectKind::Server, &self.server).detail(detail);
        if let Err(error) = self.db.run(Batch::new().then(audit::append(&entry, self.clock.now()))).await {
            tracing::error!(%error, action = action.as_str(), "the audit trail cannot be written");
        }
    }
}

/// Notes where the trail ends, and removes what is older than it is to be.
async fn care(db: &Db, clock: &Clock, section: &Audit, heads: Heads, stop: &CancellationToken) {
    let mut note = tokio::time::interval(section.head_every());
    let mut prune = tokio::time::interval(section.prune_every());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = note.tick() => heads.note(db, clock.now()).await,
            _ = prune.tick() => self::prune(db, clock, section).await,
        }
    }
}

async fn prune(db: &Db, clock: &Clock, section: &Audit) {
    let Some(retention) = section.retention() else { return };
    let now = clock.now();
    let kept = match section.syslog.is_configured() {
        true => Some(audit::delivered(db, &section.syslog.address).await.unwrap_or(0)),
        false => None,
    };
    match audit::prune(db, now.minus(retention), kept, now).await {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "the retention of a part of the audit trail is over"),
        Err(error) => tracing::warn!(%error, "the audit trail could not be shortened"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::config::{Config, Overrides};
    use crate::db::audit::Filter;

    const DAY_US: i64 = 24 * 3600 * 1_000_000;

    fn configured(retention_days: &str) -> Audit {
        let keys = vec![("audit.retention_days", retention_days.to_owned())];
        Config::load(&Overrides { file: None, keys }).unwrap().audit
    }

    /// What is left of a row a day, from the first day to the tenth, after care in the middle of it.
    async fn left(retention_days: &str) -> Vec<i64> {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        let system = Actor::system();
        for day in 1..=10 {
            let entry = Entry::new(&system, Action::ReadStudy);
            db.run(Batch::new().then(audit::append(&entry, Timestamp(day * DAY_US)))).await.unwrap();
        }
        let clock = Clock::manual(Timestamp(10 * DAY_US + DAY_US / 2));
        prune(&db, &clock, &configured(retention_days)).await;
        let wanted = Filter { actions: vec!["read-study".to_owned()], ..Filter::default() };
        let rows = audit::after(&db, &wanted, 0, 100).await.unwrap();
        assert_eq!(audit::verify(&db, &[]).await.unwrap().flaws, []);
        rows.iter().map(|row| row.at.0 / DAY_US).collect()
    }

    #[tokio::test]
    async fn rows_go_when_the_days_of_the_configuration_are_over() {
        assert_eq!(left("3").await, [8, 9, 10]);
        assert_eq!(left("30").await.len(), 10);
    }

    #[tokio::test]
    async fn without_days_no_row_ever_goes() {
        assert_eq!(left("0").await.len(), 10);
    }
}
