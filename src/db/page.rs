//! Pages of a list by position, not by number: a page begins behind the values that its
//! predecessor ended with, so that a row that comes or goes meanwhile neither repeats nor hides
//! another.

use super::{Db, DbError, Row, Statement, Value, groups};
use crate::auth::Reach;

/// A column of the order. Never null, and the last one of an order is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub column: &'static str,
    pub descending: bool,
}

/// What is read of a list.
#[derive(Debug, Clone)]
pub struct Page {
    pub order: Vec<Key>,
    /// The values of `order` in the row behind which the page begins.
    pub after: Option<Vec<Value>>,
    pub limit: u32,
}

impl Page {
    /// The first rows by one column.
    pub fn first(column: &'static str, descending: bool, limit: u32) -> Self {
        Self { order: vec![Key { column, descending }], after: None, limit }
    }
}

/// Items of one page, where the next begins, and how many there are on all pages.
#[derive(Debug)]
pub struct Found<T> {
    pub items: Vec<T>,
    pub next: Option<Vec<Value>>,
    pub total: i64,
}

impl<T> Found<T> {
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Found<U> {
        Found { items: self.items.into_iter().map(make).collect(), next: self.next, total: self.total }
    }
}

/// Conditions that all hold, with their values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions {
    texts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// A condition without a value of its own.
    pub fn and(&mut self, text: impl Into<String>) {
        self.texts.push(text.into());
    }

    /// What the caller can see, `study` the expression of a Study Instance UID.
    pub fn and_reach(&mut self, reach: &Reach, study: &str) {
        groups::condition(reach, study).into_iter().for_each(|condition| self.and(condition));
    }

    /// A condition with one value, whose place is `{}`; it may stand there more than once.
    pub fn and_value(&mut self, text: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.texts.push(text.replace("{}", &format!("${}", self.values.len())));
    }

    /// Holds for any of the values; for none of them where there are none.
    pub fn and_any(&mut self, column: &str, values: impl IntoIterator<Item: Into<Value>>) {
        let places: Vec<String> = values.into_iter().map(|value| self.place(value.into())).collect();
        match places.is_empty() {
            true => self.and("1 = 0"),
            false => self.texts.push(format!("{column} in ({})", places.join(", "))),
        }
    }

    /// `begin`, then all of `within`, then a closing bracket: a condition on a statement of its own.
    pub fn and_where(&mut self, begin: &str, within: Self) {
        let shift = self.values.len();
        let count = within.values.len();
        let within_text = renumbered(&within.texts.join(" and "), shift, count);
        self.texts.push(format!("{begin}{within_text})"));
        self.values.extend(within.values);
    }

    /// The number of a value that comes next; for conditions that this type does not make.
    pub fn place(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// `where …`, or nothing.
    pub fn clause(&self) -> String {
        if self.texts.is_empty() { String::new() } else { format!(" where {}", self.texts.join(" and ")) }
    }

    pub fn bind(self, statement: Statement) -> Statement {
        self.values.into_iter().fold(statement, Statement::bind)
    }

    /// Behind a row: `(a, b) < ($1, $2)` where all columns run the same way, which an index
    /// follows; else column by column.
    fn behind(&mut self, order: &[Key], after: Vec<Value>) {
        let places: Vec<String> = after.into_iter().map(|value| self.place(value)).collect();
        let compare = |key: &Key| if key.descending { "<" } else { ">" };
        if order.windows(2).all(|pair| pair[0].descending == pair[1].descending) {
            let columns: Vec<&str> = order.iter().map(|key| key.column).collect();
            let sign = order.first().map_or(">", compare);
            self.and(format!("({}) {sign} ({})", columns.join(", "), places.join(", ")));
            return;
        }
        let one = |at: usize| {
            let equal =
                order[..at].iter().zip(&places).map(|(key, place)| format!("{} = {place}", key.column));
            let last = format!("{} {} {}", order[at].column, compare(&order[at]), places[at]);
            equal.chain([last]).collect::<Vec<_>>().join(" and ")
        };
        let any: Vec<String> = (0..order.len()).map(|at| format!("({})", one(at))).collect();
        self.and(format!("({})", any.join(" or ")));
    }
}

/// `$1` of a text that is put behind `shift` values.
fn renumbered(text: &str, shift: usize, count: usize) -> String {
    let one = |text: String, number: usize| {
        // The longer number first, so that `$1` does not find itself in `$12`.
        text.replace(&format!("${number}"), &format!("$\u{1}{}", number + shift))
    };
    (1..=count).rev().fold(text.to_owned(), one).replace('\u{1}', "")
}

/// What a list is made of.
#[derive(Debug)]
pub struct List<'a> {
    /// For errors and metrics: of the page and of the count.
    pub names: [&'static str; 2],
    pub columns: &'a str,
    /// Tables and joins.
    pub from: &'a str,
    /// Tables and joins that the conditions need; what is only shown is left out.
    pub counted_from: &'a str,
}

/// One page; `row` reads the columns of the list.
pub async fn read<T>(
    db: &Db,
    list: &List<'_>,
    conditions: Conditions,
    page: &Page,
    row: impl Fn(&Row) -> Result<T, DbError>,
) -> Result<Found<T>, DbError> {
    let total = count(db, list, conditions.clone()).await?;
    rows(db, list, conditions, page, row, (total, None)).await
}

