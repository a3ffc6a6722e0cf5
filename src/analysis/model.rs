//! The model of this installation, which may take minutes to come.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::oneshot;

use crate::ai::Engine;
use crate::config::RemotePixels;

/// The model, if there is one. Nothing ever falls back to another model.
#[derive(Clone)]
pub enum Model {
    Ready(Arc<dyn Engine>),
    /// It is loaded while the server does everything else.
    Coming(Arc<Coming>),
    Absent,
    /// Other instances analyse. What their model lets go where it is asked over HTTP.
    OfOthers(Option<RemotePixels>),
}

/// Why there is no engine now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack<'a> {
    Absent,
    Loading,
    Failed(&'a str),
    OfOthers,
}

/// What waits for a model is told so in these words.
pub const NO_MODEL: &str = "no model configured";

impl Lack<'_> {
    pub fn words(self) -> &'static str {
        match self {
            Self::Absent => NO_MODEL,
            Self::Loading => "the model is being loaded",
            Self::Failed(_) => "the model could not be loaded",
            Self::OfOthers => "other instances analyse",
        }
    }
}

impl Model {
    pub fn engine(&self) -> Result<&Arc<dyn Engine>, Lack<'_>> {
        match self {
            Self::Ready(engine) => Ok(engine),
            Self::Absent => Err(Lack::Absent),
            Self::OfOthers(_) => Err(Lack::OfOthers),
            Self::Coming(coming) => match coming.loaded.get() {
                None => Err(Lack::Loading),
                Some(Ok(engine)) => Ok(engine),
                Some(Err(reason)) => Err(Lack::Failed(reason)),
            },
        }
    }

    /// What is let go to the model, where that runs elsewhere.
    pub fn pixels_that_leave(&self) -> Option<&RemotePixels> {
        match self {
            Self::OfOthers(pixels) => pixels.as_ref(),
            _ => self.engine().ok()?.pixels_that_leave(),
        }
    }

    /// Loads what is to be loaded, once; returns when the model is there or cannot be.
    pub async fn arrive(&self) {
        if let Self::Coming(coming) = self {
            coming.arrive().await;
        }
    }
}

type Load = Box<dyn FnOnce() -> Result<Arc<dyn Engine>, String> + Send>;

pub struct Coming {
    load: Mutex<Option<Load>>,
    loaded: OnceLock<Result<Arc<dyn Engine>, String>>,
}

impl Coming {
    /// `load` may block for minutes. The reason that it gives is for people.
    pub fn by(load: impl FnOnce() -> Result<Arc<dyn Engine>, String> + Send + 'static) -> Arc<Self> {
        Arc::new(Self { load: Mutex::new(Some(Box::new(load))), loaded: OnceLock::new() })
    }

    /// On a thread of its own, which the end of the process does not wait for.
    async fn arrive(&self) {
        let Some(load) = self.load.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let (sender, receiver) = oneshot::channel();
        let thread = std::thread::Builder::new().name("model loading".to_owned());
        let begun = thread.spawn(move || drop(sender.send(load())));
        let loaded = match begun {
            Ok(_) => receiver.await.unwrap_or_else(|_| Err("loading it ended early".to_owned())),
            Err(error) => Err(error.to_string()),
        };
        // nobody else has taken the loader
        let _ = self.loaded.set(loaded);
    }
}
