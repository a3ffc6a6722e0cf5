//! Series as volumes: what they are, as NIfTI, and slices of them on any plane.

mod nifti;
mod slice;

use std::sync::Arc;

use http::Response;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;

use super::etag::Etag;
use super::page::{List, Page, PageParameters};
use super::routes::{Call, PathParameters, Route, routes};
use super::series;
use crate::auth::{Permission, may};
use crate::db::{contents, results, retrieve};
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::http::State;
use crate::http::body::Body;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::ids;
use crate::query::Scope;
use crate::query::volumes::{Described, VolumeError};
use crate::volume::assemble::AssembleError;
use crate::volume::geometry::AnatomicalPlane;
use crate::volume::plane;
use crate::volume::series::Issue;

pub(super) const ROUTES: &[Route] = routes! {
    GET "studies/{study}/volumes", "api-study-volumes", may(Permission::ViewStudies),
        |call| list(&call.state, &call.path.study()?, &call.asked).await;
    GET "studies/{study}/series/{series}/volume", "api-volume", may(Permission::ViewStudies),
        |call| one(call).await;
    GET "studies/{study}/series/{series}/volume.nii.gz", "api-volume-nifti", may(Permission::ViewStudies),
        |call| nifti::write(call).await;
    GET "studies/{study}/series/{series}/volume/slice", "api-volume-slice", may(Permission::ViewStudies),
        |call| slice::draw(call).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, one, nifti::write, slice::draw))]
pub(super) struct Doc;

/// Modalities whose series can be volumes.
const MODALITIES: [&str; 4] = ["CT", "MR", "PT", "NM"];

const LIST: List =
    List { name: "volumes", filters: &[], sorts: series::SORTS, default: "series_number", key: "series.id" };

/// A series that can be a volume.
#[derive(Serialize, ToSchema)]
struct VolumeSummary {
    series_uid: SeriesUid,
    modality: String,
    description: String,
    instance_count: i64,
    links: VolumeLinks,
}

#[derive(Serialize, ToSchema)]
struct VolumeLinks {
    #[serde(rename = "self")]
    own: String,
    nifti: String,
    /// Takes `plane` and `index`, or `point` and `normal`.
    slice: String,
}

/// The largest stack of slices of a series.
#[derive(Serialize, ToSchema)]
struct VolumeJson {
    study_uid: StudyUid,
    series_uid: SeriesUid,
    /// The body plane of its slices: `axial`, `coronal`, `sagittal` or `oblique`.
    plane: String,
    /// In the order of a reader: from head to feet, from front to back, from the right to the left.
    slices: usize,
    rows: usize,
    columns: usize,
    /// Between slices, rows and columns.
    spacing_mm: [f64; 3],
    thickness_mm: Option<f64>,
    /// The centre of the first voxel; x to the left, y to the back, z to the head.
    origin_mm: [f64; 3],
    along_row: [f64; 3],
    along_column: [f64; 3],
    /// From one slice to the next.
    step_mm: [f64; 3],
    /// What a reader must know, each with its `kind`.
    #[schema(value_type = Vec<Object>)]
    issues: Vec<Issue>,
    /// Of other orientations, sizes or phases; they are not part of the volume.
    other_stacks: usize,
    /// How many slices there are in each direction.
    planes: PlaneCounts,
    /// Why there is no NIfTI of it; null where there is.
    nifti_refused: Option<String>,
    links: VolumeLinks,
}

#[derive(Serialize, ToSchema)]
struct PlaneCounts {
    axial: usize,
    coronal: usize,
    sagittal: usize,
}

/// Series that can be volumes
#[utoipa::path(
    get, path = "/studies/{study}/volumes", operation_id = "listStudyVolumes", tag = "volumes",
    params(("study" = StudyUid, Path), PageParameters),
    responses((status = 200, description = "A page of the series of cross-sectional modalities",
        body = Page<VolumeSummary>))
)]
async fn list(state: &State, study: &StudyUid, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<VolumeSummary>(&asked.query, study.as_str())?;
    results::study(&state.db, study).await?.ok_or(HttpError::NotFound("study"))?;
    let reach = &asked.caller.reach;
    let found = contents::series(&state.db, reach, study, Some(&MODALITIES), &wanted.page).await?;
    wanted.answer(found.map(|series| VolumeSummary {
        links: links(asked, study, series.series_uid.as_str()),
        series_uid: series.series_uid,
        modality: series.modality,
        description: series.description,
        instance_count: series.instance_count,
    }))
}

