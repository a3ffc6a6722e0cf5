//! The sweep takes what nobody refers to, and nothing else.

use std::io::Write;

use tokio_util::sync::CancellationToken;

use super::super::Swept;
use super::*;

const LATER: Timestamp = Timestamp(i64::MAX);

impl Bench {
    async fn orphan(&self) {
        let mut staged = self.blobs.stage().unwrap();
        staged.file.write_all(b"left by a crash").unwrap();
        let key = BlobKey::new(&"1.2".parse().unwrap(), &"1.2.9".parse().unwrap(), &[7; 32]);
        self.blobs.keep(staged, &key).await.unwrap();
    }

    async fn sweep(&self, before: Timestamp) -> Swept {
        self.ingest.sweep(before, &CancellationToken::new()).await.unwrap()
    }
}

#[tokio::test]
async fn an_orphan_goes_and_an_indexed_object_stays() {
    let bench = Bench::new();
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    bench.orphan().await;
    assert_eq!(bench.sweep(LATER).await, Swept { examined: 2, deleted: 1, deleted_bytes: 15 });
    assert_eq!((bench.count("instance").await, bench.files()), (1, 1));
}

#[tokio::test]
async fn what_was_written_since_the_start_is_left_alone() {
    let bench = Bench::new();
    bench.orphan().await;
    assert_eq!(bench.sweep(Timestamp(0)).await, Swept::default());
    assert_eq!(bench.files(), 1);
}

#[tokio::test]
async fn a_stopped_sweep_deletes_nothing_more() {
    let (bench, stop) = (Bench::new(), CancellationToken::new());
    bench.orphan().await;
    stop.cancel();
    assert_eq!(bench.ingest.sweep(LATER, &stop).await.unwrap(), Swept::default());
}
