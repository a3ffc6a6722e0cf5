//! The options of the profile (PS3.15 Table E.1-1, columns; CID 7050).

use crate::report::codes::Code;

/// A set of options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options(u16);

pub const NONE: Options = Options(0);
/// E.3.9
pub const UIDS: Options = Options(1);
/// E.3.8
pub const DEVICE: Options = Options(1 << 1);
/// E.3.11
pub const INSTITUTION: Options = Options(1 << 2);
/// E.3.7
pub const PATIENT: Options = Options(1 << 3);
/// E.3.6
pub const FULL_DATES: Options = Options(1 << 4);
pub const MODIFIED_DATES: Options = Options(1 << 5);
/// E.3.5
pub const DESCRIPTORS: Options = Options(1 << 6);
/// E.3.4
pub const STRUCTURED: Options = Options(1 << 7);
/// E.3.3
pub const GRAPHICS: Options = Options(1 << 8);
/// E.3.10
pub const SAFE_PRIVATE: Options = Options(1 << 9);

/// Each option, the name that a request has for it, and its code.
static TABLE: [(Options, &str, Code); 10] = [
    (UIDS, "retain-uids", Code::dcm("113110", "Retain UIDs Option")),
    (DEVICE, "retain-device-identity", Code::dcm("113109", "Retain Device Identity Option")),
    (INSTITUTION, "retain-institution-identity", Code::dcm("113112", "Retain Institution Identity Option")),
    (PATIENT, "retain-patient-characteristics", Code::dcm("113108", "Retain Patient Characteristics Option")),
    (
        FULL_DATES,
        "retain-full-dates",
        Code::dcm("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    ),
    (
        MODIFIED_DATES,
        "retain-modified-dates",
        Code::dcm("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ),
    (DESCRIPTORS, "clean-descriptors", Code::dcm("113105", "Clean Descriptors Option")),
    (STRUCTURED, "clean-structured-content", Code::dcm("113104", "Clean Structured Content Option")),
    (GRAPHICS, "clean-graphics", Code::dcm("113103", "Clean Graphics Option")),
    (SAFE_PRIVATE, "retain-safe-private", Code::dcm("113111", "Retain Safe Private Option")),
];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    #[error("there is no option {0:?}; the options are {known}", known = names().join(", "))]
    Unknown(String),
    #[error("dates are retained in full or modified, not both")]
    BothDates,
}

impl Options {
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of these is among them.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn named<S: AsRef<str>>(names: &[S]) -> Result<Self, OptionsError> {
        let mut options = NONE;
        for name in names {
            let row = TABLE.iter().find(|(_, known, _)| *known == name.as_ref());
            let (option, ..) = row.ok_or_else(|| OptionsError::Unknown(name.as_ref().to_owned()))?;
            options = options.and(*option);
        }
        match options.has(FULL_DATES) && options.has(MODIFIED_DATES) {
            true => Err(OptionsError::BothDates),
            false => Ok(options),
        }
    }

    /// The profile itself first.
    pub(super) fn codes(self) -> impl Iterator<Item = Code> {
        let chosen = TABLE.iter().filter(move |(option, ..)| self.has(*option));
        let profile = Code::dcm("113100", "Basic Application Confidentiality Profile");
        [profile].into_iter().chain(chosen.map(|(.., code)| code.clone()))
    }
}

/// What a request may name.
pub fn names() -> Vec<&'static str> {
    TABLE.iter().map(|(_, name, _)| *name).collect()
}
