//! The search behind QIDO-RS and C-FIND: a typed request in, rows of a level out, in an order that is
//! the same for every page.

mod columns;
mod condition;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use self::condition::{Condition, Told};
use crate::db::{Db, DbError, Row, Statement, Value, groups};
use crate::dicom::attributes::{ATTRIBUTES, Attribute, Held, Level, Returned};
use crate::query::request::{Key, SearchRequest};
use crate::query::search::{Cell, Found};

/// Rows that are named one by one in a statement.
const BATCH: usize = 256;

/// What SQL can do of a search.
pub struct Plan<'r> {
    request: &'r SearchRequest,
    condition: Condition,
    columns: Vec<&'static Attribute>,
    residual: Vec<Key>,
}

/// A row with its stored attributes: DICOM JSON, zstd, of the levels from above.
pub struct Candidate {
    pub row: i64,
    pub documents: Vec<Vec<u8>>,
}

impl<'r> Plan<'r> {
    pub fn of(request: &'r SearchRequest) -> Self {
        let mut condition = scope(request);
        let told = request.keys.iter().map(|key| (key, condition.add(key, request.zone)));
        let left = told.filter(|(_, told)| *told == Told::Part).map(|(key, _)| key.clone());
        let residual = left.collect();
        let columns = ATTRIBUTES.iter().filter(|attribute| selects(request, attribute)).collect();
        Self { request, condition, columns, residual }
    }

    /// The keys that the rows found must still be compared with.
    pub fn residual(&self) -> &[Key] {
        &self.residual
    }

    /// The page that the request names, and whether there are matches behind it.
    pub async fn page(&self, db: &Db) -> Result<(Vec<Found>, bool), DbError> {
        let limit = self.request.limit as usize;
        let rows = db.search(self.page_statement()).await?;
        let more = rows.len() > limit;
        let found = rows.into_iter().take(limit).map(|row| self.found(row)).collect::<Result<_, _>>()?;
        Ok((found, more))
    }

