//! The archive looked after by whoever runs it: read again, repaired, copied, made anew from its
//! objects, and freed of what is over. All of it is started by a person or by a rule of the
//! configuration, and told in the audit trail.

pub mod backup;
pub mod garbage;
pub mod migrate;
pub mod reindex;
pub mod repair;
pub mod restore;
pub mod retention;
pub mod verify;
