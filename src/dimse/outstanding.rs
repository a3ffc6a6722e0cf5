//! C-STORE operations whose objects are here and not yet durable: with an Asynchronous Operations
//! Window (PS3.7 D.3.3.3) the next object is received meanwhile, and responses leave as they come.

use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use super::association::Association;
use super::{Placing, StoreSink};
use crate::ingest::{Refused, Stored};
use crate::ul::UlError;
use crate::ul::command::CommandSet;
use crate::ul::connection::{Contextual, Transport};

/// At most as many as were agreed on; one is what an association has that agreed on nothing.
pub(super) struct Outstanding {
    /// Never locked: it lets the association be looked at by reference while its task moves
    /// between threads.
    operations: Mutex<FuturesUnordered<BoxFuture<'static, Placed>>>,
    most: usize,
}

/// What became of the object of a request.
pub(super) struct Placed {
    pub(super) request: Contextual<CommandSet>,
    pub(super) outcome: Result<Stored, Refused>,
}

impl Outstanding {
    pub(super) fn new(most: usize) -> Self {
        Self { operations: Mutex::default(), most: most.max(1) }
    }

    pub(super) fn allows_several(&self) -> bool {
        self.most > 1
    }

    pub(super) fn is_empty(&mut self) -> bool {
        self.operations().is_empty()
    }

    pub(super) fn push(&mut self, request: Contextual<CommandSet>, placing: Placing) {
        self.operations().push(Box::pin(async move { Placed { request, outcome: placing.await } }));
    }

    /// None when there are none.
    pub(super) async fn next(&mut self) -> Option<Placed> {
        self.operations().next().await
    }

    fn operations(&mut self) -> &mut FuturesUnordered<BoxFuture<'static, Placed>> {
        self.operations.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Transport, K: StoreSink> Association<'_, S, K> {
    /// Answers until another operation may come.
    pub(super) async fn make_room(&mut self) -> Result<(), UlError> {
        self.answer_down_to(self.outstanding.most - 1).await
    }

    /// Answers all: what is not a C-STORE comes after those before it.
    pub(super) async fn settle(&mut self) -> Result<(), UlError> {
        self.answer_down_to(0).await
    }

    async fn answer_down_to(&mut self, left: usize) -> Result<(), UlError> {
        while self.outstanding.operations().len() > left {
            if let Some(placed) = self.outstanding.next().await {
                self.answer_store(placed).await?;
            }
        }
        Ok(())
    }
}
