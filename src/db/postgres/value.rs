//! Values of SQL as the types that PostgreSQL infers for them.

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::db::{DbError, Row, Value};

type Failure = Box<dyn std::error::Error + Sync + Send>;

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(int) => int_to_sql(*int, ty, out),
            Self::Real(real) => real.to_sql(&Type::FLOAT8, out),
            // The one character that a text of PostgreSQL cannot hold. DICOM has no use for it.
            Self::Text(text) if text.contains('\0') => text.replace('\0', " ").to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// An integer is what the statement makes of it: the position in a text has 32 bits.
fn int_to_sql(int: i64, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
    match *ty {
        Type::INT4 => i32::try_from(int)?.to_sql(ty, out),
        Type::INT2 => i16::try_from(int)?.to_sql(ty, out),
        Type::FLOAT8 => (int as f64).to_sql(ty, out),
        Type::INT8 => int.to_sql(ty, out),
        _ => Err(format!("an integer is no {ty}").into()),
    }
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(match *ty {
            Type::INT8 => Self::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT2 => Self::Int(i16::from_sql(ty, raw)?.into()),
            Type::BOOL => Self::Int(bool::from_sql(ty, raw)?.into()),
            Type::FLOAT8 => Self::Real(f64::from_sql(ty, raw)?),
            Type::FLOAT4 => Self::Real(f32::from_sql(ty, raw)?.into()),
            Type::BYTEA => Self::Bytes(raw.to_vec()),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
                Self::Text(str::from_utf8(raw)?.to_owned())
            }
            _ => return Err(format!("no column of ours is {ty}").into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

pub(super) fn row(statement: &'static str, row: &tokio_postgres::Row) -> Result<Row, DbError> {
    let value = |column| {
        let found = row.try_get::<_, Value>(column);
        found.map_err(|_| DbError::Column { statement, column, wanted: "a type of ours" })
    };
    let values = (0..row.len()).map(value).collect::<Result<_, _>>()?;
    Ok(Row { statement, values })
}
