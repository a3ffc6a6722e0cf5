//! Entity tags as a client sees them: of what can be changed, and before a change.

use http::header::IF_MATCH;

use super::*;

impl Bench {
    async fn act(&self, method: Method, path: &str, tag: &str) -> u16 {
        let request = Request::builder().method(method).uri(path).header(IF_MATCH, tag);
        self.send(request.body(body::empty()).unwrap()).await.status.as_u16()
    }

    async fn create_by(&self, path: &str, body: &'static str) -> String {
        let reply = self.send(Request::post(path).body(body::full(body)).unwrap()).await;
        format!("{path}/{}", reply.json()["id"].as_str().unwrap())
    }

    /// The tag, after a look whether it is taken for what it is.
    async fn tag(&self, path: &str) -> String {
        let tag = self.get(path, &[]).await.header(ETAG).to_owned();
        assert_eq!(self.get(path, &[(IF_NONE_MATCH, &tag)]).await.status.as_u16(), 304, "{path}");
        tag
    }

    async fn run(&self, sql: &'static str) {
        let batch = crate::db::Batch::new().then(crate::db::Statement::named("changed", sql));
        self.state.db.run(batch).await.unwrap();
    }
}

const USER: &str = r#"{"name": "ada", "display_name": "Ada", "roles": ["radiologist"]}"#;
const KEY: &str = r#"{"name": "gate", "role": "radiologist"}"#;

#[tokio::test]
async fn an_act_on_what_was_read_is_done_and_on_something_else_is_not() {
    let bench = Bench::filled().await;
    let destination = "/api/v1/destinations/the%20archive";
    let key = bench.create_by("/api/v1/api-keys", KEY).await;
    let user = bench.create_by("/api/v1/users", USER).await;
    let jobs = bench.get("/api/v1/jobs?kind=complete-study", &[]).await.json();
    let job = format!("/api/v1/jobs/{}", jobs["items"][0]["id"].as_str().unwrap());
    for (method, path, act, done) in [
        (Method::DELETE, key.as_str(), "", 204),
        (Method::POST, &user, "/password", 200),
        (Method::POST, &job, "/cancel", 202),
        (Method::POST, destination, "/pause", 200),
    ] {
        let (act, tag) = (format!("{path}{act}"), bench.tag(path).await);
        assert_eq!(bench.act(method.clone(), &act, "\"nope\"").await, 412, "{act}");
        assert_eq!(bench.act(method.clone(), &act, &tag).await, done, "{act}");
        assert_eq!(bench.act(method, &act, &tag).await, 412, "{act} by an old tag");
    }
    assert_eq!(bench.act(Method::POST, "/api/v1/jobs/none/cancel", "*").await, 404);
}

#[tokio::test]
async fn what_nobody_overwrites_makes_another_answer_and_no_refusal() {
    let bench = Bench::filled().await;
    let user = bench.create_by("/api/v1/users", USER).await;
    let group = bench.create_by("/api/v1/groups", r#"{"name": "north"}"#).await;
    let (before, of_group) = (bench.tag(&user).await, bench.tag(&group).await);
    bench.run("update account set last_login_at = 5").await;
    bench
        .run("insert into study_group (study_uid, owner_group, added_at) select '1.2.3', id, 1 from owner_group")
        .await;
    assert_ne!((bench.tag(&user).await, bench.tag(&group).await), (before.clone(), of_group));
    assert_eq!(bench.act(Method::DELETE, &user, &before).await, 204);
}

#[tokio::test]
async fn what_is_configured_is_listed_as_everything_else() {
    let bench = Bench::filled().await;
    let status = async |path: &str| bench.get(&format!("/api/v1/{path}"), &[]).await.status.as_u16();
    for path in [
        "destinations?sort=name",
        "destinations?limit=0",
        "destinations?cursor=x",
        "nodes?limit=abc",
        "nodes?bogus=1",
        "studies/1.2.3/groups?bogus=1",
        "server?fields=nothing",
    ] {
        assert_eq!(status(path).await, 400, "{path}");
    }
    assert_eq!(status("nodes?limit=5&fields=ae_title").await, 200);
    let narrow = bench.get("/api/v1/destinations?fields=name&limit=1", &[]).await.json();
    assert_eq!(
        (&narrow["items"][0], &narrow["next"]),
        (&serde_json::json!({"name": "the archive"}), &Value::Null)
    );
    let server = bench.get("/api/v1/server?fields=version", &[]).await.json();
    assert_eq!(server, serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }));
}
