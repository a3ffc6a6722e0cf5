//! User identity negotiation, PS3.7 D.3.3.7: who uses the requestor, and how that is answered.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use dicom_ul::pdu::{UserIdentity as Item, UserIdentityType as Kind, UserVariableItem};
use futures::future::BoxFuture;

use super::admission::{Peer, Rejection};
use super::{Settings, metric};
use crate::auth;

/// The sub-item of a request, and that of its answer; dicom-ul has no type for the latter, nor for
/// identities of types that the standard does not have.
const REQUEST: u8 = 0x58;
const ANSWER: u8 = 0x59;

/// What a requestor says of its user. What proves it is a secret and shown nowhere.
pub struct UserIdentity(Item);

impl UserIdentity {
    /// For metrics and log lines.
    pub fn kind(&self) -> &'static str {
        match self.0.identity_type() {
            Kind::Username => "username",
            Kind::UsernamePassword => "username-passcode",
            Kind::KerberosServiceTicket => "kerberos",
            Kind::SamlAssertion => "saml",
            Kind::Jwt => "jwt",
            _ => "unknown",
        }
    }

    fn is_passcode(&self) -> bool {
        matches!(self.0.identity_type(), Kind::UsernamePassword)
    }

    /// User name, service ticket, assertion or token.
    pub fn primary(&self) -> Vec<u8> {
        self.0.primary_field()
    }

    /// Only with a user name.
    pub fn passcode(&self) -> Vec<u8> {
        self.0.secondary_field()
    }
}

/// What proves who a user is, of the kinds that access control takes.
pub(super) enum Proof {
    Passcode {
        name: String,
        passcode: String,
    },
    Token(String),
    /// A name alone proves nothing; tickets and assertions are of nobody whom we trust.
    None,
}

impl UserIdentity {
    pub(super) fn proof(&self) -> Proof {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap_or_default();
        match self.0.identity_type() {
            Kind::UsernamePassword => {
                Proof::Passcode { name: text(self.primary()), passcode: text(self.passcode()) }
            }
            Kind::Jwt => Proof::Token(text(self.primary())),
            _ => Proof::None,
        }
    }
}

#[cfg(test)]
impl UserIdentity {
    pub(super) fn passcode_for_test() -> Self {
        Self(Item::new(false, Kind::UsernamePassword, b"ana".to_vec(), b"hush".to_vec()))
    }
}

impl fmt::Debug for UserIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UserIdentity").field(&self.kind()).finish_non_exhaustive()
    }
}

/// What becomes of a user identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identified {
    Accepted {
        /// The server response: a ticket for Kerberos, an assertion for SAML, else empty.
        response: Vec<u8>,
        /// Who it is; nobody in particular without access control.
        user: Option<Box<auth::Caller>>,
    },
    Refused,
}

/// Tells who may come in, and from where; access control has its say here.
pub type Identify = Arc<dyn for<'a> Fn(&'a UserIdentity, IpAddr) -> BoxFuture<'a, Identified> + Send + Sync>;

/// Without access control there are no users to be told apart.
pub fn everybody() -> Identify {
    let anybody = || Identified::Accepted { response: Vec::new(), user: None };
    Arc::new(move |_, _| Box::pin(std::future::ready(anybody())))
}

/// What came of the identity in a request.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) identity: UserIdentity,
    /// The server response, where the request asks for one.
    pub(super) answer: Option<Vec<u8>>,
    pub(super) user: Option<Box<auth::Caller>>,
}

/// Nothing where the request says nothing of a user.
pub(super) async fn of_request(
    items: &[UserVariableItem],
    identify: &Identify,
    peer: Peer,
    settings: &Settings,
) -> Result<Option<Known>, Rejection> {
    let Some(item) = items.iter().find_map(identity) else {
        return Ok(None);
    };
    let wants_response = item.positive_response_requested();
    let user = UserIdentity(item);
    metrics::counter!(metric::USER_IDENTITIES, "type" => user.kind()).increment(1);
    tracing::debug!(user_identity = user.kind(), "a user identity came with the request");
    let is_refused = user.is_passcode() && settings.users.are_told_apart && !settings.passcode_plain_ok;
    if is_refused && !peer.is_private() {
        return Err(Rejection::PlainPasscode);
    }
    match identify(&user, peer.address).await {
        Identified::Accepted { response, user: known } => {
            Ok(Some(Known { identity: user, answer: wants_response.then_some(response), user: known }))
        }
        Identified::Refused => Err(Rejection::User),
    }
}

/// One of an unknown type is counted, and left without an answer as by those who know none.
fn identity(item: &UserVariableItem) -> Option<Item> {
    match item {
        UserVariableItem::UserIdentityItem(identity) => Some(identity.clone()),
        UserVariableItem::Unknown(REQUEST, _) => {
            metrics::counter!(metric::USER_IDENTITIES, "type" => "unknown").increment(1);
            None
        }
        _ => None,
    }
}

/// PS3.7 D.3.3.7.2.
pub(super) fn answer(response: &[u8]) -> UserVariableItem {
    let length = u16::try_from(response.len()).unwrap_or(u16::MAX);
    let response = &response[..usize::from(length)];
    UserVariableItem::Unknown(ANSWER, [&length.to_be_bytes(), response].concat())
}