/// One page of a list whose total is known. The rows are found first, by this key of a table and in
/// `counted_from` alone, before what is shown of them is read.
pub async fn rows<T>(
    db: &Db,
    list: &List<'_>,
    conditions: Conditions,
    page: &Page,
    row: impl Fn(&Row) -> Result<T, DbError>,
    (total, found_by): (i64, Option<&str>),
) -> Result<Found<T>, DbError> {
    if total == 0 {
        return Ok(Found { items: Vec::new(), next: None, total });
    }
    let mut rows = db.search(statement(list, conditions, page, found_by)).await?;
    let limit = page.limit as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let position = |row: &Row| row.values[row.values.len() - page.order.len()..].to_vec();
    let next = rows.last().filter(|_| more).map(position);
    Ok(Found { items: rows.iter().map(row).collect::<Result<_, _>>()?, next, total })
}

pub async fn count(db: &Db, list: &List<'_>, conditions: Conditions) -> Result<i64, DbError> {
    let sql = format!("select count(*) from {}{}", list.counted_from, conditions.clause());
    let statement = conditions.bind(Statement::named(list.names[1], sql));
    db.search(statement).await?.first().map_or(Ok(0), |row| row.int(0))
}

/// The columns of the list, then those of the order.
fn statement(list: &List<'_>, mut conditions: Conditions, page: &Page, found_by: Option<&str>) -> Statement {
    if let Some(after) = page.after.clone().filter(|after| after.len() == page.order.len()) {
        conditions.behind(&page.order, after);
    }
    let order: Vec<String> = page.order.iter().map(ordered).collect();
    let shown: Vec<&str> = page.order.iter().map(|key| key.column).collect();
    let (order, limit) = (order.join(", "), conditions.values.len() + 1);
    let rows = format!("{} order by {order} limit ${limit}", conditions.clause());
    let rows = match found_by {
        None => rows,
        Some(key) => {
            format!(" where {key} in (select {key} from {}{rows}) order by {order}", list.counted_from)
        }
    };
    let sql = format!("select {}, {} from {}{rows}", list.columns, shown.join(", "), list.from);
    conditions.bind(Statement::named(list.names[0], sql)).bind(page.limit.saturating_add(1))
}

fn ordered(key: &Key) -> String {
    format!("{}{}", key.column, if key.descending { " desc" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Batch;

    const LIST: List<'_> = List {
        names: ["numbers", "count_numbers"],
        columns: "tens, ones",
        from: "number",
        counted_from: "number",
    };

    async fn numbers(dir: &tempfile::TempDir, all: &[(i64, i64)]) -> Db {
        let db = Db::for_test(dir.path());
        let create = "create table number (tens bigint not null, ones bigint not null)";
        db.run(Batch::new().then(Statement::named("create", create))).await.unwrap();
        for (tens, ones) in all {
            add(&db, *tens, *ones).await;
        }
        db
    }

    async fn add(db: &Db, tens: i64, ones: i64) {
        let insert = Statement::named("insert", "insert into number values ($1, $2)").bind(tens).bind(ones);
        db.run(Batch::new().then(insert)).await.unwrap();
    }

    fn order(tens_descending: bool, ones_descending: bool) -> Vec<Key> {
        vec![
            Key { column: "tens", descending: tens_descending },
            Key { column: "ones", descending: ones_descending },
        ]
    }

    async fn page(db: &Db, order: &[Key], after: Option<Vec<Value>>) -> Found<(i64, i64)> {
        let page = Page { order: order.to_vec(), after, limit: 2 };
        let pair = |row: &Row| Ok((row.int(0)?, row.int(1)?));
        read(db, &LIST, Conditions::default(), &page, pair).await.unwrap()
    }

    #[tokio::test]
    async fn a_row_that_comes_meanwhile_repeats_and_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let db = numbers(&dir, &[(1, 1), (1, 2), (2, 1), (2, 2)]).await;
        let descending = order(true, true);
        let first = page(&db, &descending, None).await;
        assert_eq!((first.items, first.total), (vec![(2, 2), (2, 1)], 4));
        add(&db, 3, 1).await;
        let second = page(&db, &descending, first.next).await;
        assert_eq!((second.items, second.total), (vec![(1, 2), (1, 1)], 5));
        assert_eq!(second.next, None);
    }

    #[tokio::test]
    async fn columns_may_run_against_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let db = numbers(&dir, &[(1, 1), (1, 2), (2, 1), (2, 2)]).await;
        let mixed = order(true, false);
        let first = page(&db, &mixed, None).await;
        assert_eq!(first.items, [(2, 1), (2, 2)]);
        assert_eq!(page(&db, &mixed, first.next).await.items, [(1, 1), (1, 2)]);
    }

    #[test]
    fn a_statement_within_keeps_its_values() {
        let mut first = Conditions::default();
        first.and_value("a = {}", 1_i64);
        let mut second = Conditions::default();
        second.and_any("b", [2_i64, 3]);
        first.and_where("c in (select d from e where ", second);
        assert_eq!(first.clause(), " where a = $1 and c in (select d from e where b in ($2, $3))");
    }

    #[test]
    fn a_list_of_nothing_holds_for_nothing() {
        let mut conditions = Conditions::default();
        conditions.and_any("a", Vec::<i64>::new());
        assert_eq!(conditions.clause(), " where 1 = 0");
    }
}
