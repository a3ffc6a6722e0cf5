//! Negotiation of presentation contexts, PS3.8 9.3.3 and PS3.7 D.3: proposals in, an answer out.

use std::collections::BTreeMap;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason as ContextResult, RequestorRoles, UserVariableItem,
};

use super::Settings;
use super::admission::{Caller, unpadded};
use super::extended::Extended;
use super::roles::Roles;
use super::services::ServiceClass;
use super::user_identity;
use crate::dicom::uid::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, TransferSyntaxUid};
use crate::ul::UlError;

/// Asynchronous Operations Window, PS3.7 D.3.3.3; dicom-ul has no type for it.
const ASYNCHRONOUS_OPERATIONS: u8 = 0x53;

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) abstract_syntax: String,
    pub(super) transfer_syntax: TransferSyntaxUid,
    pub(super) service: ServiceClass,
    pub(super) roles: Roles,
    pub(super) extended: Extended,
}

/// Accepted presentation contexts by their id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contexts(BTreeMap<u8, Context>);

impl Contexts {
    pub(super) fn get(&self, id: u8) -> Result<&Context, UlError> {
        self.0.get(&id).ok_or(UlError::UnknownContext(id))
    }

    /// How many operations the requestor may have outstanding, of as many as could be. Where we may ask
    /// in the course of a C-GET it is one: answers could come behind objects that are the next operation.
    pub(super) fn operations(&self, most: u16) -> u16 {
        let gets = self.0.values().any(|context| matches!(context.service, ServiceClass::Get(_)));
        if gets { 1 } else { most }
    }

    /// Those on which we may send objects of this SOP class, with their ids: the peer took the
    /// role of SCP.
    pub(super) fn to_send(&self, sop_class: &str) -> impl Iterator<Item = (u8, &Context)> {
        let ours = move |context: &&Context| context.roles.scu && context.abstract_syntax == sop_class;
        self.0.iter().map(|(id, context)| (*id, context)).filter(move |(_, context)| ours(context))
    }
}

/// What a request says of its SOP classes beside the presentation contexts.
#[derive(Debug, Default)]
struct Wishes {
    roles: BTreeMap<String, RequestorRoles>,
    extended: BTreeMap<String, Vec<u8>>,
}

impl Wishes {
    fn of(user_variables: Vec<UserVariableItem>) -> Self {
        let mut wishes = Self::default();
        for item in user_variables {
            match item {
                UserVariableItem::ScuScpRoleSelectionSubItem(uid, roles) => {
                    wishes.roles.insert(unpadded(&uid).to_owned(), roles);
                }
                UserVariableItem::SopClassExtendedNegotiationSubItem(uid, information) => {
                    wishes.extended.insert(unpadded(&uid).to_owned(), information);
                }
                _ => {}
            }
        }
        wishes
    }
}

/// How many operations the requestor may have outstanding, where it asks for a number; 0 is any.
pub(super) fn operations_window(items: &[UserVariableItem], settings: &Settings) -> Option<u16> {
    let proposed = items.iter().find_map(|item| match item {
        UserVariableItem::Unknown(ASYNCHRONOUS_OPERATIONS, bytes) => bytes.first_chunk::<2>(),
        _ => None,
    })?;
    let most = settings.operations_max.max(1);
    Some(match u16::from_be_bytes(*proposed) {
        0 => most,
        proposed => proposed.min(most),
    })
}

/// The accepting answer. Optional items that it leaves out take their defaults, PS3.7 D.3.3.
pub(super) fn accept(
    request: AssociationRQ,
    caller: &Caller,
    settings: &Settings,
) -> (AssociationAC, Contexts) {
    let operations = operations_window(&request.user_variables, settings);
    let wishes = Wishes::of(request.user_variables);
    let mut negotiation = Negotiation { caller, settings, operations, wishes, contexts: Contexts::default() };
    let results = request.presentation_contexts.iter().map(|proposed| negotiation.answer(proposed)).collect();
    let answer = AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae_title,
        called_ae_title: request.called_ae_title,
        application_context_name: uids::DICOM_APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: results,
        user_variables: negotiation.user_variables(),
    };
    (answer, negotiation.contexts)
}

