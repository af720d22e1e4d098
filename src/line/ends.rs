//! Whether a short piece of text has an end of line in it.

/// The longest text that [`has_end`] is for: in longer ones `memchr` is faster.
pub(crate) const SHORT: usize = 64;

/// Bytes that are looked at together.
const STEP: usize = 16;

/// Whether one of these is `\n` or `\r`. In place, for pieces of some words: `memchr` takes longer
/// to begin with than this does for all of them.
#[inline(always)]
pub(crate) fn has_end(bytes: &[u8]) -> bool {
    let (Some((first, rest)), Some(last)) = (bytes.split_first_chunk::<STEP>(), bytes.last_chunk())
    else {
        return is_end_among([few(bytes)]);
    };
    // The last bytes overlap those before.
    if rest.len() <= STEP {
        return is_end_among([*first, *last]);
    }
    let steps = rest.as_chunks::<STEP>().0;
    is_end_among([*first, *last]) || steps.iter().any(|step| is_end_among([*step]))
}

/// Fewer than so many bytes, some of them twice, and zeros.
#[inline(always)]
fn few(bytes: &[u8]) -> [u8; STEP] {
    let mut all = [0; STEP];
    let (low, high) = all.split_at_mut(STEP / 2);
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        low.copy_from_slice(first);
        high.copy_from_slice(last);
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        low[..4].copy_from_slice(first);
        high[..4].copy_from_slice(last);
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<2>(), bytes.last_chunk::<2>()) {
        low[..2].copy_from_slice(first);
        high[..2].copy_from_slice(last);
    } else if let [byte] = bytes {
        low[0] = *byte;
    }
    all
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn is_end_among<const N: usize>(steps: [[u8; STEP]; N]) -> bool {
    use core::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8, _mm_setzero_si128,
    };

    // SAFETY: each processor of this kind has these instructions; any bytes are such a value.
    unsafe {
        let mut found = _mm_setzero_si128();
        for step in steps {
            let step = core::mem::transmute::<[u8; STEP], core::arch::x86_64::__m128i>(step);
            let is = |end: u8| _mm_cmpeq_epi8(step, _mm_set1_epi8(end as i8));
            found = _mm_or_si128(found, _mm_or_si128(is(b'\n'), is(b'\r')));
        }
        _mm_movemask_epi8(found) != 0
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn is_end_among<const N: usize>(steps: [[u8; STEP]; N]) -> bool {
    let is_end = |byte: &u8| (*byte == b'\n') | (*byte == b'\r');
    steps.iter().flatten().fold(false, |found, byte| found | is_end(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_found_wherever_it_stands() {
        for length in 0..70 {
            let mut text = vec![b'a'; length];
            assert!(!has_end(&text), "{length} bytes without one");
            for at in 0..length {
                for end in *b"\n\r" {
                    text[at] = end;
                    assert!(has_end(&text), "{end} at {at} of {length}");
                    text[at] = b'a';
                }
                for other in [b'\n' - 1, b'\n' + 1, b'\r' - 1, b'\r' + 1, b'\n' | 0x80] {
                    text[at] = other;
                    assert!(!has_end(&text), "{other} at {at} of {length}");
                    text[at] = b'a';
                }
            }
        }
    }
}
