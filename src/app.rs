//! The whole server: its long-lived parts, built from the configuration and started on a
//! lifecycle.

mod archive;
mod lock;
mod model;
mod readiness;
mod requests;
mod settings;
pub mod statement;
mod work;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::analysis::{Analyses, Model, NO_MODEL};
use crate::blobs::BlobError;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Deletion, Dimse};
use crate::db::DbError;
use crate::export::commitment::Commitments;
use crate::export::scu::Directory;
use crate::export::{ExportError, Exports};
use crate::ingest::Ingest;
use crate::jobs::completeness::Deliveries;
use crate::jobs::{JobKind, driver};
use crate::lifecycle::Lifecycle;
use crate::query::decoding::Decodes;
use crate::telemetry::metrics::sweep as metric;
use crate::ul::tls::{Tls, TlsError};
use crate::{dimse, http, lifecycle};

use self::readiness::ModelReadiness;
use self::requests::Requests;
use self::work::Work;

pub use self::archive::Archive;
pub use self::model::open as open_model;

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("{key} = {address}: another program is listening there; choose another address with {flag}, {key} or RADIANT__{}", key.to_uppercase().replace('.', "__"))]
    AddressInUse { key: &'static str, flag: &'static str, address: SocketAddr },
    #[error("{key} = {address} cannot be listened on")]
    Bind { key: &'static str, address: SocketAddr, source: io::Error },
    #[error("a listener has no address")]
    Address(#[source] io::Error),
    #[error("server.data_dir = {} cannot be used", path.display())]
    DataDir { path: PathBuf, source: io::Error },
    #[error("server.data_dir = {} is in use by another radiant process", path.display())]
    DataDirInUse { path: PathBuf },
    #[error("TLS cannot be used")]
    Tls(#[from] TlsError),
    #[error("SIGHUP cannot be listened to")]
    Hangup(#[source] io::Error),
    #[error("the index cannot be opened")]
    Index(#[from] DbError),
    #[error("the objects cannot be opened")]
    Objects(#[from] BlobError),
    #[error("exports cannot begin")]
    Exports(#[from] ExportError),
    #[cfg(feature = "local-model")]
    #[error("model.dir = {} cannot be loaded", dir.display())]
    Model { dir: PathBuf, source: crate::ai::local::LoadError },
    #[cfg(feature = "local-model")]
    #[error("the demonstration model cannot be loaded")]
    DemoModel(#[source] crate::ai::local::LoadError),
    #[cfg(not(feature = "local-model"))]
    #[error("model.dir and model.demo need the feature local-model, which this build lacks")]
    NoLocalModel,
}

/// The addresses, taken and not yet answered.
pub struct Listeners {
    http: TcpListener,
    dimse: dimse::Listeners,
    /// For associations that come in, and for the nodes that are called.
    tls: Tls,
}

impl Listeners {
    pub async fn bind(config: &Config) -> Result<Self, AppError> {
        let tls = Tls::load(&config.dimse.tls)?;
        let http = bind("http.listen", "--http", config.http.listen).await?;
        let dimse = bind_dimse(&config.dimse, &tls).await?;
        Ok(Self { http, dimse, tls })
    }

    /// The ports are known even when any were asked for.
    pub fn http_address(&self) -> Result<SocketAddr, AppError> {
        self.http.local_addr().map_err(AppError::Address)
    }

    /// Of the plain listener, where there is one.
    pub fn dimse_address(&self) -> Result<SocketAddr, AppError> {
        let over_tls = self.dimse.tls.as_ref().map(|(listener, _)| listener);
        let listener = self.dimse.plain.as_ref().or(over_tls);
        let none = || io::Error::from(io::ErrorKind::NotConnected);
        listener.ok_or_else(none).and_then(TcpListener::local_addr).map_err(AppError::Address)
    }

    /// Where associations over TLS are accepted.
    pub fn dimse_tls_address(&self) -> Result<Option<SocketAddr>, AppError> {
        let address = self.dimse.tls.as_ref().map(|(listener, _)| listener.local_addr());
        address.transpose().map_err(AppError::Address)
    }
}

/// One listener where both have the same address; any port (0) is never the same.
async fn bind_dimse(section: &Dimse, tls: &Tls) -> Result<dimse::Listeners, AppError> {
    let only_tls = section.tls.listen == Some(section.listen) && section.listen.port() != 0;
    let plain = match only_tls {
        true => None,
        false => Some(bind("dimse.listen", "--dimse", section.listen).await?),
    };
    let over_tls = match section.tls.listen {
        Some(address) => Some((bind("dimse.tls.listen", "--config", address).await?, tls.clone())),
        None => None,
    };
    Ok(dimse::Listeners { plain, tls: over_tls })
}

async fn bind(key: &'static str, flag: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => AppError::AddressInUse { key, flag, address },
        _ => AppError::Bind { key, address, source },
    })
}

/// What a server is started with.
pub struct Parts {
    pub config: Config,
    pub archive: Archive,
    pub model: Model,
    pub metrics: PrometheusHandle,
    pub listeners: Listeners,
}

/// A server that runs.
pub struct App {
    /// What everything below was built from.
    pub config: Config,
    /// Index, objects and the way in; holds the data folder.
    pub archive: Archive,
    /// Starts analyses and tells how they go.
    pub analyses: Arc<Analyses>,
    /// What is committed to nodes, and by nodes.
    pub commitments: Arc<Commitments>,
    /// Sends results, studies and news.
    pub exports: Arc<Exports>,
    /// Where HTTP is answered; the port is known even when any was asked for.
    pub http_address: SocketAddr,
    /// Where associations are accepted.
    pub dimse_address: SocketAddr,
    /// Where they are accepted over TLS.
    pub dimse_tls_address: Option<SocketAddr>,
}

impl App {
    /// Builds the parts and starts their tasks on the lifecycle.
    pub fn start(parts: Parts, lifecycle: &mut Lifecycle) -> Result<Self, AppError> {
        let Parts { config, archive, model, metrics, listeners } = parts;
        announce(&listeners, &model)?;
        let readiness = ModelReadiness::of(&model);
        let directory = Directory::from_config(&config.dimse, listeners.tls.clone());
        let decodes = Decodes::new(settings::decodes());
        let work = Work::new(&config, &archive, model, directory.clone(), decodes.clone())?;
        let app = Self {
            http_address: listeners.http_address()?,
            dimse_address: listeners.dimse_address()?,
            dimse_tls_address: listeners.dimse_tls_address()?,
            analyses: Arc::clone(&work.analyses),
            commitments: Arc::clone(&work.commitments),
            exports: Arc::clone(&work.exports),
            config,
            archive,
        };
        app.start_work(&work, lifecycle);
        app.start_reload(listeners.tls, lifecycle)?;
        app.start_dimse(listeners.dimse, directory, work.deliveries, decodes.clone(), lifecycle);
        app.start_http(listeners.http, readiness, metrics, decodes, lifecycle);
        app.start_sweep(lifecycle);
        Ok(app)
    }

    /// What waited for a model that is there now comes first.
    fn start_work(&self, work: &Work, lifecycle: &mut Lifecycle) {
        let analyses = Arc::clone(&self.analyses);
        lifecycle.spawn_once("start of waiting analyses", async move {
            analyses.resume_waiting().await.map(drop)
        });
        let (events, stop) = (self.analyses.subscribe(), lifecycle.stop_token());
        lifecycle.spawn_once("log of analyses", async move { endless(work::report(events, &stop).await) });
        for (name, kind) in [
            ("study driver", JobKind::CompleteStudy),
            ("analysis driver", JobKind::AnalyseStudy),
            ("commitment driver", JobKind::ReportCommitment),
            ("export driver", JobKind::Export),
        ] {
            let driver = work.driver(kind, &self.config, &self.archive);
            let stop = lifecycle.stop_token();
            lifecycle.spawn(name, async move { endless(driver::run(driver, stop).await) });
        }
        let exports = Arc::clone(&self.exports);
        lifecycle.spawn_once("start of exports", async move { exports.wake_all().await });
    }

    /// Certificates are read again at SIGHUP. Without any the signal keeps its meaning, which is
    /// to end.
    fn start_reload(&self, tls: Tls, lifecycle: &mut Lifecycle) -> Result<(), AppError> {
        if self.config.dimse.tls.files().next().is_none() {
            return Ok(());
        }
        let mut hangups = lifecycle::hangups().map_err(AppError::Hangup)?;
        let stop = lifecycle.stop_token();
        lifecycle.spawn("reload of certificates", async move {
            while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
                reload(&tls).await;
            }
            endless(())
        });
        Ok(())
    }

    fn start_dimse(
        &self,
        listeners: dimse::Listeners,
        directory: Directory,
        deliveries: Deliveries,
        decodes: Decodes,
        lifecycle: &mut Lifecycle,
    ) {
        let server = dimse::Server {
            settings: dimse::Settings::new(&self.config),
            sink: Arc::clone(&self.archive.ingest),
            association_ended: Arc::new(move |delivery| tell_end(deliveries.clone(), delivery)),
            db: self.archive.db.clone(),
            blobs: self.archive.blobs.clone(),
            decodes,
            directory,
            identify: dimse::everybody(),
            commitments: Arc::clone(&self.commitments),
        };
        let stop = lifecycle.stop_token();
        lifecycle
            .spawn("DIMSE listener", async move { endless(dimse::serve(listeners, server, stop).await) });
    }

    fn start_http(
        &self,
        listener: TcpListener,
        readiness: ModelReadiness,
        metrics: PrometheusHandle,
        decodes: Decodes,
        lifecycle: &mut Lifecycle,
    ) {
        let state = http::State {
            db: self.archive.db.clone(),
            blobs: self.archive.blobs.clone(),
            ingest: self.archive.ingest.as_ref().clone(),
            settings: http::Settings {
                drain_timeout: self.config.server.stop_timeout(),
                deletion_enabled: self.config.deletion.enabled,
                ..http::Settings::from_config(&self.config.http)
            },
            analyses: Arc::new(Requests(Arc::clone(&self.analyses))),
            readiness: Arc::new(readiness),
            commitments: Arc::clone(&self.commitments),
            exports: Arc::clone(&self.exports),
            decodes,
            answers: http::Answers::new(self.config.http.answers_bytes_max),
            metrics: Arc::new(move || metrics.render()),
        };
        lifecycle.spawn("HTTP listener", http::serve(listener, Arc::new(state), lifecycle.stop_token()));
    }

    /// In the background: a large store takes minutes to look through, and nobody waits for it.
    fn start_sweep(&self, lifecycle: &mut Lifecycle) {
        let ingest = Arc::clone(&self.archive.ingest);
        let (before, stop) = (self.archive.clock.now(), lifecycle.stop_token());
        lifecycle.spawn_once("sweep", async move { endless(sweep(&ingest, before, &stop).await) });
        let (archive, settings) = (Arc::clone(&self.archive.ingest), self.config.deletion.clone());
        let (clock, stop) = (self.archive.clock.clone(), lifecycle.stop_token());
        lifecycle.spawn("sweep of what was deleted", async move {
            endless(sweep_deleted(&archive, &settings, &clock, &stop).await)
        });
    }
}

/// An end that is not recorded costs waiting time only: silent deliveries time out.
fn tell_end(deliveries: Deliveries, delivery: String) {
    tokio::spawn(async move {
        if let Err(error) = deliveries.association_ended(&delivery).await {
            tracing::warn!(%error, "the end of an association could not be recorded");
        }
    });
}

async fn reload(tls: &Tls) {
    let tls = tls.clone();
    match tokio::task::spawn_blocking(move || tls.reload()).await {
        Ok(Ok(())) => tracing::info!("certificates were read again"),
        Ok(Err(error)) => tracing::error!(%error, "the certificates stay as they were"),
        Err(panic) => tracing::error!(%panic, "the certificates stay as they were"),
    }
}

/// For tasks that do not fail.
fn endless((): ()) -> Result<(), std::convert::Infallible> {
    Ok(())
}

/// A sweep that fails has lost nothing: the next start sweeps again.
async fn sweep(ingest: &Ingest, before: Timestamp, stop: &CancellationToken) {
    match ingest.sweep(before, stop).await {
        Ok(swept) => {
            metrics::counter!(metric::DELETED).increment(swept.deleted);
            tracing::info!(
                examined = swept.examined,
                deleted = swept.deleted,
                "objects without a row were swept"
            );
        }
        Err(error) => tracing::warn!(%error, "the sweep for objects without a row ended early"),
    }
}

/// Now and then, until the stop: what cannot be swept today is swept tomorrow.
async fn sweep_deleted(ingest: &Ingest, settings: &Deletion, clock: &Clock, stop: &CancellationToken) {
    loop {
        let before = clock.now().minus(settings.retention());
        match ingest.sweep_deleted(before, stop).await {
            Ok(0) => {}
            Ok(instances) => tracing::info!(instances, "deleted instances are gone for good"),
            Err(error) => tracing::warn!(%error, "the sweep of what was deleted ended early"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(settings.sweep_every())).await.is_none() {
            return;
        }
    }
}

fn announce(listeners: &Listeners, model: &Model) -> Result<(), AppError> {
    let (http, dimse) = (listeners.http_address()?, listeners.dimse_address()?);
    if let Some(address) = listeners.dimse_tls_address()? {
        tracing::info!(dimse = %address, "associations over TLS are accepted");
    }
    tracing::info!(%http, %dimse, "access control is not built yet: listening on loopback only");
    match model {
        Model::Ready(engine) => {
            let identity = engine.identity();
            tracing::info!(model = identity.name, version = identity.version, "the model is ready");
        }
        Model::Absent => tracing::warn!("{NO_MODEL} (model.dir): studies are kept and wait for analysis"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_key_and_address() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let keys = vec![("http.listen", "127.0.0.1:0".to_owned()), ("dimse.listen", address.clone())];
        let config = Config::load(&Overrides { file: None, keys }).unwrap();
        let error = Listeners::bind(&config).await.err().unwrap().to_string();
        assert!(error.starts_with(&format!("dimse.listen = {address}: another program")), "{error}");
        assert!(error.contains("--dimse") && error.contains("RADIANT__DIMSE__LISTEN"), "{error}");
    }
}
