//! What the processor and the system allow.

#![expect(unsafe_code, reason = "the system is asked for registers, and code that needs them is called")]

use std::arch::x86_64::__cpuid_count;

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

fn has_tiles() -> bool {
    /// In EDX of leaf 7: AMX-BF16 and AMX-TILE.
    const TILES: u32 = 1 << 22 | 1 << 24;
    let announced = __cpuid_count(7, 0).edx & TILES == TILES;
    is_x86_feature_detected!("avx512bf16") && announced && are_tiles_granted()
}

/// Linux saves tile registers only for processes that ask: `arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)`.
#[cfg(target_os = "linux")]
fn are_tiles_granted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST: i64 = 0x1023;
    const TILE_DATA: i64 = 18;
    let outcome: i64;
    // SAFETY: the call takes two numbers and touches no memory of ours; it clobbers what it says.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") ARCH_PRCTL => outcome, in("rdi") REQUEST,
            in("rsi") TILE_DATA, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    outcome == 0
}

#[cfg(not(target_os = "linux"))]
fn are_tiles_granted() -> bool {
    false
}
