//! What the answer to a request says about each object, PS3.18 10.5.3.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::dicom::uid::SopInstanceUid;
use crate::export::courier::{Fate, Round, Trouble};
use crate::export::status;
use crate::outbound::access::Reply;

const REFERENCED_SOP_SEQUENCE: &str = "00081199";
const FAILED_SOP_SEQUENCE: &str = "00081198";
const REFERENCED_SOP_INSTANCE_UID: &str = "00081155";
const FAILURE_REASON: &str = "00081197";
const WARNING_REASON: &str = "00081196";
/// Of where a redirect leads.
const LOCATION_CHARS_MAX: usize = 200;
/// "Processing failure", for a failure without its reason.
const UNKNOWN_REASON: u16 = 0x0110;

/// An object of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) instance: &'a SopInstanceUid,
    pub(super) attempts: u32,
    pub(super) bytes: u64,
}

pub(super) fn round<'a>(asked: impl Iterator<Item = Asked<'a>>, reply: &Reply) -> Round {
    let asked: Vec<Asked<'a>> = asked.collect();
    let status = reply.status;
    match status {
        StatusCode::OK | StatusCode::ACCEPTED | StatusCode::CONFLICT => {
            let told = told(&reply.body);
            let fates = asked.iter().map(|one| fate(*one, &told, reply, asked.len()));
            Round { fates: fates.collect(), trouble: None }
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let trouble = Trouble { retry_after: retry_after(reply), ..Trouble::passing(said(reply)) };
            Round::all(asked.len(), &Fate::Untried, Some(trouble))
        }
        StatusCode::REQUEST_TIMEOUT => failed(asked.len(), reply),
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => {
            Round::all(asked.len(), &alone_or_again(asked.len(), said(reply)), None)
        }
        status if status.is_success() => Round::all(asked.len(), &Fate::Failed(said(reply)), None),
        status if status.is_server_error() => failed(asked.len(), reply),
        _ => Round::all(asked.len(), &Fate::Untried, Some(Trouble::refusal(said(reply)))),
    }
}

fn failed(rows: usize, reply: &Reply) -> Round {
    let trouble = Trouble { retry_after: retry_after(reply), ..Trouble::passing(said(reply)) };
    Round::all(rows, &Fate::Failed(said(reply)), Some(trouble))
}

fn said(reply: &Reply) -> String {
    match &reply.location {
        Some(to) => {
            let to = plain(to);
            format!("the request was answered with {} to {to}; name that url", reply.status)
        }
        None => format!("the request was answered with {}", reply.status),
    }
}

/// Without credentials, query and fragment, which may be secrets, and no longer than anybody reads.
fn plain(location: &str) -> String {
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = path.split_once("://").map_or(("", path), |(scheme, rest)| (scheme, rest));
    let host_and_path = match scheme {
        "" => rest.to_owned(),
        scheme => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host)),
    };
    host_and_path.chars().take(LOCATION_CHARS_MAX).collect()
}

/// Which of several objects is meant is not known: each comes again alone.
fn alone_or_again(rows: usize, reason: String) -> Fate {
    if rows == 1 { Fate::Refused(reason) } else { Fate::Failed(reason) }
}

/// In seconds; a date is as good as none.
fn retry_after(reply: &Reply) -> Option<Duration> {
    let seconds = reply.retry_after.as_deref()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Objects that the answer names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// With the reason of a warning.
    stored: BTreeMap<String, Option<u16>>,
    failed: BTreeMap<String, u16>,
}

/// `None` when it is no answer of STOW-RS.
fn told(body: &[u8]) -> Option<Told> {
    let json: Value = serde_json::from_slice(body).ok()?;
    // Some servers answer with a list of one.
    let json = json.as_array().and_then(|list| list.first()).unwrap_or(&json);
    let items = |sequence: &str| json[sequence]["Value"].as_array().cloned().unwrap_or_default();
    let uid = |item: &Value| item[REFERENCED_SOP_INSTANCE_UID]["Value"][0].as_str().map(str::to_owned);
    let code =
        |item: &Value, key: &str| item[key]["Value"][0].as_u64().and_then(|code| u16::try_from(code).ok());
    let stored = items(REFERENCED_SOP_SEQUENCE);
    let failed = items(FAILED_SOP_SEQUENCE);
    let told = Told {
        stored: stored.iter().filter_map(|item| Some((uid(item)?, code(item, WARNING_REASON)))).collect(),
        failed: failed
            .iter()
            .filter_map(|item| Some((uid(item)?, code(item, FAILURE_REASON).unwrap_or(UNKNOWN_REASON))))
            .collect(),
    };
    (told != Told::default()).then_some(told)
}

