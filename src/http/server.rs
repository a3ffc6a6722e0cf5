//! The listener: connections in, bounded; out in two stages on stop.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::opening::Opening;
use super::service;
use super::stall::Stalling;
use super::tls::Https;
use super::urls::Ends;
use super::{Settings, State, limit_hit};
use crate::telemetry::metrics::http as metric;

/// What one read of an HTTP/1 connection may bring: every read of a body costs changing tasks.
/// Longer headers are refused when they are complete.
const READ_BYTES: usize = 256 << 10;

/// How long accepting pauses after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections beyond the limit that are told so at the same time; others are closed at once.
const REFUSALS_MAX: usize = 64;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
    Content-Length: 0\r\n\r\n";

/// Where requests are taken in.
#[derive(Debug)]
pub struct Listeners {
    pub plain: Option<TcpListener>,
    pub tls: Option<(TcpListener, Https)>,
}

/// A connection on which nothing was said yet.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Https>,
}

impl Listeners {
    /// The next connection; `None` on stop.
    async fn next(&self, stop: &CancellationToken) -> Option<Accepted> {
        let next = async {
            loop {
                match self.accept().await {
                    Ok(accepted) => return accepted,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        stop.run_until_cancelled(next).await
    }

    async fn accept(&self) -> io::Result<Accepted> {
        tokio::select! {
            accepted = accept(self.plain.as_ref()) => {
                accepted.map(|(stream, peer)| Accepted { stream, peer, tls: None })
            }
            accepted = accept(self.tls.as_ref().map(|(listener, _)| listener)) => {
                let tls = self.tls.as_ref().map(|(_, https)| https.clone());
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

/// Answers requests until `stop`, then lets open ones finish for the drain time.
pub async fn serve(listeners: Listeners, state: Arc<State>, stop: CancellationToken) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(state.settings.connections_max));
    let handshakes = Arc::new(Semaphore::new(state.settings.handshakes_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let open = GracefulShutdown::new();
    while let Some(accepted) = listeners.next(&stop).await {
        match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => {
                let connection = Connection { state: Arc::clone(&state), permit, watcher: open.watcher() };
                tokio::spawn(connection.begin(accepted, Arc::clone(&handshakes)));
            }
            Err(_) => refuse(accepted, &refusals),
        }
    }
    drop(listeners);
    if tokio::time::timeout(state.settings.drain_timeout, open.shutdown()).await.is_err() {
        tracing::warn!("requests were still open at the end of the drain time");
    }
    Ok(())
}

/// Tells a connection too many so, if that costs no more than a moment: a handshake would.
fn refuse(accepted: Accepted, refusals: &Arc<Semaphore>) {
    limit_hit("http.connections_max");
    let Accepted { stream, tls: None, .. } = accepted else { return };
    if let Ok(permit) = Arc::clone(refusals).try_acquire_owned() {
        tokio::spawn(async move {
            // A peer that does not take its refusal goes without.
            let _ = tokio::time::timeout(REFUSAL_TIMEOUT, tell_unavailable(stream)).await;
            drop(permit);
        });
    }
}

/// Reads on until the peer is done: closing with its request unread would take the answer back.
async fn tell_unavailable(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(UNAVAILABLE).await?;
    stream.shutdown().await?;
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

/// A place among the connections, taken.
struct Connection {
    state: Arc<State>,
    permit: OwnedSemaphorePermit,
    watcher: Watcher,
}

impl Connection {
    async fn begin(self, accepted: Accepted, handshakes: Arc<Semaphore>) {
        let Accepted { stream, peer, tls } = accepted;
        let Ok(local) = stream.local_addr() else { return };
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let Some(https) = tls else {
            return self.serve(stream, Ends { local, peer, is_secure: false }).await;
        };
        let Ok(handshake) = handshakes.try_acquire() else { return limit_hit("http.tls.handshakes_max") };
        let accepted = https.accept(stream).await;
        drop(handshake);
        match accepted {
            Ok(stream) => self.serve(stream, Ends { local, peer, is_secure: true }).await,
            Err(error) => {
                metrics::counter!(metric::TLS_FAILED).increment(1);
                tracing::debug!(%error, "a TLS handshake failed");
            }
        }
    }

    async fn serve<S>(self, stream: S, ends: Ends)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { state, permit, watcher } = self;
        let builder = builder(&state.settings);
        let stream = Opening::new(stream, state.settings.header_timeout);
        let stream = Stalling::new(stream, state.settings.response_stall_timeout);
        let service = TowerToHyperService::new(service::service(state, ends));
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            count_limit(error.as_ref());
            tracing::debug!(error, "a connection ended early");
        }
        drop(permit);
    }
}

/// Limits that hyper holds, and answers with 431 or by closing.
fn count_limit(error: &(dyn std::error::Error + 'static)) {
    match error.downcast_ref::<hyper::Error>() {
        Some(error) if error.is_timeout() => limit_hit("http.header_timeout_s"),
        Some(error) if error.is_parse_too_large() => limit_hit("http.header_bytes_max"),
        _ => {}
    }
}

fn builder(settings: &Settings) -> Builder<TokioExecutor> {
    let (header_timeout, header_bytes_max) = (settings.header_timeout, settings.header_bytes_max);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(header_bytes_max.max(READ_BYTES));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(header_timeout)
        .keep_alive_timeout(header_timeout)
        .max_header_list_size(u32::try_from(header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(settings.streams_max);
    builder
}
