//! The listener: connections in, bounded; out in two stages on stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::service;
use super::{Settings, State};

/// The least that hyper takes.
const BUFFER_BYTES_MIN: usize = 8 << 10;

/// How long accepting pauses after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests until `stop`, then lets open ones finish for the drain time.
pub async fn serve(listener: TcpListener, state: Arc<State>, stop: CancellationToken) -> io::Result<()> {
    let address = listener.local_addr()?;
    let permits = Arc::new(Semaphore::new(state.settings.connections_max));
    let open = GracefulShutdown::new();
    while let Some((stream, permit)) = accept(&listener, &permits, &stop).await {
        let connection = Connection { stream, permit, address };
        tokio::spawn(connection.serve(Arc::clone(&state), open.watcher()));
    }
    drop(listener);
    if tokio::time::timeout(state.settings.drain_timeout, open.shutdown()).await.is_err() {
        tracing::warn!("requests were still open at the end of the drain time");
    }
    Ok(())
}

/// The next connection together with its permit; `None` on stop.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let next = async {
        let permit = Arc::clone(permits).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, permit)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(next).await.flatten()
}

struct Connection {
    stream: TcpStream,
    /// Held as long as the connection lives.
    permit: OwnedSemaphorePermit,
    /// Of the listener.
    address: SocketAddr,
}

impl Connection {
    async fn serve(self, state: Arc<State>, watcher: hyper_util::server::graceful::Watcher) {
        let Self { stream, permit, address } = self;
        if !speaks_within(&stream, state.settings.header_timeout).await {
            return;
        }
        let builder = builder(&state.settings);
        let service = TowerToHyperService::new(service::service(state, address));
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(error, "a connection ended early");
        }
        drop(permit);
    }
}

/// The builder waits without limit for the bytes that tell HTTP/1 from HTTP/2.
async fn speaks_within(stream: &TcpStream, timeout: Duration) -> bool {
    let spoke = tokio::time::timeout(timeout, stream.peek(&mut [0])).await;
    stream.set_nodelay(true).is_ok() && matches!(spoke, Ok(Ok(1)))
}

fn builder(settings: &Settings) -> Builder<TokioExecutor> {
    let (header_timeout, header_bytes_max) = (settings.header_timeout, settings.header_bytes_max);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(header_bytes_max.max(BUFFER_BYTES_MIN));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(header_timeout)
        .keep_alive_timeout(header_timeout)
        .max_header_list_size(u32::try_from(header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(100);
    builder
}
