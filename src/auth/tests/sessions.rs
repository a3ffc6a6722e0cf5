//! Refresh tokens, their reuse, and the ends of sessions.

use proptest::prelude::*;

use super::harness::client;
use super::{Bench, PASSWORD};
use crate::audit::Actor;
use crate::auth::{Denied, Granted, Role, Secret, UserError};
use crate::db::users::{self, Profile};
use crate::db::{Batch, Statement};

/// By a provider that nobody can reach.
async fn of_provider() -> (Bench, Granted) {
    let bench = Bench::with(|settings| {
        settings.oidc.issuer = "http://127.0.0.1:1".to_owned();
        settings.oidc.client_id = "radiant".to_owned();
    })
    .await;
    let eva = bench.add("eva", Role::Viewer).await;
    let provider = (bench.config.auth.oidc.issuer.as_str(), "eva");
    bench.access.db.run(users::link(&eva.id, 1, provider, bench.clock.now())).await.unwrap();
    let eva = bench.access.user(&eva.id).await.unwrap();
    let provided = crate::auth::sessions::Proof::Provider(Some(Secret::new("theirs")));
    let granted = bench.access.begin_session(eva, provided, &client()).await.unwrap();
    (bench, granted)
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_for_too_long_ends_the_session() {
    let (bench, mut granted) = of_provider().await;
    for hours in [1, 10] {
        bench.wait(hours * 3600);
        granted = bench.access.refresh(granted.refresh.reveal(), &client()).await.unwrap();
    }
    bench.wait(3600);
    let refused = bench.access.refresh(granted.refresh.reveal(), &client()).await;
    assert!(matches!(refused, Err(Denied::SessionEnded)), "{refused:?}");
    assert_eq!(bench.audit().await.last().unwrap(), "revoke-session success");
}

#[tokio::test]
async fn what_the_provider_granted_lies_sealed_and_goes_with_its_token() {
    let (bench, granted) = of_provider().await;
    bench.access.refresh(granted.refresh.reveal(), &client()).await.unwrap();
    let sql = "select provider_token from refresh_token order by used_at is null";
    let kept = bench.access.db.read(Statement::named("kept", sql)).await.unwrap();
    assert_eq!(kept[0].opt_bytes(0).unwrap(), None);
    let sealed = kept[1].bytes(0).unwrap();
    assert!(!sealed.windows(6).any(|part| part == b"theirs"));
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_betrays_a_thief() {
    let bench = Bench::new().await;
    let first = bench.log_in("ada").await;
    let second = bench.access.refresh(first.refresh.reveal(), &client()).await.unwrap();
    assert!(bench.access.by_access_token(second.access.reveal()).await.is_ok());
    let again = bench.access.refresh(first.refresh.reveal(), &client()).await;
    assert!(matches!(again, Err(Denied::SessionEnded)), "{again:?}");
    let heir = bench.access.refresh(second.refresh.reveal(), &client()).await;
    assert!(matches!(heir, Err(Denied::SessionEnded)), "{heir:?}");
    assert!(bench.access.by_access_token(second.access.reveal()).await.is_err());
    assert_eq!(bench.audit().await.last().unwrap(), "reuse-token denied");
}

#[tokio::test]
async fn two_refreshes_at_once_are_one_reuse() {
    let bench = Bench::new().await;
    let granted = bench.log_in("ada").await;
    let client = client();
    let refresh = || bench.access.refresh(granted.refresh.reveal(), &client);
    let (one, other) = futures::future::join(refresh(), refresh()).await;
    assert!(one.is_err() || other.is_err());
}

#[tokio::test]
async fn a_session_ends_unused_and_in_any_case_in_the_end() {
    let bench = Bench::with(|settings| settings.sessions_max = 3).await;
    let unused = bench.log_in("ada").await;
    let mut used = bench.log_in("ada").await;
    for _ in 0..30 {
        bench.wait(23 * 3600 + 3590);
        used = bench.access.refresh(used.refresh.reveal(), &client()).await.unwrap();
    }
    let late = bench.access.refresh(unused.refresh.reveal(), &client()).await;
    assert!(matches!(late, Err(Denied::Expired)), "{late:?}");
    assert!(used.refresh_lifetime.as_secs() <= 300, "{:?}", used.refresh_lifetime);
    bench.wait(300);
    let late = bench.access.refresh(used.refresh.reveal(), &client()).await;
    assert!(matches!(late, Err(Denied::Expired)), "{late:?}");
}

#[tokio::test]
async fn one_session_too_many_ends_the_oldest() {
    let bench = Bench::with(|settings| settings.sessions_max = 2).await;
    let first = bench.log_in("ada").await;
    bench.log_in("ada").await;
    bench.log_in("ada").await;
    let ended = bench.access.refresh(first.refresh.reveal(), &client()).await;
    assert!(matches!(ended, Err(Denied::SessionEnded)), "{ended:?}");
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    let bench = Bench::new().await;
    let [here, there] = [bench.log_in("ada").await, bench.log_in("ada").await];
    let caller = bench.access.by_access_token(here.access.reveal()).await.unwrap();
    let (new, by) = (Secret::new("another horse battery"), Actor::program("test"));
    bench.access.change_password(&caller, PASSWORD, &new, &by).await.unwrap();
    assert!(bench.access.refresh(there.refresh.reveal(), &client()).await.is_err());
    assert!(bench.access.refresh(here.refresh.reveal(), &client()).await.is_ok());
    assert!(bench.try_log_in("ada", PASSWORD).await.is_err());
    assert!(bench.try_log_in("ada", new.reveal()).await.is_ok());
}

#[tokio::test]
async fn a_reset_password_opens_nothing_but_its_change() {
    let bench = Bench::new().await;
    let eva = bench.add("eva", Role::Radiologist).await;
    let by = Actor::program("test");
    let made = bench.access.reset_password(&eva, None, &by).await.unwrap().unwrap();
    let granted = bench.try_log_in("eva", made.reveal()).await.unwrap();
    assert!(granted.user.must_change);
    let caller = bench.access.by_access_token(granted.access.reveal()).await.unwrap();
    assert!(crate::auth::Permission::ALL.iter().all(|permission| !caller.may(*permission)));
    let basic = bench.access.by_password("eva", made.reveal(), super::harness::HOME).await;
    assert!(matches!(basic, Err(Denied::MustChange)), "{basic:?}");
    bench.access.change_password(&caller, made.reveal(), &Secret::new(PASSWORD), &by).await.unwrap();
    let caller = bench.access.by_access_token(granted.access.reveal()).await.unwrap();
    assert!(caller.may(crate::auth::Permission::SignReports));
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let bench = Bench::new().await;
    let by = Actor::program("test");
    let ada = bench.access.user_named("ada").await.unwrap();
    let to = |roles: Role, disabled| Profile {
        display_name: "Ada".into(),
        email: None,
        roles: [roles].into(),
        disabled,
    };
    for to in [to(Role::Viewer, false), to(Role::Administrator, true)] {
        let refused = bench.access.change_user(&ada, &to, &by).await;
        assert!(matches!(refused, Err(UserError::LastAdministrator)), "{refused:?}");
    }
    assert!(matches!(bench.access.delete_user(&ada, &by).await, Err(UserError::LastAdministrator)));
    bench.add("bob", Role::Administrator).await;
    bench.access.change_user(&ada, &to(Role::Viewer, false), &by).await.unwrap();
    let stale = bench.access.delete_user(&ada, &by).await;
    assert!(matches!(stale, Err(UserError::Changed)), "{stale:?}");
}

#[tokio::test]
async fn a_name_is_never_given_again() {
    let bench = Bench::new().await;
    let by = Actor::program("test");
    let eva = bench.add("eva", Role::Viewer).await;
    bench.access.delete_user(&eva, &by).await.unwrap();
    assert!(matches!(bench.try_log_in("eva", PASSWORD).await, Err(Denied::Wrong)));
    let insert =
        users::insert(&crate::db::users::User { id: "other".into(), name: "EVA".into(), ..eva }, None);
    let again = bench.access.db.run(Batch::new().then(insert)).await;
    assert!(matches!(again, Err(crate::db::DbError::Unique { .. })), "{again:?}");
}

#[tokio::test]
async fn the_first_secret_is_in_a_file_for_its_owner_until_it_is_changed() {
    let bench = Bench::empty().await;
    assert!(bench.access.make_first_administrator().await.unwrap());
    assert!(!bench.access.make_first_administrator().await.unwrap());
    let file = bench.folder().join("first-administrator");
    let text = std::fs::read_to_string(&file).unwrap();
    let secret = text.lines().find_map(|line| line.strip_prefix("secret: ")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let granted = bench.try_log_in("admin", secret).await.unwrap();
    let caller = bench.access.by_access_token(granted.access.reveal()).await.unwrap();
    let by = Actor::program("test");
    bench.access.change_password(&caller, secret, &Secret::new(PASSWORD), &by).await.unwrap();
    assert!(!file.exists());
}

#[test]
fn no_order_of_refresh_tokens_brings_a_used_one_back() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = ProptestConfig { cases: 12, ..ProptestConfig::default() };
    proptest!(cases, |(picks in prop::collection::vec(any::<prop::sample::Index>(), 1..8))| {
        runtime.block_on(async {
            let bench = Bench::new().await;
            let mut tokens = vec![bench.log_in("ada").await.refresh];
            let mut over = false;
            for pick in &picks {
                let at = pick.index(tokens.len());
                let newest = at + 1 == tokens.len();
                match bench.access.refresh(tokens[at].reveal(), &client()).await {
                    Ok(granted) => {
                        assert!(newest && !over);
                        tokens.push(granted.refresh);
                    }
                    Err(_) => over = true,
                }
                assert!(over || newest);
            }
        });
    });
}
