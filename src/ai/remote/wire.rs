//! One exchange with a server: how long it may be silent, how long it may take, how much may come.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};

use super::answer::Answer;
use super::failure::Failure;
use super::sse::Events;
use crate::clock::Timestamp;
use crate::outbound::access::{SendError, retry_after};

/// Of the answer that says why there is none.
const COMPLAINT_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Without a byte; none where an answer comes whole when it is ready.
    pub(super) silence: Option<Duration>,
    pub(super) whole: Duration,
    pub(super) bytes_max: u64,
}

/// The body of an answer that came whole.
pub(super) async fn body(
    request: RequestBuilder,
    limits: Limits,
    now: Timestamp,
) -> Result<Vec<u8>, Failure> {
    within(limits.whole, async {
        let mut response = begin(request, limits, now).await?;
        rest(&mut response, limits).await
    })
    .await
}

/// An answer that comes in pieces; `written` hears how many there are so far. A server that does not
/// stream gives it whole.
pub(super) async fn streamed(
    request: RequestBuilder,
    limits: Limits,
    now: Timestamp,
    written: impl Fn(usize),
) -> Result<Answer, Failure> {
    within(limits.whole, async {
        let mut response = begin(request, limits, now).await?;
        match is_stream(&response) {
            true => stream(&mut response, limits, written).await,
            false => Answer::whole(&rest(&mut response, limits).await?),
        }
    })
    .await
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(Failure::Slow(limit)))
}

async fn begin(request: RequestBuilder, limits: Limits, now: Timestamp) -> Result<Response, Failure> {
    let mut response = heard(limits.silence, request.send()).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let pause = header.and_then(|text| retry_after(text, now));
    // What the complaint says is not worth another failure.
    let limits = Limits { bytes_max: COMPLAINT_BYTES_MAX, ..limits };
    let complaint = rest(&mut response, limits).await.unwrap_or_default();
    Err(Failure::of(status, pause, &complaint))
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

async fn rest(response: &mut Response, limits: Limits) -> Result<Vec<u8>, Failure> {
    if response.content_length().is_some_and(|length| length > limits.bytes_max) {
        return Err(Failure::TooLarge(limits.bytes_max));
    }
    let mut body = Vec::new();
    while let Some(chunk) = heard(limits.silence, response.chunk()).await? {
        if (body.len() + chunk.len()) as u64 > limits.bytes_max {
            return Err(Failure::TooLarge(limits.bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Until `[DONE]`, or until the end behind a piece that says why it is the last.
async fn stream(response: &mut Response, limits: Limits, written: impl Fn(usize)) -> Result<Answer, Failure> {
    let (mut answer, mut events, mut came) = (Answer::default(), Events::default(), 0_u64);
    while let Some(chunk) = heard(limits.silence, response.chunk()).await? {
        came += chunk.len() as u64;
        if came > limits.bytes_max {
            return Err(Failure::TooLarge(limits.bytes_max));
        }
        for event in events.take(&chunk) {
            if answer.add(&event)? {
                return ended(answer);
            }
        }
        written(answer.pieces);
    }
    if let Some(event) = events.rest() {
        answer.add(&event)?;
    }
    ended(answer)
}

fn ended(answer: Answer) -> Result<Answer, Failure> {
    if answer.finish.is_some() { Ok(answer) } else { Err(Failure::CutOff) }
}

async fn heard<T>(
    silence: Option<Duration>,
    work: impl Future<Output = Result<T, reqwest::Error>>,
) -> Result<T, Failure> {
    let Some(limit) = silence else { return Ok(work.await.map_err(SendError::from)?) };
    match tokio::time::timeout(limit, work).await {
        Ok(heard) => Ok(heard.map_err(SendError::from)?),
        Err(_) => Err(SendError::Silent(limit).into()),
    }
}
