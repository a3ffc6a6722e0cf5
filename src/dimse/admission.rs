//! Who may have an association: a request as a whole, PS3.8 9.3.4, and the places there are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationRJ, AssociationRJResult, AssociationRJServiceProviderASCEReason as AcseReason,
    AssociationRJServiceProviderPresentationReason as PresentationReason,
    AssociationRJServiceUserReason as UserReason, AssociationRJSource, AssociationRQ,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::user_identity::UserIdentity;
use super::{Settings, metric};
use crate::auth::{self, Reach};
use crate::config::Service;
use crate::config::nodes::{self, Node};
use crate::ul::oddities::Oddity;

/// The requestor of an association.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// As it calls itself.
    pub(super) ae_title: String,
    pub(super) address: IpAddr,
    /// What is known of it.
    pub(super) node: Option<Node>,
    pub(super) may: BTreeSet<Service>,
    /// The studies that it sees …
    pub(super) reach: Reach,
    /// … and those that it adds to.
    pub(super) brings_within: Reach,
    /// Who uses it, where that is known.
    pub(super) user: Option<auth::Caller>,
    /// What proved it, to be looked at again.
    pub(super) identity: Option<Arc<UserIdentity>>,
    /// The answer to its user identity, where it asked for one.
    pub(super) user_answer: Option<Vec<u8>>,
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    pub(super) is_encrypted: bool,
}

impl Peer {
    /// Whether nobody on the way reads along.
    pub(super) fn is_private(self) -> bool {
        self.is_encrypted || self.address.to_canonical().is_loopback()
    }
}

impl Caller {
    pub(super) fn may(&self, service: Service) -> bool {
        self.may.contains(&service)
    }

    #[cfg(test)]
    pub(super) fn unknown(ae_title: &str, may: impl IntoIterator<Item = Service>) -> Self {
        let may = may.into_iter().collect();
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        Self {
            ae_title: ae_title.to_owned(),
            address,
            node: None,
            may,
            reach: Reach::Everything,
            brings_within: Reach::Everything,
            user: None,
            identity: None,
            user_answer: None,
        }
    }
}

/// Why a request is turned away as a whole, PS3.8 Table 9-21.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Rejection {
    ProtocolVersion,
    ApplicationContext,
    CalledAeTitle,
    CallingAeTitle,
    /// A node that calls from where it may not.
    CallingAddress,
    /// A user identity that is not accepted.
    User,
    /// A passcode that others could read on its way.
    PlainPasscode,
    TooManyAssociations,
    TooManyOfNode,
}

impl Rejection {
    pub(super) const ALL: [Self; 9] = [
        Self::ProtocolVersion,
        Self::ApplicationContext,
        Self::CalledAeTitle,
        Self::CallingAeTitle,
        Self::CallingAddress,
        Self::User,
        Self::PlainPasscode,
        Self::TooManyAssociations,
        Self::TooManyOfNode,
    ];

    /// The metric's label.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ProtocolVersion => "protocol_version",
            Self::ApplicationContext => "application_context",
            Self::CalledAeTitle => "called_ae_title",
            Self::CallingAeTitle => "calling_ae_title",
            Self::CallingAddress => "calling_address",
            Self::User => "user_identity",
            Self::PlainPasscode => "plain_passcode",
            Self::TooManyAssociations => "too_many_associations",
            Self::TooManyOfNode => "too_many_of_node",
        }
    }

    /// The label of the limit that was hit.
    pub(super) fn limit(self) -> Option<&'static str> {
        match self {
            Self::TooManyAssociations => Some("dimse.associations_max"),
            Self::TooManyOfNode => Some("dimse.nodes.associations_max"),
            _ => None,
        }
    }

    pub(super) fn pdu(self) -> AssociationRJ {
        let result = match self.limit() {
            Some(_) => AssociationRJResult::Transient,
            None => AssociationRJResult::Permanent,
        };
        AssociationRJ { result, source: self.source() }
    }

    fn source(self) -> AssociationRJSource {
        let user = AssociationRJSource::ServiceUser;
        match self {
            Self::ProtocolVersion => {
                AssociationRJSource::ServiceProviderASCE(AcseReason::ProtocolVersionNotSupported)
            }
            Self::ApplicationContext => user(UserReason::ApplicationContextNameNotSupported),
            Self::CalledAeTitle => user(UserReason::CalledAETitleNotRecognized),
            // PS3.7 D.3.3.7.
            Self::User | Self::PlainPasscode => {
                AssociationRJSource::ServiceProviderASCE(AcseReason::NoReasonGiven)
            }
            Self::CallingAeTitle | Self::CallingAddress => user(UserReason::CallingAETitleNotRecognized),
            Self::TooManyAssociations | Self::TooManyOfNode => {
                AssociationRJSource::ServiceProviderPresentation(PresentationReason::LocalLimitExceeded)
            }
        }
    }
}

