//! `radiant serve`: the server until it is told to stop.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::analysis::Model;
use crate::app::{App, Archive, Listeners, Parts, open_model};
use crate::clock::Clock;
use crate::config::Config;
use crate::lifecycle::{self, Lifecycle};
use crate::telemetry::collector::Collector;
use crate::telemetry::{log, metrics};

/// The listeners end their own leftovers at the stop timeout and say which; the lifecycle
/// steps in after.
const GRACE: Duration = Duration::from_secs(2);

pub(super) async fn run(config: Config) -> Result<(), CliError> {
    let interrupts = lifecycle::interrupts().map_err(CliError::Runtime)?;
    let collector = Collector::of(&config.telemetry.traces)?;
    log::init(&config.log, collector.as_ref().map(Collector::tracer))?;
    let (stop, sending) = (CancellationToken::new(), collector);
    let sending = sending.map(|collector| tokio::spawn(collector.run(stop.clone())));
    let (_app, lifecycle) = start(config).await?;
    let ended = lifecycle.run(interrupts).await;
    // The last spans end with the last task.
    stop.cancel();
    if let Some(sending) = sending {
        sending.await.map_err(|panic| CliError::Runtime(std::io::Error::other(panic)))?;
    }
    Ok(ended?)
}

/// Takes the addresses first: a port in use is told before a model is loaded.
pub(super) async fn start(config: Config) -> Result<(App, Lifecycle), CliError> {
    let metrics = metrics::install()?;
    let listeners = Listeners::bind(&config).await?;
    let (archive, model, config) = open(config).await?;
    let lifecycle = Lifecycle::new(config.server.stop_timeout() + GRACE);
    let mut lifecycle = lifecycle.leaving_for(config.server.drain());
    let app = App::start(Parts { config, archive, model, metrics, listeners }, &mut lifecycle)?;
    Ok((app, lifecycle))
}

/// The data folder, then the model, on a thread that may block.
async fn open(config: Config) -> Result<(Archive, Model, Config), CliError> {
    let opened = tokio::task::spawn_blocking(move || {
        let clock = Clock::System;
        let archive = Archive::open(&config, clock.clone())?;
        let model = open_model(&config, &clock)?;
        Ok((archive, model, config))
    });
    opened.await.map_err(|panic| CliError::Runtime(std::io::Error::other(panic)))?
}
