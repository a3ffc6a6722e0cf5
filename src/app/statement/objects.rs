//! Codes of the objects that are created.

use std::collections::BTreeSet;

use super::table;
use crate::report::codes::{self, Code};
use crate::report::findings::{Certainty, Quantity};
use crate::volume::pixel_spacing::SpacingBasis;

/// What words are coded as, where a code is certain.
pub(super) fn coded_terms() -> String {
    rows(codes::coded().cloned())
}

pub(super) fn private_codes() -> String {
    let certainties = [Certainty::Definite, Certainty::Probable, Certainty::Possible].map(codes::certainty);
    let measuring = SpacingBasis::ALL.map(|basis| codes::measuring(Some(basis)));
    let others = [codes::CERTAINTY, codes::quantity(Quantity::Thickness), codes::measuring(None)];
    rows(others.into_iter().chain(certainties).chain(measuring))
}

/// Sorted, none twice.
fn rows(codes: impl Iterator<Item = Code>) -> String {
    let cells = |code: Code| [code.scheme, code.value, code.meaning].map(|cell| cell.into_owned());
    let rows: BTreeSet<[String; 3]> = codes.map(cells).collect();
    table(["Coding Scheme Designator", "Code Value", "Code Meaning"], rows)
}
