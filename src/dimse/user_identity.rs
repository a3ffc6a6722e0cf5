//! User identity negotiation, PS3.7 D.3.3.7: who uses the requestor, and how that is answered.

use std::fmt;
use std::sync::Arc;

use dicom_ul::pdu::{UserIdentity as Item, UserIdentityType as Kind, UserVariableItem};
use futures::future::BoxFuture;

use super::admission::Rejection;
use super::metric;

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

    /// User name, service ticket, assertion or token.
    pub fn primary(&self) -> Vec<u8> {
        self.0.primary_field()
    }

    /// Only with a user name.
    pub fn passcode(&self) -> Vec<u8> {
        self.0.secondary_field()
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
    /// With the server response: a ticket for Kerberos, an assertion for SAML, else empty.
    Accepted {
        response: Vec<u8>,
    },
    Refused,
}

/// Tells who may come in; access control has its say here.
pub type Identify = Arc<dyn for<'a> Fn(&'a UserIdentity) -> BoxFuture<'a, Identified> + Send + Sync>;

/// Without access control there are no users to be told apart.
pub fn everybody() -> Identify {
    Arc::new(|_| Box::pin(std::future::ready(Identified::Accepted { response: Vec::new() })))
}

/// The server response to the identity of a request, where it asks for one.
pub(super) async fn answer_to(
    items: &[UserVariableItem],
    identify: &Identify,
) -> Result<Option<Vec<u8>>, Rejection> {
    let Some(item) = items.iter().find_map(identity) else {
        return Ok(None);
    };
    let wants_response = item.positive_response_requested();
    let user = UserIdentity(item);
    metrics::counter!(metric::USER_IDENTITIES, "type" => user.kind()).increment(1);
    tracing::debug!(user_identity = user.kind(), "a user identity came with the request");
    match identify(&user).await {
        Identified::Accepted { response } => Ok(wants_response.then_some(response)),
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
