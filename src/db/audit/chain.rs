//! The chain: SHA-256 over the hash before and a canonical encoding of every column.

use sha2::{Digest, Sha256};

use crate::db::Value;

pub const HASH_BYTES: usize = 32;
pub type Hash = [u8; HASH_BYTES];

/// Before the first row.
pub const ORIGIN: Head = Head { sequence: 0, hash: [0; HASH_BYTES] };

/// Of other uses of the hash.
const DOMAIN: &[u8] = b"radiant audit 1\n";

/// Every column but the hash, in the order in which it covers them.
macro_rules! columns {
    () => {
        "sequence, at, began_at, actor_kind, actor_id, actor_name, actor_roles, actor_means, address, ae_title, \
         action, study_uid, object_kind, object_id, outcome, request_id, detail"
    };
}
pub(super) use columns;

pub const COLUMNS: &str = columns!();

/// The end of the chain. An engine with several writers takes a lock before it asks, and holds it
/// until its commit.
pub const HEAD: &str = "select sequence, hash from audit order by sequence desc limit 1";

pub const INSERT: &str = concat!(
    "insert into audit (",
    columns!(),
    ", hash) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"
);

/// A row, and the hash that holds everything up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub sequence: i64,
    pub hash: Hash,
}

impl Head {
    /// Of the columns that end a chain, as the index holds them.
    pub(in crate::db) fn of(sequence: &Value, hash: &Value) -> Option<Self> {
        match (sequence, hash) {
            (Value::Int(sequence), Value::Bytes(hash)) => {
                Some(Self { sequence: *sequence, hash: hash.as_slice().try_into().ok()? })
            }
            _ => None,
        }
    }

    /// What the next row is called, and its hash.
    pub(in crate::db) fn next(&self, values: &[Value]) -> [Value; 2] {
        let sequence = Value::Int(self.sequence + 1);
        let hash = hash_of(&self.hash, std::iter::once(&sequence).chain(values));
        [sequence, Value::Bytes(hash.to_vec())]
    }
}

/// Of a row whose columns are these, in their order, behind one with the hash `before`.
pub fn hash(before: &Hash, columns: &[Value]) -> Hash {
    hash_of(before, columns.iter())
}

fn hash_of<'a>(before: &Hash, columns: impl Iterator<Item = &'a Value>) -> Hash {
    let mut digest = Sha256::new();
    digest.update(DOMAIN);
    digest.update(before);
    for column in columns {
        encode(&mut digest, column);
    }
    digest.finalize().into()
}

/// A tag, and for what has no fixed length the length: no two rows are encoded alike.
fn encode(digest: &mut Sha256, value: &Value) {
    match value {
        Value::Null => digest.update([0]),
        Value::Int(int) => {
            digest.update([1]);
            digest.update(int.to_be_bytes());
        }
        Value::Real(real) => {
            digest.update([2]);
            digest.update(real.to_be_bytes());
        }
        Value::Text(text) => encode_bytes(digest, 3, text.as_bytes()),
        Value::Bytes(bytes) => encode_bytes(digest, 4, bytes),
    }
}

fn encode_bytes(digest: &mut Sha256, tag: u8, bytes: &[u8]) {
    digest.update([tag]);
    digest.update((bytes.len() as u64).to_be_bytes());
    digest.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_and_the_row_before_count() {
        let row = |text: &str| [Value::Int(1), Value::Text(text.to_owned()), Value::Null];
        let own = hash(&ORIGIN.hash, &row("a"));
        assert_eq!(own, hash(&ORIGIN.hash, &row("a")));
        assert_ne!(own, hash(&ORIGIN.hash, &row("b")));
        assert_ne!(own, hash(&[1; HASH_BYTES], &row("a")));
    }

    #[test]
    fn what_moves_from_one_column_to_the_next_is_seen() {
        let row = |a: &str, b: &str| [Value::Text(a.to_owned()), Value::Text(b.to_owned())];
        assert_ne!(hash(&ORIGIN.hash, &row("ab", "c")), hash(&ORIGIN.hash, &row("a", "bc")));
        assert_ne!(hash(&ORIGIN.hash, &[Value::Null]), hash(&ORIGIN.hash, &[Value::Text(String::new())]));
    }
}
