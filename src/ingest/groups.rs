//! Which owner groups a study comes to, by its first instance.

use std::collections::BTreeSet;

use dicom_dictionary_std::tags;

use super::Origin;
use super::prepare::{Prepared, text};
use crate::auth::Reach;
use crate::config::{self, GroupRule};
use crate::db::groups::Owner;
use crate::jobs::conditions::{like, one_of};

/// The rules of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Assignment {
    pub(super) rules: Vec<GroupRule>,
    pub(super) of_uploader: bool,
}

impl Assignment {
    pub fn new(config: &config::Auth) -> Self {
        Self { rules: config.group_rules.clone(), of_uploader: config.groups_of_uploader }
    }

    pub(super) fn owners(&self, prepared: &Prepared, origin: &Origin, reach: &Reach) -> Vec<Owner> {
        let mut owners = BTreeSet::new();
        for rule in self.rules.iter().filter(|rule| holds(rule, prepared, origin)) {
            owners.extend(rule.groups.iter().cloned().map(Owner::Named));
        }
        if let (Reach::Groups { ids, .. }, true) = (reach, self.of_uploader) {
            owners.extend(ids.iter().copied().map(Owner::Group));
        }
        owners.into_iter().collect()
    }
}

fn holds(rule: &GroupRule, prepared: &Prepared, origin: &Origin) -> bool {
    let value = |tag| text(&prepared.elements, tag);
    one_of(&rule.calling_aet, &origin.calling_aet)
        && one_of(&rule.issuer, &value(tags::ISSUER_OF_PATIENT_ID))
        && rule.institution.as_ref().is_none_or(|pattern| like(pattern, &value(tags::INSTITUTION_NAME)))
}
