//! Bytes in and out of shared words.
//!
//! Another process may be writing what is read here, or reading what is written: every word is an
//! atomic, and relaxed. What is read makes sense only once the reader has found, by what `exchange`
//! says, that it did not change meanwhile.

use crate::layout::sync::{AtomicU64, Ordering};

use Ordering::Relaxed;

/// Words that are copied at a time. The payload of each slot of a segment is so many, or a
/// multiple.
const BLOCK: usize = 4;
const BLOCK_BYTES: usize = 8 * BLOCK;

/// Stores `bytes` from `to` on, as whole lines come. What follows in the last word is left as it
/// was or becomes zero; no other word changes.
///
/// # Safety
///
/// So many bytes, and the rest of the last word, are at `to`, for as long as the call takes.
#[inline(always)]
pub(crate) unsafe fn store_whole(to: *const AtomicU64, bytes: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    // SAFETY: the caller's.
    if unsafe { block::store_overlapping(to.cast_mut().cast(), bytes) } {
        return;
    }
    // SAFETY: as above.
    let words = unsafe { core::slice::from_raw_parts(to, bytes.len().div_ceil(8)) };
    store_short(words, bytes);
}

/// Stores `bytes` from byte `at` of `to` on, as the pieces of a line come. What follows in the last
/// word is left as it was or becomes zero; nothing else changes.
///
/// # Safety
///
/// There are so many bytes, and the rest of the last word, for as long as the call takes.
#[inline(always)]
pub(crate) unsafe fn store_piece(to: *const AtomicU64, at: usize, bytes: &[u8]) {
    // SAFETY: the caller's.
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    unsafe {
        block::store_any(to.cast_mut().cast::<u8>().add(at), bytes);
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    // SAFETY: as above.
    store_bytes(
        unsafe { core::slice::from_raw_parts(to, (at + bytes.len()).div_ceil(8)) },
        at,
        bytes,
    );
}

// Apart, so that it does not keep the code of other lines from being one piece.
#[inline(never)]
fn store_short(words: &[AtomicU64], bytes: &[u8]) {
    store_bytes(words, 0, bytes);
}

/// Stores `bytes` from byte `at` of `words` on. What follows in the last word becomes zero.
///
/// # Panics
///
/// If they do not fit.
#[inline]
pub(crate) fn store_bytes(words: &[AtomicU64], at: usize, bytes: &[u8]) {
    let mut index = at / 8;
    let mut rest = bytes;
    let offset = at % 8;
    if offset != 0 && !rest.is_empty() {
        let (head, tail) = rest.split_at(rest.len().min(8 - offset));
        let before = u64::from_le(words[index].load(Relaxed)) & ((1 << (8 * offset)) - 1);
        words[index].store((before | few(head) << (8 * offset)).to_le(), Relaxed);
        index += 1;
        rest = tail;
    }
    let (blocks, last_block) = rest.as_chunks::<BLOCK_BYTES>();
    let (to_blocks, to_last) = words[index..].split_at(blocks.len() * BLOCK);
    for (to, from) in to_blocks.as_chunks().0.iter().zip(blocks) {
        block::store(to, from);
    }
    let (chunks, tail) = last_block.as_chunks::<8>();
    for (word, chunk) in to_last[..chunks.len()].iter().zip(chunks) {
        word.store(u64::from_ne_bytes(*chunk), Relaxed);
    }
    if !tail.is_empty() {
        let word = match rest.last_chunk::<8>() {
            // Eight bytes that overlap those before: one load and a shift.
            Some(last) => u64::from_le_bytes(*last) >> (8 * (8 - tail.len())),
            None => few(tail),
        };
        to_last[chunks.len()].store(word.to_le(), Relaxed);
    }
}

/// Up to seven bytes as the lower ones of a little-endian word: copying so few would be a call.
#[inline]
fn few(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (bytes.len() - 4));
    }
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return 0 };
    // One to three: some of them are the same.
    let middle = bytes.len() / 2;
    u64::from(*first)
        | u64::from(bytes[middle]) << (8 * middle)
        | u64::from(*last) << (8 * (bytes.len() - 1))
}

