//! The tables of `conformance/STATEMENT.md` and `STATEMENT-lists.md`, from the code that they speak
//! of.
//!
//! Each stands between `<!-- table: NAME -->` and `<!-- end of NAME -->`. A test compares the files
//! with what [`filled`] makes of them.

mod attributes;
mod configuration;
mod network;
mod objects;
mod storage;

const OPEN: &str = "<!-- table: ";
const CLOSE: &str = " -->";

/// Every table and what makes it.
const TABLES: &[(&str, fn() -> String)] = &[
    ("identity", network::identity),
    ("services", network::services),
    ("presentation contexts", network::presentation_contexts),
    ("rejections", network::rejections),
    ("web resources", network::web_resources),
    ("storage SOP classes", storage::sop_classes),
    ("transfer syntaxes", storage::transfer_syntaxes),
    ("C-STORE statuses", storage::statuses),
    ("commitment statuses", network::commitment_statuses),
    ("commitment reasons", network::commitment_reasons),
    ("attributes", attributes::all),
    ("coded terms", objects::coded_terms),
    ("private codes", objects::private_codes),
    ("configuration", configuration::network),
];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    #[error("there is no table {0:?}")]
    UnknownTable(String),
    #[error("the table {0:?} has no end")]
    WithoutEnd(String),
}

/// The tables that a text must have.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|(name, _)| *name)
}

/// The mark at the beginning of a table.
pub fn mark(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// A text with its tables as the code has them.
pub fn filled(statement: &str) -> Result<String, StatementError> {
    let (mut text, mut rest) = (String::new(), statement);
    while let Some((before, (name, after))) = next_table(rest) {
        let (_, make) = TABLES
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| StatementError::UnknownTable(name.to_owned()))?;
        let end = format!("<!-- end of {name}{CLOSE}");
        let (_, behind) =
            after.split_once(&end).ok_or_else(|| StatementError::WithoutEnd(name.to_owned()))?;
        text.push_str(&format!("{before}{}\n{}{end}", mark(name), make()));
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

fn next_table(text: &str) -> Option<(&str, (&str, &str))> {
    let (before, rest) = text.split_once(OPEN)?;
    Some((before, rest.split_once(CLOSE)?))
}

/// A table in Markdown.
fn table<const N: usize>(heads: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: [String; N]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|{}\n", "---|".repeat(N));
    let rows: String = rows.into_iter().map(line).collect();
    format!("{}{rule}{rows}", line(heads.map(str::to_owned)))
}

/// As PS3.7 writes it.
fn status(status: u16) -> String {
    format!("{status:04X}H")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_put_in_between_their_marks() {
        let all: String = TABLES
            .iter()
            .map(|(name, _)| format!("before\n<!-- table: {name} -->\nold\n<!-- end of {name} -->\nbehind\n"))
            .collect();
        let text = filled(&all).unwrap();
        assert!(text.starts_with("before\n<!-- table: identity -->\n| ") && text.ends_with("behind\n"));
        assert!(!text.contains("old"));
        assert_eq!(filled(&text).unwrap(), text);
    }

    #[test]
    fn a_mark_without_a_table_or_an_end_is_told() {
        let error = filled("<!-- table: pears -->").unwrap_err();
        assert_eq!(error, StatementError::UnknownTable("pears".into()));
        let error = filled("<!-- table: services -->").unwrap_err();
        assert_eq!(error, StatementError::WithoutEnd("services".into()));
    }
}
