//! The search behind QIDO-RS and C-FIND: a typed request in, typed matches out.

use std::collections::{BTreeMap, HashMap};

use crate::db::{Db, DbError, Row, Statement, Value};
use crate::dicom::attributes::{ATTRIBUTES, Attribute, Held, Level, Matching, Returned};
use crate::query::request::{Match, Matcher, SearchRequest};
use crate::query::search::{Cell, Found, Page};

/// One page in a stable order: the newest studies first, then series and instances by number.
pub async fn search(db: &Db, request: &SearchRequest) -> Result<Page, DbError> {
    let plan = Plan::of(request);
    let rows = db.read(plan.page(request)).await?;
    let limit = request.limit as usize;
    let more = rows.len() > limit;
    let mut found = rows.iter().take(limit).map(|row| plan.found(row)).collect::<Result<Vec<_>, _>>()?;
    add_modalities(db, &mut found).await?;
    let remaining = if more { remaining(db, &plan, request).await? } else { 0 };
    Ok(Page { found, remaining })
}

async fn remaining(db: &Db, plan: &Plan, request: &SearchRequest) -> Result<u64, DbError> {
    let rows = db.read(plan.count()).await?;
    let total = rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(0);
    let behind = total - i64::from(request.offset) - i64::from(request.limit);
    Ok(u64::try_from(behind).unwrap_or(0))
}

/// The text of one search and the columns it selects.
struct Plan {
    level: Level,
    columns: Vec<&'static Attribute>,
    with_json: bool,
    condition: Condition,
}

/// `where` clauses and their values, numbered in the order of the text.
#[derive(Default, Clone)]
struct Condition {
    clauses: Vec<String>,
    values: Vec<Value>,
}

impl Condition {
    fn parameter(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    fn equals(&mut self, column: &str, value: impl Into<Value>) {
        let parameter = self.parameter(value);
        self.clauses.push(format!("{column} = {parameter}"));
    }

    fn any_of(&mut self, column: &str, items: &[String]) -> String {
        let parameters: Vec<String> = items.iter().map(|item| self.parameter(item.as_str())).collect();
        format!("{column} in ({})", parameters.join(", "))
    }

    fn text(&self) -> String {
        if self.clauses.is_empty() { String::new() } else { format!(" where {}", self.clauses.join(" and ")) }
    }
}

impl Plan {
    fn of(request: &SearchRequest) -> Self {
        let columns = ATTRIBUTES.iter().filter(|attribute| selects(request, attribute)).collect();
        let mut condition = Condition::default();
        if let Some(study) = &request.study {
            condition.equals("study.study_uid", study);
        }
        if let Some(series) = &request.series {
            condition.equals("series.series_uid", series);
        }
        for one in request.matches.iter().filter(|one| one.attribute.level <= request.level) {
            add_match(&mut condition, one);
        }
        Self { level: request.level, columns, with_json: request.include.needs_json(), condition }
    }

    fn page(&self, request: &SearchRequest) -> Statement {
        let mut condition = self.condition.clone();
        let (columns, from, text) = (self.selected().join(", "), self.from(), self.condition.text());
        let limit = condition.parameter(i64::from(request.limit) + 1);
        let offset = condition.parameter(i64::from(request.offset));
        let order = self.order();
        let sql =
            format!("select {columns} from {from}{text} order by {order} limit {limit} offset {offset}");
        bind_all(Statement::named("search_page", sql), condition.values)
    }

    fn count(&self) -> Statement {
        let sql = format!("select count(*) from {}{}", self.from(), self.condition.text());
        bind_all(Statement::named("search_count", sql), self.condition.values.clone())
    }

    fn from(&self) -> &'static str {
        match self.level {
            Level::Patient | Level::Study => "study join patient on patient.id = study.patient",
            Level::Series => {
                "series join study on study.id = series.study join patient on patient.id = study.patient"
            }
            Level::Instance => {
                "instance join series on series.id = instance.series join study on study.id = instance.study \
                 join patient on patient.id = study.patient"
            }
        }
    }

