//! Radiographs: one image per object, frontal views first; alone, or after the one before.

use std::collections::BTreeMap;
use std::sync::Arc;

use dicom_dictionary_std::tags;

use super::{GatherError, Gathered, GatheredPrior, Gatherer, Opened, Pipeline, Shown};
use crate::ai::prompt::Template;
use crate::analysis::outside;
use crate::analysis::trigger::{Content, Trigger};
use crate::config;
use crate::db::studies::Member;
use crate::db::{DbError, studies};
use crate::dicom::uid::StudyUid;
use crate::report::document::PriorStudy;
use crate::report::parse::View;
use crate::volume::attributes::{integer, text, texts};
use crate::volume::model_view;

/// What radiographs are made by.
const MODALITIES: [&str; 2] = ["CR", "DX"];

impl Gatherer<'_> {
    pub(super) async fn radiographs(
        &self,
        study: &StudyUid,
        content: &Content,
    ) -> Result<Gathered, GatherError> {
        let opened = self.in_reading_order(study, content).await?;
        self.alone(study, content, &opened).await
    }

    async fn alone(
        &self,
        study: &StudyUid,
        content: &Content,
        opened: &[Opened],
    ) -> Result<Gathered, GatherError> {
        let template = self.template(Pipeline::ChestRadiograph)?;
        let images_max = self.images_max(content.pipeline, template);
        self.shown(template, study, &opened[..images_max.min(opened.len())], opened.len(), None).await
    }

    /// One frontal image after that of the last study before; alone where there is none.
    pub(super) async fn longitudinal(
        &self,
        study: &StudyUid,
        content: &Content,
    ) -> Result<Gathered, GatherError> {
        let opened = self.in_reading_order(study, content).await?;
        let prior = match self.earlier {
            Some(earlier) => {
                let kept = earlier.prior.clone();
                kept.map(|study| GatheredPrior { study, pictures: Vec::new() })
            }
            None => self.prior(study, &opened[0]).await?,
        };
        if let Some(prior) = prior {
            let template = self.template(Pipeline::LongitudinalChest)?;
            return self.shown(template, study, &opened[..1], opened.len(), Some(prior)).await;
        }
        let mut gathered = self.alone(study, content, &opened).await?;
        let days = self.settings.prior_days_max;
        gathered.limitations.push(format!(
            "No frontal chest radiograph of the {days} days before could be shown: nothing was compared."
        ));
        Ok(gathered)
    }

    /// The first frontal image of the last chest radiograph before this one, by the same rules.
    async fn prior(&self, study: &StudyUid, current: &Opened) -> Result<Option<GatheredPrior>, GatherError> {
        if view_of(current) != View::FrontalRadiograph || self.images_taken < 2 {
            return Ok(None);
        }
        let date = text(&current.attributes, tags::STUDY_DATE).unwrap_or_default();
        for uid in self.before(study, &date, &MODALITIES).await? {
            let members = studies::members(self.db, &uid).await?;
            let contents = self.trigger(&uid, &members).await?.sort(members).contents;
            let is_chest = |content: &&Content| {
                matches!(content.pipeline, Pipeline::ChestRadiograph | Pipeline::LongitudinalChest)
            };
            let Some(content) = contents.iter().find(is_chest) else { continue };
            if let Some(prior) = self.frontal(&uid, content).await? {
                return Ok(Some(prior));
            }
        }
        Ok(None)
    }

    /// Of the objects of an earlier study, under the same rules as those of this one.
    async fn trigger(&self, uid: &StudyUid, members: &[Member]) -> Result<Trigger<'_>, DbError> {
        let stays = match self.leaving {
            Some(policy) => outside::staying(self.db, uid, members, policy).await?,
            None => BTreeMap::new(),
        };
        let config::Analysis { rules, guard_words, experimental, .. } = self.settings;
        Ok(Trigger { rules, guard_words, experimental, stays })
    }

    async fn frontal(&self, uid: &StudyUid, content: &Content) -> Result<Option<GatheredPrior>, GatherError> {
        let opened = match self.in_reading_order(uid, content).await {
            // It has nothing to show, which is no fault of the current study.
            Err(GatherError::NothingToShow(_)) => return Ok(None),
            other => other?,
        };
        let Some(first) = opened.iter().find(|opened| view_of(opened) == View::FrontalRadiograph) else {
            return Ok(None);
        };
        let view = first.with_frame(0, model_view::radiograph).await?;
        let study = PriorStudy {
            uid: uid.clone(),
            date: text(&first.attributes, tags::STUDY_DATE).unwrap_or_default(),
            images: vec![first.reference(0)],
        };
        Ok(Some(GatheredPrior { study, pictures: vec![Arc::new(view.image)] }))
    }

    /// At least one.
    async fn in_reading_order(
        &self,
        study: &StudyUid,
        content: &Content,
    ) -> Result<Vec<Opened>, GatherError> {
        let mut opened = self.open(study, content).await?;
        opened.retain(|opened| opened.frames() > 0);
        opened.sort_by_key(reading_order);
        match opened.is_empty() {
            true => Err(GatherError::NothingToShow("no object has pixel data".to_owned())),
            false => Ok(opened),
        }
    }

    /// `chosen` of so many that were `found`, at least one.
    async fn shown(
        &self,
        template: &'static Template,
        study: &StudyUid,
        chosen: &[Opened],
        found: usize,
        prior: Option<GatheredPrior>,
    ) -> Result<Gathered, GatherError> {
        let shown = Shown {
            rendered: model_view::radiograph,
            view: |opened| if is_mirrored(opened) { View::Other } else { view_of(opened) },
        };
        let gathered = self.first_frames(template, study, chosen, prior, shown).await?;
        let mirrored = chosen.iter().any(is_mirrored).then(|| MIRRORED.to_owned());
        let limitations = left_out(found, chosen.len()).into_iter().chain(mirrored).collect();
        Ok(Gathered { limitations, ..gathered })
    }
}

/// Frontal before lateral, then as numbered.
fn reading_order(opened: &Opened) -> (bool, i64, i64, String) {
    let number = |tag| integer(&opened.attributes, tag).unwrap_or(i64::MAX);
    let uid = opened.object.instance.sop_instance.to_string();
    (
        view_of(opened) != View::FrontalRadiograph,
        number(tags::SERIES_NUMBER),
        number(tags::INSTANCE_NUMBER),
        uid,
    )
}

/// View Position (0018,5101); a radiograph that does not say is taken for frontal.
fn view_of(opened: &Opened) -> View {
    match text(&opened.attributes, tags::VIEW_POSITION).as_deref() {
        None | Some("" | "PA" | "AP") => View::FrontalRadiograph,
        Some(_) => View::Other,
    }
}

const MIRRORED: &str =
    "An image has the patient's right on its right side: the sides that the model tells may be exchanged.";

/// Patient Orientation (0020,0020): columns that go to the patient's right, where those of a frontal
/// radiograph as it is read go to the left.
fn is_mirrored(opened: &Opened) -> bool {
    view_of(opened) == View::FrontalRadiograph
        && texts(&opened.attributes, tags::PATIENT_ORIENTATION)
            .first()
            .is_some_and(|columns| columns.starts_with('R'))
}

fn left_out(found: usize, shown: usize) -> Option<String> {
    (found > shown).then(|| format!("{shown} of {found} images were shown to the model."))
}
