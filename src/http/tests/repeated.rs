//! Requests that are sent again.

use http::header::CACHE_CONTROL;

use super::*;

const PATH: &str = "/api/v1/studies/1.2.3/exports";
const BODY: &str = r#"{"destinations": ["the archive"]}"#;

impl Bench {
    async fn post_as(&self, key: &'static str, body: &'static str) -> Reply {
        let request = Request::post(PATH).header("idempotency-key", key);
        self.send(request.body(body::full(body)).unwrap()).await
    }
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_the_first() {
    let bench = Bench::filled().await;
    let first = bench.post_as("k1", BODY).await;
    let again = bench.post_as("k1", BODY).await;
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(first.headers[CONTENT_TYPE], again.headers[CONTENT_TYPE]);
    assert!(!bench.post_as("k2", BODY).await.headers.contains_key("idempotency-replayed"));
}

#[tokio::test]
async fn a_key_is_not_used_for_something_else() {
    let bench = Bench::filled().await;
    assert_eq!(bench.post_as("k1", BODY).await.status.as_u16(), 202);
    let other = r#"{"destinations": ["the archive"], "also_own": true}"#;
    assert_eq!(bench.post_as("k1", other).await.status.as_u16(), 422);
    for unfit in ["", "two words", "k\t1"] {
        assert_eq!(bench.post_as(unfit, BODY).await.status.as_u16(), 400, "{unfit:?}");
    }
}

impl Bench {
    async fn create(&self, path: &str, headers: &[(&str, &str)], body: &'static str) -> Reply {
        let request = Request::post(format!("/api/v1/{path}")).header("idempotency-key", "k1");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(body::full(body)).unwrap()).await
    }
}

#[tokio::test]
async fn what_is_created_once_is_created_once() {
    let bench = Bench::filled().await;
    let user = r#"{"name": "ada", "display_name": "Ada", "roles": ["radiologist"]}"#;
    let key = r#"{"name": "gate", "role": "radiologist"}"#;
    for (path, body, secret) in [("users", user, "password"), ("api-keys", key, "key")] {
        let (first, again) = (bench.create(path, &[], body).await, bench.create(path, &[], body).await);
        let (shown, kept) = (first.json(), again.json());
        assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 201), "{path}: {shown}");
        assert_eq!((&shown["id"], first.header(LOCATION)), (&kept["id"], again.header(LOCATION)));
        assert_eq!((&kept[secret], again.header(CACHE_CONTROL)), (&Value::Null, "no-store"));
        assert!(shown[secret].is_string() && again.headers["idempotency-replayed"] == "true");
    }
}

#[tokio::test]
async fn no_secret_is_kept_for_those_who_ask_again() {
    let bench = Bench::filled().await;
    let first =
        r#"{"name": "ada", "display_name": "Ada", "roles": ["radiologist"], "password": "one of two words"}"#;
    let other =
        r#"{"name": "ada", "display_name": "Ada", "roles": ["radiologist"], "password": "another of these"}"#;
    assert_eq!(bench.create("users", &[], first).await.status.as_u16(), 201);
    // The digest of what was asked says nothing of the password.
    let again = bench.create("users", &[], other).await;
    assert_eq!(
        (again.status.as_u16(), &again.headers["idempotency-replayed"]),
        (201, &"true".parse().unwrap())
    );
    let renamed = r#"{"name": "eve", "display_name": "Ada", "roles": ["radiologist"]}"#;
    assert_eq!(bench.create("users", &[], renamed).await.status.as_u16(), 422);
}

#[tokio::test]
async fn an_upload_is_begun_once_and_without_bytes() {
    let bench = Bench::filled().await;
    let ten = [("tus-resumable", "1.0.0"), ("upload-length", "10")];
    let (first, again) =
        (bench.create("uploads/tus", &ten, "").await, bench.create("uploads/tus", &ten, "").await);
    assert_eq!((first.status.as_u16(), first.header(LOCATION)), (201, again.header(LOCATION)));
    assert_eq!(
        (&again.headers["upload-offset"], &again.headers["tus-resumable"]),
        (&"0".parse().unwrap(), &"1.0.0".parse().unwrap())
    );
    let longer = [("tus-resumable", "1.0.0"), ("upload-length", "11")];
    assert_eq!(bench.create("uploads/tus", &longer, "").await.status.as_u16(), 422);
    assert_eq!(bench.create("uploads/tus", &ten, "bytes").await.status.as_u16(), 400);
    assert_eq!(bench.create("uploads", &[], "").await.status.as_u16(), 400);
}

#[tokio::test]
async fn what_was_refused_may_be_tried_again() {
    let bench = Bench::filled().await;
    assert_eq!(bench.post_as("k1", r#"{"destinations": ["nowhere"]}"#).await.status.as_u16(), 404);
    assert_eq!(bench.post_as("k1", BODY).await.status.as_u16(), 202);
}

#[tokio::test]
async fn a_request_under_way_is_not_begun_twice() {
    let bench = Bench::filled().await;
    assert_eq!(bench.post_as("k1", BODY).await.status.as_u16(), 202);
    let open = "update idempotency set state = 'open', status = null";
    bench
        .state
        .db
        .run(crate::db::Batch::new().then(crate::db::Statement::named("open", open)))
        .await
        .unwrap();
    assert_eq!(bench.post_as("k1", BODY).await.status.as_u16(), 409);
}

#[tokio::test]
async fn keys_are_bounded_in_number() {
    let settings = Settings { idempotency_keys_max: 2, ..Settings::default() };
    let bench = Bench::filled_with(settings).await;
    for key in ["k1", "k2", "k3", "k4"] {
        bench.post_as(key, BODY).await;
        bench.state.clock.advance(Duration::from_secs(1));
    }
    let count = crate::db::Statement::named("count", "select count(*) from idempotency");
    assert_eq!(bench.state.db.read_one(count).await.unwrap().unwrap().int(0).unwrap(), 2);
    bench.state.clock.advance(Duration::from_secs(3 * 24 * 3600));
    bench.post_as("k5", BODY).await;
    let count = crate::db::Statement::named("count", "select count(*) from idempotency");
    assert_eq!(bench.state.db.read_one(count).await.unwrap().unwrap().int(0).unwrap(), 1);
}
