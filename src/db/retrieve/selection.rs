//! What C-MOVE and C-GET name, portion by portion: each is found by a unique key, so that no page of
//! it looks through the archive.

use super::{FROM, PAGE, STORED_INSTANCE, bind, stored_instance};
use crate::auth::Reach;
use crate::db::{Db, DbError, Statement, Value, groups};
use crate::dicom::uid::StudyUid;
use crate::query::retrieve::{PatientKey, Portion, StoredInstance};

/// The studies in reach of all patients that have this ID.
pub async fn studies_of(db: &Db, patient: &PatientKey, reach: &Reach) -> Result<Vec<StudyUid>, DbError> {
    let mut clause = Clause::default();
    clause.patient(patient);
    clause.in_reach(reach);
    let sql = format!(
        "select study.study_uid from patient join study on study.patient = patient.id \
         where {} order by study.id",
        clause.text()
    );
    let rows = db.read(bind(Statement::named("retrieve_studies_of", sql), clause.values)).await?;
    rows.iter().map(|row| row.parse(0, "a Study Instance UID")).collect()
}

/// The instances of a portion in reach, behind the row `after`.
pub async fn portion(
    db: &Db,
    portion: &Portion,
    reach: &Reach,
    after: i64,
) -> Result<Vec<StoredInstance>, DbError> {
    let mut clause = Clause::of(portion);
    clause.released(reach);
    clause.compare("instance.id >", after);
    let from = from(portion);
    let text = clause.text();
    clause.values.push(Value::Int(PAGE));
    let limit = clause.values.len();
    let sql =
        format!("select {STORED_INSTANCE} from {from} where {text} order by instance.id limit ${limit}");
    let rows = db.look_up(bind(Statement::named("retrieve_portion", sql), clause.values)).await?;
    rows.iter().map(stored_instance).collect()
}

pub async fn count(db: &Db, portion: &Portion, reach: &Reach) -> Result<u64, DbError> {
    let mut clause = Clause::of(portion);
    clause.released(reach);
    let sql = format!("select count(*) from {} where {}", from(portion), clause.text());
    let row = db.read_one(bind(Statement::named("retrieve_count", sql), clause.values)).await?;
    Ok(row.map(|row| row.int(0)).transpose()?.unwrap_or(0).unsigned_abs())
}

fn from(portion: &Portion) -> String {
    match portion.patient {
        Some(_) => format!("{FROM} join patient on patient.id = study.patient"),
        None => FROM.to_owned(),
    }
}

/// Conditions that all hold.
#[derive(Default)]
struct Clause {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Clause {
    /// The UIDs first: they find the rows.
    fn of(portion: &Portion) -> Self {
        let mut clause = Self::default();
        if !portion.instances.is_empty() {
            clause.values.extend(portion.instances.iter().map(Value::from));
            let places: Vec<String> = (1..=clause.values.len()).map(|place| format!("${place}")).collect();
            clause.conditions.push(format!("instance.sop_instance_uid in ({})", places.join(", ")));
        }
        if let Some(series) = &portion.series {
            clause.compare("series.series_uid =", series);
        }
        if let Some(study) = &portion.study {
            clause.compare("study.study_uid =", study);
        }
        if let Some(patient) = &portion.patient {
            clause.patient(patient);
        }
        clause
    }

    fn patient(&mut self, patient: &PatientKey) {
        self.compare("patient.patient_id =", patient.patient_id.as_str());
        if let Some(issuer) = &patient.issuer {
            self.compare("patient.issuer =", issuer.as_str());
        }
    }

    fn in_reach(&mut self, reach: &Reach) {
        self.conditions.extend(groups::condition(reach, "study.study_uid"));
    }

    /// Of instances.
    fn released(&mut self, reach: &Reach) {
        self.in_reach(reach);
        self.conditions.extend(groups::released(reach, "series.series_uid"));
    }

    fn compare(&mut self, column: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.conditions.push(format!("{column} ${}", self.values.len()));
    }

    fn text(&self) -> String {
        self.conditions.join(" and ")
    }
}
