//! What holds wherever objects lie, and what holds in a bucket that fails.

use std::io::{Read, Write};
use std::path::Path;

use futures::TryStreamExt;

use super::testing::{BLOCK_BYTES, PART_BYTES, Plan, bucket, cached_bucket, with};
use super::*;
use crate::clock::Timestamp;

const LATER: Timestamp = Timestamp(i64::MAX);

fn key() -> BlobKey {
    BlobKey::new(&"1.2".parse().unwrap(), &"1.2.3".parse().unwrap(), &[0xAB; 32])
}

fn content(length: u64) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

async fn keep(blobs: &Blobs, key: &BlobKey, content: &[u8]) -> io::Result<()> {
    let mut staged = blobs.stage().unwrap();
    staged.file.write_all(content).unwrap();
    blobs.keep(staged, key).await
}

async fn whole(blobs: &Blobs, key: &BlobKey) -> Result<Vec<u8>, BlobError> {
    let chunks: Vec<Bytes> = blobs.stream(key, None).await?.try_collect().await.unwrap();
    Ok(chunks.concat())
}

async fn keys(blobs: &Blobs, before: Timestamp) -> Vec<BlobKey> {
    let objects = blobs.listed_before(before).map_ok(|object| object.key);
    objects.try_collect().await.unwrap()
}

/// Each is a test of its own for every place.
macro_rules! wherever_objects_lie {
    ($($name:ident,)+) => {
        mod folder {
            $(#[tokio::test]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(super::Blobs::open_local(dir.path()).unwrap()).await;
            })+
        }
        mod bucket {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(super::bucket(dir.path()).0).await;
            })+
        }
        mod cached_bucket {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(super::cached_bucket(dir.path()).0).await;
            })+
        }
    };
}

wherever_objects_lie! {
    kept_bytes_come_back_whole_and_by_range,
    a_range_behind_the_end_is_an_error,
    what_is_not_there_is_told_before_anything_is_read,
    what_was_deleted_is_gone_and_can_be_deleted_again,
    keys_are_listed_by_age,
    an_object_is_read_again_from_where_it_lies,
    the_place_can_be_used,
}

async fn kept_bytes_come_back_whole_and_by_range(blobs: Blobs) {
    for length in [1, BLOCK_BYTES, PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES + 17] {
        let (content, key) = (content(length), key().unshared());
        keep(&blobs, &key, &content).await.unwrap();
        assert_eq!(whole(&blobs, &key).await.unwrap(), content);
        for range in [0..length, length / 3..length / 2, length - 1..length, 0..0] {
            let expected = &content[range.start as usize..range.end as usize];
            assert_eq!(blobs.get_range(&key, range.clone()).await.unwrap(), expected, "{range:?}");
            let chunks = blobs.stream(&key, Some(range)).await.unwrap();
            assert_eq!(chunks.try_collect::<Vec<_>>().await.unwrap().concat(), expected);
        }
    }
}

async fn a_range_behind_the_end_is_an_error(blobs: Blobs) {
    keep(&blobs, &key(), &content(10)).await.unwrap();
    for range in [3..11, 10..12, 5000..6000] {
        let error = blobs.get_range(&key(), range.clone()).await.unwrap_err();
        assert!(!is_away(&error), "{range:?}: {error}");
    }
}

async fn what_is_not_there_is_told_before_anything_is_read(blobs: Blobs) {
    let error = blobs.stream(&key(), None).await.err().unwrap();
    assert!(matches!(&error, BlobError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound));
    assert!(blobs.stream(&key(), Some(0..9)).await.is_err() && !is_away(&error));
}

async fn what_was_deleted_is_gone_and_can_be_deleted_again(blobs: Blobs) {
    keep(&blobs, &key(), b"0123").await.unwrap();
    blobs.delete(&key()).await.unwrap();
    assert!(blobs.get_range(&key(), 0..2).await.is_err());
    blobs.delete(&key()).await.unwrap();
}

async fn keys_are_listed_by_age(blobs: Blobs) {
    keep(&blobs, &key(), b"0123").await.unwrap();
    assert_eq!(keys(&blobs, LATER).await, [key()]);
    assert_eq!(keys(&blobs, Timestamp(0)).await, []);
}

async fn an_object_is_read_again_from_where_it_lies(blobs: Blobs) {
    let content = content(3 * PART_BYTES);
    keep(&blobs, &key(), &content).await.unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        blobs.open_on_disk(&key()).unwrap().read_to_end(&mut bytes).map(|_| bytes)
    });
    assert_eq!(read.await.unwrap().unwrap(), content);
}

