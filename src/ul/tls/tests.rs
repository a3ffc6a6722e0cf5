use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::testing::Authority;
use super::*;
use crate::config::ClientCertificates;

/// The certificate that the client got to see; both sides must have come to an end.
async fn handshake(server: &Tls, client: &Tls) -> io::Result<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let dialled = TcpStream::connect(listener.local_addr()?).await?;
    let (accepted, _) = listener.accept().await?;
    let serving = async {
        let mut stream = server.accept(accepted).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await
    };
    let calling = async {
        let mut stream = client.connect("127.0.0.1", dialled).await?;
        let mut greeting = [0; 5];
        stream.read_exact(&mut greeting).await?;
        let Stream::Tls(tls) = stream else { panic!("not TLS") };
        Ok(tls.get_ref().1.peer_certificates().unwrap()[0].to_vec())
    };
    let (served, seen) = tokio::join!(serving, calling);
    served.and(seen)
}

fn load(files: &DimseTls) -> Tls {
    Tls::load(files).unwrap()
}

#[tokio::test]
async fn a_client_talks_to_the_server_of_an_authority_that_it_trusts() {
    let (ours, other) = (Authority::new(), Authority::new());
    let server = load(&ours.server("server"));
    assert!(handshake(&server, &load(&ours.client())).await.is_ok());
    assert!(handshake(&server, &load(&other.client())).await.is_err());
}

#[tokio::test]
async fn the_certificate_must_name_the_host() {
    let authority = Authority::new();
    let files = authority.server("server");
    authority.issue("server", "pacs.example.org");
    assert!(handshake(&load(&files), &load(&authority.client())).await.is_err());
}

#[tokio::test]
async fn a_certificate_may_be_required_or_requested_of_clients() {
    let (authority, other) = (Authority::new(), Authority::new());
    let nameless = load(&authority.client());
    let known = load(&DimseTls { peer_ca: Some(authority.file("ca.pem")), ..authority.server("client") });
    let stranger = load(&DimseTls { peer_ca: Some(authority.file("ca.pem")), ..other.server("client") });
    let mutual = DimseTls { client_ca: Some(authority.file("ca.pem")), ..authority.server("server") };
    let requiring = load(&mutual);
    assert!(handshake(&requiring, &known).await.is_ok());
    assert!(handshake(&requiring, &nameless).await.is_err());
    assert!(handshake(&requiring, &stranger).await.is_err());
    let requesting = load(&DimseTls { client_certificates: ClientCertificates::Request, ..mutual });
    assert!(handshake(&requesting, &known).await.is_ok());
    assert!(handshake(&requesting, &nameless).await.is_ok());
    assert!(handshake(&requesting, &stranger).await.is_err());
}

#[tokio::test]
async fn a_reload_shows_the_new_certificate_and_a_bad_file_changes_nothing() {
    let authority = Authority::new();
    let (server, client) = (load(&authority.server("server")), load(&authority.client()));
    let first = handshake(&server, &client).await.unwrap();
    authority.issue("server", "127.0.0.1");
    assert_eq!(handshake(&server, &client).await.unwrap(), first);
    server.reload().unwrap();
    let second = handshake(&server, &client).await.unwrap();
    assert_ne!(second, first);
    std::fs::write(authority.file("server.key"), "nonsense").unwrap();
    assert!(server.reload().unwrap_err().to_string().contains("server.key"));
    assert_eq!(handshake(&server, &client).await.unwrap(), second);
}

#[track_caller]
fn check_refusal(files: DimseTls, expected: &str) {
    let error = Tls::load(&files).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_cannot_be_used_is_named_by_its_key_and_file() {
    let authority = Authority::new();
    let good = authority.server("server");
    let missing = authority.file("missing.pem");
    check_refusal(
        DimseTls { certificate: Some(missing.clone()), ..good.clone() },
        &format!("dimse.tls.certificate = {} cannot be read", missing.display()),
    );
    check_refusal(
        DimseTls { key: good.certificate.clone(), ..good.clone() },
        "server.pem holds no private key in PEM form",
    );
    check_refusal(DimseTls { client_ca: good.key.clone(), ..good.clone() }, "dimse.tls.client_ca");
    check_refusal(DimseTls { peer_ca: Some(missing), ..good.clone() }, "dimse.tls.peer_ca");
    authority.issue("another", "127.0.0.1");
    check_refusal(DimseTls { key: Some(authority.file("another.key")), ..good }, "dimse.tls.certificate");
}