struct Negotiation<'a> {
    caller: &'a Caller,
    settings: &'a Settings,
    /// Where the request says how many it would like.
    operations: Option<u16>,
    wishes: Wishes,
    contexts: Contexts,
}

impl Negotiation<'_> {
    fn answer(&mut self, proposed: &PresentationContextProposed) -> PresentationContextResult {
        let (reason, transfer_syntax) = match self.judge(proposed) {
            Ok(context) => {
                let transfer_syntax = context.transfer_syntax.to_string();
                self.contexts.0.insert(proposed.id, context);
                (ContextResult::Acceptance, transfer_syntax)
            }
            // A transfer syntax has to be there and means nothing, PS3.8 9.3.3.2.
            Err(reason) => (reason, uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned()),
        };
        PresentationContextResult { id: proposed.id, reason, transfer_syntax }
    }

    fn judge(&self, proposed: &PresentationContextProposed) -> Result<Context, ContextResult> {
        if proposed.id.is_multiple_of(2) || self.contexts.0.contains_key(&proposed.id) {
            return Err(ContextResult::NoReason);
        }
        let abstract_syntax = unpadded(&proposed.abstract_syntax).to_owned();
        let service = self.settings.sop_classes.service(&abstract_syntax);
        let service = service.ok_or(ContextResult::AbstractSyntaxNotSupported)?;
        let roles = Roles::granted(service, self.wishes.roles.get(&abstract_syntax).copied(), self.caller);
        let roles = roles.ok_or(ContextResult::UserRejection)?;
        let transfer_syntax = self.transfer_syntax(service, roles, &proposed.transfer_syntaxes);
        let transfer_syntax = transfer_syntax.ok_or(ContextResult::TransferSyntaxesNotSupported)?;
        let information = self.wishes.extended.get(&abstract_syntax);
        let extended = information.map_or_else(Extended::default, |bytes| Extended::agreed(service, bytes));
        Ok(Context { abstract_syntax, transfer_syntax, service, roles, extended })
    }

    /// The requestor's order is its preference. Only where nothing but what we send goes over the
    /// context is the choice ours: what the node is meant to get, then what every object can be
    /// made into.
    fn transfer_syntax(
        &self,
        service: ServiceClass,
        roles: Roles,
        proposed: &[String],
    ) -> Option<TransferSyntaxUid> {
        let proposed = proposed.iter().filter_map(|uid| unpadded(uid).parse().ok());
        let usable: Vec<TransferSyntaxUid> = proposed.filter(|uid| service.takes(uid)).collect();
        let of_node = self.caller.node.iter().flat_map(|node| &node.transfer_syntaxes);
        let wanted = of_node.map(TransferSyntaxUid::as_str).chain([uids::EXPLICIT_VR_LITTLE_ENDIAN]);
        let mut wanted = wanted.filter_map(|uid| usable.iter().find(|usable| usable.as_str() == uid));
        let ours = if roles.scp { None } else { wanted.next() };
        ours.or(usable.first()).cloned()
    }

    fn user_variables(&self) -> Vec<UserVariableItem> {
        let mut items = vec![
            UserVariableItem::MaxLength(self.settings.pdu_bytes_max),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
            UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION_NAME.to_owned()),
        ];
        items.extend(self.operations.map(|most| {
            // What the requestor may invoke, and that we invoke one at a time: 16 bits each.
            let [high, low] = self.contexts.operations(most).to_be_bytes();
            UserVariableItem::Unknown(ASYNCHRONOUS_OPERATIONS, vec![high, low, 0, 1])
        }));
        items.extend(self.caller.user_answer.as_deref().map(user_identity::answer));
        items.extend(self.wishes.roles.keys().filter_map(|uid| {
            let roles = self.accepted(uid)?.roles.of_requestor();
            Some(UserVariableItem::ScuScpRoleSelectionSubItem(uid.clone(), roles))
        }));
        items.extend(self.wishes.extended.iter().filter_map(|(uid, proposed)| {
            let context = self.accepted(uid)?;
            let information = context.extended.answer(context.service, proposed.len())?;
            Some(UserVariableItem::SopClassExtendedNegotiationSubItem(uid.clone(), information))
        }));
        items
    }

    fn accepted(&self, abstract_syntax: &str) -> Option<&Context> {
        self.contexts.0.values().find(|context| context.abstract_syntax == abstract_syntax)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Node, Service};
    use crate::dimse::tests::{node, request, settings, unknown_caller};

    const EVERYTHING: [Service; 3] = [Service::Store, Service::Query, Service::Retrieve];

    fn answer_to(request: AssociationRQ, may: &[Service]) -> (AssociationAC, Contexts) {
        accept(request, &unknown_caller(may), &settings())
    }

    #[track_caller]
    fn check_context(abstract_syntax: &str, transfer_syntaxes: &[&str], reason: ContextResult, chosen: &str) {
        let (answer, _) = answer_to(request(&[(abstract_syntax, transfer_syntaxes)]), &EVERYTHING);
        let result = &answer.presentation_contexts[0];
        assert_eq!((&result.reason, result.transfer_syntax.as_str()), (&reason, chosen));
    }

    fn for_ct(transfer_syntaxes: &[&str], roles: RequestorRoles) -> AssociationRQ {
        let roles = UserVariableItem::ScuScpRoleSelectionSubItem(uids::CT_IMAGE_STORAGE.to_owned(), roles);
        AssociationRQ {
            user_variables: vec![roles],
            ..request(&[(uids::CT_IMAGE_STORAGE, transfer_syntaxes)])
        }
    }

    #[test]
    fn takes_the_first_well_formed_transfer_syntax() {
        let ct = uids::CT_IMAGE_STORAGE;
        check_context(
            ct,
            &["1.2.3.4.5", uids::EXPLICIT_VR_LITTLE_ENDIAN],
            ContextResult::Acceptance,
            "1.2.3.4.5",
        );
        check_context(
            "1.2.840.10008.5.1.4.1.1.2\0",
            &["nonsense", "1.2.3\0"],
            ContextResult::Acceptance,
            "1.2.3",
        );
    }

    #[test]
    #[expect(deprecated, reason = "retired, and still what older peers propose")]
    fn identifiers_come_in_what_can_be_read() {
        let find = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;
        let (j2k, big) = (uids::JPEG2000_LOSSLESS, uids::EXPLICIT_VR_BIG_ENDIAN);
        check_context(find, &[j2k, big], ContextResult::Acceptance, big);
        let implicit = uids::IMPLICIT_VR_LITTLE_ENDIAN;
        check_context(find, &[j2k], ContextResult::TransferSyntaxesNotSupported, implicit);
    }

    #[test]
    fn says_why_a_context_is_refused() {
        let implicit = uids::IMPLICIT_VR_LITTLE_ENDIAN;
        check_context("1.2.3", &[implicit], ContextResult::AbstractSyntaxNotSupported, implicit);
        check_context(uids::CT_IMAGE_STORAGE, &[], ContextResult::TransferSyntaxesNotSupported, implicit);
    }

    #[test]
    fn a_service_that_the_caller_may_not_use_is_refused_by_its_user() {
        let syntaxes: &[&str] = &[uids::IMPLICIT_VR_LITTLE_ENDIAN];
        let request = request(&[
            (uids::VERIFICATION, syntaxes),
            (uids::CT_IMAGE_STORAGE, syntaxes),
            (uids::STORAGE_COMMITMENT_PUSH_MODEL, syntaxes),
            (uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND, syntaxes),
            (uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE, syntaxes),
        ]);
        let (answer, _) = answer_to(request, &[Service::Query]);
        let reasons = answer.presentation_contexts.into_iter().map(|context| context.reason);
        let (accepted, refused) = (ContextResult::Acceptance, ContextResult::UserRejection);
        let expected = [accepted.clone(), refused.clone(), refused.clone(), accepted, refused];
        assert_eq!(reasons.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn roles_are_answered_and_kept() {
        let roles = RequestorRoles { scu: true, scp: true };
        let (answer, contexts) = answer_to(for_ct(&["1.2"], roles), &EVERYTHING);
        let item = UserVariableItem::ScuScpRoleSelectionSubItem(uids::CT_IMAGE_STORAGE.to_owned(), roles);
        assert!(answer.user_variables.contains(&item));
        assert_eq!(contexts.to_send(uids::CT_IMAGE_STORAGE).map(|(id, _)| id).collect::<Vec<_>>(), [1]);
        let (_, contexts) = answer_to(request(&[(uids::CT_IMAGE_STORAGE, &["1.2"])]), &EVERYTHING);
        assert_eq!(contexts.to_send(uids::CT_IMAGE_STORAGE).count(), 0);
    }

    #[test]
    fn what_is_only_sent_goes_in_what_the_node_is_meant_to_get() {
        let proposed = ["1.2", uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::JPEG2000_LOSSLESS];
        let sent = RequestorRoles { scu: false, scp: true };
        let chosen = |caller: &Caller| {
            let (answer, _) = accept(for_ct(&proposed, sent), caller, &settings());
            answer.presentation_contexts[0].transfer_syntax.clone()
        };
        let unknown = unknown_caller(&EVERYTHING);
        assert_eq!(chosen(&unknown), uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let wanted = vec!["1.9".parse().unwrap(), uids::JPEG2000_LOSSLESS.parse().unwrap()];
        let node = Node { transfer_syntaxes: wanted, ..node("SENDER") };
        assert_eq!(chosen(&Caller { node: Some(node), ..unknown }), uids::JPEG2000_LOSSLESS);
    }

    #[test]
    fn extended_negotiation_is_answered_for_the_contexts_that_are_accepted() {
        let find = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;
        let item = |uid: &str, information: &[u8]| {
            UserVariableItem::SopClassExtendedNegotiationSubItem(uid.to_owned(), information.to_vec())
        };
        let asked = vec![item(find, &[0, 0, 1, 1, 1]), item(uids::CT_IMAGE_STORAGE, &[2]), item("1.2", &[1])];
        let proposed =
            request(&[(find, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]), (uids::CT_IMAGE_STORAGE, &["1.2"])]);
        let (answer, contexts) = answer_to(AssociationRQ { user_variables: asked, ..proposed }, &EVERYTHING);
        assert_eq!(answer.user_variables[3..], [item(find, &[0, 0, 1, 1, 0])]);
        let agreed = contexts.get(1).unwrap().extended;
        assert!(agreed.fuzzy_names && agreed.timezone && !agreed.relational);
    }

    #[test]
    fn several_operations_are_agreed_on_where_they_are_asked_for() {
        for (invoked, agreed) in [(0, 4), (9, 4), (3, 3), (1, 1)] {
            let asked = vec![UserVariableItem::Unknown(ASYNCHRONOUS_OPERATIONS, vec![0, invoked, 0, 9])];
            let (answer, _) = answer_to(AssociationRQ { user_variables: asked, ..request(&[]) }, &[]);
            let agreed = UserVariableItem::Unknown(ASYNCHRONOUS_OPERATIONS, vec![0, agreed, 0, 1]);
            assert_eq!(answer.user_variables[3..], [agreed]);
        }
        assert_eq!(answer_to(request(&[]), &[]).0.user_variables.len(), 3);
    }

    #[test]
    fn an_association_for_c_get_has_one_operation_at_a_time() {
        let get = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET;
        let asked = vec![UserVariableItem::Unknown(ASYNCHRONOUS_OPERATIONS, vec![0, 9, 0, 9])];
        let proposed = request(&[(get, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])]);
        let (answer, _) = answer_to(AssociationRQ { user_variables: asked, ..proposed }, &EVERYTHING);
        let agreed = UserVariableItem::Unknown(ASYNCHRONOUS_OPERATIONS, vec![0, 1, 0, 1]);
        assert_eq!(answer.user_variables[3..], [agreed]);
    }

    #[test]
    fn a_repeated_or_even_context_id_is_refused() {
        let mut request = request(&[
            (uids::VERIFICATION, &["1.2"]),
            (uids::VERIFICATION, &["1.2"]),
            (uids::VERIFICATION, &["1.2"]),
        ]);
        request.presentation_contexts[1].id = 1;
        request.presentation_contexts[2].id = 4;
        let (answer, contexts) = answer_to(request, &EVERYTHING);
        let reasons: Vec<_> = answer.presentation_contexts.iter().map(|context| &context.reason).collect();
        assert_eq!(reasons, [&ContextResult::Acceptance, &ContextResult::NoReason, &ContextResult::NoReason]);
        assert!(contexts.get(1).is_ok() && contexts.get(4).is_err());
    }
}
