//! SOP Class Extended Negotiation of queries and retrievals, PS3.7 D.3.3.5.

use super::services::ServiceClass;

/// What was agreed on for the queries or retrievals of one context; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extended {
    /// Keys of levels above the query level may be missing, PS3.4 C.4.1.3.2.
    pub(super) relational: bool,
    /// Ranges of a date and its time are one interval, PS3.4 C.2.2.2.5.1.
    pub(super) date_time: bool,
    /// Names match by meaning, PS3.4 C.2.2.2.1.1.
    pub(super) fuzzy_names: bool,
    /// Timezone Offset From UTC of the identifier moves its dates and times, PS3.4 C.2.2.2.6.
    pub(super) timezone: bool,
}

impl Extended {
    /// What we do of what is proposed. Enhanced multi-frame conversion, the last byte, is never
    /// among it.
    pub(super) fn agreed(service: ServiceClass, information: &[u8]) -> Self {
        let proposed = |byte: usize| information.get(byte) == Some(&1);
        match service {
            // PS3.4 C.5.1.1.
            ServiceClass::Find(_) => Self {
                relational: proposed(0),
                date_time: proposed(1),
                fuzzy_names: proposed(2),
                timezone: proposed(3),
            },
            // PS3.4 C.5.2.1 and C.5.3.1.
            ServiceClass::Move(_) | ServiceClass::Get(_) => {
                Self { relational: proposed(0), ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    /// The service class application information of the answer, as long as the proposed one;
    /// none for services that have none.
    pub(super) fn answer(self, service: ServiceClass, proposed: usize) -> Option<Vec<u8>> {
        let known: &[bool] = match service {
            ServiceClass::Find(_) => {
                &[self.relational, self.date_time, self.fuzzy_names, self.timezone, false]
            }
            ServiceClass::Move(_) | ServiceClass::Get(_) => &[self.relational, false],
            _ => return None,
        };
        Some(known.iter().take(proposed).map(|agreed| u8::from(*agreed)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::services::InformationModel;

    #[track_caller]
    fn check(service: ServiceClass, proposed: &[u8], answer: Option<&[u8]>) -> Extended {
        let agreed = Extended::agreed(service, proposed);
        assert_eq!(agreed.answer(service, proposed.len()).as_deref(), answer);
        agreed
    }

    #[test]
    fn what_is_proposed_is_agreed_to_but_the_conversion() {
        let find = ServiceClass::Find(InformationModel::StudyRoot);
        let all = check(find, &[1, 1, 1, 1, 1], Some(&[1, 1, 1, 1, 0]));
        assert_eq!(all, Extended { relational: true, date_time: true, fuzzy_names: true, timezone: true });
        assert!(check(find, &[1], Some(&[1])).relational);
        assert!(!check(find, &[0, 0, 1], Some(&[0, 0, 1])).relational);
        check(find, &[0, 0, 0, 0, 0, 1, 1], Some(&[0; 5]));
        check(ServiceClass::Get(InformationModel::PatientRoot), &[1, 1], Some(&[1, 0]));
        check(ServiceClass::Storage, &[2, 0, 0, 0, 1, 0], None);
    }
}
