//! Which pixels may leave this machine, for a model that runs elsewhere: none that show, or may show,
//! who the patient is. What is not known is held for the worst.

use std::collections::BTreeMap;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use serde_json::Value;

use crate::config::RemotePixels;
use crate::db::studies::Member;
use crate::db::{self, Db, DbError};
use crate::dicom::packed;
use crate::dicom::uid::{SopInstanceUid, StudyUid};
use crate::query::Scope;
use crate::volume::attributes::text;

/// Why the pixels of an object stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stays {
    Ultrasound,
    SecondaryCapture,
    RefusedModality,
    BurnedIn,
    Recognizable,
    NotVouchedFor,
    Unreadable,
}

impl Stays {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ultrasound => "remote-ultrasound",
            Self::SecondaryCapture => "remote-secondary-capture",
            Self::RefusedModality => "remote-modality",
            Self::BurnedIn => "remote-burned-in",
            Self::Recognizable => "remote-recognizable",
            Self::NotVouchedFor => "remote-not-vouched",
            Self::Unreadable => "remote-unreadable",
        }
    }

    pub fn reason(self) -> &'static str {
        match self {
            Self::Ultrasound => "ultrasound, which often shows names, is not sent to a model elsewhere",
            Self::SecondaryCapture => {
                "a secondary capture, which may show names, is not sent to a model elsewhere"
            }
            Self::RefusedModality => {
                "its modality is not sent to a model elsewhere (model.remote.pixels.refused_modalities)"
            }
            Self::BurnedIn => {
                "it has burned in annotation (0028,0301), which is not sent to a model elsewhere"
            }
            Self::Recognizable => {
                "it has recognizable visual features (0028,0302), which are not sent to a model elsewhere"
            }
            Self::NotVouchedFor => {
                "nothing says that it has no burned in annotation (0028,0301), which its modality needs to be sent to a model elsewhere (model.remote.pixels.vouched_modalities)"
            }
            Self::Unreadable => "its metadata cannot be read, so it is not sent to a model elsewhere",
        }
    }
}

/// What an object says of its pixels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    burned_in: String,
    recognizable: String,
    /// Conversion Type (0008,0064): pixels that came from film, video or a screen.
    conversion: String,
}

impl Said {
    /// By the DICOM JSON model.
    fn of(json: &[u8]) -> Option<Self> {
        let elements: Value = serde_json::from_slice(json).ok()?;
        let text = |tag: &str| {
            let value = elements.get(tag).and_then(|element| element.get("Value")?.get(0)?.as_str());
            value.unwrap_or_default().trim().to_ascii_uppercase()
        };
        Some(Self {
            burned_in: text("00280301"),
            recognizable: text("00280302"),
            conversion: text("00080064"),
        })
    }

    pub(super) fn of_attributes(attributes: &InMemDicomObject) -> Self {
        let text = |tag| text(attributes, tag).unwrap_or_default().trim().to_ascii_uppercase();
        Self {
            burned_in: text(tags::BURNED_IN_ANNOTATION),
            recognizable: text(tags::RECOGNIZABLE_VISUAL_FEATURES),
            conversion: text(tags::CONVERSION_TYPE),
        }
    }
}

/// Why pixels stay, if they do.
pub(super) fn stays(
    policy: &RemotePixels,
    sop_class: &str,
    modality: &str,
    said: Option<&Said>,
) -> Option<Stays> {
    let Some(said) = said else { return Some(Stays::Unreadable) };
    let modality = modality.trim();
    let is_one_of = |list: &[String]| list.iter().any(|one| one.eq_ignore_ascii_case(modality));
    let is_captured = is_secondary_capture(sop_class) || !said.conversion.is_empty();
    let is_ultrasound = is_ultrasound(sop_class) || modality.eq_ignore_ascii_case("US");
    let checks = [
        (said.burned_in == "YES", Stays::BurnedIn),
        (said.recognizable == "YES", Stays::Recognizable),
        (is_ultrasound && !policy.ultrasound, Stays::Ultrasound),
        (is_captured && !policy.secondary_captures, Stays::SecondaryCapture),
        (is_one_of(&policy.refused_modalities), Stays::RefusedModality),
        (is_one_of(&policy.vouched_modalities) && said.burned_in != "NO", Stays::NotVouchedFor),
    ];
    checks.into_iter().find(|(holds, _)| *holds).map(|(_, why)| why)
}

