//! Pushing objects out to other systems.

pub mod scu;
