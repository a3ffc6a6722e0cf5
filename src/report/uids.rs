//! UIDs that follow from the analysis, so that a rerun writes the same objects again.

use crate::ids::derived_uid;

/// What a UID is for. The text of a role is part of the derivation: never change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    SrSeries,
    SrInstance,
    PdfSeries,
    PdfInstance,
    /// Tracking Unique Identifier (112040, DCM) of the finding with this 0-based position.
    Finding(usize),
}

/// `2.25.` and the integer of a version 5 UUID, PS3.5 B.2.
pub fn derive(analysis_id: &str, role: Role) -> String {
    let number;
    let role = match role {
        Role::SrSeries => "sr-series",
        Role::SrInstance => "sr-instance",
        Role::PdfSeries => "pdf-series",
        Role::PdfInstance => "pdf-instance",
        Role::Finding(index) => {
            number = format!("finding-{index}");
            &number
        }
    };
    derived_uid(&["report", analysis_id, role])
}

/// What a UID of a signed version is for. As with [`Role`], never change a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionRole {
    /// One for all signed versions of a report.
    SrSeries,
    SrInstance,
    /// One for all signed versions of a report.
    PdfSeries,
    PdfInstance,
}

/// Of the documents of a signed version.
pub fn of_version(report: &str, version: i64, role: VersionRole) -> String {
    let number = version.to_string();
    match role {
        VersionRole::SrSeries => derived_uid(&["signed-report", report, "sr-series"]),
        VersionRole::PdfSeries => derived_uid(&["signed-report", report, "pdf-series"]),
        VersionRole::SrInstance => derived_uid(&["signed-report", report, "sr", &number]),
        VersionRole::PdfInstance => derived_uid(&["signed-report", report, "pdf", &number]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::uid::SopInstanceUid;

    #[test]
    fn a_rerun_gets_the_same_uids() {
        assert_eq!(derive("a1", Role::SrInstance), derive("a1", Role::SrInstance));
        assert_ne!(derive("a1", Role::SrInstance), derive("a2", Role::SrInstance));
    }

    #[test]
    fn roles_never_share_a_uid() {
        let roles = [
            Role::SrSeries,
            Role::SrInstance,
            Role::PdfSeries,
            Role::PdfInstance,
            Role::Finding(0),
            Role::Finding(1),
        ];
        let mut uids: Vec<String> = roles.iter().map(|role| derive("a1", *role)).collect();
        uids.sort();
        uids.dedup();
        assert_eq!(uids.len(), roles.len());
        assert!(uids.iter().all(|uid| uid.parse::<SopInstanceUid>().is_ok()));
    }
}
