//! What the caller of an association may and sees, by who uses it.

use std::net::IpAddr;
use std::sync::Arc;

use super::admission::{Caller, Rejection};
use super::user_identity::{Identified, Identify, Known, Proof};
use crate::auth::{self, API_KEY, Access, Denied, Means, Permission, Reach};
use crate::config::{self, AuthMode, Config, Service, UngroupedStudies};
use crate::db::{Db, groups};

/// How users are told apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct Users {
    /// Access control is on.
    pub are_told_apart: bool,
    /// Nobody comes in without.
    pub are_required: bool,
    /// Studies of no group are seen by everybody.
    pub see_ungrouped: bool,
}

impl Users {
    pub fn new(config: &Config) -> Self {
        let are_told_apart = config.auth.mode == AuthMode::On;
        Self {
            are_told_apart,
            are_required: are_told_apart && config.dimse.user_identity == config::UserIdentity::Required,
            see_ungrouped: config.auth.ungrouped_studies == UngroupedStudies::Everybody,
        }
    }

    /// Who comes in, with or without a user.
    pub(super) async fn admit(
        self,
        caller: &mut Caller,
        known: Option<Known>,
        db: &Db,
    ) -> Result<(), Rejection> {
        match known {
            Some(Known { identity, answer, user }) => {
                caller.user_answer = answer;
                if let Some(user) = user {
                    caller.be_used_by(*user);
                    caller.identity = Some(Arc::new(identity));
                }
            }
            None if self.are_required => return Err(Rejection::User),
            None if self.are_told_apart => self.bound(caller, db).await,
            None => {}
        }
        Ok(())
    }

    /// A node sees the studies of its groups, another caller those of none.
    async fn bound(self, caller: &mut Caller, db: &Db) {
        let names = match &caller.node {
            Some(node) if node.groups.is_empty() => return,
            Some(node) => node.groups.as_slice(),
            None => &[],
        };
        let ids = groups::numbers(db, names).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the groups of a node cannot be read: it sees none of their studies");
            Vec::new()
        });
        let drafts = caller.node.is_some();
        caller.reach = Reach::Groups { ids, ungrouped: self.see_ungrouped, drafts };
        // Where an unknown device stores to, the rules of groups say.
        if caller.node.is_some() {
            caller.brings_within = caller.reach.clone();
        }
    }
}

/// Users of access control; for API keys any user name will do.
pub fn known_to(access: Arc<Access>) -> Identify {
    Arc::new(move |user, address| {
        let (access, proof) = (Arc::clone(&access), user.proof());
        Box::pin(async move {
            match caller(&access, proof, address).await {
                Ok(caller) => {
                    let user = auth::Caller { means: Means::UserIdentity, ..caller };
                    Identified::Accepted { response: Vec::new(), user: Some(Box::new(user)) }
                }
                Err(denied) => {
                    tracing::warn!(reason = %denied, "a user identity was refused");
                    Identified::Refused
                }
            }
        })
    })
}

async fn caller(access: &Access, proof: Proof, address: IpAddr) -> Result<auth::Caller, Denied> {
    match proof {
        Proof::Passcode { passcode, .. } if passcode.starts_with(API_KEY) => {
            access.by_api_key(&passcode).await
        }
        Proof::Passcode { name, passcode } => access.by_password(&name, &passcode, address).await,
        Proof::Token(token) => access.by_access_token(&token).await,
        Proof::None => Err(Denied::Wrong),
    }
}

impl Caller {
    /// At first, and whenever his rights are looked at again.
    pub(super) fn be_used_by(&mut self, user: auth::Caller) {
        let allowed = Service::ALL.into_iter().filter(|service| user.may(permission(*service)));
        let of_node = |service: &Service| self.node.as_ref().is_none_or(|node| node.may.contains(service));
        self.may = allowed.filter(of_node).collect();
        self.reach = user.reach.clone();
        self.brings_within = user.reach.clone();
        self.user = Some(user);
    }
}

