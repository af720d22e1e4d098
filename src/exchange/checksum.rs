//! The checksum of a slot: CRC-32C, for which processors have an instruction.
//!
//! A slot's word has two sums: the low half is that of its payload and of its header but for the
//! position, the high half that of the same with the position after it. So a writer adds the
//! position at each attempt to publish in one step, and the process that finds a dead writer's slot
//! can tell whether all but the position is what was written.
//!
//! Where there is the instruction it is used here, and in place: through the crate, finding out
//! whether there is one and the call take longer than all of it does for a line of 100 bytes. The
//! crate does the rest: other processors, and long pieces, of which it takes several streams at a
//! time.

use crate::layout::{CHECK_WORD, SLOT_HEADER_WORDS, Shape, SlotHeader};

/// Bytes from which on the crate is faster.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const LONG: usize = 512;

/// The sum of no bytes.
pub(crate) const NONE: u32 = 0;

/// The sum of what `sum` is of, with these bytes after it.
#[inline]
pub(crate) fn append(sum: u32, bytes: &[u8]) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if bytes.len() < LONG && instruction::exists() {
        return instruction::append(sum, bytes);
    }
    crc32c::crc32c_append(sum, bytes)
}

/// The same for words, as they stand in memory.
#[inline]
pub(crate) fn append_words<const N: usize>(sum: u32, words: [u64; N]) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if instruction::exists() {
        return instruction::append_words(sum, words);
    }
    words.iter().fold(sum, |sum, word| crc32c::crc32c_append(sum, &word.to_ne_bytes()))
}

/// The sum of a payload whose sum is `payload`, and of its header but for the position.
#[inline]
pub(crate) fn with_header(payload: u32, header: &SlotHeader) -> u32 {
    append_words(payload, [header.time_word(), header.line_word(), header.part_word()])
}

/// The word of a slot whose sum without the position is `sum`.
#[inline]
pub(crate) fn word(sum: u32, position: u64) -> u64 {
    u64::from(sum) | u64::from(append_words(sum, [position])) << 32
}

// Apart: what has nothing to do with sums stays one piece of code, and gets by them with one
// comparison.

#[inline(never)]
pub(crate) fn append_apart(sum: u32, bytes: &[u8]) -> u32 {
    append(sum, bytes)
}

#[inline(never)]
pub(crate) fn with_header_apart(payload: u32, header: &SlotHeader) -> u32 {
    with_header(payload, header)
}

/// The sums of a copied slot's payload, and of that and its header but for the position; `None` for
/// a length that no slot has.
#[inline]
fn sums_of(image: &[u64]) -> Option<(u32, u32)> {
    let [_, time, line, part] = *image.first_chunk::<SLOT_HEADER_WORDS>()?;
    let payload: &[u8] = bytemuck::cast_slice(image.get(CHECK_WORD + 1..)?);
    let payload = append(NONE, payload.get(..SlotHeader::length_of(part))?);
    Some((payload, append_words(payload, [time, line, part])))
}

/// Whether all of a copied slot is what its writer put there. Always, where slots have no checksum.
#[inline]
pub(crate) fn agrees(shape: Shape, image: &[u64]) -> bool {
    !shape.has_checks() || agrees_with_word(image)
}

#[inline(never)]
fn agrees_with_word(image: &[u64]) -> bool {
    sums_of(image).is_some_and(|(_, sum)| image[CHECK_WORD] == word(sum, image[0]))
}

