//! What the processor and the system allow.

#![expect(unsafe_code, reason = "code that needs instructions is called")]

use super::Level;

pub(super) fn level() -> Level {
    match (has_vectors(), has_tiles()) {
        (true, true) => Level::Amx,
        (true, false) => Level::Avx512,
        (false, _) => Level::Portable,
    }
}

#[inline]
pub(super) fn wide<R>(level: Level, work: impl FnOnce() -> R) -> R {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,fma")]
    fn in_vectors<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
    match level {
        Level::Portable => work(),
        // SAFETY: these are among the features that the level stands for.
        Level::Avx512 | Level::Amx => unsafe { in_vectors(work) },
    }
}

fn has_vectors() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("fma")
}

/// Values are rounded by instructions that not every processor with tiles has.
fn has_tiles() -> bool {
    is_x86_feature_detected!("avx512bf16") && super::granted_tiles().is_some()
}
