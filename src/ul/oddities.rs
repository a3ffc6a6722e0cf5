//! What peers do beside the standard and does no harm.

use std::collections::BTreeSet;

/// Something that the standard has otherwise: taken as it was meant, and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// An item of a negotiation PDU that is of no known type: passed over, PS3.8 9.3.1.
    UnknownItem,
    /// The same among the user items.
    UnknownUserItem,
    /// An item whose content is longer or shorter than its kind has.
    ItemLength,
    /// Bytes behind the last item.
    TrailingBytes,
    /// UIDs of a negotiation are not padded, PS3.8 F.
    PaddedUid,
    /// AE titles are padded at their end and by spaces, PS3.8 9.3.2.
    AeTitlePadding,
    /// An AE title in other letters than ours.
    AeTitleCase,
    /// Required by PS3.8 D.1.
    NoMaximumLength,
    /// Required by PS3.7 D.3.3.2.
    NoImplementationClass,
    /// Fragments have an even number of bytes, PS3.8 E.1.
    OddFragment,
    /// A message that came before the last one was answered, on an association without that.
    EarlyRequest,
}

impl Oddity {
    /// The metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownItem => "unknown_item",
            Self::UnknownUserItem => "unknown_user_item",
            Self::ItemLength => "item_length",
            Self::TrailingBytes => "trailing_bytes",
            Self::PaddedUid => "padded_uid",
            Self::AeTitlePadding => "ae_title_padding",
            Self::AeTitleCase => "ae_title_case",
            Self::NoMaximumLength => "no_maximum_length",
            Self::NoImplementationClass => "no_implementation_class",
            Self::OddFragment => "odd_fragment",
            Self::EarlyRequest => "early_request",
        }
    }
}

/// Each kind once.
pub type Oddities = BTreeSet<Oddity>;
