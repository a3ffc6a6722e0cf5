//! What a status of C-STORE (PS3.4 B.2.3, PS3.7 C), or the Failure Reason of STOW-RS (PS3.18
//! Table I.2-2), means for an object.

use super::courier::Fate;
use crate::ul::command::status;

/// `attempts` tells whether the destination was asked before. The words of its Error Comment are
/// left out: they may be about a patient.
pub(super) fn fate(code: u16, attempts: u32, bytes: u64) -> Fate {
    let said = |meaning: &str| format!("{code:04X}, {meaning}");
    match code {
        status::SUCCESS => Fate::Taken { note: None, bytes },
        0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => {
            Fate::Taken { note: Some(said("stored with a warning")), bytes }
        }
        // It may be our own, from an attempt whose answer never came.
        0x0111 if attempts > 1 => Fate::Taken { note: Some(said("it was there already")), bytes },
        0x0111 => Fate::Refused(said("another object has this UID there")),
        0x0122 => Fate::Refused(said("the SOP class is not taken")),
        0x0124 => Fate::Refused(said("we may not store it")),
        0xA700..=0xA7FF => Fate::Failed(said("out of resources")),
        0xA900..=0xA9FF => Fate::Refused(said("the data set does not match its SOP class")),
        0xC122 => Fate::Refused(said("the transfer syntax is not taken")),
        0xC000..=0xCFFF => Fate::Refused(said("the object is not understood")),
        0x0110 => Fate::Failed(said("processing failure")),
        0x0105 | 0x0106 | 0x0115 | 0x0117..=0x0121 | 0x0211 | 0x0212 => Fate::Refused(said("refused")),
        _ => Fate::Failed(said("an unknown status")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: u16, attempts: u32, expected: &str) {
        let fate = fate(code, attempts, 1);
        let word = match fate {
            Fate::Taken { note: None, .. } => "taken",
            Fate::Taken { .. } => "taken with a note",
            Fate::Refused(_) => "refused",
            Fate::Failed(_) => "failed",
            Fate::Untried | Fate::Gone => "neither",
        };
        assert_eq!(word, expected, "{code:04X}");
    }

    #[test]
    fn what_will_never_be_taken_is_told_from_what_may_be() {
        check(0x0000, 1, "taken");
        check(0xB000, 1, "taken with a note");
        check(0xA700, 1, "failed");
        check(0x0110, 1, "failed");
        for code in [0xA900, 0xC000, 0xC123, 0xC122, 0x0122, 0x0124] {
            check(code, 1, "refused");
        }
    }

    #[test]
    fn an_object_that_is_there_after_an_attempt_is_ours() {
        check(0x0111, 1, "refused");
        check(0x0111, 2, "taken with a note");
    }
}
