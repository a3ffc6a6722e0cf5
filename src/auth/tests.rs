//! Access as a whole, on an index of its own and a clock that stands.

mod harness;
mod keys;
mod permissions;
mod sessions;
mod ways_in;

use harness::{Bench, PASSWORD};