/// The sum of a copied slot's payload, and whether all of the slot but for the position is what its
/// writer put there.
pub(crate) fn without_position(image: &[u64]) -> Option<(u32, bool)> {
    sums_of(image).map(|(payload, sum)| (payload, image[CHECK_WORD] as u32 == sum))
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod instruction {
    //! In assembly, since what is compiled for a processor that may lack an instruction can have it
    //! in a function of its own alone, which is not put in place.

    use core::arch::asm;

    #[inline(always)]
    pub(super) fn exists() -> bool {
        std::arch::is_x86_feature_detected!("sse4.2")
    }

    #[inline(always)]
    fn eight(state: &mut u64, word: u64) {
        // SAFETY: changes this register alone. The caller has looked whether the processor has
        // the instruction.
        unsafe {
            asm!("crc32 {0}, {1}", inout(reg) *state, in(reg) word, options(pure, nomem, nostack, preserves_flags));
        }
    }

    #[inline(always)]
    pub(super) fn append(sum: u32, bytes: &[u8]) -> u32 {
        let mut state = u64::from(!sum);
        let (words, mut rest) = bytes.as_chunks::<8>();
        for word in words {
            eight(&mut state, u64::from_le_bytes(*word));
        }
        let mut state = state as u32;
        if let Some((four, after)) = rest.split_first_chunk::<4>() {
            let four = u32::from_le_bytes(*four);
            // SAFETY: as above.
            unsafe {
                asm!("crc32 {0:e}, {1:e}", inout(reg) state, in(reg) four, options(pure, nomem, nostack, preserves_flags));
            }
            rest = after;
        }
        for byte in rest {
            // SAFETY: as above.
            unsafe {
                asm!("crc32 {0:e}, {1}", inout(reg) state, in(reg_byte) *byte, options(pure, nomem, nostack, preserves_flags));
            }
        }
        !state
    }

    #[inline(always)]
    pub(super) fn append_words<const N: usize>(sum: u32, words: [u64; N]) -> u32 {
        let mut state = u64::from(!sum);
        for word in words {
            eight(&mut state, word);
        }
        !(state as u32)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The check value that the catalogues of such sums give for CRC-32C, and one of RFC 3720.
    #[test]
    fn it_is_the_sum_that_others_know_by_this_name() {
        assert_eq!(append(NONE, b"123456789"), 0xe306_9283);
        assert_eq!(append(NONE, &[0; 32]), 0x8a91_36aa);
        assert_eq!(append(NONE, b""), NONE);
    }

    proptest! {
        #[test]
        fn pieces_add_up_to_the_whole(bytes in proptest::collection::vec(any::<u8>(), 0..1500), at in 0..1500_usize) {
            let (first, second) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(append(append(NONE, first), second), crc32c::crc32c(&bytes));
        }

        #[test]
        fn words_are_their_bytes(sum: u32, words: [u64; 3]) {
            prop_assert_eq!(append_words(sum, words), crc32c::crc32c_append(sum, bytemuck::cast_slice(&words)));
        }

        #[test]
        fn each_flipped_bit_shows(
            bytes in proptest::collection::vec(any::<u8>(), 0..88), header: [u64; 3], position: u64, bit in 0..1024_usize,
        ) {
            let mut image = vec![0_u64; 16];
            image[0] = position;
            image[1..4].copy_from_slice(&header);
            let length = bytes.len() as u64;
            image[3] = header[2] & !(0xffff << 24) | length << 24;
            bytemuck::cast_slice_mut::<_, u8>(&mut image[CHECK_WORD + 1..])[..bytes.len()].copy_from_slice(&bytes);
            let sum = append_words(append(NONE, &bytes), [image[1], image[2], image[3]]);
            image[CHECK_WORD] = word(sum, position);
            prop_assert!(agrees_with_word(&image));
            prop_assert_eq!(without_position(&image).map(|found| found.1), Some(true));
            // What is behind the payload is not of the line.
            let covered = 64 * (CHECK_WORD + 1) + 8 * bytes.len();
            image[bit % covered / 64] ^= 1 << (bit % covered % 64);
            prop_assert!(!agrees_with_word(&image));
            let is_of_position = bit % covered < 64 || (64 * CHECK_WORD + 32..64 * CHECK_WORD + 64).contains(&(bit % covered));
            prop_assert_eq!(without_position(&image).is_some_and(|found| found.1), is_of_position);
        }
    }
}
