//! The Role × Permission table.

use serde::{Deserialize, Serialize};

/// What a person or a program is here.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the server and its users.
    Administrator,
    /// Reads, edits and signs.
    Radiologist,
    /// Brings studies in and prepares them.
    Technologist,
    /// Asked for the study: sees it and its signed reports.
    Referrer,
    /// Sees, and changes nothing.
    Viewer,
    /// A device or a program.
    Service,
    /// Reads who did what.
    Auditor,
}

/// Something that can be allowed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Search and retrieve patients, studies and what they hold.
    ViewStudies,
    /// STOW-RS, uploads.
    StoreObjects,
    /// Delete, and take back.
    DeleteStudies,
    /// Priority and assignee of studies, groups of studies.
    ManageWorklist,
    /// Start, cancel and retry analyses.
    RequestAnalyses,
    /// What somebody has signed.
    ReadReports,
    /// What nobody has signed: analyses, findings of the model, drafts and their documents.
    ReadDrafts,
    /// Change drafts, accept and reject findings.
    EditReports,
    /// Sign, add and correct.
    SignReports,
    /// Take studies out: downloads, files for others, de-identified copies, sending to destinations.
    ExportStudies,
    /// Destinations, dead letters, commitments, jobs, metrics, nodes, the change feed.
    OperateServer,
    /// Users, groups, keys and sessions of others.
    ManageUsers,
    ReadAudit,
}

impl Role {
    pub const ALL: [Self; 7] = [
        Self::Administrator,
        Self::Radiologist,
        Self::Technologist,
        Self::Referrer,
        Self::Viewer,
        Self::Service,
        Self::Auditor,
    ];

    /// As tokens, rows and the configuration have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Radiologist => "radiologist",
            Self::Technologist => "technologist",
            Self::Referrer => "referrer",
            Self::Viewer => "viewer",
            Self::Service => "service",
            Self::Auditor => "auditor",
        }
    }

    /// What the role allows. Administration does not include the medical acts: who runs the
    /// server signs nothing.
    pub const fn permissions(self) -> &'static [Permission] {
        use Permission::*;
        match self {
            Self::Administrator => &[
                ViewStudies,
                StoreObjects,
                DeleteStudies,
                ManageWorklist,
                RequestAnalyses,
                ReadReports,
                ReadDrafts,
                ExportStudies,
                OperateServer,
                ManageUsers,
                ReadAudit,
            ],
            Self::Radiologist => &[
                ViewStudies,
                StoreObjects,
                ManageWorklist,
                RequestAnalyses,
                ReadReports,
                ReadDrafts,
                EditReports,
                SignReports,
                ExportStudies,
            ],
            Self::Technologist => &[
                ViewStudies,
                StoreObjects,
                ManageWorklist,
                RequestAnalyses,
                ReadReports,
                ReadDrafts,
                ExportStudies,
            ],
            Self::Referrer | Self::Viewer => &[ViewStudies, ReadReports],
            Self::Service => {
                &[ViewStudies, StoreObjects, RequestAnalyses, ReadReports, ReadDrafts, ExportStudies]
            }
            Self::Auditor => &[ReadAudit],
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    pub fn may(self, permission: Permission) -> bool {
        self.permissions().contains(&permission)
    }
}

impl Permission {
    pub const ALL: [Self; 13] = [
        Self::ViewStudies,
        Self::StoreObjects,
        Self::DeleteStudies,
        Self::ManageWorklist,
        Self::RequestAnalyses,
        Self::ReadReports,
        Self::ReadDrafts,
        Self::EditReports,
        Self::SignReports,
        Self::ExportStudies,
        Self::OperateServer,
        Self::ManageUsers,
        Self::ReadAudit,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ViewStudies => "view-studies",
            Self::StoreObjects => "store-objects",
            Self::DeleteStudies => "delete-studies",
            Self::ManageWorklist => "manage-worklist",
            Self::RequestAnalyses => "request-analyses",
            Self::ReadReports => "read-reports",
            Self::ReadDrafts => "read-drafts",
            Self::EditReports => "edit-reports",
            Self::SignReports => "sign-reports",
            Self::ExportStudies => "export-studies",
            Self::OperateServer => "operate-server",
            Self::ManageUsers => "manage-users",
            Self::ReadAudit => "read-audit",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.as_str() == name)
    }
}

/// What an endpoint asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Open to everybody, deliberately.
    Nothing,
    /// Somebody known, whatever the role.
    Identity,
    Permission(Permission),
}

/// For tables.
pub const fn may(permission: Permission) -> Needs {
    Needs::Permission(permission)
}