/// Of these objects of a study, those whose pixels stay.
pub(super) async fn staying(
    db: &Db,
    study: &StudyUid,
    members: &[Member],
    policy: &RemotePixels,
) -> Result<BTreeMap<SopInstanceUid, Stays>, DbError> {
    let said = said(db, study).await?;
    let judged = members.iter().filter_map(|member| {
        let said = said.get(&member.sop_instance);
        let why = stays(policy, member.sop_class.as_str(), &member.modality, said)?;
        Some((member.sop_instance.clone(), why))
    });
    Ok(judged.collect())
}

async fn said(db: &Db, study: &StudyUid) -> Result<BTreeMap<SopInstanceUid, Said>, DbError> {
    let (scope, mut after, mut all) = (Scope::Study(study.clone()), 0, BTreeMap::new());
    loop {
        let page = db::retrieve::metadata(db, &scope, after).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = last.row;
        let read = page.into_iter().filter_map(|stored| {
            let json = packed::unpack(&stored.json).ok()?;
            Some((stored.sop_instance, Said::of(&json)?))
        });
        all.extend(read);
    }
}

const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";

fn is_secondary_capture(sop_class: &str) -> bool {
    let rest = sop_class.strip_prefix(STORAGE);
    rest.is_some_and(|rest| rest == "7" || rest.starts_with("7."))
}

/// Single and multi-frame, retired and not, and volumes.
fn is_ultrasound(sop_class: &str) -> bool {
    let rest = sop_class.strip_prefix(STORAGE);
    rest.is_some_and(|rest| ["3", "3.1", "6", "6.1", "6.2", "6.3"].contains(&rest))
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use super::*;
    use crate::config::{Config, Overrides};

    fn policy() -> RemotePixels {
        Config::load(&Overrides::default()).unwrap().model.remote.pixels
    }

    fn said(burned_in: &str) -> Said {
        Said { burned_in: burned_in.to_owned(), ..Said::default() }
    }

    #[test]
    fn plain_radiographs_and_slices_may_go() {
        let class = uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION;
        assert_eq!(stays(&policy(), class, "DX", Some(&said(""))), None);
        assert_eq!(stays(&policy(), uids::CT_IMAGE_STORAGE, "CT", Some(&said("NO"))), None);
        assert_eq!(stays(&policy(), uids::VL_PHOTOGRAPHIC_IMAGE_STORAGE, "XC", Some(&said("NO"))), None);
    }

    #[test]
    fn what_may_show_a_name_stays() {
        let check = |class, modality, said: Said| stays(&policy(), class, modality, Some(&said));
        let (dx, captured) =
            (uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION, uids::SECONDARY_CAPTURE_IMAGE_STORAGE);
        assert_eq!(check(dx, "DX", said("YES")), Some(Stays::BurnedIn));
        assert_eq!(check(captured, "CT", said("NO")), Some(Stays::SecondaryCapture));
        assert_eq!(check(uids::ULTRASOUND_IMAGE_STORAGE, "", said("NO")), Some(Stays::Ultrasound));
        assert_eq!(check(dx, "US", said("NO")), Some(Stays::Ultrasound));
        assert_eq!(check(dx, "OT", said("NO")), Some(Stays::RefusedModality));
        let photograph = uids::VL_PHOTOGRAPHIC_IMAGE_STORAGE;
        assert_eq!(check(photograph, "XC", said("")), Some(Stays::NotVouchedFor));
        let face = Said { recognizable: "YES".to_owned(), ..said("NO") };
        assert_eq!(check(photograph, "XC", face), Some(Stays::Recognizable));
        let film = Said { conversion: "DF".to_owned(), ..said("NO") };
        assert_eq!(check(dx, "CR", film), Some(Stays::SecondaryCapture));
        assert_eq!(stays(&policy(), dx, "DX", None), Some(Stays::Unreadable));
    }

    #[test]
    fn burned_in_annotation_stays_whatever_is_let_go() {
        let mut policy = policy();
        (policy.ultrasound, policy.secondary_captures) = (true, true);
        let class = uids::ULTRASOUND_IMAGE_STORAGE;
        assert_eq!(stays(&policy, class, "US", Some(&said(""))), None);
        assert_eq!(stays(&policy, class, "US", Some(&said("YES"))), Some(Stays::BurnedIn));
    }

    #[test]
    fn an_object_says_so_in_its_metadata() {
        let json = br#"{"00280301":{"vr":"CS","Value":["yes "]},"00280302":{"vr":"CS"}}"#;
        assert_eq!(Said::of(json), Some(said("YES")));
        assert_eq!(Said::of(b"{}"), Some(Said::default()));
        assert_eq!(Said::of(b"<"), None);
    }
}
