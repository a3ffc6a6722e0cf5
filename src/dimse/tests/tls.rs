//! Associations over TLS beside plain ones, and those who knock at the wrong door.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::harness::{Harness, ct, ct_context, object, peer, settings};
use crate::dimse::{Listeners, Settings, serve};
use crate::export::scu::association::{Association, Peer};
use crate::ul::tls::Tls;
use crate::ul::tls::testing::Authority;

struct Doors {
    harness: Harness,
    authority: Authority,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Doors {
    async fn open(settings: Settings) -> Self {
        let (harness, authority) = (Harness::new(settings), Authority::new());
        let [plain, tls] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0"));
        let (plain, tls) = (plain.await.unwrap(), tls.await.unwrap());
        let addresses = [&plain, &tls].map(|listener| listener.local_addr().unwrap());
        let certificate = Tls::load(&authority.server("server")).unwrap();
        let listeners = Listeners { plain: Some(plain), tls: Some((tls, certificate)) };
        tokio::spawn(serve(listeners, harness.server(), harness.stop.clone()));
        Self { harness, authority, plain: addresses[0], tls: addresses[1] }
    }
}

#[tokio::test]
async fn an_object_arrives_over_tls() {
    let doors = Doors::open(settings()).await;
    let tls = Some(Tls::load(&doors.authority.client()).unwrap());
    let peer = Peer { tls, ..peer(&doors.tls.to_string()) };
    let mut association = Association::connect(&peer, &[ct_context()]).await.unwrap();
    let reply = association.store(&ct("1.2.3"), &mut &object(1_000_001)[..], 1_000_001).await.unwrap();
    assert!(reply.is_stored());
    association.release().await.unwrap();
    assert_eq!(doors.harness.sink.stored(), [("1.2.3".to_owned(), object(1_000_001))]);
    doors.harness.stop.cancel();
}

#[tokio::test]
async fn who_speaks_plainly_to_tls_or_tls_to_the_plain_door_is_told_at_once() {
    let doors = Doors::open(settings()).await;
    let patience = Duration::from_secs(5);
    let plainly = timeout(patience, Association::connect(&peer(&doors.tls.to_string()), &[])).await;
    assert!(plainly.unwrap().is_err());
    let tls = Some(Tls::load(&doors.authority.client()).unwrap());
    let peer = Peer { tls, ..peer(&doors.plain.to_string()) };
    assert!(timeout(patience, Association::connect(&peer, &[])).await.unwrap().is_err());
    doors.harness.stop.cancel();
}

#[tokio::test]
async fn a_handshake_has_the_time_of_artim() {
    let brief = Settings { artim_timeout: Duration::from_millis(60), ..settings() };
    let doors = Doors::open(brief).await;
    let mut silent = TcpStream::connect(doors.tls).await.unwrap();
    silent.write_all(&[0x16]).await.unwrap();
    let ended = timeout(Duration::from_secs(5), silent.read(&mut [0; 8])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))));
    doors.harness.stop.cancel();
}
