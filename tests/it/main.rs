//! The one integration binary; a file per capability.

mod harness;
mod pixels;
mod tidy;
mod volume;
mod whole_loop;
