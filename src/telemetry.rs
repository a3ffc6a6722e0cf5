//! What the server says about itself: log lines on stderr, metrics for Prometheus.

pub mod collector;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod process;
pub mod trace;
