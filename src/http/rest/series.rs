//! Series and instances of a study.

use serde::Serialize;
use utoipa::ToSchema;

use super::etag;
use super::page::{List, Page, PageParameters};
use super::routes::{Call, PathParameters, Route, routes};
use super::time::Time;
use crate::auth::{Permission, may};
use crate::db::contents::{self, Instance as StoredInstance, Series as Stored};
use crate::db::results;
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid, UidError};
use crate::http::State;
use crate::http::endpoint::RouteError;
use crate::http::error::HttpError;
use crate::http::service::Answer;
use crate::http::urls::Urls;

pub(super) const ROUTES: &[Route] = routes! {
    GET "studies/{study}/series", "api-series-list", may(Permission::ViewStudies), |call| list(call).await;
    GET "studies/{study}/series/{series}", "api-series", may(Permission::ViewStudies), |call| one(call).await;
    GET "studies/{study}/series/{series}/thumbnail", "api-series-thumbnail", may(Permission::ViewStudies),
        |call| thumbnail(call).await;
    GET "studies/{study}/series/{series}/instances", "api-instances", may(Permission::ViewStudies),
        |call| instances(call).await;
    GET "studies/{study}/series/{series}/instances/{instance}", "api-instance", may(Permission::ViewStudies),
        |call| instance(call).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, one, thumbnail, instances, instance))]
pub(super) struct Doc;

/// What lists of series can be sorted by.
pub(super) const SORTS: &[(&str, &str)] =
    &[("series_number", "coalesce(series.series_number, 0)"), ("arrived_at", "series.created_at")];

const LIST: List =
    List { name: "series", filters: &["modality"], sorts: SORTS, default: "series_number", key: "series.id" };

const INSTANCES: List = List {
    name: "instances",
    filters: &[],
    sorts: &[
        ("instance_number", "coalesce(instance.instance_number, 0)"),
        ("arrived_at", "instance.created_at"),
    ],
    default: "instance_number",
    key: "instance.id",
};

/// As a study lists it.
#[derive(Serialize, ToSchema)]
pub(super) struct SeriesSummary {
    series_uid: String,
    modality: String,
    series_number: Option<i64>,
    description: String,
    instance_count: i64,
    links: SeriesLinks,
}

#[derive(Serialize, ToSchema)]
struct Series {
    series_uid: SeriesUid,
    study_uid: StudyUid,
    modality: String,
    series_number: Option<i64>,
    description: String,
    body_part: String,
    instance_count: i64,
    arrived_at: Time,
    links: SeriesLinks,
}

#[derive(Serialize, ToSchema)]
struct SeriesLinks {
    #[serde(rename = "self")]
    own: String,
    instances: String,
    dicomweb: String,
    /// A small picture, by DICOMweb.
    thumbnail: String,
}

#[derive(Serialize, ToSchema)]
struct Instance {
    sop_instance_uid: SopInstanceUid,
    series_uid: SeriesUid,
    study_uid: StudyUid,
    sop_class_uid: String,
    transfer_syntax_uid: String,
    instance_number: Option<i64>,
    rows: Option<i64>,
    columns: Option<i64>,
    number_of_frames: Option<i64>,
    /// Of the stored file.
    size_bytes: i64,
    /// How it came: `dimse`, `stow`, `import`, `analysis`.
    source: String,
    /// Calling AE title, where it came by DIMSE.
    source_aet: String,
    arrived_at: Time,
    links: InstanceLinks,
}

#[derive(Serialize, ToSchema)]
struct InstanceLinks {
    #[serde(rename = "self")]
    own: String,
    dicomweb: String,
    metadata: String,
    rendered: String,
    thumbnail: String,
}

fn uid<T: std::str::FromStr<Err = UidError>>(path: &PathParameters, name: &str) -> Result<T, HttpError> {
    path.text(name).parse().map_err(|error| RouteError::Uid(error).into())
}

/// The series of a study
#[utoipa::path(
    get, path = "/studies/{study}/series", operation_id = "listSeries", tag = "series",
    params(("study" = StudyUid, Path), PageParameters,
        ("modality" = Option<String>, Query, description = "Only of this modality")),
    responses((status = 200, description = "A page of series", body = Page<Series>))
)]
async fn list(call: Call) -> Answer {
    let study = call.path.study()?;
    let wanted = LIST.wanted::<Series>(&call.asked.query, study.as_str())?;
    results::study(&call.state.db, &study).await?.ok_or(HttpError::NotFound("study"))?;
    let modality = call.asked.query.get("modality").map(|modality| [modality]);
    let modality = modality.as_ref().map(<[&str; 1]>::as_slice);
    let found =
        contents::series(&call.state.db, &call.asked.caller.reach, &study, modality, &wanted.page).await?;
    wanted.answer(found.map(|series| described(&study, series, &call.asked.urls)))
}

/// One series
#[utoipa::path(
    get, path = "/studies/{study}/series/{series}", operation_id = "getSeries", tag = "series",
    params(("study" = StudyUid, Path), ("series" = SeriesUid, Path)),
    responses((status = 200, description = "The series", body = Series), (status = 304, description = "Known"))
)]
async fn one(call: Call) -> Answer {
    let (study, series) = (call.path.study()?, uid(&call.path, "series")?);
    let found = find(&call.state, &study, &series).await?;
    etag::answer(&call.asked.headers, &call.asked.query, &described(&study, found, &call.asked.urls))
}

