//! Two words at a time: of all that is done for a line, copying it takes the most.
//!
//! In assembly, since the compiler joins no atomics, and what is not atomic would be a data
//! race. Is each word of such an access whole? AMD (Architecture Programmer's Manual, volume 2,
//! 7.3.2) and Intel (Software Developer's Manual, volume 3A, "Guaranteed Atomic Operations")
//! say so of aligned accesses of 16 bytes on processors with AVX. Of one that is aligned to 8
//! bytes alone, as here where slots have checksums, they say no more than that it may be made
//! in several accesses. So nothing rests on it: a word that was copied while its owner wrote
//! it is thrown away, since the entry, or the change count of the spare, is another by then
//! (observe:B, unfinished:B), and no word is used before that was looked at. Nor does anything
//! rest on which of two stores that overlap comes first: both have the same bytes there.

use core::arch::asm;
use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128};

use super::{AtomicU64, BLOCK, BLOCK_BYTES};

#[inline(always)]
pub(super) fn store(to: &[AtomicU64; BLOCK], from: &[u8; BLOCK_BYTES]) {
    let from = from.as_ptr().cast::<__m128i>();
    // SAFETY: both are as long as two of these; the loads need no alignment, and of the stores
    // atomics may be shared.
    unsafe {
        let (first, second) = (_mm_loadu_si128(from), _mm_loadu_si128(from.add(1)));
        asm!(
            "movups [{to}], {first}",
            "movups [{to} + 16], {second}",
            to = in(reg) to.as_ptr(),
            first = in(xmm_reg) first,
            second = in(xmm_reg) second,
            options(nostack, preserves_flags),
        );
    }
}

/// The fewest bytes that are copied with the last ones overlapping those before.
const LEAST: usize = 16;

/// Stores 16 bytes, from byte `at` of both on: any address.
///
/// # Safety
///
/// Both have so many bytes; what `to` points to are bytes of atomics.
#[inline(always)]
unsafe fn store_16(to: *mut u8, from: *const u8, at: usize) {
    // SAFETY: the caller's; neither needs an alignment.
    unsafe {
        let value = _mm_loadu_si128(from.add(at).cast());
        asm!(
            "movups [{to} + {at}], {value}",
            to = in(reg) to,
            at = in(reg) at,
            value = in(xmm_reg) value,
            options(nostack, preserves_flags),
        );
    }
}

/// The same for 8 bytes.
///
/// # Safety
///
/// As for 16.
#[inline(always)]
unsafe fn store_8(to: *mut u8, from: *const u8, at: usize) {
    // SAFETY: as for 16.
    unsafe {
        let value = from.add(at).cast::<u64>().read_unaligned();
        asm!(
            "mov qword ptr [{to} + {at}], {value}",
            to = in(reg) to,
            at = in(reg) at,
            value = in(reg) value,
            options(nostack, preserves_flags),
        );
    }
}

/// The same for 4 bytes.
///
/// # Safety
///
/// As for 16.
#[inline(always)]
unsafe fn store_4(to: *mut u8, from: *const u8, at: usize) {
    // SAFETY: as for 16.
    unsafe {
        let value = from.add(at).cast::<u32>().read_unaligned();
        asm!(
            "mov dword ptr [{to} + {at}], {value:e}",
            to = in(reg) to,
            at = in(reg) at,
            value = in(reg) value,
            options(nostack, preserves_flags),
        );
    }
}

/// The same for one byte.
///
/// # Safety
///
/// As for 16.
#[inline(always)]
unsafe fn store_1(to: *mut u8, from: *const u8, at: usize) {
    // SAFETY: as for 16.
    unsafe {
        let value = from.add(at).read();
        asm!(
            "mov byte ptr [{to} + {at}], {value}",
            to = in(reg) to,
            at = in(reg) at,
            value = in(reg_byte) value,
            options(nostack, preserves_flags),
        );
    }
}

/// The same for 64 bytes.
///
/// # Safety
///
/// As for 16.
#[inline(always)]
unsafe fn store_64(to: *mut u8, from: *const u8, at: usize) {
    // SAFETY: as for 16.
    unsafe {
        let value = |index| _mm_loadu_si128(from.add(at).cast::<__m128i>().add(index));
        asm!(
            "movups [{to} + {at}], {first}",
            "movups [{to} + {at} + 16], {second}",
            "movups [{to} + {at} + 32], {third}",
            "movups [{to} + {at} + 48], {fourth}",
            to = in(reg) to,
            at = in(reg) at,
            first = in(xmm_reg) value(0),
            second = in(xmm_reg) value(1),
            third = in(xmm_reg) value(2),
            fourth = in(xmm_reg) value(3),
            options(nostack, preserves_flags),
        );
    }
}

