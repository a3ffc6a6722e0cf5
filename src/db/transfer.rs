//! Rows on their way from one index to another: read by pages of bounded size, written as they are,
//! and held against each other by digests that no engine and no order changes.

use std::ops::BitXorAssign;

use sha2::{Digest, Sha256};

use super::tables::{Key, SEEDED, Table, first_int, list, quoted};
use super::{Batch, Db, DbError, Row, Statement, Value, migration};

/// Rows of a page, and what their long values may come to; one row is taken however long it is.
const PAGE_ROWS: i64 = 500;
const PAGE_BYTES: i64 = 4 << 20;

/// Rows of one statement.
const TOGETHER: usize = 50;

/// Rows that are removed with one commit.
const REMOVED_AT_ONCE: i64 = 2000;

/// Some rows of a table in the order of its key.
pub struct Page {
    rows: Vec<Row>,
    /// Of the last row.
    pub last: Key,
}

impl Page {
    pub fn rows(&self) -> u64 {
        self.rows.len() as u64
    }
}

/// What comes behind a key, or from the beginning; nothing at the end.
pub async fn page(db: &Db, table: &Table, after: Option<&Key>) -> Result<Option<Page>, DbError> {
    let sizes = db.read(select(db, table, Wanted::Sizes, after, PAGE_ROWS)).await?;
    let rows = fitting(table, &sizes)?;
    if rows == 0 {
        return Ok(None);
    }
    let rows = db.read(select(db, table, Wanted::Values, after, rows)).await?;
    let last = rows.last().map(|row| key_of(table, row));
    Ok(last.map(|last| Page { rows, last }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// How long each row is.
    Sizes,
    Values,
}

fn select(db: &Db, table: &Table, wanted: Wanted, after: Option<&Key>, rows: i64) -> Statement {
    let (name, key) = (quoted(&table.name), list(&table.key));
    let columns = match wanted {
        Wanted::Sizes => size(db, table),
        Wanted::Values => list(&table.columns),
    };
    let places =
        |from: usize| (from..from + table.key.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
    let behind = after.map(|_| format!(" where ({key}) > ({})", places(1))).unwrap_or_default();
    let limit = after.map_or(1, |_| table.key.len() + 1);
    let sql = format!("select {columns} from {name}{behind} order by {key} limit ${limit}");
    let values = after.into_iter().flat_map(|key| key.0.iter().cloned());
    values.fold(Statement::named("page_of_table", sql), Statement::bind).bind(rows)
}

/// Of one row, in bytes or characters.
fn size(db: &Db, table: &Table) -> String {
    let length = if db.is_shared() { "octet_length" } else { "length" };
    let lengths = table.long.iter().map(|column| format!("coalesce({length}({}), 0)", quoted(column)));
    let sum = lengths.chain(["0".to_owned()]).collect::<Vec<_>>().join(" + ");
    format!("cast({sum} as bigint)")
}

/// How many of the rows go into one page.
fn fitting(table: &Table, sizes: &[Row]) -> Result<i64, DbError> {
    let (mut rows, mut bytes) = (0, 0_i64);
    for row in sizes {
        bytes = bytes.saturating_add(row.int(0)?);
        if rows > 0 && bytes > PAGE_BYTES {
            tracing::trace!(table = table.name, rows, "a page is shorter than others");
            break;
        }
        rows += 1;
    }
    Ok(rows)
}

fn key_of(table: &Table, row: &Row) -> Key {
    let place = |column: &String| table.columns.iter().position(|other| other == column);
    let value = |column| place(column).and_then(|place| row.values.get(place)).cloned();
    Key(table.key.iter().map(|column| value(column).unwrap_or(Value::Null)).collect())
}

/// Writes a page into a table that lacks its rows, and how far the table has come, with one commit.
pub async fn fill(db: &Db, table: &Table, page: Page) -> Result<(), DbError> {
    let mut batch = Batch::new();
    let (last, mut rows) = (page.last, page.rows);
    while !rows.is_empty() {
        let together = if rows.len() < TOGETHER { 1 } else { TOGETHER };
        let rest = rows.split_off(together);
        batch = batch.then_exactly(together, insert(table, rows));
        rows = rest;
    }
    db.run(silently(db, table, batch.then(migration::reached(&table.name, &last)))).await.map(drop)
}

fn insert(table: &Table, rows: Vec<Row>) -> Statement {
    let width = table.columns.len();
    let row = |n: usize| {
        let places = (n * width..(n + 1) * width).map(|place| format!("${}", place + 1));
        format!("({})", places.collect::<Vec<_>>().join(", "))
    };
    let places = (0..rows.len()).map(row).collect::<Vec<_>>().join(", ");
    let sql = format!("insert into {} ({}) values {places}", quoted(&table.name), list(&table.columns));
    let values = rows.into_iter().flat_map(|row| row.values);
    values.fold(Statement::named("fill_table", sql), Statement::bind)
}

/// Without what triggers would do: their rows are on their way, too. Of SQLite the whole connection
/// does without them (`Db::open_sqlite_to_fill`).
fn silently(db: &Db, table: &Table, batch: Batch) -> Batch {
    if !db.is_shared() {
        return batch;
    }
    let name = quoted(&table.name);
    let alter = |what| Statement::named("triggers", format!("alter table {name} {what} trigger user"));
    let mut silent = Batch::new().then(alter("disable"));
    silent.append(batch);
    silent.then(alter("enable"))
}

/// Whether a table has rows that no new index has.
pub async fn is_empty(db: &Db, table: &Table) -> Result<bool, DbError> {
    if SEEDED.contains(&table.name.as_str()) {
        return Ok(true);
    }
    let any = format!("select count(*) from (select 1 from {} limit 1) found", quoted(&table.name));
    Ok(first_int(db, Statement::named("any_row", any)).await? == Some(0))
}

/// Removes every row.
pub async fn empty(db: &Db, table: &Table) -> Result<(), DbError> {
    let (name, key) = (quoted(&table.name), list(&table.key));
    let sql = format!("delete from {name} where ({key}) in (select {key} from {name} limit $1)");
    loop {
        let delete = Statement::named("empty_table", sql.clone()).bind(REMOVED_AT_ONCE);
        let effects = db.run(silently(db, table, Batch::new().then(delete))).await?;
        if effects.iter().all(|effect| effect.affected == 0) {
            return Ok(());
        }
    }
}

/// What is in a table: equal contents are equal, whatever the engine and the order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    pub rows: u64,
    /// Of the digests of all rows, each of which is there once, since each has its key.
    sum: [u8; 32],
}

impl Contents {
    fn add(&mut self, table: &Table, row: &Row) {
        self.rows += 1;
        let digest: [u8; 32] = digest(table, row).into();
        self.sum.iter_mut().zip(digest).for_each(|(sum, byte)| sum.bitxor_assign(byte));
    }
}

fn digest(table: &Table, row: &Row) -> sha2::digest::Output<Sha256> {
    let mut digest = Sha256::new();
    for (column, value) in table.columns.iter().zip(&row.values) {
        part(&mut digest, b'c', column.as_bytes());
        match value {
            Value::Null => part(&mut digest, b'n', &[]),
            Value::Int(int) => part(&mut digest, b'i', &int.to_be_bytes()),
            Value::Real(real) => part(&mut digest, b'r', &real.to_bits().to_be_bytes()),
            // as PostgreSQL holds it
            Value::Text(text) => part(&mut digest, b't', text.replace('\0', " ").as_bytes()),
            Value::Bytes(bytes) => part(&mut digest, b'b', bytes),
        }
    }
    digest.finalize()
}

fn part(digest: &mut Sha256, kind: u8, bytes: &[u8]) {
    digest.update([kind]);
    digest.update((bytes.len() as u64).to_be_bytes());
    digest.update(bytes);
}

/// Reads all of a table, and tells of rows as they come.
pub async fn contents(db: &Db, table: &Table, mut tell: impl FnMut(u64)) -> Result<Contents, DbError> {
    let (mut contents, mut after) = (Contents::default(), None);
    while let Some(page) = page(db, table, after.as_ref()).await? {
        page.rows.iter().for_each(|row| contents.add(table, row));
        tell(page.rows());
        after = Some(page.last);
    }
    Ok(contents)
}

/// How many rows a table has.
pub async fn count(db: &Db, table: &Table) -> Result<u64, DbError> {
    let sql = format!("select count(*) from {}", quoted(&table.name));
    Ok(first_int(db, Statement::named("count_of_table", sql)).await?.unwrap_or(0).unsigned_abs())
}

/// The highest number that a table has ever given to a row by itself; none where it gives none, or
/// gives those of its last rows again.
pub async fn highest_number(db: &Db, table: &Table) -> Result<Option<i64>, DbError> {
    let Some(counter) = counter(db, table).await? else { return Ok(None) };
    let given = if db.is_shared() {
        let sql =
            format!("select case when is_called then last_value else last_value - 1 end from {counter}");
        Statement::named("highest", sql)
    } else {
        Statement::named("highest", "select seq from sqlite_sequence where name = $1").bind(counter)
    };
    Ok(Some(first_int(db, given).await?.unwrap_or(0)))
}

/// New rows get numbers behind this one.
pub async fn go_on_behind(db: &Db, table: &Table, number: i64) -> Result<(), DbError> {
    let Some(counter) = counter(db, table).await? else { return Ok(()) };
    if number < 1 {
        return Ok(());
    }
    let batch = if db.is_shared() {
        let sql = "select setval(cast($1 as text)::regclass, $2)";
        Batch::new().then(Statement::named("go_on", sql).bind(counter).bind(number))
    } else {
        let forget = Statement::named("forget_number", "delete from sqlite_sequence where name = $1");
        let insert = "insert into sqlite_sequence (name, seq) values ($1, $2)";
        let insert = Statement::named("go_on", insert).bind(counter.as_str()).bind(number);
        Batch::new().then(forget.bind(counter.as_str())).then(insert)
    };
    db.run(batch).await.map(drop)
}

/// What gives the numbers: of SQLite the name of the table, of PostgreSQL that of a sequence.
async fn counter(db: &Db, table: &Table) -> Result<Option<String>, DbError> {
    let [column] = table.key.as_slice() else { return Ok(None) };
    let sql =
        "select name from sqlite_master where type = 'table' and name = $1 and sql like '%autoincrement%'
        and $2 <> ''";
    let statement = Statement::named("counter", sql)
        .or_on_postgres("select pg_get_serial_sequence(quote_ident($1), $2)")
        .bind(table.name.as_str())
        .bind(column.as_str());
    let found = db.read_one(statement).await?;
    Ok(found.as_ref().map_or(Ok(None), |row| row.opt_text(0))?.map(str::to_owned))
}

/// The highest key of a table that has one number as its key.
pub async fn highest_key(db: &Db, table: &Table) -> Result<Option<i64>, DbError> {
    let [column] = table.key.as_slice() else { return Ok(None) };
    if table.long.contains(column) {
        return Ok(None);
    }
    let sql = format!("select max({}) from {}", quoted(column), quoted(&table.name));
    first_int(db, Statement::named("highest_key", sql)).await
}

#[cfg(test)]
mod tests;