    pub async fn count(&self, db: &Db) -> Result<u64, DbError> {
        let from = from(self.request.level, &self.condition.tables);
        let sql = format!("select count(*) from {from}{}", self.condition.text());
        let rows = db.search(bind(Statement::named("search_count", sql), &self.condition.values)).await?;
        let count = rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(0);
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Every row that SQL leaves, in the order of the pages, `max` at most.
    pub async fn candidates(&self, db: &Db, max: usize) -> Result<Vec<i64>, DbError> {
        let mut condition = self.condition.clone();
        let rows = self.rows(&mut condition, i64::try_from(max).unwrap_or(i64::MAX), 0);
        let rows = db.search(bind(Statement::named("search_candidates", rows), &condition.values)).await?;
        rows.iter().map(|row| row.int(0)).collect()
    }

    /// The stored attributes of rows, in any order.
    pub async fn documents(&self, db: &Db, rows: &[i64]) -> Result<Vec<Candidate>, DbError> {
        let level = self.request.level;
        let documents = columns::documents(level, &self.request.reach);
        let tables = match level {
            Level::Series => BTreeSet::from([Level::Study]),
            _ => BTreeSet::new(),
        };
        let mut found = Vec::with_capacity(rows.len());
        for rows in rows.chunks(BATCH) {
            let select = format!("{}.id, {}", columns::table(level), documents.join(", "));
            let statement = one_by_one("search_documents", &select, &from(level, &tables), level, rows);
            for row in db.read(statement).await? {
                let documents = (1..=documents.len()).map(|column| row.bytes(column).map(<[u8]>::to_vec));
                found.push(Candidate { row: row.int(0)?, documents: documents.collect::<Result<_, _>>()? });
            }
        }
        Ok(found)
    }

    /// The answers for rows, in their order.
    pub async fn named(&self, db: &Db, rows: &[i64]) -> Result<Vec<Found>, DbError> {
        let level = self.request.level;
        let mut found = HashMap::with_capacity(rows.len());
        for rows in rows.chunks(BATCH) {
            let from = from(level, &self.selected_tables());
            let statement = one_by_one("search_named", &self.selected(), &from, level, rows);
            for row in db.read(statement).await? {
                found.insert(row.int(0)?, self.found(row)?);
            }
        }
        Ok(rows.iter().filter_map(|row| found.remove(row)).collect())
    }

    /// The rows of the page are found in indexes alone where these reach; only then are they read.
    fn page_statement(&self) -> Statement {
        let mut condition = self.condition.clone();
        let rows = self.rows(&mut condition, i64::from(self.request.limit) + 1, self.request.offset);
        let (level, order) = (self.request.level, self.order());
        let mut tables = self.selected_tables();
        tables.extend(order.tables);
        let (table, joined) = (columns::table(level), from(level, &tables));
        let rest = joined.strip_prefix(table).unwrap_or_default();
        let sql = format!(
            "select {} from ({rows}) page join {table} on {table}.id = page.id{rest} order by {}",
            self.selected(),
            order.text
        );
        bind(Statement::named("search_page", sql), &condition.values)
    }

    fn rows(&self, condition: &mut Condition, limit: i64, offset: u32) -> String {
        let order = self.order();
        condition.tables.extend(order.tables);
        let (level, text) = (self.request.level, condition.text());
        let from = from(level, &condition.tables);
        // As a number: how many rows there will be decides the order of the joins around them.
        let offset = condition.parameter(i64::from(offset));
        let table = columns::table(level);
        let order = order.text;
        format!("select {table}.id as id from {from}{text} order by {order} limit {limit} offset {offset}")
    }

    /// Total, and the order of an index wherever the search is not narrow: the newest studies first,
    /// within a study or series by number.
    fn order(&self) -> Order {
        let request = self.request;
        let (tables, text): (&'static [Level], _) = match (request.level, &request.study, &request.series) {
            (Level::Patient, ..) => (&[], "patient.name_folded, patient.id"),
            (Level::Study, ..) => (&[], "study.study_date desc, study.id desc"),
            (Level::Series, None, _) => (&[], "series.study desc, series.series_number desc, series.id desc"),
            (Level::Series, Some(_), _) => (&[], "series.series_number, series.id"),
            (Level::Instance, _, Some(_)) => (&[], "instance.instance_number, instance.id"),
            (Level::Instance, Some(_), None) => {
                (&[Level::Series], "series.series_number, series.id, instance.instance_number, instance.id")
            }
            (Level::Instance, None, None) => (&[], "instance.study desc, instance.id desc"),
        };
        Order { tables, text }
    }

    /// The row, then the identifiers, the attributes and the stored JSON.
    fn selected(&self) -> String {
        let level = self.request.level;
        let row = format!("{}.id", columns::table(level));
        let mut selected: Vec<Cow<'static, str>> = vec![row.into()];
        selected.extend(columns::identifiers(level).iter().map(|&column| column.into()));
        let reach = &self.request.reach;
        selected.extend(self.columns.iter().map(|attribute| columns::expression(attribute.held, reach)));
        if self.request.include.needs_json() {
            selected.extend(columns::documents(level, reach));
        }
        selected.join(", ")
    }

    fn selected_tables(&self) -> BTreeSet<Level> {
        let mut tables: BTreeSet<Level> = self.columns.iter().map(|attribute| attribute.level).collect();
        match self.request.level {
            Level::Patient | Level::Study => {}
            Level::Series => tables.extend([Level::Study]),
            Level::Instance => tables.extend([Level::Study, Level::Series]),
        }
        tables
    }

    fn found(&self, mut row: Row) -> Result<Found, DbError> {
        let identifiers = columns::identifiers(self.request.level).len();
        let study = (identifiers > 0).then(|| row.parse(1, "a Study Instance UID")).transpose()?;
        let series = (identifiers > 1).then(|| row.parse(2, "a Series Instance UID")).transpose()?;
        let instance = (identifiers > 2).then(|| row.parse(3, "a SOP Instance UID")).transpose()?;
        let attributes = self.columns.iter().zip(identifiers + 1..);
        let values =
            attributes.map(|(&attribute, column)| Ok((attribute, cell(attribute.held, &mut row, column)?)));
        let values = values.collect::<Result<_, DbError>>()?;
        let first = 1 + identifiers + self.columns.len();
        let documents = match self.request.include.needs_json() {
            true => first..first + columns::documents(self.request.level, &self.request.reach).len(),
            false => 0..0,
        };
        Ok(Found {
            study,
            series,
            instance,
            values,
            json: documents.map(|column| row.bytes(column).map(<[u8]>::to_vec)).collect::<Result<_, _>>()?,
        })
    }
}

struct Order {
    tables: &'static [Level],
    text: &'static str,
}

fn cell(held: Held, row: &mut Row, column: usize) -> Result<Cell, DbError> {
    Ok(match held {
        Held::Number(_) => row.opt_int(column)?.map_or(Cell::Empty, Cell::Number),
        Held::Text(_) | Held::Name(_) => Cell::Text(row.take_text(column)?),
        Held::Element(_) => Cell::Element(row.take_text(column)?),
        Held::List(_) => {
            let items = row.text(column)?.split('\\').filter(|item| !item.is_empty());
            Cell::List(items.map(str::to_owned).collect())
        }
    })
}

/// What the path of the resource says, and the reach of who searches; of a patient, that there is a
/// study.
fn scope(request: &SearchRequest) -> Condition {
    let mut condition = Condition::of(request.reach.clone());
    if request.level == Level::Patient {
        let in_reach = groups::and_condition(&request.reach, "own.study_uid");
        condition.push(format!("exists (select 1 from study own where own.patient = patient.id{in_reach})"));
    } else if let Some(in_reach) = groups::condition(&request.reach, "study.study_uid") {
        condition.tables.insert(Level::Study);
        condition.push(in_reach);
    }
    if matches!(request.level, Level::Series | Level::Instance)
        && let Some(released) = groups::released(&request.reach, "series.series_uid")
    {
        condition.tables.insert(Level::Series);
        condition.push(released);
    }
    let Some(study) = &request.study else { return condition };
    let study = condition.parameter(study);
    let study = format!("(select own.id from study own where own.study_uid = {study})");
    let table = columns::table(request.level);
    match &request.series {
        None => condition.push(format!("{table}.study = {study}")),
        Some(series) => {
            let series = format!("own.study = {study} and own.series_uid = {}", condition.parameter(series));
            condition.push(format!("{table}.series = (select own.id from series own where {series})"));
        }
    }
    condition
}

/// The table of a level and those above it that are needed.
fn from(level: Level, tables: &BTreeSet<Level>) -> String {
    let needs = |other| other < level && tables.contains(&other);
    let mut from = columns::table(level).to_owned();
    if needs(Level::Series) {
        from.push_str(" join series on series.id = instance.series");
    }
    if needs(Level::Study) || (needs(Level::Patient) && level > Level::Study) {
        from.push_str(&format!(" join study on study.id = {}.study", columns::table(level)));
    }
    if needs(Level::Patient) {
        from.push_str(" join patient on patient.id = study.patient");
    }
    from
}

fn one_by_one(name: &'static str, selected: &str, from: &str, level: Level, rows: &[i64]) -> Statement {
    let parameters: Vec<String> = (1..=rows.len()).map(|number| format!("${number}")).collect();
    let table = columns::table(level);
    let sql = format!("select {selected} from {from} where {table}.id in ({})", parameters.join(", "));
    rows.iter().fold(Statement::named(name, sql), |statement, row| statement.bind(*row))
}

fn bind(statement: Statement, values: &[Value]) -> Statement {
    values.iter().cloned().fold(statement, Statement::bind)
}

/// PS3.18 Table 10.6.1-1: attributes of a level above come with the answer unless the resource
/// names the one parent; those below never do (10.6.3.3.1).
fn selects(request: &SearchRequest, attribute: &Attribute) -> bool {
    let own_level = match request.level {
        Level::Study => attribute.level <= Level::Study,
        level => attribute.level == level,
    };
    let named = request.include.names(attribute.tag);
    let wanted = attribute.returned != Returned::OnRequest || request.include.all || named;
    let in_reach = own_level || request.is_open_above(attribute.level) || named;
    let identifies = matches!(attribute.keyword, "StudyInstanceUID" | "SeriesInstanceUID");
    attribute.level <= request.level && ((in_reach && wanted) || identifies)
}
