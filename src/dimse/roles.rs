//! SCP/SCU role selection, PS3.7 D.3.3.4: which side of a context may ask.

use dicom_ul::pdu::RequestorRoles;

use super::admission::Caller;
use super::services::ServiceClass;
use crate::config::Service;

/// Our roles on a presentation context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Roles {
    /// The peer asks and we serve.
    pub(super) scp: bool,
    /// We may ask: C-STORE sub-operations of a C-GET, N-EVENT-REPORT where the peer commits.
    pub(super) scu: bool,
}

const BY_DEFAULT: RequestorRoles = RequestorRoles { scu: true, scp: false };

impl Roles {
    /// What of a proposal the caller is granted; none when nothing of it is.
    pub(super) fn granted(
        service: ServiceClass,
        proposed: Option<RequestorRoles>,
        caller: &Caller,
    ) -> Option<Self> {
        let proposed = proposed.filter(|roles| roles.scu || roles.scp).unwrap_or(BY_DEFAULT);
        let serves = service.needs().is_none_or(|needed| caller.may(needed));
        let asks = match service {
            ServiceClass::Storage => caller.may(Service::Retrieve),
            // A node to which we sent objects says what it has committed to.
            ServiceClass::StorageCommitment => caller.node.is_some(),
            _ => false,
        };
        let roles = Self { scp: proposed.scu && serves, scu: proposed.scp && asks };
        (roles.scp || roles.scu).then_some(roles)
    }

    /// As the answer has them: what the requestor may be.
    pub(super) fn of_requestor(self) -> RequestorRoles {
        RequestorRoles { scu: self.scp, scp: self.scu }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::tests::unknown_caller;

    #[track_caller]
    fn check(may: &[Service], proposed: Option<(bool, bool)>, expected: Option<(bool, bool)>) {
        let proposed = proposed.map(|(scu, scp)| RequestorRoles { scu, scp });
        let granted = Roles::granted(ServiceClass::Storage, proposed, &unknown_caller(may));
        assert_eq!(granted.map(|roles| (roles.scp, roles.scu)), expected);
    }

    #[test]
    fn objects_go_the_way_that_the_caller_may_move_them() {
        let both = [Service::Store, Service::Retrieve];
        check(&both, None, Some((true, false)));
        check(&both, Some((false, false)), Some((true, false)));
        check(&both, Some((true, true)), Some((true, true)));
        check(&both, Some((false, true)), Some((false, true)));
        check(&[Service::Retrieve], Some((true, true)), Some((false, true)));
        check(&[Service::Retrieve], None, None);
        check(&[Service::Store], Some((true, true)), Some((true, false)));
        check(&[Service::Store], Some((false, true)), None);
    }
}
