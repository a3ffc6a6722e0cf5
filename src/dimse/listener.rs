//! Takes connections in and sees them out.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::admission::Peer;
use super::association::{self, Shared};
use super::{Server, StoreSink, audited, metric};
use crate::telemetry::{limits, trace};
use crate::ul::tls::Tls;
use crate::ul::transport::Stream;

/// Connections beyond the associations that may be in negotiation or closing. Silent ones are
/// cut off by the ARTIM timer; until then they take none of the associations' places.
const CONNECTIONS_SPARE: usize = 512;
/// Accepting fails when descriptors run out: others must end before it is worth a try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where associations are accepted.
#[derive(Debug)]
pub struct Listeners {
    pub plain: Option<TcpListener>,
    pub tls: Option<(TcpListener, Tls)>,
}

/// A connection on which nothing was said yet.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Tls>,
}

impl Listeners {
    async fn accept(&self) -> io::Result<Accepted> {
        tokio::select! {
            accepted = accept(self.plain.as_ref()) => {
                accepted.map(|(stream, peer)| Accepted { stream, peer, tls: None })
            }
            accepted = accept(self.tls.as_ref().map(|(listener, _)| listener)) => {
                let tls = self.tls.as_ref().map(|(_, tls)| tls.clone());
                accepted.map(|(stream, peer)| Accepted { stream, peer, tls })
            }
        }
    }
}

/// Without a listener, never.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
    }
}

/// Serves until `stop`; then lets objects in flight finish, for at most the stop timeout.
pub async fn serve<K: StoreSink>(listeners: Listeners, server: Server<K>, stop: CancellationToken) {
    let stop_timeout = server.settings.stop_timeout;
    let connections =
        Arc::new(Semaphore::new(server.settings.associations_max.saturating_add(CONNECTIONS_SPARE)));
    let shared = Arc::new(Shared::new(server, stop.clone()));
    let mut tasks = JoinSet::new();
    let mut minutes = interval(shared.server.settings.rejections_recorded_every.max(Duration::from_secs(1)));
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = minutes.tick() => audited::rejections(&shared).await,
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next() => on_task_end(ended),
            accepted = listeners.accept() => match accepted {
                Ok(accepted) => on_connection(accepted, &connections, &shared, &mut tasks),
                Err(error) => on_accept_error(&error).await,
            },
        }
    }
    drop(listeners);
    finish(tasks, stop_timeout).await;
    audited::rejections(&shared).await;
}

fn on_connection<K: StoreSink>(
    accepted: Accepted,
    connections: &Arc<Semaphore>,
    shared: &Arc<Shared<K>>,
    tasks: &mut JoinSet<()>,
) {
    let Ok(permit) = Arc::clone(connections).try_acquire_owned() else {
        limits::hit("fixed.dimse_connections");
        return;
    };
    let peer = accepted.peer;
    let empty = tracing::field::Empty;
    let span = tracing::info_span!("association", %peer, calling_aet = empty, id = empty, trace_id = empty);
    let span = trace::follow(span, None);
    tasks.spawn(on_stream(accepted, permit, Arc::clone(shared)).instrument(span));
}

async fn on_stream<K: StoreSink>(accepted: Accepted, _place: OwnedSemaphorePermit, shared: Arc<Shared<K>>) {
    let Accepted { stream, peer, tls } = accepted;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the connection ended before it began");
        return;
    }
    let peer = Peer { address: peer.ip(), is_encrypted: tls.is_some() };
    let Some(tls) = tls else {
        return association::run(Stream::Plain(stream), peer, shared).await;
    };
    match handshake(&tls, stream, &shared).await {
        Ok(stream) => association::run(stream, peer, shared).await,
        Err(error) => {
            metrics::counter!(metric::TLS_FAILED).increment(1);
            tracing::warn!(%error, "the TLS handshake failed");
        }
    }
}

/// Has the time of the ARTIM timer, as the request that follows it, and ends with the server.
async fn handshake<K>(tls: &Tls, stream: TcpStream, shared: &Shared<K>) -> io::Result<Stream> {
    let accepting = timeout(shared.server.settings.artim_timeout, tls.accept(stream));
    match shared.stop.run_until_cancelled(accepting).await {
        Some(Ok(accepted)) => accepted,
        Some(Err(elapsed)) => Err(elapsed.into()),
        None => Err(io::Error::other("the server stops")),
    }
}

async fn on_accept_error(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    sleep(ACCEPT_PAUSE).await;
}

fn on_task_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "an association ended in a panic");
    }
}

async fn finish(mut tasks: JoinSet<()>, stop_timeout: Duration) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if timeout(stop_timeout, all).await.is_err() {
        tracing::warn!(associations = tasks.len(), "associations cut off: they did not end in time");
        tasks.shutdown().await;
    }
}