    fn order(&self) -> &'static str {
        match self.level {
            Level::Patient | Level::Study => "study.study_date desc, study.id desc",
            Level::Series => "study.id desc, series.series_number, series.id",
            Level::Instance => {
                "study.id desc, series.series_number, series.id, instance.instance_number, instance.id"
            }
        }
    }

    /// Identifiers first, then the attributes, then the stored JSON.
    fn selected(&self) -> Vec<&'static str> {
        let identifiers = ["study.study_uid", "series.series_uid", "instance.sop_instance_uid"];
        let json = ["study.attributes", "series.attributes", "instance.metadata"];
        let depth = self.depth();
        let mut selected: Vec<&str> = identifiers[..depth].to_vec();
        selected.extend(self.columns.iter().filter_map(|attribute| column_of(attribute)));
        if self.with_json {
            selected.extend(&json[..depth]);
        }
        selected
    }

    fn depth(&self) -> usize {
        match self.level {
            Level::Patient | Level::Study => 1,
            Level::Series => 2,
            Level::Instance => 3,
        }
    }

    fn found(&self, row: &Row) -> Result<Found, DbError> {
        let depth = self.depth();
        let mut values = BTreeMap::new();
        let mut position = depth;
        for &attribute in &self.columns {
            let cell = match attribute.held {
                Held::Text(_) => Cell::Text(row.text(position)?.to_owned()),
                Held::Number(_) => row.opt_int(position)?.map_or(Cell::Empty, Cell::Number),
                Held::Modalities | Held::Json => Cell::Empty,
            };
            position += usize::from(column_of(attribute).is_some());
            values.insert(attribute.tag, (attribute, cell));
        }
        Ok(Found {
            study: row.parse(0, "a Study Instance UID")?,
            series: (depth > 1).then(|| row.parse(1, "a Series Instance UID")).transpose()?,
            instance: (depth > 2).then(|| row.parse(2, "a SOP Instance UID")).transpose()?,
            values,
            json: self.json(row, position)?,
        })
    }

    fn json(&self, row: &Row, first: usize) -> Result<Vec<Vec<u8>>, DbError> {
        if !self.with_json {
            return Ok(Vec::new());
        }
        (first..first + self.depth()).map(|column| row.bytes(column).map(<[u8]>::to_vec)).collect()
    }
}

fn bind_all(statement: Statement, values: Vec<Value>) -> Statement {
    values.into_iter().fold(statement, Statement::bind)
}

fn column_of(attribute: &Attribute) -> Option<&'static str> {
    match attribute.held {
        Held::Text(column) | Held::Number(column) => Some(column),
        Held::Modalities | Held::Json => None,
    }
}

/// PS3.18 Table 10.6.1-1: attributes of a level above come with the answer unless the resource
/// names the one parent; those below never do (10.6.3.3.1).
fn selects(request: &SearchRequest, attribute: &Attribute) -> bool {
    let own_level = match request.level {
        Level::Patient | Level::Study => attribute.level <= Level::Study,
        level => attribute.level == level,
    };
    let parent_is_open = match attribute.level {
        Level::Patient | Level::Study => request.study.is_none(),
        Level::Series => request.series.is_none(),
        Level::Instance => false,
    };
    let wanted = attribute.returned != Returned::OnRequest || request.include.names(attribute.tag);
    let named = request.include.tags.contains(&attribute.tag);
    let in_reach = own_level || (attribute.level < request.level && (parent_is_open || named));
    let identifies = matches!(attribute.keyword, "StudyInstanceUID" | "SeriesInstanceUID");
    attribute.held != Held::Json && attribute.level <= request.level && ((in_reach && wanted) || identifies)
}

fn add_match(condition: &mut Condition, one: &Match) {
    let column = match (one.attribute.matching, column_of(one.attribute)) {
        (Matching::AnyModality, _) => return any_modality(condition, &one.matcher),
        (Matching::Name { folded }, _) => return any_group(condition, folded, &one.matcher),
        (_, Some(column)) => column,
        (_, None) => return,
    };
    match &one.matcher {
        Matcher::Single(value) if matches!(one.attribute.matching, Matching::Time) => {
            time_range(condition, column, Some(value), Some(value));
        }
        Matcher::Single(value) => condition.equals(column, value.as_str()),
        Matcher::Wildcard(pattern) => wildcard(condition, column, pattern),
        Matcher::List(items) => {
            let clause = condition.any_of(column, items);
            condition.clauses.push(clause);
        }
        Matcher::Range { from, to } => time_range(condition, column, from.as_deref(), to.as_deref()),
        Matcher::Number(number) => condition.equals(column, *number),
    }
}

/// A name matches by any of its groups.
fn any_group(condition: &mut Condition, folded: &str, matcher: &Matcher) {
    let (text, is_pattern) = match matcher {
        Matcher::Wildcard(pattern) => (escaped(pattern).replace('*', "%").replace('?', "_"), true),
        Matcher::Single(value) => (value.clone(), false),
        Matcher::List(_) | Matcher::Range { .. } | Matcher::Number(_) => return,
    };
    let columns = ["_folded", "_ideographic", "_phonetic"].map(|group| folded.replace("_folded", group));
    let clauses = columns.map(|column| {
        let parameter = condition.parameter(text.as_str());
        if is_pattern {
            format!("{column} like {parameter} escape '!'")
        } else {
            format!("{column} = {parameter}")
        }
    });
    condition.clauses.push(format!("({})", clauses.join(" or ")));
}