/// Whether the request as a whole is acceptable, and who makes it; its contexts are looked at
/// by [`super::negotiation::accept`].
pub(super) fn admit(
    request: &AssociationRQ,
    address: IpAddr,
    settings: &Settings,
) -> Result<Caller, Rejection> {
    if request.protocol_version & 1 == 0 {
        return Err(Rejection::ProtocolVersion);
    }
    if unpadded(&request.application_context_name) != uids::DICOM_APPLICATION_CONTEXT {
        return Err(Rejection::ApplicationContext);
    }
    if settings.called_aet_strict && !is_ours(&request.called_ae_title, settings) {
        return Err(Rejection::CalledAeTitle);
    }
    caller(unpadded(&request.calling_ae_title), address, settings)
}

fn caller(ae_title: &str, address: IpAddr, settings: &Settings) -> Result<Caller, Rejection> {
    let node = nodes::named(&settings.nodes, ae_title).cloned();
    let may = match &node {
        Some(node) if !may_call_from(node, address) => return Err(Rejection::CallingAddress),
        Some(node) => node.may.clone(),
        None if settings.unknown_callers_may.is_empty() => return Err(Rejection::CallingAeTitle),
        None => settings.unknown_callers_may.clone(),
    };
    Ok(Caller {
        ae_title: ae_title.to_owned(),
        address,
        node,
        may,
        reach: Reach::Everything,
        brings_within: Reach::Everything,
        user: None,
        identity: None,
        user_answer: None,
    })
}

/// Upper and lower case alone do not make another title.
fn is_ours(called: &str, settings: &Settings) -> bool {
    unpadded(called).eq_ignore_ascii_case(settings.ae_title.trim())
}

/// Whether a title was taken although it is written in other letters.
pub(super) fn oddity(request: &AssociationRQ, caller: &Caller, settings: &Settings) -> Option<Oddity> {
    let called = unpadded(&request.called_ae_title);
    let ours = settings.ae_title.trim();
    let of_node = caller.node.as_ref().is_none_or(|node| node.ae_title.trim() == caller.ae_title);
    let odd = (called != ours && is_ours(called, settings)) || !of_node;
    odd.then_some(Oddity::AeTitleCase)
}

fn may_call_from(node: &Node, address: IpAddr) -> bool {
    node.addresses.is_empty() || node.addresses.iter().any(|network| network.contains(address))
}

/// Without the padding that UIDs and AE titles may have.
pub(super) fn unpadded(text: &str) -> &str {
    text.trim_matches(['\0', ' '])
}

/// How many associations may stand, in all and of each node that has a limit.
pub(super) struct Places {
    all: Arc<Semaphore>,
    nodes: BTreeMap<String, Arc<Semaphore>>,
}

impl Places {
    pub(super) fn new(settings: &Settings) -> Self {
        let limited = settings.nodes.iter().filter_map(|node| {
            Some((node.ae_title.clone(), Arc::new(Semaphore::new(node.associations_max?))))
        });
        Self { all: Arc::new(Semaphore::new(settings.associations_max)), nodes: limited.collect() }
    }

    pub(super) fn take(&self, caller: &Caller) -> Result<Place, Rejection> {
        let node = caller.node.as_ref().and_then(|node| self.nodes.get(&node.ae_title));
        let of_node = node.map(|places| Arc::clone(places).try_acquire_owned()).transpose();
        let of_node = of_node.map_err(|_| Rejection::TooManyOfNode)?;
        let of_all = Arc::clone(&self.all).try_acquire_owned();
        let of_all = of_all.map_err(|_| Rejection::TooManyAssociations)?;
        metrics::gauge!(metric::ASSOCIATIONS).increment(1.0);
        Ok(Place { _of_all: of_all, _of_node: of_node })
    }
}

