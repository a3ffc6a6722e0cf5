//! The whole server: its long-lived parts, built from the configuration and started on a
//! lifecycle.

mod archive;
mod beside;
mod ends;
mod lock;
mod measure;
mod model;
mod readiness;
mod rebuild;
mod requests;
mod settings;
pub mod statement;
mod sweeps;
mod trail;
mod vitals;
mod work;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::ai::Runs;
use crate::analysis::{Analyses, Model, NO_MODEL};
use crate::audit::Recorder;
use crate::auth::{Access, AccessError, FirstError, upkeep};
use crate::blobs::BlobError;
use crate::config::{AuthMode, Config, Dimse, Http};
use crate::db::DbError;
use crate::db::worklist::Totals;
use crate::export::commitment::Commitments;
use crate::export::content::Downloads;
use crate::export::scu::Directory;
use crate::export::{ExportError, Exports};
use crate::http::Https;
use crate::jobs::completeness::Deliveries;
use crate::jobs::{JobKind, driver};
use crate::lifecycle::Lifecycle;
use crate::query::decoding::Decodes;
use crate::query::volumes::{self, Volumes};
use crate::reporting::Reporting;
use crate::tls::TlsError;
use crate::ul::tls::Tls;
use crate::uploads::Uploads;
use crate::{dimse, http, lifecycle};

use self::measure::Measuring;
use self::readiness::PartsReadiness;
use self::requests::Requests;
use self::vitals::Vital;
use self::work::Work;

