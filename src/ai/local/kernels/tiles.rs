//! Matrix tiles (Intel AMX): products of bf16 with sums in f32, sixteen by sixteen at a time.
//!
//! A thread's tiles have a configuration that other code of this process may rely on, so a stretch
//! of work loads its own and puts the former one back.

use half::bf16;

/// Rows and columns of the result of one step: two by two tiles.
pub(in crate::ai::local) const BLOCK: usize = 32;
/// Numbers of the inner dimension that one step takes.
pub(super) const STEP: usize = 32;
/// Weights that one step takes: two tiles of [`STEP`] by 16.
pub(in crate::ai::local) const STEP_WEIGHTS: usize = STEP * BLOCK;

/// That the processor has tiles and the system lets this process use them.
#[derive(Debug, Clone, Copy)]
pub(in crate::ai::local) struct Tiles(());

/// A thread whose tiles are configured.
pub(in crate::ai::local) struct Configured {
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "there are no tiles"))]
    former: Configuration,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// One operand of [`Configured::multiply`]: rows of numbers, so many apart.
#[derive(Clone, Copy)]
pub(in crate::ai::local) struct Rows<'a> {
    pub(in crate::ai::local) numbers: &'a [bf16],
    pub(in crate::ai::local) apart: usize,
}

impl Configuration {
    const NONE: Self =
        Self { palette: 0, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };

    /// Eight full tiles.
    fn full() -> Self {
        let mut full = Self { palette: 1, ..Self::NONE };
        full.row_bytes[..8].fill(64);
        full.rows[..8].fill(16);
        full
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
impl Tiles {
    pub(in crate::ai::local) fn request() -> Option<Self> {
        const BF16_AND_TILES: u32 = 1 << 22 | 1 << 24;
        let features = std::arch::x86_64::__cpuid_count(7, 0).edx;
        (features & BF16_AND_TILES == BF16_AND_TILES && permitted()).then_some(Self(()))
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
impl Tiles {
    pub(in crate::ai::local) fn request() -> Option<Self> {
        None
    }
}

/// Asks the system for the state of tiles. It is given to the whole process, once and for all.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn permitted() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XTILEDATA: usize = 18;
    let outcome: usize;
    // SAFETY: a system call with two plain numbers, which touches no memory of ours
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => outcome,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    outcome == 0
}

#[cfg(target_arch = "x86_64")]
impl Tiles {
    pub(in crate::ai::local) fn configure(self) -> Configured {
        let mut former = Configuration::NONE;
        let full = Configuration::full();
        // SAFETY: `self` is the proof that the instructions may be used; both operands are 64 bytes
        unsafe {
            std::arch::asm!(
                "sttilecfg [{former}]",
                "ldtilecfg [{full}]",
                former = in(reg) &raw mut former,
                full = in(reg) &raw const full,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
        Configured { former }
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: as in `configure`; what is loaded is what the processor gave there
        unsafe {
            std::arch::asm!(
                "ldtilecfg [{former}]",
                former = in(reg) &raw const self.former,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

impl Configured {
    /// `out = left * right`, or `out += left * right`, for [`BLOCK`] rows and columns; `right` is
    /// as many steps of [`STEP_WEIGHTS`] as the inner dimension has, `out` in rows of `out_apart`.
    pub(in crate::ai::local) fn multiply(
        &self,
        left: Rows<'_>,
        right: &[bf16],
        out: &mut [f32],
        out_apart: usize,
        add: bool,
    ) {
        let steps = right.len() / STEP_WEIGHTS;
        assert!(
            steps > 0 && (BLOCK - 1) * left.apart + steps * STEP <= left.numbers.len(),
            "an operand of a tile is too short"
        );
        assert!((BLOCK - 1) * out_apart + BLOCK <= out.len(), "the result of a tile has no room");
        assert!(BLOCK <= out_apart, "rows of the result overlap");
        // SAFETY: the tiles are configured, and all that is read and written is inside the slices,
        // as asserted
        unsafe { multiply(left, right, steps, out, out_apart, add) }
    }
}

/// # Safety
/// The tiles must be configured, and the slices as long as [`Configured::multiply`] asserts.
#[cfg(target_arch = "x86_64")]
unsafe fn multiply(
    left: Rows<'_>,
    right: &[bf16],
    steps: usize,
    out: &mut [f32],
    out_apart: usize,
    add: bool,
) {
    let upper = left.numbers.as_ptr();
    // SAFETY: the lower half is sixteen rows down, inside the slice
    let (lower, out_lower) = unsafe { (upper.add(16 * left.apart), out.as_mut_ptr().add(16 * out_apart)) };
    // SAFETY: what the caller promises
    unsafe {
        std::arch::asm!(
            "test {add:e}, {add:e}",
            "jz 3f",
            "tileloadd tmm0, [{out} + {out_apart}]",
            "tileloadd tmm1, [{out} + {out_apart} + 64]",
            "tileloadd tmm2, [{out_lower} + {out_apart}]",
            "tileloadd tmm3, [{out_lower} + {out_apart} + 64]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm6, [{right} + {tile_row}]",
            "tileloadd tmm4, [{upper} + {apart}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{right} + {tile_row} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {apart}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {right}, 2048",
            "add {upper}, 64",
            "add {lower}, 64",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{out} + {out_apart}], tmm0",
            "tilestored [{out} + {out_apart} + 64], tmm1",
            "tilestored [{out_lower} + {out_apart}], tmm2",
            "tilestored [{out_lower} + {out_apart} + 64], tmm3",
            add = in(reg) u32::from(add),
            out = in(reg) out.as_mut_ptr(),
            out_lower = in(reg) out_lower,
            out_apart = in(reg) 4 * out_apart,
            right = inout(reg) right.as_ptr() => _,
            upper = inout(reg) upper => _,
            lower = inout(reg) lower => _,
            apart = in(reg) 2 * left.apart,
            tile_row = in(reg) 64usize,
            steps = inout(reg) steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Tiles {
    pub(in crate::ai::local) fn configure(self) -> Configured {
        unreachable!("no value of this type is made without tiles")
    }
}

/// # Safety
/// None: it is never reached.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn multiply(_: Rows<'_>, _: &[bf16], _: usize, _: &mut [f32], _: usize, _: bool) {
    unreachable!("no value of this type is made without tiles")
}