fn links(asked: &Asked, study: &StudyUid, series: &str) -> VolumeLinks {
    let own = asked.urls.rest(&format!("studies/{study}/series/{series}/volume"));
    VolumeLinks { nifti: format!("{own}.nii.gz"), slice: format!("{own}/slice"), own }
}

/// A series as a volume
///
/// Its geometry, and what is odd about it; from the headers alone.
#[utoipa::path(
    get, path = "/studies/{study}/series/{series}/volume", operation_id = "getVolume", tag = "volumes",
    params(("study" = StudyUid, Path), ("series" = SeriesUid, Path)),
    responses(
        (status = 200, description = "The volume", body = VolumeJson),
        (status = 304, description = "Known"),
        (status = 409, description = "The series is none: its frames have no place in the patient"),
        (status = 503, description = "As many volumes are being read as may be"),
    )
)]
async fn one(call: Call) -> Answer {
    let wanted = Wanted::of(&call.state, &call.path).await?;
    let etag = wanted.etag("volume")?;
    if let Some(known) = etag.not_modified(&call.asked.headers) {
        return Ok(known);
    }
    let described = call.state.live.volumes.describe(&wanted.scope).await?;
    let answer = wanted.json(&described, &call.asked)?;
    finished(&call.state, super::json(StatusCode::OK, &answer)?, &etag)
}

/// A series of a path and what it holds now.
struct Wanted {
    study: StudyUid,
    series: SeriesUid,
    scope: Scope,
    version: String,
}

impl Wanted {
    async fn of(state: &Arc<State>, path: &PathParameters) -> Result<Self, HttpError> {
        let study = path.study()?;
        let series: SeriesUid = path.text("series").parse().map_err(HttpError::bad_request)?;
        let scope = Scope::Series(study.clone(), series.clone());
        let held = retrieve::held(&state.db, &scope).await?.ok_or(HttpError::NotFound("series"))?;
        Ok(Self { study, series, scope, version: ids::hex(&held.version) })
    }

    fn key(&self) -> String {
        format!("{} {}", self.series, self.version)
    }

    /// Another version of this program may draw the same otherwise.
    fn etag(&self, form: &str) -> Result<Etag, HttpError> {
        Etag::of_content(&(self.key(), form, env!("CARGO_PKG_VERSION")))
    }

    fn json(&self, described: &Described, asked: &Asked) -> Result<VolumeJson, HttpError> {
        let description = &described.description;
        let geometry = &description.geometry;
        let count = |plane| plane::slices(&described.extent, plane).unwrap_or(0);
        let plane = serde_json::to_value(description.plane).map_err(HttpError::internal("a body plane"))?;
        Ok(VolumeJson {
            study_uid: self.study.clone(),
            series_uid: self.series.clone(),
            plane: plane.as_str().unwrap_or_default().to_owned(),
            slices: description.slices,
            rows: description.rows,
            columns: description.columns,
            spacing_mm: geometry.spacing_mm,
            thickness_mm: description.thickness_mm,
            origin_mm: geometry.origin_mm,
            along_row: geometry.along_row,
            along_column: geometry.along_column,
            step_mm: described.step_mm,
            issues: description.issues.iter().chain(&described.issues).cloned().collect(),
            other_stacks: described.other_stacks,
            planes: PlaneCounts {
                axial: count(AnatomicalPlane::Axial),
                coronal: count(AnatomicalPlane::Coronal),
                sagittal: count(AnatomicalPlane::Sagittal),
            },
            nifti_refused: nifti::refused(described),
            links: links(asked, &self.study, self.series.as_str()),
        })
    }
}

fn finished(state: &State, mut response: Response<Body>, etag: &Etag) -> Answer {
    etag.mark(&mut response);
    let cache_control = HeaderValue::from_str(&state.settings.cache_control);
    let cache_control = cache_control.map_err(HttpError::internal("caching"))?;
    response.headers_mut().insert(CACHE_CONTROL, cache_control);
    Ok(response)
}

impl From<VolumeError> for HttpError {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::Busy => {
                crate::http::limit_hit("volumes.waiting_max");
                let reason = "as many volumes are being read as may be";
                Self::Unavailable { reason, retry_after_s: 5 }
            }
            VolumeError::Assemble(AssembleError::TooLarge { .. }) => {
                crate::http::limit_hit("analysis.volume_bytes_max");
                Self::Conflict(error.to_string())
            }
            VolumeError::TooManyFrames(_) => {
                crate::http::limit_hit("volumes.slices_max");
                Self::Conflict(error.to_string())
            }
            VolumeError::Index(error) => error.into(),
            VolumeError::Read(error) => error.into(),
            VolumeError::Decoder(error) => error.into(),
            error => Self::Conflict(error.to_string()),
        }
    }
}
