//! Everything that the audit trail can tell: one table.

use super::event::{self, Event};

/// What an action is to the resource, EventActionCode of PS3.15 A.5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Create,
    Read,
    Update,
    Delete,
    Execute,
}

impl Act {
    pub fn code(self) -> &'static str {
        match self {
            Self::Create => "C",
            Self::Read => "R",
            Self::Update => "U",
            Self::Delete => "D",
            Self::Execute => "E",
        }
    }
}

/// `Variant "name" Act EVENT;` for each action.
macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident $name:literal $act:ident $event:ident;)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $($(#[$doc])* $variant,)+
        }

        impl Action {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As rows and filters have it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            pub fn act(self) -> Act {
                match self {
                    $(Self::$variant => Act::$act,)+
                }
            }

            /// Which audit message tells of it.
            pub fn event(self) -> Event {
                match self {
                    $(Self::$variant => event::$event,)+
                }
            }
        }
    };
}

actions! {
    // the server
    StartServer "start-server" Execute START;
    StopServer "stop-server" Execute STOP;
    /// What differs from the defaults, by the names of the keys.
    Configure "configure" Update SOFTWARE_CONFIGURATION;
    ReloadCertificates "reload-certificates" Update SECURITY_CONFIGURATION;
    ReadServer "read-server" Read OWN;
    OperateServer "operate-server" Update OWN;

    // associations
    OpenAssociation "open-association" Execute OWN;
    RejectAssociation "reject-association" Execute NODE_AUTHENTICATION;
    EndAssociation "end-association" Execute OWN;

    // objects on their way in
    /// A request, an association or a run that brings objects; each of them has its own entry.
    ReceiveObjects "receive-objects" Create TRANSFERRED;
    StoreInstance "store-instance" Create TRANSFERRED;
    ReplaceInstance "replace-instance" Update TRANSFERRED;
    RefuseInstance "refuse-instance" Create TRANSFERRED;
    ImportFiles "import-files" Create IMPORT;

    // objects on their way out
    /// By QIDO-RS, C-FIND or the study list: which keys, never their values.
    Query "query" Execute QUERY;
    ReadMetadata "read-metadata" Read ACCESSED;
    Retrieve "retrieve" Read TRANSFERRED;
    Render "render" Read ACCESSED;
    MoveInstances "move-instances" Read BEGIN_TRANSFER;
    GetInstances "get-instances" Read TRANSFERRED;
    ReadStudy "read-study" Read ACCESSED;
    ReadPatient "read-patient" Read ACCESSED;
    ReadVolume "read-volume" Read ACCESSED;
    ReadAnalysis "read-analysis" Read ACCESSED;
    ReadReport "read-report" Read ACCESSED;
    ReadChanges "read-changes" Read ACCESSED;
    /// Live news about studies.
    FollowEvents "follow-events" Read ACCESSED;

    // exports
    ExportStudy "export-study" Read EXPORT;
    Download "download" Read EXPORT;
    DeIdentifyStudy "de-identify-study" Read EXPORT;
    SendStudy "send-study" Read EXPORT;
    /// One object reached a destination, or was refused there.
    DeliverExport "deliver-export" Read TRANSFERRED;
    RequeueExport "requeue-export" Execute EXPORT;
    RequeueDeadExports "requeue-dead-exports" Execute EXPORT;
    PauseDestination "pause-destination" Update NETWORK_CONFIGURATION;
    ResumeDestination "resume-destination" Update NETWORK_CONFIGURATION;
    ReadExports "read-exports" Read OWN;

    // storage commitment
    CommitStorage "commit-storage" Execute OWN;
    AskCommitment "ask-commitment" Execute OWN;
    StorageCommitted "storage-committed" Execute OWN;
    VerifyInstance "verify-instance" Execute OWN;
    /// A run over the whole archive, or a range of it.
    VerifyArchive "verify-archive" Execute OWN;
    BackUpArchive "back-up-archive" Read EXPORT;
    RestoreArchive "restore-archive" Create IMPORT;
    /// All of it came from, or went to, another database or store.
    MigrateArchive "migrate-archive" Create IMPORT;
    /// A new index was made of the stored objects.
    ReindexArchive "reindex-archive" Create OWN;
    /// Its bytes were put back from a copy.
    RepairInstance "repair-instance" Update OWN;

    // deletion
    DeleteStudy "delete-study" Delete STUDY_DELETED;
    DeleteSeries "delete-series" Delete ACCESSED;
    DeleteInstance "delete-instance" Delete ACCESSED;
    Restore "restore" Create ACCESSED;
    SweepDeleted "sweep-deleted" Delete ACCESSED;
    /// Nobody deletes it from now on; why, says the hold.
    HoldStudy "hold-study" Update OBJECT_SECURITY;
    ReleaseStudy "release-study" Update OBJECT_SECURITY;
    /// What nothing refers to any more was removed.
    CollectGarbage "collect-garbage" Delete OWN;

    // the worklist
    ChangeStudy "change-study" Update ACCESSED;
    AssignStudy "assign-study" Update PROCEDURE_RECORD;
    ChangePriority "change-priority" Update PROCEDURE_RECORD;

    // the model
    DecideAnalysis "decide-analysis" Execute OWN;
    RequestAnalysis "request-analysis" Create OWN;
    CancelAnalysis "cancel-analysis" Update OWN;
    RetryAnalysis "retry-analysis" Update OWN;
    /// Which model was shown a study, and by which prompt.
    RunModel "run-model" Read ACCESSED;
    CompleteAnalysis "complete-analysis" Create ACCESSED;
    FailAnalysis "fail-analysis" Update OWN;

    // reports
    DraftReport "draft-report" Create ACCESSED;
    EditReport "edit-report" Update ACCESSED;
    AcceptFinding "accept-finding" Update ACCESSED;
    EditFinding "edit-finding" Update ACCESSED;
    RejectFinding "reject-finding" Update ACCESSED;
    SignReport "sign-report" Update ACCESSED;
    AddToReport "add-to-report" Update ACCESSED;
    CorrectReport "correct-report" Update ACCESSED;
    SupersedeReport "supersede-report" Update ACCESSED;
    DiscardDraft "discard-draft" Delete ACCESSED;
    /// SR and PDF of a signed version are in the study.
    PublishReport "publish-report" Create ACCESSED;

    // people and devices
    LogIn "log-in" Execute LOGIN;
    LogOut "log-out" Execute LOGOUT;
    /// Any other proof of who calls: a token, a key, Basic, a user identity.
    Authenticate "authenticate" Execute LOGIN;
    RefreshSession "refresh-session" Execute LOGIN;
    /// A refresh token came twice: its session is over.
    ReuseToken "reuse-token" Execute RESTRICTED_FUNCTION;
    RevokeSession "revoke-session" Delete LOGOUT;
    LockAccount "lock-account" Update USER_SECURITY;
    UnlockAccount "unlock-account" Update USER_SECURITY;
    ChangePassword "change-password" Update USER_SECURITY;
    /// A secret was shown again, as before a signature.
    ConfirmIdentity "confirm-identity" Execute LOGIN;
    ReadUsers "read-users" Read OWN;
    CreateUser "create-user" Create USER_SECURITY;
    ChangeUser "change-user" Update USER_SECURITY;
    ChangeRoles "change-roles" Update SECURITY_ROLES;
    DeleteUser "delete-user" Delete USER_SECURITY;
    CreateApiKey "create-api-key" Create USER_SECURITY;
    RevokeApiKey "revoke-api-key" Delete USER_SECURITY;
    RotateKeys "rotate-keys" Update SECURITY_CONFIGURATION;
    ReadOwnAccount "read-own-account" Read OWN;
    ChangeGroup "change-group" Update OBJECT_SECURITY;
    ChangeReach "change-reach" Update OBJECT_SECURITY;
    /// Somebody asked for what he may not have.
    DenyAccess "deny-access" Execute RESTRICTED_FUNCTION;

    // the trail itself
    ReadAudit "read-audit" Read AUDIT_LOG_USED;
    ExportAudit "export-audit" Read AUDIT_LOG_USED;
    PruneAudit "prune-audit" Delete OWN;

    // requests that no other name fits
    ReadResource "read-resource" Read OWN;
    CreateResource "create-resource" Create OWN;
    ChangeResource "change-resource" Update OWN;
    DeleteResource "delete-resource" Delete OWN;
}

impl Action {
    /// The action of a row; a later version may know more.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_action_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
        assert_eq!(names.len(), Action::ALL.len());
        assert!(Action::ALL.iter().all(|action| Action::named(action.as_str()) == Some(*action)));
    }
}
