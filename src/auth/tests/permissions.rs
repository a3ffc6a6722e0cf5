//! What follows from roles and bounds, for all of them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::auth::{Caller, Needs, Permission, Role};

fn roles() -> impl Strategy<Value = BTreeSet<Role>> {
    prop::collection::btree_set(prop::sample::select(&Role::ALL[..]), 0..4)
}

fn permissions() -> impl Strategy<Value = BTreeSet<Permission>> {
    prop::collection::btree_set(prop::sample::select(&Permission::ALL[..]), 0..6)
}

fn allowed(caller: &Caller) -> BTreeSet<Permission> {
    Permission::ALL.into_iter().filter(|permission| caller.may(*permission)).collect()
}

proptest! {
    #[test]
    fn one_role_more_never_takes_anything_away(before in roles(), more in prop::sample::select(&Role::ALL[..])) {
        let with = |roles: &BTreeSet<Role>| Caller { roles: roles.clone(), ..Caller::unrestricted() };
        let after: BTreeSet<Role> = before.iter().copied().chain([more]).collect();
        prop_assert!(allowed(&with(&before)).is_subset(&allowed(&with(&after))));
    }

    #[test]
    fn a_bound_only_takes_away(roles in roles(), only in permissions()) {
        let free = Caller { roles, ..Caller::unrestricted() };
        let bound = Caller { only: Some(only.clone()), ..free.clone() };
        let both: BTreeSet<_> = allowed(&free).intersection(&only).copied().collect();
        prop_assert_eq!(allowed(&bound), both);
    }

    #[test]
    fn who_did_not_say_who_he_is_may_do_what_is_open(permission in prop::sample::select(&Permission::ALL[..])) {
        let nobody = Caller::anonymous();
        prop_assert!(!nobody.has(Needs::Permission(permission)) && !nobody.has(Needs::Identity));
        prop_assert!(nobody.has(Needs::Nothing));
    }
}

#[test]
fn names_of_roles_and_permissions_lead_back() {
    assert!(Role::ALL.into_iter().all(|role| Role::named(role.as_str()) == Some(role)));
    let all = Permission::ALL.into_iter();
    assert!(all.clone().all(|one| Permission::named(one.as_str()) == Some(one)));
    let in_json = |one: Permission| serde_json::to_value(one).unwrap() == one.as_str();
    assert!(all.clone().all(in_json));
}
