//! An answer passes through, and is kept for the next who asks.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};

use crate::db;
use crate::http::State;
use crate::http::body::BoxError;
use crate::query::Scope;
use crate::query::retrieve::Held;

type Chunk = Result<Bytes, BoxError>;

/// What an answer is made of, and the tag it goes by.
pub(super) struct Made {
    pub(super) scope: Scope,
    pub(super) held: Held,
    pub(super) tag: String,
}

impl Made {
    pub(super) fn keeping(
        self,
        state: Arc<State>,
        chunks: impl Stream<Item = Chunk> + Send + 'static,
    ) -> impl Stream<Item = Chunk> + Send + 'static {
        let seen = (self.held.instances > 1).then(Vec::new);
        stream::unfold(Keeping { made: self, state, chunks: chunks.boxed(), seen }, Keeping::next)
    }
}

struct Keeping {
    made: Made,
    state: Arc<State>,
    chunks: BoxStream<'static, Chunk>,
    /// Everything that has passed; nothing once it is clear that it will not be kept.
    seen: Option<Vec<Bytes>>,
}

impl Keeping {
    async fn next(mut self) -> Option<(Chunk, Self)> {
        let Some(chunk) = self.chunks.next().await else {
            self.keep().await;
            return None;
        };
        self.note(&chunk);
        Some((chunk, self))
    }

    fn note(&mut self, chunk: &Chunk) {
        let Some(mut seen) = self.seen.take() else { return };
        let Ok(chunk) = chunk else { return };
        seen.push(chunk.clone());
        if seen.iter().map(Bytes::len).sum::<usize>() <= self.state.answers.size_max() {
            self.seen = Some(seen);
        }
    }

    /// Pages are read one after the other: only what nobody changed meanwhile is of one version.
    async fn keep(self) {
        let Some(seen) = self.seen else { return };
        let held = db::retrieve::held(&self.state.db, &self.made.scope).await;
        if held.is_ok_and(|held| held.as_ref() == Some(&self.made.held)) {
            self.state.answers.keep(&self.made.tag, seen.concat().into());
        }
    }
}
