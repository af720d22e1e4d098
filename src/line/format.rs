//! `write!` in few writes: what a formatter gives piece by piece is gathered on the stack.

use std::fmt::{self, Write as _};
use std::io;
use std::mem::MaybeUninit;
use std::{ptr, slice};

/// Most log lines fit, and so are one write.
const BYTES: usize = 512;

/// Formats into `write`, which gets 512 bytes at a time and the rest at the end: also if a
/// formatter panics, as its pieces so far would have been written without this.
///
/// A write that failed ends it; nothing is written after that.
pub(crate) fn write_fmt<W>(arguments: fmt::Arguments<'_>, write: W) -> io::Result<()>
where
    W: FnMut(&[u8]) -> io::Result<()>,
{
    let mut gathered = Gathered { bytes: MaybeUninit::uninit(), len: 0, result: Ok(()), write };
    let formatted = gathered.write_fmt(arguments);
    gathered.flush();
    std::mem::replace(&mut gathered.result, Ok(()))?;
    formatted.map_err(|fmt::Error| io::Error::other("a formatter failed"))
}

struct Gathered<W: FnMut(&[u8]) -> io::Result<()>> {
    /// The first `len` are written: to make zeros of all of them costs as much as a short line.
    bytes: MaybeUninit<[u8; BYTES]>,
    len: usize,
    result: io::Result<()>,
    write: W,
}

impl<W: FnMut(&[u8]) -> io::Result<()>> Gathered<W> {
    fn flush(&mut self) {
        let len = std::mem::take(&mut self.len);
        if len > 0 && self.result.is_ok() {
            // SAFETY: so many are written.
            let bytes = unsafe { slice::from_raw_parts(self.bytes.as_ptr().cast(), len) };
            self.result = (self.write)(bytes);
        }
    }

    /// Gathers a text for which there is no room left.
    #[cold]
    fn write_long(&mut self, text: &str) -> fmt::Result {
        self.flush();
        if self.result.is_ok() && text.len() > BYTES {
            self.result = (self.write)(text.as_bytes());
        }
        match self.result {
            Err(_) => Err(fmt::Error),
            Ok(()) if text.len() > BYTES => Ok(()),
            Ok(()) => self.write_str(text),
        }
    }
}

impl<W: FnMut(&[u8]) -> io::Result<()>> fmt::Write for Gathered<W> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() > BYTES - self.len {
            return self.write_long(text);
        }
        // SAFETY: there is room for so many; a text is not in this buffer.
        unsafe {
            let to = self.bytes.as_mut_ptr().cast::<u8>().add(self.len);
            ptr::copy_nonoverlapping(text.as_ptr(), to, text.len());
        }
        self.len += text.len();
        // Should a write have failed, nothing more is written.
        Ok(())
    }
}

impl<W: FnMut(&[u8]) -> io::Result<()>> Drop for Gathered<W> {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    struct Panics;

    impl fmt::Display for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("in the middle of a line")
        }
    }

    struct Fails;

    impl fmt::Display for Fails {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }

    /// What was written, and in how many writes.
    fn written(arguments: fmt::Arguments<'_>) -> (Vec<u8>, usize) {
        let (mut bytes, mut writes) = (Vec::new(), 0);
        write_fmt(arguments, |piece| {
            bytes.extend_from_slice(piece);
            writes += 1;
            Ok(())
        })
        .expect("no write fails");
        (bytes, writes)
    }

    #[test]
    fn a_line_of_many_pieces_is_one_write() {
        let (bytes, writes) = written(format_args!("{} {:?} {:>5} {}\n", 1, "two", 3.5, '4'));
        assert_eq!(bytes, b"1 \"two\"   3.5 4\n");
        assert_eq!(writes, 1);
    }

    #[test]
    fn lines_of_any_length_come_whole() {
        for len in [0, 1, BYTES - 1, BYTES, BYTES + 1, 10 * BYTES] {
            let text = "x".repeat(len);
            let (bytes, _) = written(format_args!("a{text}b{text}c"));
            assert_eq!(bytes, format!("a{text}b{text}c").as_bytes());
        }
    }

    #[test]
    fn what_was_formatted_before_a_panic_is_written() {
        let mut bytes = Vec::new();
        let panics = catch_unwind(AssertUnwindSafe(|| {
            write_fmt(format_args!("before {Panics} after"), |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })
        }));
        assert!(panics.is_err());
        assert_eq!(bytes, b"before ");
    }

    #[test]
    fn a_formatter_that_fails_is_an_error_and_no_panic() {
        let mut bytes = Vec::new();
        let result = write_fmt(format_args!("before {Fails}"), |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!(result.expect_err("it failed").to_string(), "a formatter failed");
        assert_eq!(bytes, b"before ");
    }

    #[test]
    fn after_a_write_that_failed_nothing_is_written() {
        let long = "x".repeat(BYTES);
        let mut writes = 0;
        let result = write_fmt(format_args!("a{long}b{long}c{long}"), |_| {
            writes += 1;
            Err(io::ErrorKind::BrokenPipe.into())
        });
        assert_eq!(result.expect_err("it failed").kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(writes, 1);
    }
}
