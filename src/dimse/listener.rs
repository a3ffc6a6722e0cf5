//! Takes connections in and sees them out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::association::{self, Shared};
use super::{Server, StoreSink, metric};

/// Connections beyond the associations that may be in negotiation or closing. Silent ones are
/// cut off by the ARTIM timer; until then they take none of the associations' places.
const CONNECTIONS_SPARE: usize = 512;
/// Accepting fails when descriptors run out: others must end before it is worth a try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`; then lets objects in flight finish, for at most the stop timeout.
pub async fn serve<K: StoreSink>(listener: TcpListener, server: Server<K>, stop: CancellationToken) {
    let stop_timeout = server.settings.stop_timeout;
    let connections =
        Arc::new(Semaphore::new(server.settings.associations_max.saturating_add(CONNECTIONS_SPARE)));
    let shared = Arc::new(Shared::new(server, stop.clone()));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next() => on_task_end(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => on_connection(stream, peer, &connections, &shared, &mut tasks),
                Err(error) => on_accept_error(&error).await,
            },
        }
    }
    drop(listener);
    finish(tasks, stop_timeout).await;
}

fn on_connection<K: StoreSink>(
    stream: TcpStream,
    peer: SocketAddr,
    connections: &Arc<Semaphore>,
    shared: &Arc<Shared<K>>,
    tasks: &mut JoinSet<()>,
) {
    let Ok(permit) = Arc::clone(connections).try_acquire_owned() else {
        metrics::counter!(metric::LIMIT_HITS, "limit" => "connections").increment(1);
        return;
    };
    let span = tracing::info_span!("association", %peer, calling_aet = tracing::field::Empty);
    tasks.spawn(on_stream(stream, peer, permit, Arc::clone(shared)).instrument(span));
}

async fn on_stream<K: StoreSink>(
    stream: TcpStream,
    peer: SocketAddr,
    _place: OwnedSemaphorePermit,
    shared: Arc<Shared<K>>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the connection ended before it began");
        return;
    }
    association::run(stream, peer.ip(), shared).await;
}

async fn on_accept_error(error: &std::io::Error) {
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