async fn the_place_can_be_used(blobs: Blobs) {
    blobs.begin().await.unwrap();
    blobs.probe().await.unwrap();
    assert_eq!(keys(&blobs, LATER).await, [], "a probe leaves nothing");
}

#[test]
fn a_key_names_its_instance() {
    assert_eq!(key().instance(), "1.2.3");
    assert_eq!(key().unshared().instance(), "1.2.3");
    assert_eq!(BlobKey::from_index("lost+found").instance(), "lost+found");
}

#[tokio::test]
async fn two_attempts_never_share_a_key_in_a_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, _) = bucket(dir.path());
    assert_ne!(blobs.place_for(key()), blobs.place_for(key()));
    let folder = Blobs::open_local(dir.path()).unwrap();
    assert_eq!(folder.place_for(key()), key());
}

#[tokio::test]
async fn what_is_young_in_a_bucket_is_left_to_other_servers() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, _) = bucket(dir.path());
    keep(&blobs, &key(), b"0123").await.unwrap();
    assert_eq!(keys(&blobs, crate::clock::Clock::System.now()).await, []);
}

/// An object of three parts: whichever call fails, and however, it is durable or it is refused.
#[tokio::test]
async fn what_is_kept_lies_there_whichever_call_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, faults) = bucket(dir.path());
    let content = content(2 * PART_BYTES + 5);
    let mut refused = 0;
    for plan in (1..).flat_map(|nth| [Plan::Before(nth), Plan::After(nth)]) {
        faults.plan(plan);
        let key = key().unshared();
        let kept = keep(&blobs, &key, &content).await;
        let calls = faults.calls();
        faults.plan(Plan::Nothing);
        match (kept, plan) {
            (Ok(()), Plan::Before(nth)) if nth > calls => break,
            (Ok(()), _) => assert_eq!(whole(&blobs, &key).await.unwrap(), content, "{plan:?}"),
            (Err(error), _) => {
                assert!(is_away(&error), "{plan:?}: {error}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 2 * 6, "create, three parts, complete, and the look whether it is there");
}

#[tokio::test]
async fn what_was_written_is_read_back_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, faults) = with(dir.path(), |storage| storage.read_back = true);
    faults.plan(Plan::Nothing);
    keep(&blobs, &key(), &content(3 * BLOCK_BYTES)).await.unwrap();
    assert_eq!(faults.calls(), 2 + 3, "put, head, and three blocks");
}

#[tokio::test]
async fn what_was_read_once_is_there_while_a_bucket_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, faults) = cached_bucket(dir.path());
    let content = content(3 * BLOCK_BYTES + 1);
    keep(&blobs, &key(), &content).await.unwrap();
    assert_eq!(whole(&blobs, &key()).await.unwrap(), content);
    faults.plan(Plan::Every);
    assert_eq!(whole(&blobs, &key()).await.unwrap(), content);
    assert_eq!(blobs.get_range(&key(), 5000..9000).await.unwrap(), content[5000..9000]);
    assert_eq!(faults.calls(), 0);
    assert!(is_away(&blobs.get_range(&key().unshared(), 0..9).await.unwrap_err()), "and nothing else is");
}

#[tokio::test]
async fn what_is_deleted_leaves_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, _) = cached_bucket(dir.path());
    keep(&blobs, &key(), &content(3 * BLOCK_BYTES)).await.unwrap();
    whole(&blobs, &key()).await.unwrap();
    blobs.delete(&key()).await.unwrap();
    let error = blobs.get_range(&key(), 0..9).await.unwrap_err();
    assert!(!is_away(&error), "{error}");
}

#[tokio::test]
async fn a_start_says_what_a_bucket_does_not_do() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, faults) = bucket(dir.path());
    for (nth, step) in (1..).zip(["written", "read", "read in part", "listed", "deleted"]) {
        faults.plan(Plan::Before(nth));
        let error = blobs.begin().await.unwrap_err().to_string();
        let told = format!("storage.url = s3://images/a/prefix at memory: a probe object cannot be {step}: ");
        assert!(error.starts_with(&told) && error.contains("was cut"), "{error}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_away_is_not_asked_by_every_probe() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, faults) = bucket(dir.path());
    faults.plan(Plan::Every);
    for _ in 0..3 {
        assert!(blobs.probe().await.unwrap_err().to_string().contains("was cut"));
    }
    assert_eq!(faults.calls(), 1);
}

#[test]
fn a_named_folder_has_objects_and_staging_side_by_side() {
    let (data, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(Blobs::in_folder(data.path(), root.path()).unwrap());
    let has = |dir: &Path, name: &str| dir.join(name).is_dir();
    assert!(has(root.path(), "objects") && has(root.path(), "staging") && has(data.path(), "uploads"));
}
