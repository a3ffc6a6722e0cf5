//! The tables of the index as its own schema tells of them, for whoever takes an archive elsewhere:
//! a table that a migration adds goes along without being named anywhere.

use std::collections::{BTreeMap, BTreeSet};

use super::{Db, DbError, Row, Statement, Value};

/// What stays where it is, and why.
pub const STAYING: &[(&str, &str)] = &[
    ("refinery_schema_history", "each engine has its own"),
    ("archive", "a copy is an archive of its own"),
    ("migration", "it is about the way here"),
    ("migration_part", "it is about the way here"),
    ("audit_unchained", "emptied when the index is opened: its rows are in audit by then"),
];

/// Tables in which a new index has rows already.
pub const SEEDED: &[&str] = &["worklist_clock"];

/// A table and what is needed to read and fill it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    /// In alphabetical order: engines and versions have them in other ones.
    pub(super) columns: Vec<String>,
    /// Those of them whose values can be long.
    pub(super) long: Vec<String>,
    /// The primary key, in its order.
    pub(super) key: Vec<String>,
}

const COLUMNS: &str = "select m.name, c.name, upper(c.type) in ('TEXT', 'BLOB'), c.pk
     from sqlite_master m join pragma_table_info(m.name) c
     where m.type = 'table' and m.name not like 'sqlite!_%' escape '!' order by 1, 2";

const COLUMNS_ON_POSTGRES: &str = "select cast(t.relname as text), cast(c.attname as text),
        cast(cast(c.atttypid as regtype) as text) in ('text', 'bytea'),
        cast(coalesce(array_position(cast(k.conkey as int2[]), c.attnum), 0) as bigint)
     from pg_class t join pg_namespace n on n.oid = t.relnamespace
     join pg_attribute c on c.attrelid = t.oid and c.attnum > 0 and not c.attisdropped
     left join pg_constraint k on k.conrelid = t.oid and k.contype = 'p'
     where t.relkind = 'r' and n.nspname = current_schema() order by 1, 2";

const REFERENCES: &str =
    "select m.name, f.\"table\" from sqlite_master m join pragma_foreign_key_list(m.name) f
     where m.type = 'table'";

const REFERENCES_ON_POSTGRES: &str =
    "select cast(t.relname as text), cast(r.relname as text) from pg_constraint f
     join pg_class t on t.oid = f.conrelid join pg_class r on r.oid = f.confrelid
     join pg_namespace n on n.oid = t.relnamespace
     where f.contype = 'f' and n.nspname = current_schema()";

/// Every table of an archive, each behind those that its rows refer to.
///
/// # Errors
/// A table has no primary key, by which its rows would be found.
pub async fn tables(db: &Db) -> Result<Vec<Table>, DbError> {
    let columns = Statement::named("columns", COLUMNS).or_on_postgres(COLUMNS_ON_POSTGRES);
    let mut found = BTreeMap::new();
    for row in db.read(columns).await?.iter().filter(|row| travels(row)) {
        add(found.entry(row.text(0)?.to_owned()).or_insert_with(Vec::new), row)?;
    }
    let tables: Vec<Table> = found.into_iter().map(|(name, columns)| table(name, columns)).collect();
    match tables.iter().find(|table| table.key.is_empty()) {
        Some(table) => Err(DbError::Keyless(table.name.clone())),
        None => ordered(db, tables).await,
    }
}

fn travels(row: &Row) -> bool {
    STAYING.iter().all(|(name, _)| row.text(0).ok() != Some(*name))
}

/// Of one column: its name, whether it is long, its place in the key.
type Column = (String, bool, i64);

fn add(columns: &mut Vec<Column>, row: &Row) -> Result<(), DbError> {
    columns.push((row.text(1)?.to_owned(), row.int(2)? != 0, row.int(3)?));
    Ok(())
}

fn table(name: String, columns: Vec<Column>) -> Table {
    let mut key: Vec<&Column> = columns.iter().filter(|(.., place)| *place > 0).collect();
    key.sort_by_key(|(.., place)| *place);
    Table {
        key: key.into_iter().map(|(column, ..)| column.clone()).collect(),
        long: columns.iter().filter(|(_, is_long, _)| *is_long).map(|(column, ..)| column.clone()).collect(),
        columns: columns.into_iter().map(|(column, ..)| column).collect(),
        name,
    }
}

async fn ordered(db: &Db, mut waiting: Vec<Table>) -> Result<Vec<Table>, DbError> {
    let references = Statement::named("references", REFERENCES).or_on_postgres(REFERENCES_ON_POSTGRES);
    let mut references = pairs(&db.read(references).await?)?;
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_free = |table: &Table| references.iter().all(|(from, to)| *from != table.name || from == to);
        let Some(free) = waiting.iter().position(is_free) else {
            return Err(DbError::Keyless(waiting.swap_remove(0).name));
        };
        let table = waiting.remove(free);
        references.retain(|(_, to)| *to != table.name);
        ordered.push(table);
    }
    Ok(ordered)
}

fn pairs(rows: &[Row]) -> Result<BTreeSet<(String, String)>, DbError> {
    rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()))).collect()
}

