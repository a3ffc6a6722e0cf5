//! Which model answers, by configuration.

use std::sync::Arc;

use crate::ai::remote::RemoteEngine;
#[cfg(feature = "local-model")]
use crate::ai::{Engine, StageLimits};
#[cfg(feature = "local-model")]
use crate::analysis::Coming;
use crate::analysis::Model;
use crate::app::AppError;
use crate::clock::Clock;
#[cfg(feature = "local-model")]
use crate::config::ModelTimeouts;
use crate::config::{Config, ModelEngine};
#[cfg(feature = "local-model")]
use {
    crate::ai::local::{LocalEngine, LocalOptions, ModelFiles},
    crate::causes::chain,
    std::path::PathBuf,
};

/// The demonstration model, compiled in so that `radiant demo` needs nothing but the program.
#[cfg(feature = "local-model")]
const DEMO_MODEL: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../../assets/demo-model/config.json")),
    ("generation_config.json", include_bytes!("../../assets/demo-model/generation_config.json")),
    ("model.safetensors", include_bytes!("../../assets/demo-model/model.safetensors")),
    ("preprocessor_config.json", include_bytes!("../../assets/demo-model/preprocessor_config.json")),
    ("radiant.json", include_bytes!("../../assets/demo-model/radiant.json")),
    ("tokenizer.json", include_bytes!("../../assets/demo-model/tokenizer.json")),
];

/// The configured model, if any. A folder that holds none is refused at once; one that does is loaded
/// while the server does everything else, the small model of the demonstration here. Blocking, on a
/// thread of the runtime.
pub fn open(config: &Config, clock: &Clock) -> Result<Model, AppError> {
    if !config.server.role.works() {
        let is_remote = config.model.engine == ModelEngine::Remote;
        return Ok(Model::OfOthers(is_remote.then(|| config.model.remote.pixels.clone())));
    }
    match config.model.engine {
        ModelEngine::Local => local(config, clock),
        ModelEngine::Remote => remote(config, clock),
    }
}

/// A service that is away is no reason not to start: studies wait for it.
fn remote(config: &Config, clock: &Clock) -> Result<Model, AppError> {
    let lead = config.analysis.priority_lead();
    let engine =
        RemoteEngine::new(&config.model.remote, lead, clock.clone()).map_err(AppError::ModelService)?;
    let engine = Arc::new(engine);
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(RemoteEngine::keep_in_touch(Arc::downgrade(&engine)));
    }
    Ok(Model::Ready(engine))
}

#[cfg(feature = "local-model")]
fn local(config: &Config, clock: &Clock) -> Result<Model, AppError> {
    use crate::ai::local::{FeatureOptions, Precision, VisionOptions};
    use crate::config::ModelPrecision;

    let options = LocalOptions {
        queue_max: config.model.queue_max,
        priority_lead: config.analysis.priority_lead(),
        batch_max: config.model.batch_max,
        batch_stat: config.analysis.stat_workers,
        cache_bytes_max: config.model.cache_bytes_max,
        limits: limits(&config.model.timeouts),
        features: Some(FeatureOptions {
            folder: config.server.data_dir.join("cache").join("features"),
            bytes_max: config.model.features_bytes_max,
        }),
        clock: clock.clone(),
        precision: match config.model.precision {
            ModelPrecision::Exact => Precision::Exact,
            ModelPrecision::EightBit => Precision::EightBit,
        },
        threads: config.model.threads,
        vision: VisionOptions {
            precision: config.model.vision_precision,
            kernels: config.model.kernels,
            threads: config.model.threads,
        },
        ..LocalOptions::default()
    };
    let dir = config.model.dir.clone();
    let engine = match (config.model.demo, dir.as_os_str().is_empty()) {
        (true, _) => {
            LocalEngine::start(ModelFiles::Embedded(DEMO_MODEL), options).map_err(AppError::DemoModel)?
        }
        (false, true) => return Ok(Model::Absent),
        (false, false) => return later(dir, options),
    };
    Ok(Model::Ready(Arc::new(engine)))
}

#[cfg(feature = "local-model")]
fn later(dir: PathBuf, options: LocalOptions) -> Result<Model, AppError> {
    let named = |dir: PathBuf, source| AppError::Model { dir, source };
    crate::ai::local::glance(&dir).map_err(|source| named(dir.clone(), source))?;
    Ok(Model::Coming(Coming::by(move || {
        let started = LocalEngine::start(ModelFiles::Folder(dir.clone()), options);
        let engine = started.map_err(|source| chain(&named(dir, source)))?;
        Ok(Arc::new(engine) as Arc<dyn Engine>)
    })))
}

#[cfg(feature = "local-model")]
fn limits(timeouts: &ModelTimeouts) -> StageLimits {
    StageLimits {
        queue: timeouts.queue(),
        image: timeouts.image(),
        prefill: timeouts.prefill(),
        decode: timeouts.decode(),
    }
}

/// This build has no engine of its own.
#[cfg(not(feature = "local-model"))]
fn local(config: &Config, _clock: &Clock) -> Result<Model, AppError> {
    let asked = config.model.demo || !config.model.dir.as_os_str().is_empty();
    if asked { Err(AppError::NoLocalModel) } else { Ok(Model::Absent) }
}
