//! How far a collector has taken the trail.

use crate::clock::Timestamp;
use crate::db::{Batch, Db, DbError, Statement};

/// The last row that it took; 0 for one that took none.
pub async fn delivered(db: &Db, collector: &str) -> Result<i64, DbError> {
    let sql = "select through_sequence from audit_delivery where collector = $1";
    let row = db.read_one(Statement::named("audit_delivered", sql).bind(collector)).await?;
    row.map_or(Ok(0), |row| row.int(0))
}

pub async fn deliver(db: &Db, collector: &str, through: i64, now: Timestamp) -> Result<(), DbError> {
    let statement = Statement::named(
        "deliver_audit",
        "insert into audit_delivery (collector, through_sequence, updated_at) values ($1, $2, $3)
         on conflict (collector) do update
            set through_sequence = excluded.through_sequence, updated_at = excluded.updated_at",
    );
    db.run(Batch::new().then(statement.bind(collector).bind(through).bind(now))).await.map(drop)
}
