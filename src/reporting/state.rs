//! What may follow what in the life of a report: one table.

use serde::Serialize;
use utoipa::ToSchema;

/// How a report stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As a model, or whoever began it, left it.
    Draft,
    /// A person has changed it.
    Edited,
    Signed,
    /// Signed, and something is being added that is not signed yet.
    Addending,
    /// Signed with an addendum.
    Addended,
    /// Signed, and a correction is being written that is not signed yet.
    Correcting,
    /// A signed correction.
    Corrected,
    /// A draft in whose place there is a later one.
    Superseded,
}

impl Status {
    pub const ALL: [Self; 8] = [
        Self::Draft,
        Self::Edited,
        Self::Signed,
        Self::Addending,
        Self::Addended,
        Self::Correcting,
        Self::Corrected,
        Self::Superseded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Edited => "edited",
            Self::Signed => "signed",
            Self::Addending => "addending",
            Self::Addended => "addended",
            Self::Correcting => "correcting",
            Self::Corrected => "corrected",
            Self::Superseded => "superseded",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether the version in force is a signed one.
    pub fn is_signed(self) -> bool {
        matches!(self, Self::Signed | Self::Addended | Self::Corrected)
    }

    pub fn after(self, act: Act) -> Option<Self> {
        EDGES.iter().find(|(from, by, _)| (*from, *by) == (self, act)).map(|(_, _, to)| *to)
    }

    /// What a person may do now.
    pub fn allowed(self) -> impl Iterator<Item = Act> {
        EDGES.iter().filter(move |(from, ..)| *from == self).map(|(_, act, _)| *act)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Text and findings.
    Edit,
    /// The text of an addendum that is being written.
    EditAddendum,
    Sign,
    /// Begin an addendum.
    Addend,
    /// Begin a correction.
    Correct,
    /// Give up what was begun on a signed report.
    Discard,
}

impl Act {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::EditAddendum => "edit-addendum",
            Self::Sign => "sign",
            Self::Addend => "addend",
            Self::Correct => "correct",
            Self::Discard => "discard",
        }
    }
}

/// Every edge that a person can take. Where one discards, the report returns to the signed version
/// below, and to its status.
const EDGES: &[(Status, Act, Status)] = &[
    (Status::Draft, Act::Edit, Status::Edited),
    (Status::Draft, Act::Sign, Status::Signed),
    (Status::Edited, Act::Edit, Status::Edited),
    (Status::Edited, Act::Sign, Status::Signed),
    (Status::Signed, Act::Addend, Status::Addending),
    (Status::Signed, Act::Correct, Status::Correcting),
    (Status::Addending, Act::EditAddendum, Status::Addending),
    (Status::Addending, Act::Sign, Status::Addended),
    (Status::Addending, Act::Discard, Status::Signed),
    (Status::Addended, Act::Addend, Status::Addending),
    (Status::Addended, Act::Correct, Status::Correcting),
    (Status::Correcting, Act::Edit, Status::Correcting),
    (Status::Correcting, Act::Sign, Status::Corrected),
    (Status::Correcting, Act::Discard, Status::Signed),
    (Status::Corrected, Act::Addend, Status::Addending),
    (Status::Corrected, Act::Correct, Status::Correcting),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_never_edited() {
        for status in Status::ALL.into_iter().filter(|status| status.is_signed()) {
            assert_eq!(status.after(Act::Edit), None);
            assert_eq!(status.after(Act::Sign), None);
        }
        assert_eq!(Status::Addending.after(Act::Edit), None);
        assert_eq!(Status::Superseded.allowed().count(), 0);
    }

    #[test]
    fn each_act_leads_to_one_state() {
        for (index, (from, act, _)) in EDGES.iter().enumerate() {
            assert!(!EDGES[..index].iter().any(|(other, by, _)| (other, by) == (from, act)));
        }
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for status in Status::ALL {
            assert_eq!(Status::named(status.as_str()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}
