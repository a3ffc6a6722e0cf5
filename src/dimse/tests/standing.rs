//! Users whose rights change while an association lasts, and what proves who they are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dicom_ul::pdu::{UserIdentity as Item, UserIdentityType as Kind, UserVariableItem};

use super::harness::{Harness, ct, ct_context, object, settings};
use crate::auth::{Caller, Role};
use crate::dimse::admission::{Peer, Rejection};
use crate::dimse::user_identity::of_request;
use crate::dimse::{Identified, Identify, Settings, Users, everybody};
use crate::export::scu::association::Association;

const TOLD_APART: Users = Users { are_told_apart: true, are_required: false, see_ungrouped: true };

fn passcode() -> UserVariableItem {
    let item = Item::new(false, Kind::UsernamePassword, b"ana".to_vec(), b"hush".to_vec());
    UserVariableItem::UserIdentityItem(item)
}

/// Somebody who has these roles, one look after the other; after the last he is refused.
fn becoming(roles: &'static [Role]) -> Identify {
    let looks = Arc::new(AtomicUsize::new(0));
    Arc::new(move |_, _| {
        let role = roles.get(looks.fetch_add(1, Ordering::SeqCst));
        let caller = role.map(|role| Caller { roles: BTreeSet::from([*role]), ..Caller::unrestricted() });
        let identified = caller.map_or(Identified::Refused, |caller| Identified::Accepted {
            response: Vec::new(),
            user: Some(Box::new(caller)),
        });
        Box::pin(std::future::ready(identified))
    })
}

async fn stored(association: &mut Association<tokio::io::DuplexStream>, uid: &str) -> u16 {
    association.store(&ct(uid), &mut &object(10)[..], 10).await.unwrap().status
}

async fn with(identify: Identify, settings: Settings) -> (Harness, Association<tokio::io::DuplexStream>) {
    let harness = Harness::identified_by(Settings { users: TOLD_APART, ..settings }, identify);
    let association = harness.associate_as(passcode(), &[ct_context()]).await.unwrap();
    (harness, association)
}

#[tokio::test]
async fn who_may_no_longer_is_refused_within_the_association() {
    let roles = &[Role::Technologist, Role::Technologist, Role::Viewer, Role::Technologist];
    let (harness, mut association) = with(becoming(roles), settings()).await;
    let mut statuses = Vec::new();
    for uid in ["1.2.1", "1.2.2", "1.2.3", "1.2.4"] {
        statuses.push(stored(&mut association, uid).await);
    }
    assert_eq!(statuses, [0, 0x0124, 0, 0x0124]);
    assert_eq!(association.echo().await.unwrap(), 0, "an echo needs no right");
    assert_eq!(harness.sink.stored().len(), 2);
}

#[tokio::test]
async fn what_was_found_out_holds_for_a_while() {
    let held = Settings { recheck: std::time::Duration::from_secs(3600), ..settings() };
    let (_harness, mut association) = with(becoming(&[Role::Technologist]), held).await;
    assert_eq!(stored(&mut association, "1.2.1").await, 0);
}

#[tokio::test]
async fn a_passcode_that_others_could_read_is_refused() {
    let refused = |address: &str, is_encrypted, change: fn(&mut Settings)| {
        let peer = Peer { address: address.parse().unwrap(), is_encrypted };
        let mut settings = Settings { users: TOLD_APART, ..settings() };
        change(&mut settings);
        async move { of_request(&[passcode()], &everybody(), peer, &settings).await.err() }
    };
    assert_eq!(refused("192.0.2.1", false, |_| ()).await, Some(Rejection::PlainPasscode));
    assert_eq!(refused("192.0.2.1", true, |_| ()).await, None);
    for loopback in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(refused(loopback, false, |_| ()).await, None);
    }
    assert_eq!(refused("192.0.2.1", false, |settings| settings.passcode_plain_ok = true).await, None);
    assert_eq!(refused("192.0.2.1", false, |settings| settings.users = Users::default()).await, None);
}

#[tokio::test]
async fn who_knocks_again_and_again_is_a_number_in_the_audit_trail() {
    let harness = Harness::new(Settings { ae_title: "OTHER".into(), ..settings() });
    for _ in 0..20 {
        harness.associate(&[]).await.unwrap_err();
    }
    harness.all_ended().await;
    assert_eq!(harness.audited("reject-association").await, ["called_ae_title"]);
    harness.tell_rejections().await;
    harness.tell_rejections().await;
    let rows = harness.audited("reject-association").await;
    assert_eq!(rows, ["called_ae_title", "called_ae_title, 19 more"]);
}
