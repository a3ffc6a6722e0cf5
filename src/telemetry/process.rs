//! What the system says about this process, read from `/proc/self`; where there is none, nothing is
//! said.

use std::fs;

use metrics::gauge;

use super::metrics::process as metric;
use crate::clock::{Clock, Timestamp};

/// What does not change while the process runs.
pub(super) fn begin() {
    let features = if cfg!(feature = "local-model") { "local-model" } else { "none" };
    gauge!(metric::BUILD, "version" => env!("CARGO_PKG_VERSION"), "features" => features).set(1.0);
    let Timestamp(started) = Clock::System.now();
    gauge!(metric::STARTED).set(started as f64 / 1e6);
    measure();
}

/// Sets the gauges; some reads of a few hundred bytes.
pub fn measure() {
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let kib = field(&status, "VmRSS:");
        kib.into_iter().for_each(|kib| gauge!(metric::RESIDENT_BYTES).set(kib * 1024.0));
        let threads = field(&status, "Threads:");
        threads.into_iter().for_each(|threads| gauge!(metric::THREADS).set(threads));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The folder itself is open while it is read.
        gauge!(metric::OPEN_FDS).set(open.count().saturating_sub(1) as f64);
    }
    let limits = fs::read_to_string("/proc/self/limits").ok();
    let most = limits.and_then(|limits| field(&limits, "Max open files"));
    most.into_iter().for_each(|most| gauge!(metric::MAX_FDS).set(most));
}

/// The first number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_behind_its_name() {
        let status = "Name:\tradiant\nVmRSS:\t  1234 kB\nThreads:\t7\n";
        assert_eq!((field(status, "VmRSS:"), field(status, "Threads:")), (Some(1234.0), Some(7.0)));
        assert_eq!(field("Max open files            unlimited            files\n", "Max open files"), None);
        assert_eq!(field(status, "VmSwap:"), None);
    }
}