/// Wildcards ignore case: `like` does on one engine and not on the other, so both sides are
/// lowered.
fn wildcard(condition: &mut Condition, column: &str, pattern: &str) {
    let like = escaped(&pattern.to_lowercase()).replace('*', "%").replace('?', "_");
    let parameter = condition.parameter(like);
    condition.clauses.push(format!("lower({column}) like {parameter} escape '!'"));
}

fn escaped(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

/// A bound stands for all it begins: `to` = 1015 takes in 101559.9. `:` sorts behind the digits
/// and the point.
fn time_range(condition: &mut Condition, column: &str, from: Option<&str>, to: Option<&str>) {
    if let Some(from) = from {
        let parameter = condition.parameter(from);
        condition.clauses.push(format!("{column} >= {parameter}"));
    }
    if let Some(to) = to {
        let parameter = condition.parameter(format!("{to}:"));
        condition.clauses.push(format!("{column} <> '' and {column} < {parameter}"));
    }
}

fn any_modality(condition: &mut Condition, matcher: &Matcher) {
    let Matcher::List(items) = matcher else { return };
    let listed = condition.any_of("other.modality", items);
    condition.clauses.push(format!("study.id in (select other.study from series other where {listed})"));
}

async fn add_modalities(db: &Db, found: &mut [Found]) -> Result<(), DbError> {
    use dicom_dictionary_std::tags::MODALITIES_IN_STUDY;
    if !found.iter().any(|one| one.values.contains_key(&MODALITIES_IN_STUDY)) {
        return Ok(());
    }
    let by_study = modalities(db, found).await?;
    for one in found {
        let listed = by_study.get(one.study.as_str()).cloned().unwrap_or_default();
        if let Some((_, cell)) = one.values.get_mut(&MODALITIES_IN_STUDY) {
            *cell = Cell::List(listed);
        }
    }
    Ok(())
}

async fn modalities(db: &Db, found: &[Found]) -> Result<HashMap<String, Vec<String>>, DbError> {
    let mut condition = Condition::default();
    let mut uids: Vec<String> = found.iter().map(|one| one.study.to_string()).collect();
    uids.dedup();
    let listed = condition.any_of("study.study_uid", &uids);
    let sql = format!(
        "select distinct study.study_uid, series.modality from series join study on study.id = series.study \
         where {listed} and series.modality <> '' order by study.study_uid, series.modality"
    );
    let mut by_study: HashMap<String, Vec<String>> = HashMap::new();
    for row in db.read(bind_all(Statement::named("search_modalities", sql), condition.values)).await? {
        by_study.entry(row.text(0)?.to_owned()).or_default().push(row.text(1)?.to_owned());
    }
    Ok(by_study)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Batch, SqliteSettings};
    use crate::dicom::attributes;
    use crate::query::request::Include;

    struct Index {
        _dir: tempfile::TempDir,
        db: Db,
    }

    /// Two studies: CT with two series of A^Ann, and MR of Bo, described `50% done`.
    async fn index() -> Index {
        let dir = tempfile::tempdir().unwrap();
        let db =
            Db::open_sqlite(&dir.path().join("i.db"), SqliteSettings { readers: 1, group_max: 8 }).unwrap();
        let mut batch = Batch::new();
        for sql in ROWS {
            batch.push(Statement::named("row", *sql));
        }
        db.run(batch).await.unwrap();
        Index { _dir: dir, db }
    }

    const ROWS: &[&str] = &[
        "insert into patient values (1, '', 'P1', 'A^Ann=安', 'A^ANN', '19700101', 'F', 0, 0, '安', '', ' A ANN ', '', 1)",
        "insert into patient values (2, '', 'p_2', 'Bo', 'BO', '', '', 0, 0, '', '', ' BO ', ' P ', 1)",
        "insert into study values (1, 1, '1.1', '20260110', '101559.9', 'ACC1', '', 'Chest', '', '', x'00', 2, 2, 0, 0, 0, '', '', '', '', '', '\\CT\\SR\\', 1)",
        "insert into study values (2, 2, '1.2', '20260320', '', '', '', '50% done', '', '', x'01', 1, 1, 0, 0, 0, '', '', '', '', '', '\\MR\\', 1)",
        "insert into series values (1, 1, '1.1.1', 'CT', 1, '', '', '', '', x'02', 1, 0, 0, '', 1)",
        "insert into series values (2, 1, '1.1.2', 'SR', 2, '', '', '', '', x'02', 1, 0, 0, '', 1)",
        "insert into series values (3, 2, '1.2.1', 'MR', null, '', '', '', '', x'02', 1, 0, 0, '', 1)",
        "insert into instance values (1, 1, 1, '1.1.1.1', '1.5', '1.6', 1, 4, 4, 16, null, 'k', 1, x'', x'', x'', x'03', 's', '', 0)",
        "insert into instance values (2, 2, 1, '1.1.2.1', '1.5', '1.6', 1, null, null, null, null, 'l', 1, x'', x'', x'', x'03', 's', '', 0)",
    ];

    fn request(level: Level, keys: &[(&str, &str)]) -> SearchRequest {
        let key = |(keyword, value): &(&str, &str)| {
            let attribute = ATTRIBUTES.iter().find(|a| a.keyword == *keyword).unwrap();
            Match::parse(attribute, value).unwrap()
        };
        SearchRequest {
            level,
            study: None,
            series: None,
            matches: keys.iter().filter_map(key).collect(),
            include: Include::default(),
            limit: 10,
            offset: 0,
        }
    }

    /// Which studies match, by the last component of their UID.
    #[track_caller]
    fn studies(page: &Page) -> Vec<&str> {
        page.found.iter().map(|one| one.study.as_str().rsplit('.').next().unwrap()).collect()
    }

    async fn check(keys: &[(&str, &str)], expected: &[&str]) {
        let index = index().await;
        let page = search(&index.db, &request(Level::Study, keys)).await.unwrap();
        assert_eq!(studies(&page), expected, "{keys:?}");
    }

    #[tokio::test]
    async fn names_match_in_any_case_and_by_their_first_group() {
        check(&[("PatientName", "a^ann")], &["1"]).await;
        check(&[("PatientName", "*安")], &["1"]).await;
        check(&[("PatientName", "ann")], &[]).await;
    }

    #[tokio::test]
    async fn wildcards_are_the_only_special_characters_q7_q9() {
        check(&[("StudyDescription", "*50%*")], &["2"]).await;
        check(&[("StudyDescription", "*5%e*")], &[]).await;
        check(&[("PatientID", "p?2")], &["2"]).await;
        check(&[("PatientID", "P_")], &[]).await;
        check(&[("PatientID", "p1")], &[]).await;
    }

    #[tokio::test]
    async fn ranges_are_inclusive_and_never_match_the_empty_value_q12() {
        check(&[("StudyDate", "20260110-20260320")], &["2", "1"]).await;
        check(&[("StudyDate", "-20260110")], &["1"]).await;
        check(&[("StudyDate", "20260111-")], &["2"]).await;
        check(&[("StudyTime", "-1015")], &["1"]).await;
        check(&[("StudyTime", "1016-")], &[]).await;
    }

    #[tokio::test]
    async fn any_modality_matches_and_all_are_listed_q15() {
        let index = index().await;
        let page = search(&index.db, &request(Level::Study, &[("ModalitiesInStudy", "SR")])).await.unwrap();
        let listed = &page.found[0].values[&dicom_dictionary_std::tags::MODALITIES_IN_STUDY].1;
        assert_eq!(*listed, Cell::List(vec!["CT".into(), "SR".into()]));
        assert_eq!(page.found.len(), 1);
    }

    #[tokio::test]
    async fn pages_tell_what_is_behind_them_q16_q17() {
        let index = index().await;
        let mut request = request(Level::Series, &[]);
        request.limit = 1;
        let first = search(&index.db, &request).await.unwrap();
        assert_eq!((first.found.len(), first.remaining), (1, 2));
        request.offset = 2;
        let last = search(&index.db, &request).await.unwrap();
        assert_eq!((last.found.len(), last.remaining), (1, 0));
    }

    #[tokio::test]
    async fn attributes_of_levels_above_come_only_where_the_path_leaves_them_open_q26() {
        let index = index().await;
        let patient_id = dicom_dictionary_std::tags::PATIENT_ID;
        let mut request = request(Level::Instance, &[("PatientID", "P1")]);
        let open = search(&index.db, &request).await.unwrap();
        assert!(open.found.len() == 2 && open.found[0].values.contains_key(&patient_id));
        request.study = Some("1.1".parse().unwrap());
        request.series = Some("1.1.2".parse().unwrap());
        let named = search(&index.db, &request).await.unwrap();
        assert!(named.found.len() == 1 && !named.found[0].values.contains_key(&patient_id));
    }

    #[tokio::test]
    async fn every_attribute_can_be_selected_at_every_level() {
        let index = index().await;
        for level in [Level::Study, Level::Series, Level::Instance] {
            let mut request = request(level, &[]);
            request.include.all = true;
            let page = search(&index.db, &request).await.unwrap();
            assert_eq!(
                page.found[0].json.len(),
                page.found[0].series.iter().count() + page.found[0].instance.iter().count() + 1
            );
        }
        assert!(attributes::of_level(Level::Patient).count() > 5);
    }
}
