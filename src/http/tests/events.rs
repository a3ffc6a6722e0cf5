//! Streams of events, and the control of analyses.

use futures::StreamExt;
use http_body_util::BodyStream;

use super::*;
use crate::db::Batch;
use crate::db::events::{Event, EventKind, append};

pub(super) async fn tell(bench: &Bench, kind: EventKind, study: &str) {
    let study: StudyUid = study.parse().unwrap();
    let event = append(&Event::about(kind, &study, "a1"), Timestamp(1));
    bench.state.db.run(Batch::new().then(event)).await.unwrap();
}

/// Reads a stream until a text is in it.
pub(super) struct Reader {
    body: std::pin::Pin<Box<dyn futures::Stream<Item = Bytes>>>,
    text: String,
}

impl Reader {
    pub(super) async fn open(
        bench: &Bench,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, StatusCode> {
        let mut request = Request::get(path).header(HOST, "127.0.0.1:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let service = service::service(Arc::clone(&bench.state), ends());
        let response = service.oneshot(request.body(body::empty()).unwrap()).await.unwrap();
        if response.status() != StatusCode::OK {
            return Err(response.status());
        }
        assert!(response.headers().get("content-encoding").is_none(), "a stream is not held back");
        let frames = BodyStream::new(response.into_body());
        let body = frames.filter_map(|frame| async { frame.ok().and_then(|frame| frame.into_data().ok()) });
        Ok(Self { body: Box::pin(body), text: String::new() })
    }

    pub(super) async fn until(&mut self, needle: &str) -> &str {
        while !self.text.contains(needle) {
            let more = self.body.next().await.expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&more).unwrap());
        }
        &self.text
    }
}

#[tokio::test]
async fn a_stream_begins_now_and_tells_what_comes() {
    let bench = Bench::new();
    tell(&bench, EventKind::AnalysisQueued, "1.2").await;
    let mut reader = Reader::open(&bench, "/api/v1/events", &[("accept-encoding", "gzip")]).await.unwrap();
    assert!(reader.until("id: 1\n").await.starts_with("retry: "));
    tell(&bench, EventKind::AnalysisDone, "1.2").await;
    let text = reader.until("id: 2\n").await;
    assert!(text.contains("event: analysis-done\n") && !text.contains("analysis-queued"), "{text}");
}

#[tokio::test]
async fn a_reader_that_comes_back_misses_nothing() {
    let bench = Bench::new();
    for study in ["1.2", "1.3", "1.2"] {
        tell(&bench, EventKind::AnalysisDone, study).await;
    }
    let mut reader =
        Reader::open(&bench, "/api/v1/events?study=1.2", &[("last-event-id", "0")]).await.unwrap();
    let text = reader.until("id: 3\n").await;
    assert!(text.contains("id: 1\n") && !text.contains("1.3"), "{text}");
}

#[tokio::test]
async fn what_is_gone_for_good_is_told_as_a_gap() {
    let bench = Bench::new();
    for _ in 0..3 {
        tell(&bench, EventKind::AnalysisDone, "1.2").await;
    }
    crate::db::events::forget(&bench.state.db, Timestamp(9)).await.unwrap();
    let mut reader = Reader::open(&bench, "/api/v1/events?after=1", &[]).await.unwrap();
    assert!(reader.until("id: 3\n").await.contains("event: gap\ndata: {\"first\":3}\n"));
    let mut from_elsewhere = Reader::open(&bench, "/api/v1/events?after=99", &[]).await.unwrap();
    from_elsewhere.until("event: gap").await;
}

#[tokio::test]
async fn one_caller_has_so_many_streams_and_no_more() {
    let bench = Bench::new();
    let mut readers = Vec::new();
    for _ in 0..bench.state.live.events.streams_max {
        readers.push(Reader::open(&bench, "/api/v1/events", &[]).await.unwrap());
    }
    let refused = Reader::open(&bench, "/api/v1/events", &[]).await.err();
    assert_eq!(refused, Some(StatusCode::TOO_MANY_REQUESTS));
    readers.pop();
    assert!(Reader::open(&bench, "/api/v1/events", &[]).await.is_ok());
}

#[tokio::test]
async fn malformed_filters_are_refused() {
    let bench = Bench::new();
    for path in ["events?kind=nothing", "events?study=x", "events?after=-1", "events?after=x"] {
        let refused = Reader::open(&bench, &format!("/api/v1/{path}"), &[]).await.err();
        assert_eq!(refused, Some(StatusCode::BAD_REQUEST), "{path}");
    }
    let refused = Reader::open(&bench, "/api/v1/analyses/none/events", &[]).await.err();
    assert_eq!(refused, Some(StatusCode::NOT_FOUND));
}

#[tokio::test]
async fn the_stop_of_the_server_ends_a_stream() {
    let bench = Bench::new();
    let mut reader = Reader::open(&bench, "/api/v1/events", &[]).await.unwrap();
    reader.until("retry").await;
    bench.state.live.stop.cancel();
    assert!(reader.body.next().await.is_none());
}
