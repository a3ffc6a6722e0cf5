//! Audit messages to a collector: RFC 5424 in the framing of RFC 5425, over TLS.
//!
//! Nothing is skipped: a durable position in the chain says what was taken, and only what was written
//! and stood for a while counts as taken. The protocol has no acknowledgement, so after a connection
//! that broke a few messages come again, with the sequence by which the collector knows them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::sync::CancellationToken;

use super::message::{self, Reporter};
use crate::clock::{Clock, Timestamp};
use crate::config::{ClientCertificates, Syslog, SyslogTransport};
use crate::db::audit::{self, Filter, Record};
use crate::db::{Db, DbError};
use crate::telemetry::metrics::audit as metric;
use crate::tls::{self, Files, TlsError};
use crate::ul::transport::Stream;

/// Rows that are read at once.
const PORTION: u32 = 200;
/// How often the trail is looked at for something new.
const PAUSE: Duration = Duration::from_secs(1);
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// Facility 10 (security), severity 5 (notice): PS3.15 A.6.
const PRIORITY: u8 = 10 * 8 + 5;
/// MSGID of PS3.15 A.6.
const MESSAGE_ID: &str = "DICOM+RFC3881";

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("cannot send: {0}")]
    Send(io::Error),
    #[error("the collector closed the connection")]
    Closed,
    #[error("the collector takes too long")]
    TimedOut,
    #[error("the trail cannot be read")]
    Index(#[from] DbError),
}

/// Sends the trail to one collector.
pub struct Collector {
    db: Db,
    clock: Clock,
    settings: Syslog,
    tls: Option<TlsConnector>,
    reporter: Reporter,
}

impl Collector {
    /// # Errors
    /// When a file that TLS needs cannot be used.
    pub fn new(db: Db, clock: Clock, settings: Syslog, ae_title: &str) -> Result<Self, TlsError> {
        let tls = match settings.transport {
            SyslogTransport::Tls => Some(connector(&settings)?),
            SyslogTransport::Tcp => None,
        };
        let source_id = if settings.source_id.is_empty() { ae_title } else { &settings.source_id };
        let reporter = Reporter {
            source_id: source_id.to_owned(),
            enterprise_site_id: settings.enterprise_site_id.clone(),
            ae_title: ae_title.to_owned(),
            host: host_name(),
        };
        Ok(Self { db, clock, settings, tls, reporter })
    }

