//! What peers answer, in words.

/// A status of C-STORE (PS3.4 Table B.2-1, PS3.7 9.1.1.1.9 and Annex C).
pub(super) fn of_store(status: u16) -> String {
    let meaning = match status {
        0x0000 => "stored",
        0x0107 | 0x0116 | 0x0001 => "stored, with a warning about attributes",
        0xB000 => "stored, but it changed attributes",
        0xB006 => "stored, but it left elements out",
        0xB007 => "stored, although it does not match its SOP class",
        0xB001..=0xBFFF => "stored, with a warning",
        0xA700..=0xA7FF => "it is out of resources, of disk as a rule",
        0xA900..=0xA9FF => "the object does not match its SOP class",
        0xC000..=0xCFFF => "it cannot understand the object",
        0x0111 => "it has another object with this SOP Instance UID",
        _ => general(status),
    };
    format!("{status:04X}, {meaning}")
}

/// A status of C-MOVE (PS3.4 Table C.4-2).
pub(super) fn of_move(status: u16) -> String {
    let meaning = match status {
        0x0000 => "all were sent",
        0xB000 => "some could not be sent, or were taken with a warning",
        0xA701 => "it is out of resources and cannot count the matches",
        0xA702 => "it could send none of them to the destination",
        0xA801 => "it does not know the destination",
        0xA900..=0xA9FF => {
            "it does not understand what is asked for: a key or the level is not of this model"
        }
        0xC000..=0xCFFF => "it cannot process the request",
        0xFE00 => "it was cancelled",
        _ => general(status),
    };
    format!("{status:04X}, {meaning}")
}

pub(super) fn general(status: u16) -> &'static str {
    match status {
        0x0105 | 0x0106 | 0x0115 | 0x0120 | 0x0121 => "an attribute or its value is not to its liking",
        0x0110 => "it failed to process the request",
        0x0112 | 0x0117 => "it does not know the object",
        0x0118 | 0x0122 => "it does not support the SOP class",
        0x0124 => "it does not let us do this",
        0x0210 => "it takes the message for a repeated one",
        0x0211 => "it does not know the operation",
        0x0212 => "it takes the message for malformed",
        0x0213 => "it is out of resources",
        _ => "an unusual status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_put_into_words() {
        assert_eq!(of_store(0xA7FF), "A7FF, it is out of resources, of disk as a rule");
        assert_eq!(of_store(0x0124), "0124, it does not let us do this");
        assert_eq!(of_move(0xA801), "A801, it does not know the destination");
        assert_eq!(of_move(0x0999), "0999, an unusual status");
    }
}
