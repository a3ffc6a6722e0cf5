//! Association negotiation, PS3.8 9.3.2 to 9.3.4 and PS3.7 D.3: a request in, an answer out.

use std::collections::BTreeMap;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceProviderASCEReason as AcseReason,
    AssociationRJServiceProviderPresentationReason as PresentationReason,
    AssociationRJServiceUserReason as UserReason, AssociationRJSource, AssociationRQ,
    PresentationContextProposed, PresentationContextResult, PresentationContextResultReason as ContextResult,
    UserVariableItem,
};

use super::Settings;
use crate::dicom::uid::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, TransferSyntaxUid};
use crate::ul::UlError;

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) abstract_syntax: String,
    pub(super) transfer_syntax: TransferSyntaxUid,
}

/// Accepted presentation contexts by their id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contexts(BTreeMap<u8, Context>);

impl Contexts {
    pub(super) fn get(&self, id: u8) -> Result<&Context, UlError> {
        self.0.get(&id).ok_or(UlError::UnknownContext(id))
    }
}

/// Why a request is turned away as a whole, PS3.8 Table 9-21.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    ProtocolVersion,
    ApplicationContext,
    CalledAeTitle,
    TooManyAssociations,
}

impl Rejection {
    /// The metric's label.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ProtocolVersion => "protocol_version",
            Self::ApplicationContext => "application_context",
            Self::CalledAeTitle => "called_ae_title",
            Self::TooManyAssociations => "too_many_associations",
        }
    }

    pub(super) fn pdu(self) -> AssociationRJ {
        let permanent = |source| AssociationRJ { result: AssociationRJResult::Permanent, source };
        match self {
            Self::ProtocolVersion => {
                permanent(AssociationRJSource::ServiceProviderASCE(AcseReason::ProtocolVersionNotSupported))
            }
            Self::ApplicationContext => {
                permanent(AssociationRJSource::ServiceUser(UserReason::ApplicationContextNameNotSupported))
            }
            Self::CalledAeTitle => {
                permanent(AssociationRJSource::ServiceUser(UserReason::CalledAETitleNotRecognized))
            }
            Self::TooManyAssociations => AssociationRJ {
                result: AssociationRJResult::Transient,
                source: AssociationRJSource::ServiceProviderPresentation(
                    PresentationReason::LocalLimitExceeded,
                ),
            },
        }
    }
}

/// Whether the request as a whole is acceptable; its contexts are looked at by [`accept`].
pub(super) fn admit(request: &AssociationRQ, settings: &Settings) -> Result<(), Rejection> {
    if request.protocol_version & 1 == 0 {
        return Err(Rejection::ProtocolVersion);
    }
    if unpadded(&request.application_context_name) != uids::DICOM_APPLICATION_CONTEXT {
        return Err(Rejection::ApplicationContext);
    }
    if settings.called_aet_strict && request.called_ae_title.trim() != settings.ae_title {
        return Err(Rejection::CalledAeTitle);
    }
    Ok(())
}

/// The accepting answer. Optional items that it leaves out (roles, asynchronous operations,
/// extended negotiation) take their defaults, PS3.7 D.3.3.
pub(super) fn accept(request: AssociationRQ, settings: &Settings) -> (AssociationAC, Contexts) {
    let mut contexts = Contexts::default();
    let results =
        request.presentation_contexts.iter().map(|proposed| contexts.answer(proposed, settings)).collect();
    let answer = AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae_title,
        called_ae_title: request.called_ae_title,
        application_context_name: uids::DICOM_APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: results,
        user_variables: vec![
            UserVariableItem::MaxLength(settings.pdu_bytes_max),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
            UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION_NAME.to_owned()),
        ],
    };
    (answer, contexts)
}

impl Contexts {
    fn answer(
        &mut self,
        proposed: &PresentationContextProposed,
        settings: &Settings,
    ) -> PresentationContextResult {
        match self.judge(proposed, settings) {
            Ok(context) => {
                let transfer_syntax = context.transfer_syntax.to_string();
                self.0.insert(proposed.id, context);
                PresentationContextResult {
                    id: proposed.id,
                    reason: ContextResult::Acceptance,
                    transfer_syntax,
                }
            }
            // A transfer syntax has to be there and means nothing, PS3.8 9.3.3.2.
            Err(reason) => PresentationContextResult {
                id: proposed.id,
                reason,
                transfer_syntax: uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned(),
            },
        }
    }

    /// The requestor's order is its preference: the first well-formed transfer syntax is taken,
    /// whether we could decode it or not, since objects are kept as they come.
    fn judge(
        &self,
        proposed: &PresentationContextProposed,
        settings: &Settings,
    ) -> Result<Context, ContextResult> {
        if proposed.id % 2 == 0 || self.0.contains_key(&proposed.id) {
            return Err(ContextResult::NoReason);
        }
        let abstract_syntax = unpadded(&proposed.abstract_syntax).to_owned();
        if !settings.sop_classes.accepts(&abstract_syntax) {
            return Err(ContextResult::AbstractSyntaxNotSupported);
        }
        let transfer_syntax = proposed.transfer_syntaxes.iter().find_map(|uid| uid.parse().ok());
        let transfer_syntax = transfer_syntax.ok_or(ContextResult::TransferSyntaxesNotSupported)?;
        Ok(Context { abstract_syntax, transfer_syntax })
    }
}

fn unpadded(uid: &str) -> &str {
    uid.trim_matches(['\0', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::tests::{request, settings};

    #[track_caller]
    fn check_rejection(change: impl FnOnce(&mut AssociationRQ), expected: Rejection) {
        let mut request = request(&[]);
        change(&mut request);
        assert_eq!(admit(&request, &settings()), Err(expected));
    }

    #[track_caller]
    fn check_context(abstract_syntax: &str, transfer_syntaxes: &[&str], reason: ContextResult, chosen: &str) {
        let (answer, _) = accept(request(&[(abstract_syntax, transfer_syntaxes)]), &settings());
        let result = &answer.presentation_contexts[0];
        assert_eq!((&result.reason, result.transfer_syntax.as_str()), (&reason, chosen));
    }

    #[test]
    fn rejects_what_it_cannot_serve() {
        check_rejection(|rq| rq.protocol_version = 2, Rejection::ProtocolVersion);
        check_rejection(|rq| rq.application_context_name = "1.2.3".into(), Rejection::ApplicationContext);
        check_rejection(|rq| rq.called_ae_title = "SOMEONE".into(), Rejection::CalledAeTitle);
    }

    #[test]
    fn a_lenient_server_answers_to_any_name() {
        let mut request = request(&[]);
        request.called_ae_title = "SOMEONE".into();
        let settings = Settings { called_aet_strict: false, ..settings() };
        assert_eq!(admit(&request, &settings), Ok(()));
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
    fn says_why_a_context_is_refused() {
        let implicit = uids::IMPLICIT_VR_LITTLE_ENDIAN;
        check_context("1.2.3", &[implicit], ContextResult::AbstractSyntaxNotSupported, implicit);
        check_context(uids::CT_IMAGE_STORAGE, &[], ContextResult::TransferSyntaxesNotSupported, implicit);
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
        let (answer, contexts) = accept(request, &settings());
        let reasons: Vec<_> = answer.presentation_contexts.iter().map(|context| &context.reason).collect();
        assert_eq!(reasons, [&ContextResult::Acceptance, &ContextResult::NoReason, &ContextResult::NoReason]);
        assert!(contexts.get(1).is_ok() && contexts.get(4).is_err());
    }
}