fn fate(asked: Asked<'_>, told: &Option<Told>, reply: &Reply, rows: usize) -> Fate {
    let Asked { instance, attempts, bytes } = asked;
    let Some(told) = told else {
        let reason = format!("{}, and names no objects", said(reply));
        return match reply.status {
            // Some servers say so of parts that they did not look at.
            StatusCode::OK => Fate::Failed(reason),
            _ => alone_or_again(rows, reason),
        };
    };
    if let Some(code) = told.failed.get(instance.as_str()) {
        return status::fate(*code, attempts, bytes);
    }
    match told.stored.get(instance.as_str()) {
        Some(warning) => {
            let note = warning.map(|code| format!("{code:04X}, stored with a warning"));
            Fate::Taken { note, bytes }
        }
        None => alone_or_again(rows, "the answer does not name the object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            location: None,
            body: body.as_bytes().to_vec(),
        }
    }

    fn ask(uids: &[&str], reply: &Reply) -> Round {
        let uids: Vec<SopInstanceUid> = uids.iter().map(|uid| uid.parse().unwrap()).collect();
        round(uids.iter().map(|instance| Asked { instance, attempts: 1, bytes: 1 }), reply)
    }

    fn words(round: &Round) -> Vec<&'static str> {
        let word = |fate: &Fate| match fate {
            Fate::Taken { .. } => "taken",
            Fate::Refused(_) => "refused",
            Fate::Failed(_) => "failed",
            Fate::Untried => "untried",
            Fate::Gone => "gone",
        };
        round.fates.iter().map(word).collect()
    }

    #[test]
    fn each_object_has_its_own_answer() {
        let body = r#"{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.1"]}}]},
            "00081198":{"vr":"SQ","Value":[
                {"00081155":{"vr":"UI","Value":["1.2"]},"00081197":{"vr":"US","Value":[290]}},
                {"00081155":{"vr":"UI","Value":["1.3"]},"00081197":{"vr":"US","Value":[42752]}}]}}"#;
        let round = ask(&["1.1", "1.2", "1.3", "1.4"], &reply(202, body));
        assert_eq!(words(&round), ["taken", "refused", "failed", "failed"]);
        assert_eq!(round.trouble, None);
    }

    #[test]
    fn a_conflict_is_final_once_the_object_is_alone() {
        assert_eq!(words(&ask(&["1.1", "1.2"], &reply(409, ""))), ["failed", "failed"]);
        assert_eq!(words(&ask(&["1.1"], &reply(409, ""))), ["refused"]);
        assert_eq!(words(&ask(&["1.1"], &reply(413, ""))), ["refused"]);
    }

    #[test]
    fn only_what_the_answer_names_has_been_taken() {
        let empty = r#"{"00081199":{"vr":"SQ"},"00081198":{"vr":"SQ"}}"#;
        for body in ["", "thank you", empty] {
            assert_eq!(words(&ask(&["1.1"], &reply(200, body))), ["failed"], "{body}");
        }
    }

    #[test]
    fn a_busy_server_is_left_alone_and_no_attempt_counts() {
        let busy = Reply { retry_after: Some("17".to_owned()), ..reply(503, "") };
        let round = ask(&["1.1"], &busy);
        assert_eq!(words(&round), ["untried"]);
        let trouble = round.trouble.unwrap();
        assert_eq!((trouble.retry_after, trouble.is_refusal), (Some(Duration::from_secs(17)), false));
    }

    #[test]
    fn a_server_that_does_not_want_us_is_not_pressed() {
        for status in [401, 403, 404, 405, 301] {
            let round = ask(&["1.1"], &reply(status, ""));
            assert!(words(&round) == ["untried"] && round.trouble.unwrap().is_refusal, "{status}");
        }
        let broken = ask(&["1.1"], &reply(500, ""));
        assert!(words(&broken) == ["failed"] && !broken.trouble.unwrap().is_refusal);
    }

    /// Else an object that brings down what stands behind the gateway stands in the way for days.
    #[test]
    fn a_gateway_that_fails_costs_an_attempt() {
        for status in [502, 504] {
            let round = ask(&["1.1"], &reply(status, ""));
            assert!(words(&round) == ["failed"] && round.trouble.is_some(), "{status}");
        }
    }

    #[test]
    fn of_a_redirect_no_more_is_told_than_where_it_leads() {
        let to = format!("https://u:secret@h/studies?token=secret#{}", "x".repeat(9000));
        let reply = Reply { location: Some(to), ..reply(307, "") };
        let reason = ask(&["1.1"], &reply).trouble.unwrap().reason;
        assert!(reason.contains("https://h/studies;") && !reason.contains("secret"), "{reason}");
        let long = Reply { location: Some("/".repeat(9000)), ..reply };
        assert!(ask(&["1.1"], &long).trouble.unwrap().reason.len() < 400);
    }
}
