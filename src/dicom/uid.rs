//! Unique identifiers, one type per thing identified.

use std::fmt;
use std::str::FromStr;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

/// UUID-derived, PS3.5 B.2.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.190834071260917553470281650284091734521";
/// At most 16 characters, PS3.10 7.1.
pub const IMPLEMENTATION_VERSION_NAME: &str = "RADIANT_0_1";

/// Why a text is not a UID by PS3.5 9.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UidError {
    #[error("the UID is empty")]
    Empty,
    #[error("the UID is longer than 64 characters")]
    TooLong,
    #[error("the UID has a character other than a digit or a dot")]
    BadCharacter,
    #[error("the UID has an empty component")]
    EmptyComponent,
    #[error("the UID has a component with a leading zero")]
    LeadingZero,
}

/// Checks PS3.5 9.1 after dropping the padding that VR UI allows.
fn checked(text: &str) -> Result<&str, UidError> {
    let text = text.trim_end_matches(['\0', ' ']);
    match text.len() {
        0 => return Err(UidError::Empty),
        65.. => return Err(UidError::TooLong),
        _ => {}
    }
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(UidError::BadCharacter);
    }
    for component in text.split('.') {
        match component.as_bytes() {
            [] => return Err(UidError::EmptyComponent),
            [b'0', _, ..] => return Err(UidError::LeadingZero),
            _ => {}
        }
    }
    Ok(text)
}

/// How the REST API describes a UID.
fn described(name: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).max_length(Some(64));
    text.pattern(Some(r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*$")).title(Some(name)).into()
}

macro_rules! uid_types {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                described(stringify!($name))
            }
        }

        impl utoipa::ToSchema for $name {}

        impl FromStr for $name {
            type Err = UidError;
            fn from_str(text: &str) -> Result<Self, UidError> {
                checked(text).map(|text| Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = UidError;
            fn try_from(text: String) -> Result<Self, UidError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(uid: $name) -> String {
                uid.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &self.0)
            }
        }
    )+};
}

uid_types! {
    /// Study Instance UID (0020,000D).
    StudyUid;
    /// Series Instance UID (0020,000E).
    SeriesUid;
    /// SOP Instance UID (0008,0018).
    SopInstanceUid;
    /// SOP Class UID (0008,0016).
    SopClassUid;
    /// Transfer Syntax UID (0002,0010).
    TransferSyntaxUid;
    /// Transaction UID (0008,1195).
    TransactionUid;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, UidError>) {
        let parsed = text.parse::<StudyUid>();
        assert_eq!(parsed.as_ref().map(StudyUid::as_str).map_err(|e| *e), expected);
    }

    #[test]
    fn accepts_what_ps3_5_allows() {
        check("1.2.840.10008.1.2", Ok("1.2.840.10008.1.2"));
        check("1.2.3\0", Ok("1.2.3"));
        check("2.25.0", Ok("2.25.0"));
    }

    #[test]
    fn says_what_is_wrong() {
        check("", Err(UidError::Empty));
        check(&"1.".repeat(33), Err(UidError::TooLong));
        check("1.2/3", Err(UidError::BadCharacter));
        check("1..2", Err(UidError::EmptyComponent));
        check("1.02", Err(UidError::LeadingZero));
    }
}
