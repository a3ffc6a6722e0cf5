//! One open stream: woken by commits of this process, looking now and then for those of others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Sight, gap, written};
use crate::auth::Reach;
use crate::db::DbError;
use crate::db::events::{self, Wanted};
use crate::http::State;
use crate::http::body::BoxError;
use crate::http::live::Seat;

/// What other processes wrote is seen after this long at the latest.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Rows of one look.
const PAGE: u32 = 256;

pub(super) struct Watch {
    state: Arc<State>,
    told: Arc<Notify>,
    wanted: Wanted,
    sight: Sight,
    /// Everything up to here was sent or passed over.
    after: i64,
    opened: bool,
    heartbeat_at: Instant,
    ends_at: Instant,
    _seat: Seat,
}

impl Watch {
    pub(super) fn new(state: Arc<State>, wanted: Wanted, sight: Sight, after: i64, seat: Seat) -> Self {
        let (now, settings) = (Instant::now(), &state.live.events);
        let (heartbeat_at, ends_at) = (now + settings.heartbeat(), now + settings.stream_time());
        let told = state.db.told();
        Self { state, told, wanted, sight, after, opened: false, heartbeat_at, ends_at, _seat: seat }
    }

    /// Ends after its time, at the stop of the server, and when the index fails: in each case the
    /// reader comes back.
    pub(super) fn stream(self) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
        stream::unfold(self, |mut watch| async move {
            match watch.next().await {
                Ok(Some(text)) => Some((Ok(Bytes::from(text)), watch)),
                Ok(None) => None,
                Err(error) => {
                    tracing::warn!(%error, "a stream of events ended early");
                    None
                }
            }
        })
    }

    async fn next(&mut self) -> Result<Option<String>, DbError> {
        if !std::mem::replace(&mut self.opened, true) {
            let retry_ms = self.state.live.events.retry_ms;
            return Ok(Some(format!("retry: {retry_ms}\nid: {}\n\n", self.after)));
        }
        loop {
            let woken = Arc::clone(&self.told);
            let mut woken = std::pin::pin!(woken.notified());
            woken.as_mut().enable();
            let text = self.look().await?;
            if !text.is_empty() {
                return Ok(Some(text));
            }
            let now = Instant::now();
            if now >= self.ends_at {
                return Ok(None);
            }
            if now >= self.heartbeat_at {
                return Ok(Some(self.heartbeat()));
            }
            let until = self.heartbeat_at.min(self.ends_at).min(now + LOOK_EVERY);
            tokio::select! {
                () = self.state.live.stop.cancelled() => return Ok(None),
                () = woken => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// The id alone moves the place at which the reader comes back (HTML 9.2.6).
    fn heartbeat(&mut self) -> String {
        self.heartbeat_at = Instant::now() + self.state.live.events.heartbeat();
        format!(": \nid: {}\n\n", self.after)
    }

    /// What is new since the last look; empty where nothing of it is for this reader.
    async fn look(&mut self) -> Result<String, DbError> {
        let Some((first, last)) = events::kept(&self.state.db).await? else { return Ok(String::new()) };
        let mut text = String::new();
        // Behind the last: the index is another one than the id came from.
        if self.after < first - 1 || self.after > last {
            text.push_str(&gap(first));
            self.after = first - 1;
        }
        while text.is_empty() && self.after < last {
            let reach: &Reach = &self.sight.caller.reach;
            let page = events::list(&self.state.db, &self.wanted, reach, self.after, last, PAGE).await?;
            self.after = match page.last() {
                Some(told) if page.len() == PAGE as usize => told.sequence,
                _ => last,
            };
            page.iter().filter(|told| self.sight.shows(told)).for_each(|told| text.push_str(&written(told)));
        }
        Ok(text)
    }
}
