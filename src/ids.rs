//! Identifiers that this server makes.

use uuid::Uuid;

/// A new identifier for a row; sorts by the time it was made.
pub fn row_id() -> String {
    Uuid::now_v7().to_string()
}

/// An identifier that depends on nothing but its parts.
pub fn derived_id(parts: &[&str]) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, parts.join("\u{1f}").as_bytes()).to_string()
}

/// Bytes that nobody can guess.
pub fn secret() -> [u8; 32] {
    let mut secret = [0; 32];
    for half in secret.chunks_exact_mut(16) {
        half.copy_from_slice(Uuid::new_v4().as_bytes());
    }
    secret
}

/// A digest as people and results write it: lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A UID that nothing else has, PS3.5 B.2.
pub fn new_uid() -> String {
    format!("2.25.{}", Uuid::new_v4().as_u128())
}

/// A UID that depends on nothing but its parts, PS3.5 B.2: a rerun names the same object.
pub fn derived_uid(parts: &[&str]) -> String {
    let name = parts.join("\u{1f}");
    format!("2.25.{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_uids_repeat_and_differ() {
        assert_eq!(derived_uid(&["a", "sr"]), derived_uid(&["a", "sr"]));
        assert_ne!(derived_uid(&["a", "sr"]), derived_uid(&["a", "pdf"]));
        assert!(derived_uid(&["a"]).parse::<crate::dicom::uid::SopInstanceUid>().is_ok());
    }
}
