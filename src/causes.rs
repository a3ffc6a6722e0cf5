//! An error in one line.

/// The error and its sources, from the outside in.
pub fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |source| source.source())
        .fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
