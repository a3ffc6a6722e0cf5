//! The listener over TLS.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ul::tls::testing::Authority;

/// A listener with a certificate of an authority of its own, and who trusts that.
struct Secure {
    authority: Authority,
    https: Https,
    address: std::net::SocketAddr,
    _stop: tokio_util::sync::DropGuard,
}

impl Secure {
    async fn start() -> Self {
        let authority = Authority::new();
        let files = authority.server("server");
        let mut section = Config::load(&Overrides::default()).unwrap().http.tls;
        (section.certificate, section.key) = (files.certificate, files.key);
        let https = Https::load(&section).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bench = Bench::with(Settings { hsts_max_age_s: 60, ..Settings::default() });
        let listeners = Listeners { plain: None, tls: Some((listener, https.clone())) };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move { serve(listeners, Arc::clone(&bench.state), stopped).await });
        Self { authority, https, address, _stop: stop.drop_guard() }
    }

    async fn get(&self, path: &str) -> String {
        let client = Tls::load(&self.authority.client()).unwrap();
        let dialled = TcpStream::connect(self.address).await.unwrap();
        let mut stream = client.connect("127.0.0.1", dialled).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn requests_are_answered_over_tls_and_browsers_told_to_stay() {
    let answer = Secure::start().await.get("/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=60"), "{answer}");
}

#[tokio::test]
async fn certificates_are_read_again() {
    let server = Secure::start().await;
    server.authority.issue("server", "pacs.example.org");
    assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200"));
    server.https.reload().unwrap();
    let dialled = TcpStream::connect(server.address).await.unwrap();
    let client = Tls::load(&server.authority.client()).unwrap();
    assert!(client.connect("127.0.0.1", dialled).await.is_err());
}

#[tokio::test]
async fn who_speaks_no_tls_gets_no_answer() {
    let server = Secure::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // The server may close before it has read everything.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
}
