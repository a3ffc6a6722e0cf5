//! Storage commitment in SQL: transactions and their references, in both directions.

use super::page::{self, Conditions, Found, List, Page};
use super::{Batch, Db, DbError, Row, Statement};
use crate::clock::Timestamp;
use crate::dicom::commitment::Reference;
use crate::dicom::uid::TransactionUid;

/// Who commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// We, to a node that asked.
    Given,
    /// A node, to us who asked.
    Asked,
}

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Given: to be looked at.
    Accepted,
    /// Given: looked at, and not reported.
    Checked,
    /// The report has been confirmed by its receiver: by the node, or by us.
    Reported,
    /// Given: the node could not be reached; the report is kept until it asks again.
    Undelivered,
    /// Asked: the node has not yet answered the request.
    Asking,
    /// Asked: the node has accepted the request and will report.
    Awaited,
    /// Asked: the node has not accepted the request, or could not be reached.
    Refused,
}

const STATES: [(State, &str); 7] = [
    (State::Accepted, "accepted"),
    (State::Checked, "checked"),
    (State::Reported, "reported"),
    (State::Undelivered, "undelivered"),
    (State::Asking, "asking"),
    (State::Awaited, "awaited"),
    (State::Refused, "refused"),
];

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Asked => "asked",
        }
    }
}

impl State {
    pub fn as_str(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }

    fn named(name: &str) -> Option<Self> {
        STATES.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    pub id: String,
    pub direction: Direction,
    pub transaction: TransactionUid,
    /// Who asked us, or whom we asked.
    pub peer_aet: String,
    pub state: State,
    /// Why it is not further, for people.
    pub reason: Option<String>,
    pub asked_at: Timestamp,
}

/// A reference and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referenced {
    pub reference: Reference,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Not yet, or never said.
    Unknown,
    Committed,
    /// With its Failure Reason (0008,1197).
    Failed(u16),
}

/// Rows that one sweep of old transactions takes away.
const FORGOTTEN_AT_ONCE: i64 = 100;

pub fn insert(commitment: &Commitment, references: &[Reference]) -> Batch {
    let statement = Statement::named(
        "insert_commitment",
        "insert into commitment (id, direction, transaction_uid, peer_aet, state, reason, asked_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)",
    )
    .bind(commitment.id.as_str())
    .bind(commitment.direction.as_str())
    .bind(&commitment.transaction)
    .bind(commitment.peer_aet.as_str())
    .bind(commitment.state.as_str())
    .bind(commitment.reason.as_deref())
    .bind(commitment.asked_at);
    let mut batch = Batch::new().then(statement);
    for (ordinal, reference) in (0_i64..).zip(references) {
        let statement = Statement::named(
            "insert_commitment_instance",
            "insert into commitment_instance (commitment, ordinal, sop_class_uid, sop_instance_uid)
             values ($1, $2, $3, $4)",
        );
        let statement = statement.bind(commitment.id.as_str()).bind(ordinal);
        batch.push(statement.bind(&reference.sop_class).bind(&reference.sop_instance));
    }
    batch
}

/// Transactions that nobody has touched since `before` are forgotten, some at a time.
pub fn forget(before: Timestamp) -> Statement {
    Statement::named(
        "forget_commitments",
        "delete from commitment where id in
            (select id from commitment where updated_at < $1 order by updated_at limit $2)",
    )
    .bind(before)
    .bind(FORGOTTEN_AT_ONCE)
}

/// From one of the states to another; fails when it is in none of them.
pub fn advance(id: &str, from: &[State], to: State, reason: Option<&str>, now: Timestamp) -> Batch {
    let from: Vec<String> = from.iter().map(|state| format!("'{}'", state.as_str())).collect();
    let statement = Statement::named(
        "advance_commitment",
        format!(
            "update commitment set state = $1, reason = $2, updated_at = $3 where id = $4 and state in ({})",
            from.join(", ")
        ),
    );
    let statement = statement.bind(to.as_str()).bind(reason).bind(now).bind(id);
    Batch::new().then_exactly(1, statement)
}

/// Why it is not yet further.
pub fn explain(id: &str, reason: &str, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "explain_commitment",
        "update commitment set reason = $1, updated_at = $2 where id = $3",
    );
    Batch::new().then(statement.bind(reason).bind(now).bind(id))
}