/// Loads as many bytes as `bytes` has from the start of `words`.
#[inline]
pub(crate) fn load_bytes(words: &[AtomicU64], bytes: &mut [u8]) {
    let whole = bytes.len() / 8;
    let mut chunks = bytes.chunks_exact_mut(8);
    for (word, chunk) in words.iter().zip(&mut chunks) {
        chunk.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
    }
    let tail = chunks.into_remainder();
    if !tail.is_empty() {
        let word = words[whole].load(Relaxed).to_ne_bytes();
        for (byte, from) in tail.iter_mut().zip(word) {
            *byte = from;
        }
    }
}

/// Loads `bytes` bytes from `from` on, as whole lines are read, and perhaps what follows in the
/// last word. No word after that changes.
///
/// # Safety
///
/// So many bytes, and the rest of the last word, are at both, for as long as the call takes; what
/// is at `to` is the caller's alone.
#[inline(always)]
pub(crate) unsafe fn load_whole(from: *const AtomicU64, to: *mut u64, bytes: usize) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    // SAFETY: the caller's.
    if unsafe { block::load_overlapping(from, to, bytes) } {
        return;
    }
    let words = bytes.div_ceil(8);
    // SAFETY: as above.
    let (from, to) = unsafe {
        (core::slice::from_raw_parts(from, words), core::slice::from_raw_parts_mut(to, words))
    };
    load_short(from, to);
}

// Apart, as `store_short` is.
#[inline(never)]
fn load_short(from: &[AtomicU64], to: &mut [u64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = from.load(Relaxed));
}

/// Loads four words.
#[inline(always)]
pub(crate) fn load_block(from: &[AtomicU64; BLOCK], to: &mut [u64; BLOCK]) {
    block::load(from, to);
}

#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
mod block;

#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
use portable as block;

/// Word by word. Tests hold the other one against it.
#[cfg(any(test, not(all(target_arch = "x86_64", not(loom), not(miri)))))]
mod portable {
    use super::{AtomicU64, BLOCK, BLOCK_BYTES, Relaxed};

    pub(super) fn store(to: &[AtomicU64; BLOCK], from: &[u8; BLOCK_BYTES]) {
        for (to, from) in to.iter().zip(from.as_chunks::<8>().0) {
            to.store(u64::from_ne_bytes(*from), Relaxed);
        }
    }

    pub(super) fn load(from: &[AtomicU64; BLOCK], to: &mut [u64; BLOCK]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.load(Relaxed);
        }
    }
}

