//! Audit rows from before there was a chain: they are put in front of it, once.

use rusqlite::{Connection, TransactionBehavior};

use super::append;
use crate::db::audit::chain::INSERT;
use crate::db::{Statement, Value};

/// Rows that are moved in one transaction.
const PAGE: i64 = 10_000;

/// Does nothing where nothing is left.
pub(super) fn chain(connection: &mut Connection) -> rusqlite::Result<()> {
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let rows = page(&transaction)?;
        for (_, row) in &rows {
            append(&transaction, row)?;
        }
        let Some((last, _)) = rows.last() else { return Ok(()) };
        transaction.execute("delete from audit_unchained where sequence <= $1", [last])?;
        transaction.commit()?;
    }
}

/// Subjects had no kind; what was no failure was a success, with its own word for it.
fn page(connection: &Connection) -> rusqlite::Result<Vec<(i64, Statement)>> {
    let mut rows = connection.prepare(
        "select sequence, at, actor, action, study_uid, subject,
            case outcome when 'success' then 'success' when 'failures' then 'minor-failure'
                when 'undelivered' then 'minor-failure' when 'damaged' then 'error' else 'success' end,
            case when outcome = 'success' then detail else outcome || coalesce(': ' || detail, '') end
         from audit_unchained order by sequence limit $1",
    )?;
    let rows = rows.query_map([PAGE], |row| {
        let actor: String = row.get(2)?;
        let kind = if actor == "system" { "system" } else { "anonymous" };
        let text = |column: usize| row.get::<_, Option<String>>(column).map(Value::from);
        let subject = text(5)?;
        let object_kind = match subject {
            Value::Null => Value::Null,
            _ => Value::from("unknown"),
        };
        let statement = Statement::chained("append_audit", INSERT)
            .bind(row.get::<_, i64>(1)?)
            .bind(Value::Null)
            .bind(kind)
            .bind(Value::Null)
            .bind(actor)
            .bind("")
            .bind("none")
            .bind(Value::Null)
            .bind(Value::Null)
            .bind(text(3)?)
            .bind(text(4)?)
            .bind(object_kind)
            .bind(subject)
            .bind(text(6)?)
            .bind(Value::Null)
            .bind(text(7)?);
        Ok((row.get(0)?, statement))
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use rusqlite::OpenFlags;

    use super::super::{connect, migrations};
    use super::*;

    #[test]
    fn earlier_rows_stand_in_front_of_the_chain_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = connect(&dir.path().join("db"), OpenFlags::default()).unwrap();
        let runner = migrations::migrations::runner();
        runner.set_target(refinery::Target::Version(16)).run(&mut connection).unwrap();
        let old = "insert into audit (at, actor, action, subject, outcome, detail)
            values (1, 'system', 'decide-analysis', 'r', 'skipped', 'why'), (2, 'CT1', 'restore', null, 'success', null)";
        connection.execute(old, []).unwrap();
        migrations::migrations::runner().run(&mut connection).unwrap();
        chain(&mut connection).unwrap();
        let told =
            "select group_concat(sequence || actor_kind || outcome || coalesce(detail, '-')) from audit";
        let told: String = connection.query_row(told, [], |row| row.get(0)).unwrap();
        assert_eq!(told, "1systemsuccessskipped: why,2anonymoussuccess-");
        let left: i64 =
            connection.query_row("select count(*) from audit_unchained", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }
}
