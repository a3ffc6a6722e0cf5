//! Who calls, and what it may.

use std::collections::BTreeSet;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{AssociationRQ, Pdu, RequestorRoles, UserVariableItem};
use tokio::io::DuplexStream;

use super::harness::{self, Harness, ct_context, node, request, send_data, send_store_command, settings};
use crate::config::{Node, Service};
use crate::dimse::Settings;
use crate::ul::Incoming;
use crate::ul::connection::Connection;

fn nodes_only(nodes: Vec<Node>) -> Settings {
    Settings { nodes, unknown_callers_may: BTreeSet::new(), ..settings() }
}

#[tokio::test]
async fn a_stranger_is_rejected_where_only_nodes_may_call() {
    let error = Harness::new(nodes_only(vec![])).associate(&[]).await.unwrap_err();
    assert_eq!(error.to_string(), "the association was rejected: calling AE title not recognized");
    let harness = Harness::new(nodes_only(vec![node("SENDER")]));
    assert_eq!(harness.associate(&[ct_context()]).await.unwrap().echo().await.unwrap(), 0);
}

#[tokio::test]
async fn a_node_has_its_own_limit_until_an_association_ends() {
    let limited = Node { associations_max: Some(1), ..node("SENDER") };
    super::takes_one_at_a_time(nodes_only(vec![limited])).await;
}

#[tokio::test]
async fn who_may_only_retrieve_stores_nothing() {
    let may = BTreeSet::from([Service::Retrieve]);
    let harness = Harness::new(nodes_only(vec![Node { may, ..node("SENDER") }]));
    let mut raw = as_scp(&harness).await;
    send_store_command(&mut raw, 1, uids::CT_IMAGE_STORAGE, "1.2.3").await;
    send_data(&mut raw, 1, b"data", true).await;
    assert_eq!(harness::status(&mut raw).await, 0x0124);
    assert!(harness.sink.stored().is_empty());
}

/// A peer that takes objects as an SCP, as for C-GET.
pub(super) async fn as_scp(harness: &Harness) -> Connection<DuplexStream> {
    let roles = RequestorRoles { scu: true, scp: true };
    let item = UserVariableItem::ScuScpRoleSelectionSubItem(uids::CT_IMAGE_STORAGE.to_owned(), roles);
    let contexts: &[(&str, &[&str])] = &[(uids::CT_IMAGE_STORAGE, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])];
    let request = AssociationRQ { user_variables: vec![item], ..request(contexts) };
    let mut raw = Connection::new(harness.connect(), 1 << 20, std::time::Duration::from_secs(20));
    raw.send(&request.into()).await.unwrap();
    assert!(matches!(raw.next().await, Ok(Incoming::Pdu(Pdu::AssociationAC(_)))));
    raw.establish(0, std::time::Duration::from_secs(20));
    raw
}
