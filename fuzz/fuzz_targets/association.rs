//! Whole associations with a server: what a peer says from its first byte to its last (PS3.8, PS3.7).
//!
//! The first byte of an input says what the rest is: a peer's words from the first PDU on, the PDUs
//! behind a request that is accepted, or presentation data values behind it.
#![no_main]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use radiant::blobs::Blobs;
use radiant::clock::Clock;
use radiant::config::{Config, DimseTls, Overrides, Service};
use radiant::db::{Db, SqliteSettings};
use radiant::dimse::{Listeners, Placing, Server, Settings, StoreSink, everybody, serve};
use radiant::export::commitment::{self, Commitments};
use radiant::export::scu::Directory;
use radiant::export::scu::association::Patience;
use radiant::ingest::{Body, InstanceIdentity, Outcome, Received, Refusal, Refused, Stored};
use radiant::jobs::Bell;
use radiant::query::decoding::Decodes;
use radiant::ul::tls::Tls;
use tokio::io::AsyncRead;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);
/// Verification, CT, study root C-FIND, C-MOVE and C-GET, storage commitment.
const ABSTRACT_SYNTAXES: [&str; 6] = [
    "1.2.840.10008.1.1",
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.2.2.1",
    "1.2.840.10008.5.1.4.1.2.2.2",
    "1.2.840.10008.5.1.4.1.2.2.3",
    "1.2.840.10008.1.20.1",
];

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime"));
static SERVER: LazyLock<SocketAddr> = LazyLock::new(started);

fuzz_target!(|input: &[u8]| {
    let words = match input {
        [0, rest @ ..] => rest.to_vec(),
        [1, rest @ ..] => [&request(), rest].concat(),
        [_, rest @ ..] => [request(), values(rest)].concat(),
        [] => return,
    };
    converse(&words);
});

/// Ends when the server has closed: until then something of the input is still being served.
fn converse(words: &[u8]) {
    let mut stream = TcpStream::connect(*SERVER).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    // A server that closes early may reset the connection.
    let _ = stream.write_all(words).and_then(|()| stream.shutdown(Shutdown::Write));
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the association does not end: {error}");
    }
}

fn request() -> Vec<u8> {
    let mut body = [&[0, 1, 0, 0][..], b"RADIANT         SCU             ", &[0; 32]].concat();
    body.extend(item(0x10, b"1.2.840.10008.3.1.1.1"));
    for (number, abstract_syntax) in ABSTRACT_SYNTAXES.iter().enumerate() {
        let syntaxes = [item(0x30, abstract_syntax.as_bytes()), item(0x40, b"1.2.840.10008.1.2")].concat();
        body.extend(item(0x20, &[&[number as u8 * 2 + 1, 0, 0, 0][..], &syntaxes].concat()));
    }
    body.extend(item(0x50, &item(0x51, &16_384_u32.to_be_bytes())));
    [&[1, 0][..], &(body.len() as u32).to_be_bytes(), &body].concat()
}

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &(value.len() as u16).to_be_bytes(), value].concat()
}

/// Context, message control header and length, then as many bytes; again and again.
fn values(mut input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [context, control, high, low, rest @ ..] = input {
        let (value, rest) = rest.split_at(rest.len().min(usize::from(*high) << 8 | usize::from(*low)));
        let length = value.len() as u32 + 6;
        out.extend([&[4, 0][..], &length.to_be_bytes(), &(length - 4).to_be_bytes(), &[*context, *control], value].concat());
        input = rest;
    }
    out
}

fn started() -> SocketAddr {
    let folder = std::env::temp_dir().join(format!("radiant-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let tls = Tls::load(&DimseTls::default()).expect("no files to read");
    let directory = Directory::new(&[], "RADIANT", Patience::default(), tls);
    let index = SqliteSettings { readers: 1, group_max: 8 };
    let db = Db::open_sqlite(&folder.join("index.sqlite"), index).expect("an index");
    let blobs = Blobs::open_local(&folder).expect("objects");
    let commitments = commitment::Parts {
        db: db.clone(),
        blobs: blobs.clone(),
        clock: Clock::System,
        bell: Bell::default(),
        directory: directory.clone(),
        settings: commitment::Settings::new(&defaults()),
    };
    let server = Server {
        settings: settings(),
        sink: Arc::new(Sink),
        association_ended: Arc::new(|_| {}),
        db,
        blobs,
        decodes: Decodes::new(1),
        directory,
        commitments: Arc::new(Commitments::new(commitments)),
        identify: everybody(),
    };
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    let listeners = Listeners { plain: Some(listener), tls: None };
    RUNTIME.spawn(serve(listeners, server, CancellationToken::new()));
    address
}

fn settings() -> Settings {
    Settings {
        associations_max: 8,
        operations_max: 4,
        pdu_bytes_max: 64 << 10,
        idle_timeout: PATIENCE,
        data_rate_min: 0,
        artim_timeout: PATIENCE,
        stop_timeout: PATIENCE,
        identifier_bytes_max: 1 << 16,
        unknown_callers_may: BTreeSet::from([Service::Store, Service::Query, Service::Retrieve]),
        ..Settings::new(&defaults())
    }
}

fn defaults() -> Config {
    Config::load(&Overrides::default()).expect("the defaults")
}

/// Reads what it gets and keeps nothing.
struct Sink;

impl StoreSink for Sink {
    async fn receive<R: AsyncRead + Unpin + Send>(&self, received: Received<'_, R>) -> Result<Placing, Refused> {
        let Body::DataSet { mut reader, command } = received.body else { unreachable!("C-STORE brings bare data sets") };
        let read = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
        read.map_err(|error| Refused { refusal: Refusal::Interrupted(error), sop_class: None, sop_instance: None })?;
        let instance = InstanceIdentity {
            study: "1".parse().expect("a UID"),
            series: "1".parse().expect("a UID"),
            sop_instance: command.sop_instance,
            sop_class: command.sop_class,
        };
        Ok(Box::pin(std::future::ready(Ok(Stored { instance, outcome: Outcome::New, coerced: false }))))
    }
}
