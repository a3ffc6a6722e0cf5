//! Keys of devices, and the keys that sign tokens.

use super::Bench;
use crate::audit::Actor;
use crate::auth::{Access, Denied, KeyError, NewKey, Permission, Reach, Role};
use crate::clock::Timestamp;

fn device(only: Option<Permission>, expires_at: Option<Timestamp>) -> NewKey {
    let only = only.map(|permission| [permission].into());
    NewKey { name: "CT 1".into(), role: Role::Service, only, expires_at }
}

#[tokio::test]
async fn a_key_brings_in_its_device_until_it_is_revoked() {
    let bench = Bench::new().await;
    let by = Actor::program("test");
    let (key, shown) =
        bench.access.create_key(device(Some(Permission::StoreObjects), None), &by).await.unwrap();
    let caller = bench.access.by_api_key(shown.reveal()).await.unwrap();
    assert!(caller.may(Permission::StoreObjects) && !caller.may(Permission::ViewStudies));
    bench.access.revoke_key(&key.id, &by).await.unwrap();
    assert!(matches!(bench.access.by_api_key(shown.reveal()).await, Err(Denied::Token)));
    assert!(matches!(bench.access.revoke_key(&key.id, &by).await, Err(KeyError::Unknown)));
}

#[tokio::test]
async fn a_key_expires_and_no_part_of_it_is_enough() {
    let bench = Bench::new().await;
    let by = Actor::program("test");
    let at = bench.clock.now().plus(std::time::Duration::from_secs(60));
    let (key, shown) = bench.access.create_key(device(None, Some(at)), &by).await.unwrap();
    let whole = shown.reveal();
    assert!(bench.access.by_api_key(whole).await.is_ok());
    for part in [format!("rk_{}_", key.id), whole[3..].to_owned(), format!("{whole}x"), "rk_x".to_owned()] {
        assert!(matches!(bench.access.by_api_key(&part).await, Err(Denied::Token)), "{part}");
    }
    bench.wait(60);
    assert!(matches!(bench.access.by_api_key(whole).await, Err(Denied::Expired)));
}

#[tokio::test]
async fn a_key_is_not_given_what_its_role_does_not_have() {
    let bench = Bench::new().await;
    let by = Actor::program("test");
    let beyond = bench.access.create_key(device(Some(Permission::ManageUsers), None), &by).await;
    assert!(matches!(beyond, Err(KeyError::NotOfTheRole(Permission::ManageUsers))));
}

#[tokio::test]
async fn a_key_sees_drafts_by_that_permission_alone_whatever_its_role() {
    let bench = Bench::new().await;
    let by = Actor::program("test");
    for (only, reach) in [
        ([Permission::ViewStudies].into(), Reach::Released),
        ([Permission::ViewStudies, Permission::ReadDrafts].into(), Reach::Everything),
    ] {
        let wish =
            NewKey { name: "CT 1".into(), role: Role::Administrator, only: Some(only), expires_at: None };
        let (_, shown) = bench.access.create_key(wish, &by).await.unwrap();
        assert_eq!(bench.access.by_api_key(shown.reveal()).await.unwrap().reach, reach);
    }
}

#[tokio::test]
async fn the_next_key_is_published_before_it_signs_and_the_last_one_still_verifies() {
    let bench = Bench::new().await;
    let kid = |token: &str| crate::auth::tokens::Unverified::parse(token).unwrap().kid().to_owned();
    let first = bench.log_in("ada").await;
    assert_eq!(bench.access.public_keys().await.unwrap().len(), 1);
    bench.wait((720 - 24) * 3600);
    bench.access.keep_up().await.unwrap();
    assert_eq!(bench.access.public_keys().await.unwrap().len(), 2);
    let before = bench.log_in("ada").await;
    assert_eq!(kid(before.access.reveal()), kid(first.access.reveal()));
    bench.wait(24 * 3600 - 60);
    let last = bench.log_in("ada").await;
    bench.wait(60);
    let after = bench.log_in("ada").await;
    assert_ne!(kid(after.access.reveal()), kid(last.access.reveal()));
    for token in [last, after] {
        assert!(bench.access.by_access_token(token.access.reveal()).await.is_ok());
    }
}

#[tokio::test]
async fn servers_of_one_database_know_the_tokens_of_each_other() {
    let bench = Bench::new().await;
    bench.log_in("ada").await;
    let other = Access::new(bench.access.db.clone(), bench.clock.clone(), &bench.config).unwrap();
    other.public_keys().await.unwrap();
    bench.wait(720 * 3600);
    bench.access.keep_up().await.unwrap();
    let granted = bench.log_in("ada").await;
    assert!(other.by_access_token(granted.access.reveal()).await.is_ok());
}
