//! The threads that compute.
//!
//! The model has a pool of its own, so that a long prompt never takes the processors that receive
//! objects. Only candle's kernels for packed matrices, which run where ours do not apply, have
//! another pool, whose size they read from the environment ([`THREADS_VARIABLE`]).

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::error::LoadError;

/// What candle reads when it computes for the first time.
pub const THREADS_VARIABLE: &str = "CANDLE_NUM_THREADS";

/// `wanted`, or for 0 all processors but one.
pub fn thread_count(wanted: usize) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if wanted > 0 { wanted } else { processors.saturating_sub(1).max(1) }
}

pub(super) fn pool(wanted: usize) -> Result<ThreadPool, LoadError> {
    let named = ThreadPoolBuilder::new().thread_name(|number| format!("model-{number}"));
    named.num_threads(thread_count(wanted)).build().map_err(|error| LoadError::Threads(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_processor_is_left_to_others_and_one_thread_there_always_is() {
        let processors = std::thread::available_parallelism().unwrap().get();
        assert_eq!(thread_count(0), (processors - 1).max(1));
        assert_eq!(thread_count(7), 7);
        assert_eq!(pool(3).unwrap().install(rayon::current_num_threads), 3);
    }
}
