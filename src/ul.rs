//! The DICOM upper layer (PS3.8) and the command sets above it (PS3.7 6.3): what the
//! association server and the senders have in common.
//!
//! `dicom-ul` reads and writes the negotiation PDUs. P-DATA is cut here, because a data set
//! must stream through without ever being held whole.

mod associate;
pub mod command;
pub mod connection;
pub mod data_set;
mod decoder;
pub mod oddities;
pub mod tls;
pub mod transport;

use std::io;
use std::time::Duration;

use dicom_ul::pdu::{AbortRQServiceProviderReason as Reason, AbortRQSource};

pub use decoder::{Fragment, Incoming, MessagePart};

/// PS3.8 9.3.1: type, a reserved byte and the length.
pub(crate) const PDU_HEADER_BYTES: usize = 6;
/// PS3.8 9.3.5.1 and E.2: the length, the presentation context and the message control header.
pub(crate) const PDV_HEADER_BYTES: usize = 6;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum UlError {
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("the peer closed the connection")]
    Closed,
    #[error("the peer aborted the association")]
    Aborted,
    #[error("no complete PDU came or went within {0:?}")]
    TimedOut(Duration),
    #[error("{waited:?} of waiting brought {bytes} bytes of a message, the least is {rate_min} a second")]
    TooSlow { bytes: u64, waited: Duration, rate_min: u64 },
    #[error("TLS came where none is spoken")]
    UnexpectedTls,
    #[error("PDU type {0:02X}H does not exist")]
    UnrecognizedPdu(u8),
    #[error("a PDU of {length} bytes was announced, the limit is {limit}")]
    PduTooLong { length: u32, limit: u32 },
    #[error("the PDU cannot be read: {0}")]
    Malformed(String),
    #[error("{0} has no place here")]
    Unexpected(&'static str),
    #[error("presentation context {0} was not accepted")]
    UnknownContext(u8),
    #[error("the command set cannot be read: {0}")]
    Command(#[from] command::CommandError),
    #[error("the PDU cannot be written: {0}")]
    Unwritable(String),
    #[error("the data set to be sent cannot be read: {0}")]
    Source(#[source] io::Error),
}

impl UlError {
    /// What to tell the peer (PS3.8 Table 9-26); nothing when nobody listens any more.
    pub fn abort_source(&self) -> Option<AbortRQSource> {
        let reason = match self {
            Self::Io(_) | Self::Closed | Self::Aborted => return None,
            Self::TimedOut(_) | Self::TooSlow { .. } | Self::Unwritable(_) => Reason::ReasonNotSpecified,
            Self::UnrecognizedPdu(_) | Self::UnexpectedTls => Reason::UnrecognizedPdu,
            Self::Unexpected(_) => Reason::UnexpectedPdu,
            Self::PduTooLong { .. } | Self::Malformed(_) | Self::UnknownContext(_) => {
                Reason::InvalidPduParameter
            }
            Self::Command(_) | Self::Source(_) => return Some(AbortRQSource::ServiceUser),
        };
        Some(AbortRQSource::ServiceProvider(reason))
    }
}
