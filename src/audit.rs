//! Who did what, on which resource, from where, and how it ended: the values of the audit trail.
//!
//! [`Entry`] is the one form; `db::audit` chains what is appended. No entry holds an attribute of a
//! patient: UIDs, ids and names of keys are all there is.

mod action;
mod entry;
pub mod event;
mod export;
mod heads;
mod message;
pub mod recorder;
mod syslog;

pub use action::{Act, Action};
pub use entry::{Actor, ActorKind, Entry, Object, ObjectKind, Outcome};
pub use export::{ExportError, Form};
pub use heads::{Heads, HeadsError};
pub use recorder::{Begun, Deed, Recorder, Unrecorded};
pub use syslog::Collector;
