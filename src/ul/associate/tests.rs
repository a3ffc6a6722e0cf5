use dicom_ul::pdu::{Pdu, write_pdu};
use proptest::prelude::*;

use super::*;

fn example() -> AssociationRQ {
    let identity = UserIdentity::new(true, UserIdentityType::Jwt, b"token".to_vec(), vec![]);
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: "SENDER".into(),
        called_ae_title: "RADIANT".into(),
        application_context_name: "1.2.840.10008.3.1.1.1".into(),
        presentation_contexts: vec![PresentationContextProposed {
            id: 5,
            abstract_syntax: "1.2.840.10008.1.1".into(),
            transfer_syntaxes: vec!["1.2.840.10008.1.2".into(), "1.2.840.10008.1.2.1".into()],
        }],
        user_variables: vec![
            UserVariableItem::MaxLength(16384),
            UserVariableItem::ImplementationClassUID("1.2.3".into()),
            UserVariableItem::Unknown(0x53, vec![0, 1, 0, 1]),
            UserVariableItem::ScuScpRoleSelectionSubItem(
                "1.2".into(),
                RequestorRoles { scu: false, scp: true },
            ),
            UserVariableItem::ImplementationVersionName("VERSION".into()),
            UserVariableItem::SopClassExtendedNegotiationSubItem("1.2".into(), vec![1, 0, 1]),
            UserVariableItem::UserIdentityItem(identity),
        ],
    }
}

fn variable(pdu: &Pdu) -> Bytes {
    let mut bytes = Vec::new();
    write_pdu(&mut bytes, pdu).unwrap();
    Bytes::from(bytes).slice(6..)
}

#[test]
fn a_request_is_read_as_it_was_written() {
    let mut oddities = Oddities::new();
    let read = request(variable(&example().into()), &mut oddities).unwrap();
    assert_eq!((read, oddities), (example(), Oddities::new()));
}

#[test]
fn an_acceptance_is_read_as_it_was_written() {
    let AssociationRQ { protocol_version, calling_ae_title, called_ae_title, .. } = example();
    let result =
        |id, reason, uid: &str| PresentationContextResult { id, reason, transfer_syntax: uid.into() };
    let acceptance = AssociationAC {
        protocol_version,
        calling_ae_title,
        called_ae_title,
        application_context_name: example().application_context_name,
        presentation_contexts: vec![
            result(1, ContextResult::Acceptance, "1.2.840.10008.1.2"),
            result(3, ContextResult::TransferSyntaxesNotSupported, ""),
        ],
        user_variables: example().user_variables,
    };
    let mut oddities = Oddities::new();
    let read = super::acceptance(variable(&acceptance.clone().into()), &mut oddities).unwrap();
    assert_eq!((read, oddities), (acceptance, Oddities::new()));
}

#[test]
fn an_item_that_reaches_out_of_its_place_is_refused() {
    let mut bytes = variable(&example().into()).to_vec();
    bytes[HEAD_BYTES + 2] = 0xFF;
    assert!(matches!(request(bytes.into(), &mut Oddities::new()), Err(UlError::Malformed(_))));
    assert!(request(Bytes::from_static(&[0; 67]), &mut Oddities::new()).is_err());
}

#[test]
fn what_is_no_text_is_kept_from_answers_and_log_lines() {
    assert_eq!(plain(b"A\nB\x1B[0m\xE9"), "A?B?[0m?");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0usize..400) {
        let mut mixed = variable(&example().into()).to_vec();
        let at = at.min(mixed.len());
        mixed.splice(at.., bytes.iter().copied());
        let _ = request(mixed.into(), &mut Oddities::new());
        let _ = acceptance(bytes.into(), &mut Oddities::new());
    }
}

#[test]
fn an_ae_title_ends_at_a_zero() {
    let (mut oddities, sent) = (Oddities::new(), "SEND\0R");
    let read = request(
        variable(&AssociationRQ { calling_ae_title: sent.into(), ..example() }.into()),
        &mut oddities,
    );
    assert_eq!(read.unwrap().calling_ae_title, "SEND");
    assert_eq!(oddities, Oddities::from([Oddity::AeTitlePadding]));
}
