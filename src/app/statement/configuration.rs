//! What an installation may change.

use super::table;
use crate::config::{Config, Overrides};

/// Sections that change what other nodes see.
const SECTIONS: [&str; 2] = ["dimse.", "commitment."];

/// The built-in defaults, whatever this process was started with.
pub(super) fn network() -> String {
    let settings = Config::settings(&Overrides::default()).unwrap_or_default();
    let shown =
        settings.into_iter().filter(|one| SECTIONS.iter().any(|section| one.key.starts_with(section)));
    table(["key", "default"], shown.map(|one| [format!("`{}`", one.key), format!("`{}`", one.value)]))
}