async fn find(state: &State, study: &StudyUid, series: &SeriesUid) -> Result<Stored, HttpError> {
    let found = contents::one_series(&state.db, study, series).await?;
    found.ok_or(HttpError::NotFound("series"))
}

/// A small picture of a series
///
/// Leads to the thumbnail of DICOMweb.
#[utoipa::path(
    get, path = "/studies/{study}/series/{series}/thumbnail", operation_id = "getSeriesThumbnail",
    tag = "series", params(("study" = StudyUid, Path), ("series" = SeriesUid, Path)),
    responses((status = 307, description = "Where the picture is", headers(("Location" = String))))
)]
async fn thumbnail(call: Call) -> Answer {
    let (study, series) = (call.path.study()?, uid(&call.path, "series")?);
    find(&call.state, &study, &series).await?;
    super::elsewhere(&format!("{}/thumbnail", call.asked.urls.series(&study, &series)))
}

/// The instances of a series
#[utoipa::path(
    get, path = "/studies/{study}/series/{series}/instances", operation_id = "listInstances",
    tag = "instances", params(("study" = StudyUid, Path), ("series" = SeriesUid, Path), PageParameters),
    responses((status = 200, description = "A page of instances", body = Page<Instance>))
)]
async fn instances(call: Call) -> Answer {
    let (study, series) = (call.path.study()?, uid(&call.path, "series")?);
    let wanted = INSTANCES.wanted::<Instance>(&call.asked.query, &format!("{study} {series}"))?;
    find(&call.state, &study, &series).await?;
    let found = contents::instances(&call.state.db, &study, &series, &wanted.page).await?;
    wanted.answer(found.map(|one| described_instance(&study, &series, one, &call.asked.urls)))
}

/// One instance
#[utoipa::path(
    get, path = "/studies/{study}/series/{series}/instances/{instance}", operation_id = "getInstance",
    tag = "instances",
    params(("study" = StudyUid, Path), ("series" = SeriesUid, Path), ("instance" = SopInstanceUid, Path)),
    responses((status = 200, description = "The instance", body = Instance), (status = 304, description = "Known"))
)]
async fn instance(call: Call) -> Answer {
    let (study, series): (StudyUid, SeriesUid) = (call.path.study()?, uid(&call.path, "series")?);
    let instance = uid(&call.path, "instance")?;
    let found = contents::one_instance(&call.state.db, &study, &series, &instance).await?;
    let found = found.ok_or(HttpError::NotFound("instance"))?;
    let described = described_instance(&study, &series, found, &call.asked.urls);
    etag::answer(&call.asked.headers, &call.asked.query, &described)
}

pub(super) fn summary(study: &StudyUid, series: results::SeriesSummary, urls: &Urls) -> SeriesSummary {
    SeriesSummary {
        links: links(study, &series.series_uid, urls),
        series_uid: series.series_uid,
        modality: series.modality,
        series_number: series.series_number,
        description: series.description,
        instance_count: series.instance_count,
    }
}

fn links(study: &StudyUid, series: &str, urls: &Urls) -> SeriesLinks {
    let own = urls.rest(&format!("studies/{study}/series/{series}"));
    let dicomweb = format!("{}/series/{series}", urls.study(study));
    SeriesLinks {
        instances: format!("{own}/instances"),
        own,
        thumbnail: format!("{dicomweb}/thumbnail"),
        dicomweb,
    }
}

fn described(study: &StudyUid, series: Stored, urls: &Urls) -> Series {
    Series {
        links: links(study, series.series_uid.as_str(), urls),
        study_uid: study.clone(),
        series_uid: series.series_uid,
        modality: series.modality,
        series_number: series.series_number,
        description: series.description,
        body_part: series.body_part,
        instance_count: series.instance_count,
        arrived_at: series.arrived_at.into(),
    }
}

fn described_instance(study: &StudyUid, series: &SeriesUid, one: StoredInstance, urls: &Urls) -> Instance {
    let dicomweb = urls.instance(study, series, &one.sop_instance_uid);
    Instance {
        links: InstanceLinks {
            own: urls.rest(&format!("studies/{study}/series/{series}/instances/{}", one.sop_instance_uid)),
            metadata: format!("{dicomweb}/metadata"),
            rendered: format!("{dicomweb}/rendered"),
            thumbnail: format!("{dicomweb}/thumbnail"),
            dicomweb,
        },
        study_uid: study.clone(),
        series_uid: series.clone(),
        sop_instance_uid: one.sop_instance_uid,
        sop_class_uid: one.sop_class_uid,
        transfer_syntax_uid: one.transfer_syntax,
        instance_number: one.instance_number,
        rows: one.rows,
        columns: one.columns,
        number_of_frames: one.number_of_frames,
        size_bytes: one.size_bytes,
        source: one.source,
        source_aet: one.source_aet,
        arrived_at: one.arrived_at.into(),
    }
}
