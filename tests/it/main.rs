//! The one integration binary; a file per capability.

#![allow(clippy::unwrap_used, reason = "a step that fails fails the test")]
#![allow(clippy::disallowed_methods, reason = "judges name their files by the environment")]

mod authz;
mod harness;
mod openapi;
mod pixels;
mod reporting;
#[cfg(feature = "jpeg-ls")]
mod statement;
mod tidy;
mod volume;
mod whole_loop;