/// Tells the processor to fetch a cache line, `LINE` lines after what is at `at`, to write it if
/// `WRITE`.
#[inline(always)]
pub(crate) fn prefetch<const WRITE: bool, const LINE: usize>(at: *const AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    {
        // SAFETY: a prefetch never faults and changes nothing, whatever the address. In assembly,
        // since the intrinsic for writing falls back to reading on the baseline processor,
        // where `prefetchw` does nothing worse than nothing.
        unsafe {
            if WRITE {
                core::arch::asm!(
                    "prefetchw [{at} + {offset}]",
                    at = in(reg) at,
                    offset = const 64 * LINE,
                    options(readonly, nostack, preserves_flags),
                );
            } else {
                core::arch::asm!(
                    "prefetcht0 [{at} + {offset}]",
                    at = in(reg) at,
                    offset = const 64 * LINE,
                    options(readonly, nostack, preserves_flags),
                );
            }
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    let _ = at;
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Of every length: the bytes, and no word before or after them.
    #[test]
    fn a_whole_lines_bytes_are_stored_and_no_other_word_changes() {
        const WORDS: usize = 40;
        const OLD: u64 = 0xa5a5_a5a5_a5a5_a5a5;
        let bytes: [u8; 8 * WORDS] = core::array::from_fn(|index| (index * 7 + 1) as u8);
        for length in 0..=8 * WORDS {
            let words: [AtomicU64; WORDS + 2] = core::array::from_fn(|_| AtomicU64::new(OLD));
            // SAFETY: there are so many words from the second on.
            unsafe { store_whole(words[1..].as_ptr(), &bytes[..length]) };
            let stored: Vec<u64> = words.iter().map(|word| word.load(Relaxed)).collect();
            let payload = &bytemuck::cast_slice::<_, u8>(&stored[1..])[..length];
            assert_eq!(payload, &bytes[..length], "{length} bytes");
            let after = 1 + length.div_ceil(8);
            let is_old = |word: &u64| *word == OLD;
            assert!(is_old(&stored[0]) && stored[after..].iter().all(is_old), "{length} bytes");
        }
    }

    /// Of every length, from every byte on: the bytes, none before them, and no word after them.
    #[test]
    fn a_pieces_bytes_are_stored_and_none_before_them_change() {
        const WORDS: usize = 12;
        let bytes: [u8; 8 * WORDS] = core::array::from_fn(|index| (index * 7 + 1) as u8);
        for (at, length) in (0..24).flat_map(|at| (0..=8 * WORDS - at).map(move |to| (at, to))) {
            let words: [AtomicU64; WORDS] = core::array::from_fn(|_| AtomicU64::new(u64::MAX));
            // SAFETY: there is room from there on.
            unsafe { store_piece(words.as_ptr(), at, &bytes[..length]) };
            let stored = words.map(|word| word.load(Relaxed));
            let stored: &[u8] = bytemuck::cast_slice(&stored);
            let end = at + length;
            assert_eq!(stored[at..end], bytes[..length], "{length} bytes at {at}");
            let is_old = |bytes: &[u8]| bytes.iter().all(|byte| *byte == u8::MAX);
            let after = end.next_multiple_of(8);
            assert!(is_old(&stored[..at]) && is_old(&stored[after..]), "{length} bytes at {at}");
        }
    }

    /// Of every length, from every place that a payload can have: the bytes, and no word after
    /// them.
    #[test]
    fn a_whole_lines_bytes_are_loaded_and_no_word_after_them_changes() {
        const WORDS: usize = 40;
        const OLD: u64 = 0xa5a5_a5a5_a5a5_a5a5;
        let bytes: [u8; 8 * WORDS] = core::array::from_fn(|index| (index * 7 + 1) as u8);
        let words: [AtomicU64; WORDS] = core::array::from_fn(|index| {
            AtomicU64::new(u64::from_ne_bytes(*bytes[8 * index..].first_chunk().expect("room")))
        });
        for length in 0..=8 * WORDS {
            let mut loaded = [OLD; WORDS + 1];
            // SAFETY: there are so many words at both.
            unsafe { load_whole(words.as_ptr(), loaded.as_mut_ptr(), length) };
            assert_eq!(bytemuck::cast_slice::<_, u8>(&loaded)[..length], bytes[..length]);
            assert!(loaded[length.div_ceil(8)..].iter().all(|word| *word == OLD), "{length} bytes");
        }
    }

    /// What is compiled here is one of two; both do the same with the same bytes.
    #[test]
    fn both_ways_to_copy_a_block_are_one() {
        let bytes: [u8; BLOCK_BYTES] = core::array::from_fn(|index| index as u8 * 7 + 1);
        // At each place that a word can have: slots are aligned to 64 bytes, a payload to 8.
        for at in 0..BLOCK {
            let words = || -> [AtomicU64; 2 * BLOCK] { Default::default() };
            let (fast, slow) = (words(), words());
            block::store(fast[at..].first_chunk().expect("room"), &bytes);
            portable::store(slow[at..].first_chunk().expect("room"), &bytes);
            let values = |words: &[AtomicU64]| -> Vec<u64> {
                words.iter().map(|word| word.load(Relaxed)).collect()
            };
            assert_eq!(values(&fast), values(&slow), "stored at word {at}");
            assert_eq!(bytemuck::cast_slice::<_, u8>(&values(&fast)[at..at + BLOCK]), bytes);
            let (mut loaded, mut expected) = ([0; BLOCK], [0; BLOCK]);
            block::load(fast[at..].first_chunk().expect("room"), &mut loaded);
            portable::load(slow[at..].first_chunk().expect("room"), &mut expected);
            assert_eq!(loaded, expected, "loaded from word {at}");
        }
    }
}
