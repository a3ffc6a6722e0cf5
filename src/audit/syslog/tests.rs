use tokio::net::TcpListener;

use super::*;
use crate::audit::{Action, Actor, Entry};
use crate::config::{Config, Overrides};
use crate::db::Batch;

struct Bench {
    _dir: tempfile::TempDir,
    db: Db,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        Self { _dir: dir, db }
    }

    async fn append(&self, detail: &str) {
        let system = Actor::system();
        let entry = Entry::new(&system, Action::StartServer).detail(detail);
        self.db.run(Batch::new().then(audit::append(&entry, Timestamp(1)))).await.unwrap();
    }

    fn collector(&self, address: &str) -> Collector {
        let keys =
            vec![("audit.syslog.address", address.to_owned()), ("audit.syslog.transport", "tcp".to_owned())];
        let config = Config::load(&Overrides { file: None, keys }).unwrap();
        Collector::new(self.db.clone(), Clock::System, config.audit.syslog, "RADIANT").unwrap()
    }
}

/// The next frame, whole.
async fn received(stream: &mut TcpStream) -> String {
    let mut length = String::new();
    loop {
        match stream.read_u8().await.unwrap() {
            b' ' => break,
            digit => length.push(digit.into()),
        }
    }
    let mut message = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut message).await.unwrap();
    String::from_utf8(message).unwrap()
}

#[tokio::test]
async fn messages_come_in_frames_and_count_once_they_stood() {
    let bench = Bench::new();
    bench.append("a").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let running = tokio::spawn(bench.collector(&address).run(stop.clone()));
    let (mut stream, _) = listener.accept().await.unwrap();
    let message = received(&mut stream).await;
    assert!(message.starts_with("<85>1 1970-01-01T00:00:00.000Z "), "{message}");
    assert!(message.contains("DICOM+RFC3881 - \u{FEFF}<?xml"), "{message}");
    while audit::delivered(&bench.db, &address).await.unwrap() < 1 {
        sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_was_lost_with_a_connection_comes_again() {
    let bench = Bench::new();
    bench.append("a").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let running = tokio::spawn(bench.collector(&address).run(stop.clone()));
    let (mut first, _) = listener.accept().await.unwrap();
    received(&mut first).await;
    drop(first);
    let (mut second, _) = listener.accept().await.unwrap();
    assert!(received(&mut second).await.contains("sequence"));
    stop.cancel();
    running.await.unwrap();
}

#[test]
fn the_length_counts_octets() {
    let frame = frame("h", Timestamp(0), "ü".as_bytes());
    let text = String::from_utf8(frame).unwrap();
    let (length, message) = text.split_once(' ').unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), message.len());
}
