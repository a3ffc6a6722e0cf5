//! Which archive this is, and the archive that is on its way here.

use super::tables::Key;
use super::{Batch, Db, DbError, Row, Statement, Value};
use crate::clock::Timestamp;
use crate::ids;

/// The name of the archive, made when it is first asked for.
pub async fn identity(db: &Db) -> Result<String, DbError> {
    let known = || Statement::named("identity", "select id from archive where one = 1");
    if let Some(row) = db.read_one(known()).await? {
        return row.text(0).map(str::to_owned);
    }
    let insert = "insert into archive (one, id) values (1, $1) on conflict (one) do nothing";
    db.run(Batch::new().then(Statement::named("name_archive", insert).bind(ids::row_id()))).await?;
    let row = db.read_one(known()).await?;
    row.ok_or(DbError::Column { statement: "identity", column: 0, wanted: "a row" })?
        .text(0)
        .map(str::to_owned)
}

/// Gives it another name.
pub fn becomes(id: &str) -> Statement {
    let sql = "insert into archive (one, id) values (1, $1) on conflict (one) do update set id = excluded.id";
    Statement::named("rename_archive", sql).bind(id)
}

/// An archive that is on its way here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Id of the archive that it comes from.
    pub archive: String,
    /// Id that it has here in the end.
    pub becomes: String,
    /// Where it goes from and to, without credentials.
    pub route: String,
    /// Hash of the last audit row there, when it was last looked at.
    pub head: Vec<u8>,
}

/// None where none is on its way, or all of it is here.
pub async fn unfinished(db: &Db) -> Result<Option<Migration>, DbError> {
    let sql = "select archive, becomes, route, head from migration";
    db.read_one(Statement::named("migration", sql)).await?.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<Migration, DbError> {
    Ok(Migration {
        archive: row.text(0)?.to_owned(),
        becomes: row.text(1)?.to_owned(),
        route: row.text(2)?.to_owned(),
        head: row.bytes(3)?.to_vec(),
    })
}

/// From here on this is what an archive is on its way to.
pub fn begin(migration: &Migration, now: Timestamp) -> Batch {
    let sql = "insert into migration (archive, becomes, route, head, begun_at) values ($1, $2, $3, $4, $5)";
    let Migration { archive, becomes, route, head } = migration.clone();
    let row = Statement::named("begin_migration", sql).bind(archive).bind(becomes).bind(route);
    Batch::new().then(row.bind(head).bind(now))
}

/// All of it is to be looked at anew, since there it has changed.
pub fn begin_again(head: &[u8]) -> Batch {
    let head = Statement::named("migrate_again", "update migration set head = $1").bind(head.to_vec());
    Batch::new().then(Statement::named("forget_parts", "delete from migration_part")).then(head)
}

/// All of it is here, under its new name.
pub fn finish(becomes_id: &str) -> Batch {
    Batch::new()
        .then(becomes(becomes_id))
        .then(Statement::named("forget_parts", "delete from migration_part"))
        .then(Statement::named("end_migration", "delete from migration"))
}

/// A part has come as far as a row.
pub fn reached(part: &str, last: &Key) -> Statement {
    let sql = "insert into migration_part (part, last) values ($1, $2)
        on conflict (part) do update set last = excluded.last";
    Statement::named("migration_part", sql).bind(part).bind(last.to_text())
}

/// How far a part has come; none at the beginning.
pub async fn last(db: &Db, part: &str) -> Result<Option<Key>, DbError> {
    let sql = "select last from migration_part where part = $1";
    let row = db.read_one(Statement::named("last_of_part", sql).bind(part)).await?;
    row.map(|row| Key::parse(row.text(0)?)).transpose()
}

/// As [`last`], of a part whose rows have numbers; 0 at the beginning.
pub async fn last_number(db: &Db, part: &str) -> Result<i64, DbError> {
    match last(db, part).await?.as_ref().map(|key| key.0.as_slice()) {
        Some([Value::Int(number)]) => Ok(*number),
        _ => Ok(0),
    }
}

/// As [`last`], of a part whose rows have names; empty at the beginning.
pub async fn last_name(db: &Db, part: &str) -> Result<String, DbError> {
    match last(db, part).await?.as_ref().map(|key| key.0.as_slice()) {
        Some([Value::Text(name)]) => Ok(name.clone()),
        _ => Ok(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_archive_keeps_its_name_until_it_gets_another() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        let first = identity(&db).await.unwrap();
        assert_eq!((first.len(), identity(&db).await.unwrap()), (36, first));
        db.run(Batch::new().then(becomes("another"))).await.unwrap();
        assert_eq!(identity(&db).await.unwrap(), "another");
    }

    #[tokio::test]
    async fn a_migration_is_known_until_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        let text = |text: &str| text.to_owned();
        let begun = Migration { archive: text("a"), becomes: text("b"), route: text("x"), head: vec![7] };
        db.run(begin(&begun, Timestamp(1))).await.unwrap();
        for number in [5, 9] {
            db.run(Batch::new().then(reached("objects", &Key::from(number)))).await.unwrap();
        }
        db.run(Batch::new().then(reached("files", &Key::from("a/b")))).await.unwrap();
        assert_eq!(unfinished(&db).await.unwrap(), Some(begun));
        assert_eq!(
            (last_number(&db, "objects").await.unwrap(), last_number(&db, "x").await.unwrap()),
            (9, 0)
        );
        assert_eq!(last_name(&db, "files").await.unwrap(), "a/b");
        db.run(begin_again(&[8])).await.unwrap();
        assert_eq!(last_number(&db, "objects").await.unwrap(), 0);
        db.run(finish("b")).await.unwrap();
        assert_eq!((unfinished(&db).await.unwrap(), identity(&db).await.unwrap()), (None, text("b")));
    }
}