/// Which migration of the schema the index has come to; none where there is no schema yet.
pub async fn schema_version(db: &Db) -> Result<Option<u32>, DbError> {
    let there =
        "select count(*) from sqlite_master where type = 'table' and name = 'refinery_schema_history'";
    let there = Statement::named("has_schema", there).or_on_postgres(
        "select count(*) from pg_class t join pg_namespace n on n.oid = t.relnamespace
         where t.relname = 'refinery_schema_history' and n.nspname = current_schema()",
    );
    if first_int(db, there).await? == Some(0) {
        return Ok(None);
    }
    let newest = "select cast(coalesce(max(version), 0) as bigint) from refinery_schema_history";
    let version = first_int(db, Statement::named("schema_version", newest)).await?;
    Ok(version.and_then(|version| u32::try_from(version).ok()))
}

pub(super) async fn first_int(db: &Db, statement: Statement) -> Result<Option<i64>, DbError> {
    db.read_one(statement).await?.map_or(Ok(None), |row| row.opt_int(0))
}

/// Names of columns with commas between.
pub(super) fn list(columns: &[String]) -> String {
    columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ")
}

/// A name as both engines read it; names are those of the schema.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The key of a row: where a reader goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Key(pub(super) Vec<Value>);

impl From<i64> for Key {
    fn from(number: i64) -> Self {
        Self(vec![Value::Int(number)])
    }
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self(vec![Value::from(name)])
    }
}

impl Key {
    /// A JSON list.
    pub fn to_text(&self) -> String {
        let values = self.0.iter().map(|value| match value {
            Value::Int(int) => (*int).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Bytes(bytes) => serde_json::json!({ "hex": crate::ids::hex(bytes) }),
            Value::Real(real) => serde_json::json!(real),
            Value::Null => serde_json::Value::Null,
        });
        serde_json::Value::from_iter(values).to_string()
    }

    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, DbError> {
        let bad = || DbError::Column { statement: "migration_part", column: 1, wanted: "a key" };
        let values: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|_| bad())?;
        values.iter().map(|value| read(value).ok_or_else(bad)).collect::<Result<_, _>>().map(Self)
    }
}

fn read(value: &serde_json::Value) -> Option<Value> {
    match value {
        serde_json::Value::String(text) => Some(Value::Text(text.clone())),
        serde_json::Value::Number(number) => number.as_i64().map(Value::Int),
        serde_json::Value::Object(bytes) => {
            let text = bytes.get("hex")?.as_str()?;
            let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
            let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok());
            bytes.collect::<Option<_>>().map(Value::Bytes)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn names(db: &Db) -> Vec<String> {
        tables(db).await.unwrap().into_iter().map(|table| table.name).collect()
    }

    #[tokio::test]
    async fn every_table_of_the_schema_goes_along_or_is_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::sqlite_for_test(dir.path());
        let all =
            "select name from sqlite_master where type = 'table' and name not like 'sqlite!_%' escape '!'";
        let all = db.read(Statement::named("all", all)).await.unwrap();
        let going = names(&db).await;
        for row in &all {
            let name = row.text(0).unwrap();
            let stays = STAYING.iter().any(|(staying, _)| *staying == name);
            assert!(going.iter().any(|table| table == name) != stays, "{name}");
        }
        assert_eq!(going.len() + STAYING.len(), all.len());
    }

    #[tokio::test]
    async fn both_engines_have_the_same_tables_with_the_same_columns_and_keys() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let by_name = async |db: &Db| {
            let mut tables = tables(db).await.unwrap();
            tables.sort_by(|a, b| a.name.cmp(&b.name));
            tables
        };
        let sqlite = by_name(&Db::sqlite_for_test(dir.path())).await;
        assert_eq!(by_name(&Db::for_test(other.path())).await, sqlite);
    }

    #[tokio::test]
    async fn rows_come_behind_those_that_they_refer_to() {
        let dir = tempfile::tempdir().unwrap();
        let names = names(&Db::for_test(dir.path())).await;
        let place = |name: &str| names.iter().position(|table| table == name).unwrap();
        assert!(place("patient") < place("study") && place("study") < place("series"));
        assert!(place("series") < place("instance") && place("analysis") < place("report"));
    }

    #[tokio::test]
    async fn a_new_index_is_empty_but_for_the_seeds() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        for table in tables(&db).await.unwrap() {
            let count = format!("select count(*) from {}", quoted(&table.name));
            let count = first_int(&db, Statement::named("count", count)).await.unwrap().unwrap();
            assert_eq!(count > 0, SEEDED.contains(&table.name.as_str()), "{}", table.name);
        }
        assert_eq!(schema_version(&db).await.unwrap(), Some(Db::newest_schema()));
    }

    /// Who takes an archive elsewhere takes the objects of all of them along (`integrity::held`,
    /// `deletions::kept_objects`, `integrity::passed_on`).
    #[tokio::test]
    async fn whatever_refers_to_objects_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let tables = tables(&Db::for_test(dir.path())).await.unwrap();
        let refers = |table: &&Table| table.columns.iter().any(|column| column.contains("blob"));
        let mut referring: Vec<&str> =
            tables.iter().filter(refers).map(|table| table.name.as_str()).collect();
        referring.sort_unstable();
        assert_eq!(referring, ["deleted_instance", "download", "instance", "upload_part"]);
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let key = Key(vec![Value::Int(-3), Value::Text("a\"b".to_owned()), Value::Bytes(vec![0, 255])]);
        assert_eq!(Key::parse(&key.to_text()).unwrap(), key);
        assert!(Key::parse("[1.5]").is_err() && Key::parse("{}").is_err() && Key::parse("").is_err());
    }
}
