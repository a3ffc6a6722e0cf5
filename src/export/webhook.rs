//! Events to webhooks: a POST of JSON, signed.
//!
//! `Radiant-Signature: t=SECONDS,v1=HEX[,v1=HEX]`: HMAC-SHA256 by each secret over the text
//! `SECONDS.BODY`. Who receives it compares one of them, and refuses a time that is long past.
//! `Radiant-Delivery` is the same in every attempt.

use std::path::PathBuf;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use sha2::Sha256;

use super::ExportError;
use super::courier::{Fate, Round, Trouble};
use crate::causes::chain;
use crate::clock::{Clock, Timestamp};
use crate::config::exports::{Secret, Webhook};
use crate::db::exports::{Claimed, Matter};
use crate::ids::hex;
use crate::outbound::AccessError;
use crate::outbound::access::{Access, Progress, Reply};

const SIGNATURE: &str = "radiant-signature";
const DELIVERY: &str = "radiant-delivery";
const EVENT: &str = "radiant-event";

/// A webhook as it is reached.
#[derive(Debug)]
pub(super) struct Hook {
    access: Access,
    url: String,
    secrets: Vec<Secret>,
    secrets_file: Option<PathBuf>,
    timeout: std::time::Duration,
}

impl Hook {
    pub(super) fn new(webhook: &Webhook, access: Access) -> Result<Self, ExportError> {
        if reqwest::Url::parse(&webhook.url).is_err() {
            return Err(ExportError::Url { name: webhook.name.clone(), url: webhook.url.clone() });
        }
        let hook = Self {
            access,
            url: webhook.url.clone(),
            secrets: webhook.secrets.clone(),
            secrets_file: webhook.secrets_file.clone(),
            timeout: webhook.timeout(),
        };
        match hook.keys() {
            Ok(keys) if !keys.is_empty() => Ok(hook),
            Ok(_) => {
                let path = webhook.secrets_file.clone().unwrap_or_default();
                Err(AccessError::EmptyFile { name: webhook.name.clone(), path, what: "secret" }.into())
            }
            Err(source) => {
                let path = webhook.secrets_file.clone().unwrap_or_default();
                Err(AccessError::ReadFile { name: webhook.name.clone(), path, source }.into())
            }
        }
    }

    /// The file is read every time: secrets are changed while we run.
    fn keys(&self) -> std::io::Result<Vec<String>> {
        let mut keys: Vec<String> = self.secrets.iter().map(|secret| secret.reveal().to_owned()).collect();
        if let Some(path) = &self.secrets_file {
            let text = std::fs::read_to_string(path)?;
            keys.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        }
        Ok(keys)
    }
}

/// The value of the header for a body.
fn signature(keys: &[String], at: Timestamp, body: &[u8]) -> String {
    let seconds = at.0.div_euclid(1_000_000).to_string();
    let mut value = format!("t={seconds}");
    for key in keys {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { continue };
        mac.update(seconds.as_bytes());
        mac.update(b".");
        mac.update(body);
        value.push_str(&format!(",v1={}", hex(&mac.finalize().into_bytes())));
    }
    value
}

pub(super) struct WebhookCourier<'a> {
    pub(super) hook: &'a Hook,
    pub(super) clock: &'a Clock,
}

impl WebhookCourier<'_> {
    pub(super) async fn bring(&mut self, rows: &[Claimed]) -> Round {
        let mut round = Round::all(rows.len(), &Fate::Untried, None);
        for (at, row) in rows.iter().enumerate() {
            let Matter::Event { id, kind, json } = &row.matter else {
                round.fates[at] = Fate::Refused("a webhook takes events".to_owned());
                continue;
            };
            let (fate, trouble) = self.post(id, kind, json).await;
            round.fates[at] = fate;
            if trouble.is_some() {
                round.trouble = trouble;
                break;
            }
        }
        round
    }

    async fn post(&self, id: &str, kind: &str, json: &[u8]) -> (Fate, Option<Trouble>) {
        let signed = self.hook.keys().and_then(|keys| match keys.is_empty() {
            // As while the file is being written.
            true => Err(std::io::Error::other("there are none")),
            false => Ok(signature(&keys, self.clock.now(), json)),
        });
        let request = signed.and_then(|signature| {
            let request = self.hook.access.request(Method::POST, &self.hook.url)?;
            Ok(request.header(SIGNATURE, signature).header(DELIVERY, id).header(EVENT, kind))
        });
        let request = match request {
            Ok(request) => request.header(CONTENT_TYPE, "application/json").body(json.to_vec()),
            Err(error) => {
                let trouble = Trouble::refusal(format!("the secrets cannot be read: {error}"));
                return (Fate::Untried, Some(trouble));
            }
        };
        match Progress::new(self.hook.timeout).send(request).await {
            Ok(reply) => answered(&reply, json.len() as u64),
            Err(error) if error.was_not_reached() => (Fate::Untried, Some(Trouble::passing(chain(&error)))),
            Err(error) => (Fate::Failed(chain(&error)), Some(Trouble::passing(chain(&error)))),
        }
    }
}

/// Any 2xx is taken. What it says of the event is final, what it says of itself passes.
fn answered(reply: &Reply, bytes: u64) -> (Fate, Option<Trouble>) {
    let said = format!("the event was answered with {}", reply.status);
    let status = reply.status;
    match status {
        status if status.is_success() => (Fate::Taken { note: None, bytes }, None),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let seconds = reply.retry_after.as_deref().and_then(|text| text.trim().parse().ok());
            let retry_after = seconds.map(std::time::Duration::from_secs);
            (Fate::Untried, Some(Trouble { retry_after, ..Trouble::passing(said) }))
        }
        StatusCode::REQUEST_TIMEOUT => (Fate::Failed(said.clone()), Some(Trouble::passing(said))),
        status if status.is_server_error() => (Fate::Failed(said.clone()), Some(Trouble::passing(said))),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            (Fate::Failed(said.clone()), Some(Trouble::refusal(said)))
        }
        status if status.is_redirection() => (Fate::Failed(said.clone()), Some(Trouble::refusal(said))),
        _ => (Fate::Refused(said), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `printf '1800000000.{}' | openssl dgst -sha256 -hmac KEY`.
    #[test]
    fn every_secret_signs_time_and_body() {
        let keys = ["new".to_owned(), "old".to_owned()];
        let value = signature(&keys, Timestamp(1_800_000_000_000_000), b"{}");
        let by_new = "c71282b37a6d4f0f31e37367e60f7158a083da9db3a394fbd5842d9c4725edce";
        let by_old = "76b9c5deea4315e29affba5285298681eb23ce6f1d5a866168b1972b232edbf3";
        assert_eq!(value, format!("t=1800000000,v1={by_new},v1={by_old}"));
    }

    #[test]
    fn what_is_wrong_with_the_event_is_final_and_what_is_wrong_with_the_server_passes() {
        let reply = |status: u16| Reply {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            location: None,
            body: Vec::new(),
        };
        assert!(matches!(answered(&reply(204), 1), (Fate::Taken { .. }, None)));
        assert!(matches!(answered(&reply(422), 1), (Fate::Refused(_), None)));
        assert!(matches!(answered(&reply(502), 1), (Fate::Failed(_), Some(_))));
        assert!(matches!(answered(&reply(429), 1), (Fate::Untried, Some(_))));
        assert!(matches!(
            answered(&reply(404), 1),
            (Fate::Failed(_), Some(Trouble { is_refusal: true, .. }))
        ));
    }
}
