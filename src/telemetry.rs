//! What the server says about itself: log lines on stderr, metrics for Prometheus.

pub mod log;
pub mod metrics;
