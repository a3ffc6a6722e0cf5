//! Which model answers, by configuration.

use crate::analysis::Model;
use crate::app::AppError;
use crate::clock::Clock;
use crate::config::Config;

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

/// Loads the configured model, if any. Takes seconds to minutes; blocking.
#[cfg(feature = "local-model")]
pub fn open(config: &Config, clock: &Clock) -> Result<Model, AppError> {
    use crate::ai::local::{LocalEngine, LocalOptions, ModelFiles, Precision};
    use crate::config::ModelPrecision;

    let options = LocalOptions {
        queue_max: config.model.queue_max,
        clock: clock.clone(),
        precision: match config.model.precision {
            ModelPrecision::Exact => Precision::Exact,
            ModelPrecision::EightBit => Precision::EightBit,
        },
        ..LocalOptions::default()
    };
    let dir = &config.model.dir;
    let engine = match (config.model.demo, dir.as_os_str().is_empty()) {
        (true, _) => {
            LocalEngine::start(ModelFiles::Embedded(DEMO_MODEL), options).map_err(AppError::DemoModel)?
        }
        (false, true) => return Ok(Model::Absent),
        (false, false) => LocalEngine::start(ModelFiles::Folder(dir.clone()), options)
            .map_err(|source| AppError::Model { dir: dir.clone(), source })?,
    };
    Ok(Model::Ready(std::sync::Arc::new(engine)))
}

/// This build has no engine of its own.
#[cfg(not(feature = "local-model"))]
pub fn open(config: &Config, _clock: &Clock) -> Result<Model, AppError> {
    let asked = config.model.demo || !config.model.dir.as_os_str().is_empty();
    if asked { Err(AppError::NoLocalModel) } else { Ok(Model::Absent) }
}