/// Adds what became of the references: the same of all but the exceptions, which are named by their
/// position.
pub fn and_outcomes(mut batch: Batch, id: &str, all: Outcome, exceptions: &[(usize, Outcome)]) -> Batch {
    let statement = Statement::named(
        "set_commitment_outcomes",
        "update commitment_instance set outcome = $1 where commitment = $2",
    );
    batch.push(statement.bind(all.column()).bind(id));
    for (ordinal, outcome) in exceptions {
        let statement = Statement::named(
            "set_commitment_outcome",
            "update commitment_instance set outcome = $1 where commitment = $2 and ordinal = $3",
        );
        let ordinal = i64::try_from(*ordinal).unwrap_or(i64::MAX);
        batch.push(statement.bind(outcome.column()).bind(id).bind(ordinal));
    }
    batch
}

impl Outcome {
    fn column(self) -> Option<i64> {
        match self {
            Self::Unknown => None,
            Self::Committed => Some(0),
            Self::Failed(reason) => Some(reason.into()),
        }
    }

    fn of_column(column: Option<i64>) -> Self {
        match column {
            None => Self::Unknown,
            Some(0) => Self::Committed,
            Some(reason) => Self::Failed(u16::try_from(reason).unwrap_or(u16::MAX)),
        }
    }
}

const COLUMNS: &str = "id, direction, transaction_uid, peer_aet, state, reason, asked_at";

pub async fn one(db: &Db, id: &str) -> Result<Option<Commitment>, DbError> {
    let sql = format!("select {COLUMNS} from commitment where id = $1");
    let row = db.look_up_one(Statement::named("commitment", sql).bind(id)).await?;
    row.map(|row| commitment(&row)).transpose()
}

/// The last transactions with this UID, newest first.
pub async fn of_transaction(
    db: &Db,
    direction: Direction,
    transaction: &TransactionUid,
) -> Result<Vec<Commitment>, DbError> {
    let sql = format!(
        "select {COLUMNS} from commitment where transaction_uid = $1 and direction = $2 order by id desc limit 10"
    );
    let statement = Statement::named("commitments_of_transaction", sql);
    let rows = db.look_up(statement.bind(transaction).bind(direction.as_str())).await?;
    rows.iter().map(commitment).collect()
}

const LIST: List<'_> = List {
    names: ["commitments", "count_commitments"],
    columns: COLUMNS,
    from: "commitment",
    counted_from: "commitment",
};

pub async fn list(db: &Db, page: &Page) -> Result<Found<Commitment>, DbError> {
    page::read(db, &LIST, Conditions::default(), page, commitment).await
}

/// Transactions that we have accepted and not yet reported.
pub async fn open(db: &Db) -> Result<u64, DbError> {
    let statement = Statement::named(
        "open_commitments",
        "select count(*) from commitment where direction = 'given' and state in ('accepted', 'checked')",
    );
    let row = db.read_one(statement).await?;
    row.map_or(Ok(0), |row| row.int(0).map(i64::unsigned_abs))
}

/// The references of a transaction in their order.
pub async fn references(db: &Db, id: &str) -> Result<Vec<Referenced>, DbError> {
    let statement = Statement::named(
        "commitment_references",
        "select sop_class_uid, sop_instance_uid, outcome from commitment_instance
         where commitment = $1 order by ordinal",
    );
    db.read(statement.bind(id)).await?.iter().map(referenced).collect()
}

fn referenced(row: &Row) -> Result<Referenced, DbError> {
    let reference = Reference {
        sop_class: row.parse(0, "a SOP Class UID")?,
        sop_instance: row.parse(1, "a SOP Instance UID")?,
    };
    Ok(Referenced { reference, outcome: Outcome::of_column(row.opt_int(2)?) })
}

fn commitment(row: &Row) -> Result<Commitment, DbError> {
    let bad = |column, wanted| DbError::Column { statement: "commitment", column, wanted };
    Ok(Commitment {
        id: row.text(0)?.to_owned(),
        direction: match row.text(1)? {
            "given" => Direction::Given,
            "asked" => Direction::Asked,
            _ => return Err(bad(1, "a direction")),
        },
        transaction: row.parse(2, "a Transaction UID")?,
        peer_aet: row.text(3)?.to_owned(),
        state: State::named(row.text(4)?).ok_or_else(|| bad(4, "a state"))?,
        reason: row.opt_text(5)?.map(str::to_owned),
        asked_at: Timestamp(row.int(6)?),
    })
}
