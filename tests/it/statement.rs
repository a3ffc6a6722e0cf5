//! The conformance statement says what the code says.

use std::path::Path;

use radiant::app::statement::{filled, mark, names};

const FILES: [&str; 2] = ["conformance/STATEMENT.md", "conformance/STATEMENT-lists.md"];

#[test]
fn the_tables_of_the_conformance_statement_are_those_of_the_code() {
    let read = |file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        (std::fs::read_to_string(&path).unwrap(), path)
    };
    for (statement, path) in FILES.map(read) {
        let expected = filled(&statement).unwrap();
        if std::env::var_os("RADIANT_WRITE").is_some() {
            std::fs::write(path, expected).unwrap();
            continue;
        }
        let mut lines = statement.lines().zip(expected.lines());
        let other = lines.find(|(is, should)| is != should);
        assert!(statement == expected, "{path:?} has {other:?}; RADIANT_WRITE=1 writes what should be there");
    }
}

#[test]
fn every_table_is_in_the_conformance_statement() {
    let all = FILES.map(|file| std::fs::read_to_string(file).unwrap()).concat();
    let missing: Vec<&str> = names().filter(|name| !all.contains(&mark(name))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
