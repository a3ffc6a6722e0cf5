//! The search behind QIDO-RS and C-FIND: a typed request in, rows of a level out, in an order that is
//! the same for every page.

mod columns;
mod condition;
mod places;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use self::condition::{Condition, Told};
use self::places::Place;
pub use self::places::{Places, Version};
use crate::auth::Reach;
use crate::db::{Db, DbError, Row, Statement, Value, groups};
use crate::dicom::attributes::{ATTRIBUTES, Attribute, Held, Level, Returned};
use crate::query::request::{Key, SearchRequest};
use crate::query::search::{Cell, Found};

/// Rows that are named one by one in a statement.
const BATCH: usize = 256;

/// Read with the rows, so that it is theirs. Sequences become visible in their order.
const VERSION: &str = "(select coalesce(max(change.sequence), 0) from change)";

/// What SQL can do of a search.
pub struct Plan<'r> {
    request: &'r SearchRequest,
    condition: Condition,
    columns: Vec<&'static Attribute>,
    residual: Vec<Key>,
}

/// Rows of one page.
pub struct Rows {
    pub found: Vec<Found>,
    /// Whether there are matches behind them.
    pub more: bool,
    /// Of nothing where nothing was found.
    version: Option<Version>,
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

    /// The page that the request names.
    pub async fn page(&self, db: &Db, places: &Places) -> Result<Rows, DbError> {
        let search = self.identity();
        let place = search.as_ref().and_then(|search| places.before(search, self.request.offset));
        let mut rows = db.search(self.page_statement(place.as_ref())).await?;
        if place.is_some_and(|place| self.version(&rows) != Some(place.version)) {
            rows = db.search(self.page_statement(None)).await?;
        }
        let (version, limit) = (self.version(&rows), self.request.limit as usize);
        if let (Some(search), Some(version)) = (&search, version) {
            self.learn(places, search, version, &rows);
        }
        let more = rows.len() > limit;
        let found = rows.into_iter().take(limit).map(|row| self.found(row)).collect::<Result<_, _>>()?;
        Ok(Rows { found, more, version })
    }

    /// How many matches there are, on whatever page; `page` is one of them.
    pub async fn count(&self, db: &Db, places: &Places, page: &Rows) -> Result<u64, DbError> {
        let search = self.identity();
        let known = search.as_ref().zip(page.version);
        if let Some(matches) = known.and_then(|(search, version)| places.matches(search, version)) {
            return Ok(matches);
        }
        let from = from(self.request.level, &self.condition.tables);
        let sql = format!("select count(*), {VERSION} from {from}{}", self.condition.text());
        let row = db.search(bind(Statement::named("search_count", sql), &self.condition.values)).await?;
        let Some(row) = row.first() else { return Ok(0) };
        let matches = u64::try_from(row.int(0)?).unwrap_or(0);
        if let Some(search) = search {
            places.learn_matches(&search, row.int(1)?, matches);
        }
        Ok(matches)
    }

    /// The same for those who ask the same. Of who sees a part nothing is kept: who is in which group
    /// is no change of the archive.
    fn identity(&self) -> Option<String> {
        let request = self.request;
        let condition = &self.condition;
        (request.reach == Reach::Everything).then(|| {
            let from = from(request.level, &condition.tables);
            format!("{from}{} {} {:?}", condition.text(), self.order().text, condition.values)
        })
    }

    /// Where this page begins, and the next one: its first row was read as well.
    fn learn(&self, places: &Places, search: &str, version: Version, rows: &[Row]) {
        let Some(last) = self.order().place.map(|place| place.columns.len() + 1) else { return };
        for (offset, row) in [(0, rows.first()), (self.request.limit, rows.get(self.request.limit as usize))]
        {
            let Some(key) = row.and_then(|row| row.last(last)).and_then(|end| end.split_last()) else {
                continue;
            };
            let offset = self.request.offset.saturating_add(offset);
            places.learn(search, Place { version, offset, key: key.1.to_vec() });
        }
    }

    fn version(&self, rows: &[Row]) -> Option<Version> {
        match rows.first()?.last(1)? {
            [Value::Int(version)] => Some(*version),
            _ => None,
        }
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

    /// The rows of the page are found in indexes alone where these reach; only then are they read. Behind
    /// the columns of an answer stand those of its place, and the version.
    fn page_statement(&self, place: Option<&Place>) -> Statement {
        let mut condition = self.condition.clone();
        let offset = self.request.offset - place.map_or(0, |place| place.offset);
        if let (Some(place), Some(by)) = (place, self.order().place) {
            condition.push_place(&by.columns.join(", "), by.follows, &place.key);
        }
        let rows = self.rows(&mut condition, i64::from(self.request.limit) + 1, offset);
        let (level, order) = (self.request.level, self.order());
        let mut tables = self.selected_tables();
        tables.extend(order.tables);
        let (table, joined) = (columns::table(level), from(level, &tables));
        let rest = joined.strip_prefix(table).unwrap_or_default();
        let mut selected = self.selected();
        for column in order.place.iter().flat_map(|place| place.columns) {
            selected.push_str(", ");
            selected.push_str(column);
        }
        let sql = format!(
            "select {selected}, {VERSION} from ({rows}) page join {table} on {table}.id = page.id{rest} order by {}",
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
        // Numbers of series and instances may be absent, and nothing compares with those.
        let place = match (request.level, &request.study) {
            (Level::Patient, _) => {
                Some(ByColumns { columns: ["patient.name_folded", "patient.id"], follows: ">=" })
            }
            (Level::Study, _) => Some(ByColumns { columns: ["study.study_date", "study.id"], follows: "<=" }),
            (Level::Instance, None) => {
                Some(ByColumns { columns: ["instance.study", "instance.id"], follows: "<=" })
            }
            _ => None,
        };
        Order { tables, text, place }
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
    /// Where a row can be found again by its values, and what follows it.
    place: Option<ByColumns>,
}

struct ByColumns {
    columns: [&'static str; 2],
    follows: &'static str,
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