    /// Until the stop; what was not sent by then is sent after the next start.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = RETRY_FIRST;
        while !stop.is_cancelled() {
            let mut progress = false;
            let Some(outcome) = stop.run_until_cancelled(self.send(&mut progress)).await else { return };
            if let Err(error) = outcome {
                tracing::warn!(%error, collector = self.settings.address, "audit messages wait");
                metrics::counter!(metric::MESSAGES, "outcome" => "failed").increment(1);
            }
            if progress {
                pause = RETRY_FIRST;
            }
            stop.run_until_cancelled(sleep(pause)).await;
            pause = (pause * 2).min(self.settings.retry_max().max(RETRY_FIRST));
        }
    }

    /// One connection, as long as it stands.
    async fn send(&self, progress: &mut bool) -> Result<(), SendError> {
        let mut position = audit::delivered(&self.db, &self.settings.address).await?;
        let mut confirmed = position;
        self.tell_backlog(position).await?;
        let mut stream = self.connect().await?;
        loop {
            let rows = audit::after(&self.db, &Filter::default(), position, PORTION).await?;
            let Some(last) = rows.last().map(|row| row.sequence) else {
                self.stands(&mut stream, PAUSE).await?;
                if position > confirmed {
                    audit::deliver(&self.db, &self.settings.address, position, self.clock.now()).await?;
                    (confirmed, *progress) = (position, true);
                    self.tell_backlog(position).await?;
                }
                continue;
            };
            // What went before stood long enough for another portion to be read.
            self.stands(&mut stream, Duration::ZERO).await?;
            if position > confirmed {
                audit::deliver(&self.db, &self.settings.address, position, self.clock.now()).await?;
                (confirmed, *progress) = (position, true);
            }
            self.write(&mut stream, &rows).await?;
            position = last;
        }
    }

    async fn tell_backlog(&self, position: i64) -> Result<(), DbError> {
        let end = audit::end(&self.db).await?.sequence;
        metrics::gauge!(metric::BACKLOG).set(end.saturating_sub(position) as f64);
        Ok(())
    }

    async fn connect(&self) -> Result<Stream, SendError> {
        let connecting = async {
            let socket = TcpStream::connect(&self.settings.address).await?;
            socket.set_nodelay(true)?;
            match &self.tls {
                Some(tls) => {
                    let name = ServerName::try_from(self.settings.host().to_owned());
                    let stream = tls.connect(name.map_err(io::Error::other)?, socket).await?;
                    Ok(Stream::Tls(Box::new(stream.into())))
                }
                None => Ok(Stream::Plain(socket)),
            }
        };
        let connected = timeout(self.settings.timeout(), connecting).await;
        connected.map_err(|_| SendError::TimedOut)?.map_err(SendError::Connect)
    }

    async fn write(&self, stream: &mut Stream, mut rows: &[Record]) -> Result<(), SendError> {
        let mut frames = Vec::new();
        let mut count = 0;
        while !rows.is_empty() {
            let (these, others) = rows.split_at(message::together(rows).clamp(1, rows.len()));
            let xml = message::xml(these, &self.reporter).map_err(SendError::Send)?;
            frames.extend(frame(&self.reporter.host, these[these.len() - 1].at, &xml));
            (rows, count) = (others, count + 1);
        }
        let writing = async {
            stream.write_all(&frames).await?;
            stream.flush().await
        };
        let written = timeout(self.settings.timeout(), writing).await;
        written.map_err(|_| SendError::TimedOut)?.map_err(SendError::Send)?;
        metrics::counter!(metric::MESSAGES, "outcome" => "sent").increment(count);
        Ok(())
    }

    /// A collector says nothing: whatever can be read is its end.
    async fn stands(&self, stream: &mut Stream, patience: Duration) -> Result<(), SendError> {
        let mut byte = [0; 16];
        match timeout(patience, stream.read(&mut byte)).await {
            Err(_) => Ok(()),
            Ok(Ok(0)) => Err(SendError::Closed),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(SendError::Send(error)),
        }
    }
}

/// The certificate of the collector must name the host of the address.
fn connector(settings: &Syslog) -> Result<TlsConnector, TlsError> {
    const AUTHORITIES: &str = "audit.syslog.authorities";
    let file =
        |path: &'static str, file| (path, Some(file).filter(|file: &&Path| !file.as_os_str().is_empty()));
    let files = Files {
        certificate: file("audit.syslog.certificate", &settings.certificate),
        key: file("audit.syslog.key", &settings.key),
        client_ca: ("", None),
        client_certificates: ClientCertificates::default(),
    };
    let authorities = match file(AUTHORITIES, &settings.authorities) {
        (key, Some(path)) => tls::authorities(key, path)?,
        (key, None) => tls::system_authorities(key)?,
    };
    Ok(TlsConnector::from(Arc::new(files.client(authorities)?)))
}

/// The number of octets and a space in front of each message (RFC 5425 4.3).
fn frame(host: &str, at: Timestamp, xml: &[u8]) -> Vec<u8> {
    let (pid, at) = (std::process::id(), at.rfc3339());
    let header = format!("<{PRIORITY}>1 {at} {host} radiant {pid} {MESSAGE_ID} - \u{FEFF}");
    let mut frame = format!("{} ", header.len() + xml.len()).into_bytes();
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(xml);
    frame
}

/// HOSTNAME of RFC 5424: printable ASCII, or the nil value.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let is_plain = (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if is_plain { name.to_owned() } else { "-".to_owned() }
}

#[cfg(test)]
mod tests;
