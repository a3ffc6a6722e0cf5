//! Pushing objects out to other systems.

pub mod commitment;
pub mod scu;
