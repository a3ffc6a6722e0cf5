//! What the conformance statement says of associations, from what decides about them.

use super::admission::Rejection;
use super::extended::Extended;
use super::services::{IDENTIFIER_SYNTAXES, SERVICES, ServiceClass};
use crate::config::Service;

/// A service that is provided; storage classes apart.
pub struct Served {
    pub abstract_syntax: &'static str,
    /// What a caller must be allowed.
    pub needs: Option<Service>,
    /// None: any.
    pub transfer_syntaxes: Option<&'static [&'static str]>,
    /// The peer may take the role of SCP.
    pub reversible: bool,
    /// Of SOP Class Extended Negotiation.
    pub extended: &'static str,
}

pub fn served() -> Vec<Served> {
    let served = |(uid, service): &(&'static str, ServiceClass)| Served {
        abstract_syntax: uid,
        needs: service.needs(),
        transfer_syntaxes: (*service != ServiceClass::Verification).then_some(&IDENTIFIER_SYNTAXES[..]),
        reversible: *service == ServiceClass::StorageCommitment,
        extended: extended(*service),
    };
    SERVICES.iter().map(served).collect()
}

/// What is agreed to when everything is proposed.
fn extended(service: ServiceClass) -> &'static str {
    let all = Extended::agreed(service, &[1; 5]);
    match (all.relational, all.date_time, all.fuzzy_names, all.timezone) {
        (true, true, true, true) => "relational queries, combined date and time, fuzzy names, time zone",
        (true, false, false, false) => "relational retrieval",
        _ => "none",
    }
}

/// A way to be turned away, PS3.8 Table 9-21.
pub struct TurnedAway {
    pub why: String,
    pub result: String,
    pub source_and_reason: String,
}

pub fn rejections() -> Vec<TurnedAway> {
    let told = |rejection: Rejection| {
        let pdu = rejection.pdu();
        TurnedAway {
            why: rejection.as_str().replace('_', " "),
            result: format!("{:?}", pdu.result).to_lowercase(),
            source_and_reason: pdu.source.to_string(),
        }
    };
    Rejection::ALL.map(told).into()
}
