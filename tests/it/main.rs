//! The one integration binary; a file per capability.

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
