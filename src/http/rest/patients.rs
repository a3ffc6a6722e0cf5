//! Patients and their studies.

use serde::Serialize;
use utoipa::ToSchema;

use super::etag;
use super::page::{List, Page, PageParameters};
use super::routes::{PathParameters, Route, routes};
use super::studies::{self, StudySummary};
use super::study_filter::{self, StudyParameters};
use super::time::Time;
use crate::auth::{Permission, may};
use crate::db::contents::{self, Patient as Stored};
use crate::db::worklist::Filter;
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

pub(super) const ROUTES: &[Route] = routes! {
    GET "patients", "api-patients", may(Permission::ViewStudies), |call| list(&call.state, &call.asked).await;
    GET "patients/{patient}", "api-patient", may(Permission::ViewStudies),
        |call| one(&call.state, key(&call.path)?, &call.asked).await;
    GET "patients/{patient}/studies", "api-patient-studies", may(Permission::ViewStudies),
        |call| of_patient(&call.state, key(&call.path)?, &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, one, of_patient))]
pub(super) struct Doc;

const LIST: List = List {
    name: "patients",
    filters: &["text"],
    sorts: &[("created_at", "patient.created_at")],
    default: "-created_at",
    key: "patient.id",
};

const STUDIES: List = List {
    name: "patient-studies",
    filters: study_filter::NAMES,
    sorts: studies::SORTS,
    default: "-study_date",
    key: "worklist.study",
};

#[derive(Serialize, ToSchema)]
struct Patient {
    /// Of this server.
    key: i64,
    /// Patient ID.
    id: String,
    /// Issuer of Patient ID.
    issuer: String,
    /// As DICOM writes it.
    name: String,
    birth_date: String,
    sex: String,
    /// Those that the caller can see.
    study_count: i64,
    created_at: Time,
    links: PatientLinks,
}

#[derive(Serialize, ToSchema)]
struct PatientLinks {
    #[serde(rename = "self")]
    own: String,
    studies: String,
}

fn key(path: &PathParameters) -> Result<i64, HttpError> {
    path.text("patient").parse().map_err(|_| HttpError::NotFound("patient"))
}

/// All patients
///
/// The last that came first.
#[utoipa::path(
    get, path = "/patients", operation_id = "listPatients", tag = "patients",
    params(PageParameters, ("text" = Option<String>, Query, max_length = 200,
        description = "Beginnings of words of name and patient ID")),
    responses((status = 200, description = "A page of patients", body = Page<Patient>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<Patient>(&asked.query, "")?;
    let text = study_filter::text(&asked.query)?;
    let reach = &asked.caller.reach;
    let found = contents::patients(&state.db, reach, text.as_deref(), &wanted.page).await?;
    wanted.answer(found.map(|patient| summary(patient, &asked.urls)))
}

/// One patient
#[utoipa::path(
    get, path = "/patients/{patient}", operation_id = "getPatient", tag = "patients",
    params(("patient" = i64, Path)),
    responses((status = 200, description = "The patient", body = Patient), (status = 304, description = "Known"))
)]
async fn one(state: &State, key: i64, asked: &Asked) -> Answer {
    etag::answer(&asked.headers, &asked.query, &summary(find(state, key, asked).await?, &asked.urls))
}

/// The studies of a patient
#[utoipa::path(
    get, path = "/patients/{patient}/studies", operation_id = "listPatientStudies", tag = "patients",
    params(("patient" = i64, Path), PageParameters, StudyParameters),
    responses((status = 200, description = "A page of studies", body = Page<StudySummary>))
)]
async fn of_patient(state: &State, key: i64, asked: &Asked) -> Answer {
    find(state, key, asked).await?;
    let filter = Filter { patient: Some(key), ..Filter::default() };
    studies::listed(state, asked, &STUDIES, &key.to_string(), filter).await
}

async fn find(state: &State, key: i64, asked: &Asked) -> Result<Stored, HttpError> {
    let found = contents::one_patient(&state.db, &asked.caller.reach, key).await?;
    found.ok_or(HttpError::NotFound("patient"))
}

fn summary(patient: Stored, urls: &Urls) -> Patient {
    let own = urls.rest(&format!("patients/{}", patient.id));
    Patient {
        key: patient.id,
        links: PatientLinks { studies: format!("{own}/studies"), own },
        id: patient.patient_id,
        issuer: patient.issuer,
        name: patient.name,
        birth_date: patient.birth_date,
        sex: patient.sex,
        study_count: patient.study_count,
        created_at: patient.created_at.into(),
    }
}
