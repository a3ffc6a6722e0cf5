//! The one integration binary; a file per capability.

mod harness;
mod pixels;
#[cfg(feature = "jpeg-ls")]
mod statement;
mod tidy;
mod volume;
mod whole_loop;