/// One of the associations that may stand at a time, however it ends.
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_node: Option<OwnedSemaphorePermit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!(metric::ASSOCIATIONS).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::dimse::tests::{node, request, settings};

    fn admit(request: &AssociationRQ, settings: &Settings) -> Result<Caller, Rejection> {
        super::admit(request, Ipv4Addr::LOCALHOST.into(), settings)
    }

    #[track_caller]
    fn check_rejection(change: impl FnOnce(&mut AssociationRQ), expected: Rejection) {
        let mut request = request(&[]);
        change(&mut request);
        assert_eq!(admit(&request, &settings()).err(), Some(expected));
    }

    #[test]
    fn rejects_what_it_cannot_serve() {
        check_rejection(|rq| rq.protocol_version = 2, Rejection::ProtocolVersion);
        check_rejection(|rq| rq.application_context_name = "1.2.3".into(), Rejection::ApplicationContext);
        check_rejection(|rq| rq.called_ae_title = "SOMEONE".into(), Rejection::CalledAeTitle);
    }

    #[test]
    fn titles_in_other_letters_are_taken_and_told() {
        let mut request = request(&[]);
        request.called_ae_title = "radiant".into();
        let settings = Settings { nodes: vec![node("Sender")], ..settings() };
        let caller = admit(&request, &settings).unwrap();
        assert_eq!(caller.node.as_ref().map(|node| node.ae_title.as_str()), Some("Sender"));
        assert_eq!(oddity(&request, &caller, &settings), Some(Oddity::AeTitleCase));
        request.called_ae_title = "RADIANT".into();
        assert_eq!(oddity(&request, &Caller { node: None, ..caller }, &settings), None);
    }

    #[test]
    fn a_lenient_server_answers_to_any_name() {
        let mut request = request(&[]);
        request.called_ae_title = "SOMEONE".into();
        let settings = Settings { called_aet_strict: false, ..settings() };
        assert!(admit(&request, &settings).is_ok());
    }

    #[test]
    fn without_permissions_only_nodes_are_known() {
        let closed = Settings { unknown_callers_may: BTreeSet::new(), ..settings() };
        assert_eq!(admit(&request(&[]), &closed).err(), Some(Rejection::CallingAeTitle));
        let caller = admit(&request(&[]), &Settings { nodes: vec![node("SENDER")], ..closed }).unwrap();
        assert_eq!(caller.node.map(|node| node.ae_title).as_deref(), Some("SENDER"));
    }

    #[test]
    fn a_node_may_what_it_may_and_no_more() {
        let may = BTreeSet::from([Service::Query]);
        let settings = Settings { nodes: vec![Node { may, ..node("SENDER") }], ..settings() };
        let caller = admit(&request(&[]), &settings).unwrap();
        assert!(caller.may(Service::Query) && !caller.may(Service::Store));
    }

    #[test]
    fn a_node_calls_from_its_own_addresses() {
        let elsewhere = Node { addresses: vec!["10.0.0.0/8".parse().unwrap()], ..node("SENDER") };
        let settings = Settings { nodes: vec![elsewhere], ..settings() };
        assert_eq!(admit(&request(&[]), &settings).err(), Some(Rejection::CallingAddress));
        assert!(super::admit(&request(&[]), Ipv4Addr::new(10, 1, 2, 3).into(), &settings).is_ok());
    }

    #[test]
    fn a_node_has_as_many_places_as_it_is_given() {
        let limited = Node { associations_max: Some(1), ..node("SENDER") };
        let settings = Settings { nodes: vec![limited, node("OTHER")], associations_max: 3, ..settings() };
        let (places, caller) = (Places::new(&settings), admit(&request(&[]), &settings).unwrap());
        let first = places.take(&caller).unwrap();
        assert_eq!(places.take(&caller).err(), Some(Rejection::TooManyOfNode));
        let other = Caller { node: Some(node("OTHER")), ..caller.clone() };
        let _others = [places.take(&other).unwrap(), places.take(&other).unwrap()];
        assert_eq!(places.take(&other).err(), Some(Rejection::TooManyAssociations));
        drop(first);
        assert!(places.take(&caller).is_ok());
    }
}
