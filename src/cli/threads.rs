//! How many threads compute, told to the one who can only be told by the environment.

use crate::ai::local::{THREADS_VARIABLE, thread_count};

/// Called while this program has one thread.
#[expect(unsafe_code, reason = "the environment must not be written beside a reader")]
pub(super) fn announce(threads: usize) {
    // SAFETY: there is no other thread yet that could read the environment.
    unsafe { std::env::set_var(THREADS_VARIABLE, thread_count(threads).to_string()) };
}