/// Stores at least [`LEAST`] bytes, the last ones over those before, whatever their number;
/// `false`, and nothing is done, if there are fewer.
///
/// # Safety
///
/// `to` has room for them: any address, of bytes of atomics.
#[inline(always)]
pub(super) unsafe fn store_overlapping(to: *mut u8, bytes: &[u8]) -> bool {
    let from = bytes.as_ptr();
    // SAFETY: the caller's, and each step is within the bytes.
    in_steps::<64>(bytes.len(), |at| unsafe { store_64(to, from, at) })
        // SAFETY: as above.
        || in_steps::<LEAST>(bytes.len(), |at| unsafe { store_16(to, from, at) })
}

/// Stores any number of bytes in that way.
///
/// # Safety
///
/// As for [`store_overlapping`].
#[inline(always)]
pub(super) unsafe fn store_any(to: *mut u8, bytes: &[u8]) {
    let from = bytes.as_ptr();
    // SAFETY: the caller's, and each step is within the bytes.
    let _ = unsafe { store_overlapping(to, bytes) }
        // SAFETY: as above.
        || in_steps::<8>(bytes.len(), |at| unsafe { store_8(to, from, at) })
        // SAFETY: as above.
        || in_steps::<4>(bytes.len(), |at| unsafe { store_4(to, from, at) })
        // SAFETY: as above.
        || in_steps::<1>(bytes.len(), |at| unsafe { store_1(to, from, at) });
}

/// Loads as many, in the same way.
///
/// # Safety
///
/// So many are at both; those at `to` are the caller's alone.
#[inline(always)]
pub(super) unsafe fn load_overlapping(from: *const AtomicU64, to: *mut u64, bytes: usize) -> bool {
    let (from, to) = (from.cast(), to.cast());
    // SAFETY: as for storing.
    in_steps::<64>(bytes, |at| unsafe { load_64(from, to, at) })
        // SAFETY: as above.
        || in_steps::<LEAST>(bytes, |at| unsafe { load_16(from, to, at) })
}

/// Copies `bytes` bytes by a function that copies `STEP` from an offset on; `false` if there
/// are fewer.
#[inline(always)]
fn in_steps<const STEP: usize>(bytes: usize, copy: impl Fn(usize)) -> bool {
    let Some(last) = bytes.checked_sub(STEP) else { return false };
    let mut at = 0;
    while at < last {
        copy(at);
        at += STEP;
    }
    copy(last);
    true
}

/// Loads 16 bytes, from byte `at` of both on: any address.
///
/// # Safety
///
/// Both have so many bytes; those that `from` points to are of atomics.
#[inline(always)]
unsafe fn load_16(from: *const u8, to: *mut u8, at: usize) {
    let value: __m128i;
    // SAFETY: the caller's; neither needs an alignment.
    unsafe {
        asm!(
            "movups {value}, [{from} + {at}]",
            from = in(reg) from,
            at = in(reg) at,
            value = lateout(xmm_reg) value,
            options(nostack, preserves_flags, readonly),
        );
        _mm_storeu_si128(to.add(at).cast(), value);
    }
}

/// The same for 64 bytes.
///
/// # Safety
///
/// As for 16.
#[inline(always)]
unsafe fn load_64(from: *const u8, to: *mut u8, at: usize) {
    let (first, second, third, fourth): (__m128i, __m128i, __m128i, __m128i);
    // SAFETY: as for 16.
    unsafe {
        asm!(
            "movups {first}, [{from} + {at}]",
            "movups {second}, [{from} + {at} + 16]",
            "movups {third}, [{from} + {at} + 32]",
            "movups {fourth}, [{from} + {at} + 48]",
            from = in(reg) from,
            at = in(reg) at,
            first = out(xmm_reg) first,
            second = out(xmm_reg) second,
            third = out(xmm_reg) third,
            fourth = out(xmm_reg) fourth,
            options(nostack, preserves_flags, readonly),
        );
        let to = to.add(at).cast::<__m128i>();
        _mm_storeu_si128(to, first);
        _mm_storeu_si128(to.add(1), second);
        _mm_storeu_si128(to.add(2), third);
        _mm_storeu_si128(to.add(3), fourth);
    }
}

#[inline(always)]
pub(super) fn load(from: &[AtomicU64; BLOCK], to: &mut [u64; BLOCK]) {
    let (first, second): (__m128i, __m128i);
    let to = to.as_mut_ptr().cast::<__m128i>();
    // SAFETY: as above.
    unsafe {
        asm!(
            "movups {first}, [{from}]",
            "movups {second}, [{from} + 16]",
            from = in(reg) from.as_ptr(),
            first = lateout(xmm_reg) first,
            second = lateout(xmm_reg) second,
            options(nostack, preserves_flags, readonly),
        );
        _mm_storeu_si128(to, first);
        _mm_storeu_si128(to.add(1), second);
    }
}