fn permission(service: Service) -> Permission {
    match service {
        Service::Store => Permission::StoreObjects,
        Service::Query | Service::Retrieve => Permission::ViewStudies,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::auth::Role;
    use crate::db::{Batch, Statement};
    use crate::dimse::tests::node;
    use crate::dimse::user_identity::UserIdentity;

    const USERS: Users = Users { are_told_apart: true, are_required: false, see_ungrouped: true };

    /// With the group 7, north.
    async fn index(dir: &tempfile::TempDir) -> Db {
        let db = Db::for_test(dir.path());
        let sql = "insert into owner_group (id, name, created_at, updated_at) values (7, 'north', 0, 0)";
        db.run(Batch::new().then(Statement::named("group", sql))).await.unwrap();
        db
    }

    async fn admitted(users: Users, caller: Caller, user: Option<auth::Caller>) -> Result<Caller, Rejection> {
        let (dir, mut caller) = (tempfile::tempdir().unwrap(), caller);
        let known = user.map(|user| Known {
            identity: UserIdentity::passcode_for_test(),
            answer: None,
            user: Some(Box::new(user)),
        });
        users.admit(&mut caller, known, &index(&dir).await).await?;
        Ok(caller)
    }

    fn unknown() -> Caller {
        Caller::unknown("SENDER", [Service::Store])
    }

    fn of_node(groups: &[&str]) -> Caller {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        let may = [Service::Store].into();
        Caller { node: Some(config::Node { groups, may, ..node("SENDER") }), ..unknown() }
    }

    fn user(role: Role) -> auth::Caller {
        let reach = Reach::Groups { ids: vec![3], ungrouped: false, drafts: true };
        auth::Caller { roles: BTreeSet::from([role]), reach, ..auth::Caller::unrestricted() }
    }

    fn groups(ids: &[i64]) -> Reach {
        Reach::Groups { ids: ids.to_vec(), ungrouped: true, drafts: true }
    }

    #[tokio::test]
    async fn without_a_user_a_node_sees_the_studies_of_its_groups() {
        let caller = admitted(USERS, of_node(&["north"]), None).await.unwrap();
        assert_eq!((caller.reach, caller.brings_within), (groups(&[7]), groups(&[7])));
        let everything = admitted(USERS, of_node(&[]), None).await.unwrap();
        assert_eq!(everything.reach, Reach::Everything);
        let misspelled = admitted(USERS, of_node(&["nroth"]), None).await.unwrap();
        assert_eq!(misspelled.reach, groups(&[]));
    }

    #[tokio::test]
    async fn an_unknown_device_stores_and_sees_studies_of_no_group_alone() {
        let caller = admitted(USERS, unknown(), None).await.unwrap();
        let released = Reach::Groups { ids: Vec::new(), ungrouped: true, drafts: false };
        assert_eq!((caller.reach, caller.brings_within), (released, Reach::Everything));
    }

    #[tokio::test]
    async fn a_user_may_what_his_roles_and_his_node_may_and_sees_his_studies() {
        let viewer = admitted(USERS, unknown(), Some(user(Role::Viewer))).await.unwrap();
        assert_eq!(viewer.may, BTreeSet::from([Service::Query, Service::Retrieve]));
        assert_eq!(viewer.reach, Reach::Groups { ids: vec![3], ungrouped: false, drafts: true });
        let of_store = admitted(USERS, of_node(&[]), Some(user(Role::Technologist))).await.unwrap();
        assert_eq!(of_store.may, BTreeSet::from([Service::Store]));
        let auditor = admitted(USERS, unknown(), Some(user(Role::Auditor))).await.unwrap();
        assert!(auditor.may.is_empty());
    }

    #[tokio::test]
    async fn a_user_can_be_required() {
        let required = Users { are_required: true, ..USERS };
        assert_eq!(admitted(required, of_node(&[]), None).await.err(), Some(Rejection::User));
        assert!(admitted(required, unknown(), Some(user(Role::Viewer))).await.is_ok());
    }

    #[tokio::test]
    async fn without_access_control_everybody_sees_everything() {
        let caller = admitted(Users::default(), unknown(), None).await.unwrap();
        assert_eq!(caller.reach, Reach::Everything);
    }
}
