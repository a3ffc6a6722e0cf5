//! The one integration binary; a file per capability.

mod pixels;
mod tidy;
mod volume;