pub use self::archive::{Archive, PairingError, data_files, open_index};
pub use self::beside::Beside;
pub use self::ends::{End, Ends, EndsError};
pub use self::model::open as open_model;
pub use self::rebuild::Rebuild;

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
    #[error("server.data_dir = {} has no archive", path.display())]
    NoArchive { path: PathBuf },
    #[error(transparent)]
    Pairing(#[from] PairingError),
    #[error("{place} is there: an index is made anew only where there is none; move it away first")]
    IndexThere { place: String },
    #[error("TLS cannot be used")]
    Tls(#[from] TlsError),
    #[error("SIGHUP cannot be listened to")]
    Hangup(#[source] io::Error),
    #[error("the index cannot be opened")]
    Index(#[from] DbError),
    #[error("the objects cannot be opened")]
    Objects(#[from] BlobError),
    #[error("access control cannot begin")]
    Access(#[from] AccessError),
    #[error(transparent)]
    FirstAdministrator(#[from] FirstError),
    #[error("exports cannot begin")]
    Exports(#[from] ExportError),
    #[cfg(feature = "local-model")]
    #[error("model.dir = {} cannot be loaded", dir.display())]
    Model { dir: PathBuf, source: crate::ai::local::LoadError },
    #[cfg(feature = "local-model")]
    #[error("the demonstration model cannot be loaded")]
    DemoModel(#[source] crate::ai::local::LoadError),
    #[error("the model service cannot be asked")]
    ModelService(#[source] crate::outbound::AccessError),
    #[cfg(not(feature = "local-model"))]
    #[error("model.dir and model.demo need the feature local-model, which this build lacks")]
    NoLocalModel,
}

/// The addresses, taken and not yet answered.
pub struct Listeners {
    http: http::Listeners,
    https: Https,
    dimse: dimse::Listeners,
    /// For associations that come in, and for the nodes that are called.
    tls: Tls,
}

impl Listeners {
    pub async fn bind(config: &Config) -> Result<Self, AppError> {
        let tls = Tls::load(&config.dimse.tls)?;
        let https = Https::load(&config.http.tls)?;
        let http = bind_http(&config.http, &https).await?;
        let dimse = match config.server.role.serves() {
            true => bind_dimse(&config.dimse, &tls).await?,
            false => dimse::Listeners { plain: None, tls: None },
        };
        Ok(Self { http, https, dimse, tls })
    }

    /// The ports are known even when any were asked for. Of the plain listener, where there is one.
    pub fn http_address(&self) -> Result<SocketAddr, AppError> {
        address(self.http.plain.as_ref(), self.http.tls.as_ref().map(|(listener, _)| listener))
    }

    /// Where requests are answered over TLS.
    pub fn https_address(&self) -> Result<Option<SocketAddr>, AppError> {
        let address = self.http.tls.as_ref().map(|(listener, _)| listener.local_addr());
        address.transpose().map_err(AppError::Address)
    }

    /// Of the plain listener, where there is one; none where no association is accepted.
    pub fn dimse_address(&self) -> Result<Option<SocketAddr>, AppError> {
        match (&self.dimse.plain, &self.dimse.tls) {
            (None, None) => Ok(None),
            (plain, over_tls) => {
                address(plain.as_ref(), over_tls.as_ref().map(|(listener, _)| listener)).map(Some)
            }
        }
    }

    /// Where associations over TLS are accepted.
    pub fn dimse_tls_address(&self) -> Result<Option<SocketAddr>, AppError> {
        let address = self.dimse.tls.as_ref().map(|(listener, _)| listener.local_addr());
        address.transpose().map_err(AppError::Address)
    }
}

fn address(plain: Option<&TcpListener>, over_tls: Option<&TcpListener>) -> Result<SocketAddr, AppError> {
    let none = || io::Error::from(io::ErrorKind::NotConnected);
    plain.or(over_tls).ok_or_else(none).and_then(TcpListener::local_addr).map_err(AppError::Address)
}

/// One listener where both have the same address.
async fn bind_http(section: &Http, https: &Https) -> Result<http::Listeners, AppError> {
    let plain = match is_same(section.listen, section.tls.listen) {
        true => None,
        false => Some(bind("http.listen", "--http", section.listen).await?),
    };
    let over_tls = match section.tls.listen {
        Some(address) => Some((bind("http.tls.listen", "--config", address).await?, https.clone())),
        None => None,
    };
    Ok(http::Listeners { plain, tls: over_tls })
}

/// Any port (0) is never the same.
fn is_same(plain: SocketAddr, over_tls: Option<SocketAddr>) -> bool {
    over_tls == Some(plain) && plain.port() != 0
}

/// One listener where both have the same address.
async fn bind_dimse(section: &Dimse, tls: &Tls) -> Result<dimse::Listeners, AppError> {
    let plain = match is_same(section.listen, section.tls.listen) {
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
    /// Who comes in.
    pub access: Arc<Access>,
    /// Starts analyses and tells how they go.
    pub analyses: Arc<Analyses>,
    /// What is committed to nodes, and by nodes.
    pub commitments: Arc<Commitments>,
    /// Sends results, studies and news.
    pub exports: Arc<Exports>,
    /// The life of reports.
    pub reporting: Arc<Reporting>,
    /// Makes objects of what browsers send.
    pub uploads: Arc<Uploads>,
    /// Studies and findings in other forms.
    pub downloads: Arc<Downloads>,
    /// Where HTTP is answered; the port is known even when any was asked for.
    pub http_address: SocketAddr,
    /// Where it is answered over TLS.
    pub https_address: Option<SocketAddr>,
    /// Where associations are accepted, if they are.
    pub dimse_address: Option<SocketAddr>,
    /// Where they are accepted over TLS.
    pub dimse_tls_address: Option<SocketAddr>,
}

impl App {
    /// Builds the parts and starts their tasks on the lifecycle.
    pub fn start(parts: Parts, lifecycle: &mut Lifecycle) -> Result<Self, AppError> {
        let Parts { config, archive, model, metrics, listeners } = parts;
        announce(&listeners, &model, &config)?;
        let shown_model = model.clone();
        let directory = Directory::from_config(&config.dimse, listeners.tls.clone());
        let decodes = Decodes::new(settings::decodes());
        let work = Work::new(&config, &archive, model, directory.clone(), decodes.clone())?;
        let access = Access::new(archive.db.clone(), archive.clock.clone(), &config)?;
        let app = Self {
            access: Arc::new(access),
            http_address: listeners.http_address()?,
            https_address: listeners.https_address()?,
            dimse_address: listeners.dimse_address()?,
            dimse_tls_address: listeners.dimse_tls_address()?,
            analyses: Arc::clone(&work.analyses),
            commitments: Arc::clone(&work.commitments),
            exports: Arc::clone(&work.exports),
            reporting: Arc::clone(&work.reporting),
            uploads: Arc::clone(&work.uploads),
            downloads: Arc::clone(&work.downloads),
            config,
            archive,
        };
        let audit = app.start_trail(lifecycle)?;
        app.start_access(lifecycle)?;
        app.start_work(&work, lifecycle);
        app.start_reload(listeners.tls, listeners.https, lifecycle)?;
        app.start_measuring(metrics.clone(), lifecycle);
        let deliveries = work.deliveries;
        if app.config.server.role.serves() {
            app.start_dimse(
                listeners.dimse,
                directory,
                deliveries,
                decodes.clone(),
                audit.clone(),
                lifecycle,
            );
        }
        let readiness = app.start_vitals(shown_model, lifecycle);
        app.start_http(listeners.http, readiness, metrics, decodes, audit, lifecycle);
        app.start_sweep(lifecycle);
        Ok(app)
    }

    /// Somebody has to be able to come in before the door is there.
    fn start_access(&self, lifecycle: &mut Lifecycle) -> Result<(), AppError> {
        if self.config.auth.mode == AuthMode::On && self.config.server.role.serves() {
            futures::executor::block_on(self.access.make_first_administrator())?;
        }
        let (access, stop) = (Arc::clone(&self.access), lifecycle.stop_token());
        lifecycle.spawn("upkeep of access control", async move { keep_up(&access, &stop).await });
        Ok(())
    }

    /// What waited for a model that is there now comes first.
    fn start_work(&self, work: &Work, lifecycle: &mut Lifecycle) {
        let role = self.config.server.role;
        let (events, stop) = (self.analyses.subscribe(), lifecycle.stop_token());
        lifecycle.spawn_once("log of analyses", async move { work::report(events, &stop).await });
        for (name, kind) in [
            ("study driver", JobKind::CompleteStudy),
            ("analysis driver", JobKind::AnalyseStudy),
            ("commitment driver", JobKind::ReportCommitment),
            ("export driver", JobKind::Export),
            ("report driver", JobKind::PublishReport),
            ("upload driver", JobKind::StoreUpload),
            ("download driver", JobKind::Download),
            ("retention driver", JobKind::RetainStudies),
        ] {
            if !work::is_done_by(role, kind) {
                continue;
            }
            let driver = work.driver(kind, &self.config, &self.archive);
            let stop = lifecycle.stop_token();
            lifecycle.spawn(name, async move { driver::run(driver, stop).await });
        }
        if role.works() {
            let retention = Arc::clone(&work.retention);
            lifecycle.spawn_once("start of the retention", async move { retention.begin().await });
            self.resume_work(lifecycle);
        }
    }

    /// What an earlier process left.
    fn resume_work(&self, lifecycle: &mut Lifecycle) {
        let analyses = Arc::clone(&self.analyses);
        lifecycle.spawn_once("start of the model and of waiting analyses", async move {
            analyses.begin().await.map(drop)
        });
        let reporting = Arc::clone(&self.reporting);
        lifecycle.spawn_once("start of signed reports", async move { reporting.resume().await.map(drop) });
        let exports = Arc::clone(&self.exports);
        lifecycle.spawn_once("start of exports", async move { exports.wake_all().await });
    }

    /// Certificates are read again at SIGHUP. Without any the signal keeps its meaning, which is
    /// to end.
    fn start_reload(&self, tls: Tls, https: Https, lifecycle: &mut Lifecycle) -> Result<(), AppError> {
        let (dimse, http) = (&self.config.dimse.tls, &self.config.http.tls);
        if dimse.files().chain(http.files()).next().is_none() {
            return Ok(());
        }
        let mut hangups = lifecycle::hangups().map_err(AppError::Hangup)?;
        let stop = lifecycle.stop_token();
        lifecycle.spawn("reload of certificates", async move {
            while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
                reload(&tls, &https).await;
            }
        });
        Ok(())
    }

    fn start_dimse(
        &self,
        listeners: dimse::Listeners,
        directory: Directory,
        deliveries: Deliveries,
        decodes: Decodes,
        audit: Recorder,
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
            identify: self.identify(),
            audit,
            commitments: Arc::clone(&self.commitments),
        };
        let stop = lifecycle.stop_token();
        lifecycle.spawn("DIMSE listener", async move { dimse::serve(listeners, server, stop).await });
    }

    /// Without access control everybody is somebody.
    fn identify(&self) -> dimse::Identify {
        match self.config.auth.mode {
            AuthMode::On => dimse::known_to(Arc::clone(&self.access)),
            AuthMode::Off => dimse::everybody(),
        }
    }

    fn start_http(
        &self,
        listeners: http::Listeners,
        readiness: PartsReadiness,
        metrics: PrometheusHandle,
        decodes: Decodes,
        audit: Recorder,
        lifecycle: &mut Lifecycle,
    ) {
        let volumes = Arc::new(Volumes::new(volumes::Parts {
            db: self.archive.db.clone(),
            blobs: self.archive.blobs.clone(),
            decodes: decodes.clone(),
            settings: self.config.volumes.clone(),
            bytes_max: usize::try_from(self.config.analysis.volume_bytes_max).unwrap_or(usize::MAX),
        }));
        let state = http::State {
            access: Arc::clone(&self.access),
            db: self.archive.db.clone(),
            blobs: self.archive.blobs.clone(),
            ingest: self.archive.ingest.as_ref().clone(),
            settings: http::Settings {
                role: self.config.server.role,
                drain_timeout: self.config.server.stop_timeout(),
                deletion_enabled: self.config.deletion.enabled,
                auth_mode: self.config.auth.mode,
                basic: self.config.auth.basic,
                audit_each_request: self.config.audit.each_request,
                audit_rows_max: self.config.audit.export_rows_max,
                audit_studies_max: self.config.audit.studies_max,
                ..http::Settings::from_config(&self.config.http)
            },
            analyses: Arc::new(Requests(Arc::clone(&self.analyses))),
            readiness: Arc::new(readiness),
            commitments: Arc::clone(&self.commitments),
            exports: Arc::clone(&self.exports),
            reporting: Arc::clone(&self.reporting),
            downloads: Arc::clone(&self.downloads),
            decodes,
            audit,
            answers: http::Answers::new(self.config.http.answers_bytes_max),
            rate_limits: http::RateLimits::from_config(&self.config.http.rate_limits).shared_by(
                &self.archive.db,
                &self.archive.clock,
                &self.config.http.rate_limits,
            ),
            metrics: Arc::new(move || metrics.render()),
            clock: self.archive.clock.clone(),
            live: http::Live::new(
                &self.config,
                self.archive.clock.clone(),
                Arc::clone(&self.uploads),
                volumes,
                lifecycle.stop_token(),
            ),
            totals: Totals::default(),
        };
        lifecycle.spawn("HTTP listener", http::serve(listeners, Arc::new(state), lifecycle.stop_token()));
    }

    fn start_vitals(&self, model: Model, lifecycle: &mut Lifecycle) -> PartsReadiness {
        let every = self.config.server.probe_every();
        let (database, storage) = (Vital::new(every), Vital::new(every));
        let (vital, stop) = (Arc::clone(&database), lifecycle.stop_token());
        let (db, clock) = (self.archive.db.clone(), self.archive.clock.clone());
        let server = self.archive.serial_number.clone();
        lifecycle.spawn("watch on the database", async move {
            vitals::watch_database(vital, db, server, clock, stop).await;
        });
        let (vital, stop) = (Arc::clone(&storage), lifecycle.stop_token());
        let blobs = self.archive.blobs.clone();
        lifecycle.spawn("watch on the storage", async move {
            vitals::watch_storage(vital, blobs, stop).await;
        });
        let room = self.archive.blobs.room().clone();
        let role = self.config.server.role;
        PartsReadiness { database, storage, room, role, model, leaving: lifecycle.leaving_token() }
    }

    fn start_measuring(&self, handle: PrometheusHandle, lifecycle: &mut Lifecycle) {
        let measuring = Measuring {
            db: self.archive.db.clone(),
            clock: self.archive.clock.clone(),
            handle,
            every: self.config.telemetry.measure_every(),
        };
        let stop = lifecycle.stop_token();
        lifecycle.spawn("measuring", async move { measuring.run(&stop).await });
    }

    /// In the background: a large store takes minutes to look through, and nobody waits for it.
    fn start_sweep(&self, lifecycle: &mut Lifecycle) {
        if self.config.server.role.works() {
            self.start_shared_sweeps(lifecycle);
        }
        let (room, stop) = (self.archive.blobs.room().clone(), lifecycle.stop_token());
        lifecycle.spawn("watch of the disk", async move { sweeps::watch(&room, &stop).await });
        let (downloads, stop) = (Arc::clone(&self.downloads), lifecycle.stop_token());
        lifecycle.spawn("sweep of downloads", async move { downloads.sweep_until(&stop).await });
        let (uploads, stop) = (Arc::clone(&self.uploads), lifecycle.stop_token());
        lifecycle.spawn("sweep of uploads", async move { uploads.sweep(&stop).await });
    }

    /// Of what instances may share.
    fn start_shared_sweeps(&self, lifecycle: &mut Lifecycle) {
        let ingest = Arc::clone(&self.archive.ingest);
        let (before, stop) = (self.archive.clock.now(), lifecycle.stop_token());
        lifecycle.spawn_once("sweep", async move { sweeps::sweep(&ingest, before, &stop).await });
        let (archive, settings) = (Arc::clone(&self.archive.ingest), self.config.deletion.clone());
        let (clock, stop) = (self.archive.clock.clone(), lifecycle.stop_token());
        lifecycle.spawn("sweep of what was deleted", async move {
            sweeps::sweep_deleted(&archive, &settings, &clock, &stop).await;
        });
        let (db, settings) = (self.archive.db.clone(), self.config.events.clone());
        let (clock, stop) = (self.archive.clock.clone(), lifecycle.stop_token());
        lifecycle.spawn("sweep of events", async move {
            sweeps::sweep_events(&db, &settings, &clock, &stop).await;
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

/// One that cannot be used does not keep the other from being read.
async fn reload(tls: &Tls, https: &Https) {
    let (tls, https) = (tls.clone(), https.clone());
    match tokio::task::spawn_blocking(move || {
        let (https, tls) = (https.reload(), tls.reload());
        https.and(tls)
    })
    .await
    {
        Ok(Ok(())) => tracing::info!("certificates were read again"),
        Ok(Err(error)) => tracing::error!(%error, "the certificates stay as they were"),
        Err(panic) => tracing::error!(%panic, "the certificates stay as they were"),
    }
}

/// What cannot be done now is done the next time.
async fn keep_up(access: &Access, stop: &CancellationToken) {
    loop {
        if let Err(error) = access.keep_up().await {
            tracing::warn!(%error, "the upkeep of access control ended early");
        }
        if stop.run_until_cancelled(tokio::time::sleep(upkeep::EVERY)).await.is_none() {
            return;
        }
    }
}

fn announce(listeners: &Listeners, model: &Model, config: &Config) -> Result<(), AppError> {
    let (http, dimse) = (listeners.http_address()?, listeners.dimse_address()?.map(tracing::field::display));
    let role = config.server.role.as_str();
    metrics::gauge!(crate::telemetry::metrics::process::ROLE, "role" => role).set(1.0);
    if let Some(address) = listeners.https_address()? {
        tracing::info!(https = %address, "requests over TLS are answered");
    }
    if let Some(address) = listeners.dimse_tls_address()? {
        tracing::info!(dimse = %address, "associations over TLS are accepted");
    }
    match config.auth.mode {
        AuthMode::On => tracing::info!(role, %http, dimse, "listening"),
        AuthMode::Off => {
            tracing::warn!(role, %http, dimse, "access control is off: everybody on this machine may do everything");
        }
    }
    match model {
        Model::Ready(engine) if engine.identity().runs == Runs::Elsewhere => {
            tracing::warn!(
                "images of analyses leave this machine: they are sent to the model service (model.remote)"
            );
        }
        Model::Ready(_) => {}
        Model::OfOthers(_) => tracing::info!("analyses are left to workers"),
        Model::Coming(_) => tracing::info!("the model is being loaded: studies wait for analysis"),
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
