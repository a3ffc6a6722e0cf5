//! Passwords, tokens and the waits between attempts.

use super::harness::{HOME, client};
use super::{Bench, PASSWORD};
use crate::auth::{Caller, Client, Denied, Means, Permission, Role, Subject};
use crate::db::users::{self, Profile};
use crate::db::{Batch, sessions};

#[tokio::test]
async fn a_token_brings_in_its_user_with_the_rights_of_now() {
    let bench = Bench::new().await;
    let eva = bench.add("eva", Role::Radiologist).await;
    let granted = bench.log_in("EVA").await;
    let caller = bench.access.by_access_token(granted.access.reveal()).await.unwrap();
    assert!(caller.may(Permission::SignReports) && caller.means == Means::AccessToken);
    assert!(matches!(&caller.subject, Subject::User { name, .. } if name == "eva"));
    let to =
        Profile { display_name: "Eva".into(), email: None, roles: [Role::Viewer].into(), disabled: false };
    bench.access.db.run(users::change(&eva.id, 1, &to, bench.clock.now())).await.unwrap();
    bench.wait(6);
    let caller = bench.access.by_access_token(granted.access.reveal()).await.unwrap();
    assert!(!caller.may(Permission::SignReports) && caller.may(Permission::ViewStudies));
}

#[tokio::test]
async fn a_token_ends_by_itself_and_with_its_session() {
    let bench = Bench::new().await;
    let [short, long] = [bench.log_in("ada").await, bench.log_in("ada").await];
    let ended = sessions::end(&short.session.id, "revoked", bench.clock.now());
    bench.access.by_access_token(short.access.reveal()).await.unwrap();
    bench.access.db.run(Batch::new().then(ended)).await.unwrap();
    bench.wait(6);
    let refused = bench.access.by_access_token(short.access.reveal()).await;
    assert!(matches!(refused, Err(Denied::SessionEnded)), "{refused:?}");
    assert!(bench.access.by_access_token(long.access.reveal()).await.is_ok());
    bench.wait(594);
    let refused = bench.access.by_access_token(long.access.reveal()).await;
    assert!(matches!(refused, Err(Denied::Expired)), "{refused:?}");
}

#[tokio::test]
async fn who_is_disabled_has_the_wrong_password() {
    let bench = Bench::new().await;
    let eva = bench.add("eva", Role::Viewer).await;
    let token = bench.log_in("eva").await.access;
    bench.access.by_password("eva", PASSWORD, HOME).await.unwrap();
    let to = Profile { display_name: "E".into(), email: None, roles: eva.roles.clone(), disabled: true };
    bench.access.db.run(users::change(&eva.id, 1, &to, bench.clock.now())).await.unwrap();
    assert!(matches!(bench.try_log_in("eva", PASSWORD).await, Err(Denied::Wrong)));
    assert!(matches!(bench.access.by_password("eva", PASSWORD, HOME).await, Err(Denied::Wrong)));
    bench.wait(6);
    assert!(matches!(bench.access.by_access_token(token.reveal()).await, Err(Denied::SessionEnded)));
}

#[tokio::test]
async fn wrong_names_and_wrong_passwords_are_one_answer() {
    let bench = Bench::new().await;
    let wrong = [bench.try_log_in("ada", "x").await, bench.try_log_in("nobody", PASSWORD).await];
    assert!(wrong.iter().all(|wrong| matches!(wrong, Err(Denied::Wrong))));
    assert_eq!(bench.audit().await, ["log-in denied", "log-in denied"]);
}

#[tokio::test]
async fn who_fails_too_often_waits_whatever_he_shows() {
    let bench = Bench::new().await;
    for name in ["ada", "nobody"] {
        for _ in 0..5 {
            assert!(matches!(bench.try_log_in(name, "x").await, Err(Denied::Wrong)));
        }
        let refused = bench.try_log_in(name, PASSWORD).await;
        assert!(matches!(refused, Err(Denied::Backoff(wait)) if wait.as_secs() == 2), "{refused:?}");
    }
    bench.wait(2);
    assert!(bench.try_log_in("ada", PASSWORD).await.is_ok());
    assert!(matches!(bench.try_log_in("ada", "x").await, Err(Denied::Wrong)));
}

#[tokio::test]
async fn an_address_does_not_win_attempts_by_an_account_of_its_own() {
    let bench = Bench::with(|settings| settings.failures_of_address_free = 6).await;
    for n in 0..6 {
        assert!(matches!(bench.try_log_in(&format!("n{n}"), "x").await, Err(Denied::Wrong)));
        if n < 5 {
            bench.log_in("ada").await;
        }
    }
    assert!(matches!(bench.try_log_in("ada", PASSWORD).await, Err(Denied::Backoff(_))));
}

#[tokio::test]
async fn a_stranger_keeps_nobody_out_by_his_name() {
    let bench = Bench::with(|settings| settings.name_slowed_max_s = 0).await;
    for n in 0..60 {
        let stranger = Client { address: Some(std::net::Ipv4Addr::new(192, 0, 2, n).into()), ..client() };
        let refused = bench.access.log_in("ada", "x", &stranger).await;
        assert!(matches!(refused, Err(Denied::Wrong)), "{refused:?}");
    }
    assert!(bench.try_log_in("ada", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn attempts_at_the_same_time_do_not_slip_through() {
    let bench = Bench::with(|settings| settings.verifications_waiting_max = 100).await;
    let attempts = (0..20).map(|_| bench.try_log_in("ada", "x"));
    let outcomes = futures::future::join_all(attempts).await;
    let looked_at = outcomes.iter().filter(|outcome| matches!(outcome, Err(Denied::Wrong))).count();
    assert!((1..=5).contains(&looked_at), "{looked_at}");
}

#[tokio::test]
async fn a_confirmed_password_makes_the_session_fresh() {
    let bench = Bench::new().await;
    let granted = bench.log_in("ada").await;
    let caller = bench.access.by_access_token(granted.access.reveal()).await.unwrap();
    assert!(bench.access.is_fresh(&caller));
    bench.wait(301);
    assert!(!bench.access.is_fresh(&caller));
    assert!(matches!(bench.access.confirm(&caller, "x").await, Err(Denied::Wrong)));
    bench.access.confirm(&caller, PASSWORD).await.unwrap();
    let next = bench.access.refresh(granted.refresh.reveal(), &client()).await.unwrap();
    let caller = bench.access.by_access_token(next.access.reveal()).await.unwrap();
    assert!(bench.access.is_fresh(&caller));
    let nobody = bench.access.confirm(&Caller::unrestricted(), PASSWORD).await;
    assert!(matches!(nobody, Err(Denied::NotAPerson)));
}
