//! The lines of a real file, shared out among the workers.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use memchr::{memchr, memchr_iter};
use memmap2::{Mmap, UncheckedAdvice};

use crate::failure::Failure;

/// After so many bytes the pages behind are given back, so that a large file does not fill the
/// memory of the process that reads it.
const GIVE_BACK: usize = 4 << 20;

/// A file, mapped for reading. It must not become shorter meanwhile.
#[derive(Debug)]
pub struct Input {
    /// `None`: an empty file, which cannot be mapped.
    map: Option<Mmap>,
    metadata: Metadata,
}

/// A contiguous share of the file's lines.
#[derive(Clone, Debug, Default)]
pub struct Share {
    bytes: Range<usize>,
    pub lines: u64,
    pub longest: usize,
}

/// A line of the file, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLine<'i> {
    pub bytes: &'i [u8],
    /// Whether it has an end: only the file's last one can be without.
    pub ended: bool,
}

impl Input {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let refused = |error: io::Error| Failure::of_path("read", path, &error);
        // A pipe without a writer would let `open` wait for ever, so look first.
        let metadata = std::fs::metadata(path).map_err(refused)?;
        if !metadata.is_file() {
            let found = kind_of(&metadata);
            return Err(Failure::Failed(format!(
                "{} is {found}, expected a regular file",
                path.display()
            )));
        }
        let mut file = File::open(path).map_err(refused)?;
        let metadata = file.metadata().map_err(refused)?;
        if metadata.len() > 0 {
            // SAFETY: read only. Another process may change the file, which the options' text
            // forbids: then lines differ from what was expected, and that is reported.
            let map = unsafe { Mmap::map(&file) }.map_err(refused)?;
            return Ok(Self { map: Some(map), metadata });
        }
        // Files under /proc say that they are empty, and are not.
        if file.read(&mut [0]).map_err(refused)? > 0 {
            let path = path.display();
            return Err(Failure::Failed(format!(
                "{path} does not say its size, expected a regular file"
            )));
        }
        Ok(Self { map: None, metadata })
    }

    /// Whether `other` is this very file, under whatever name.
    pub fn is(&self, other: &Metadata) -> bool {
        (self.metadata.dev(), self.metadata.ino()) == (other.dev(), other.ino())
    }

    fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// Cuts the file into `count` shares of about the same size, at ends of lines.
    pub fn shares(&self, count: usize) -> Vec<Share> {
        let bytes = self.bytes();
        let mut begin = 0;
        let mut shares = Vec::with_capacity(count);
        for number in 1..=count {
            let aim = (bytes.len() as u128 * number as u128 / count as u128) as usize;
            let end = if aim <= begin { begin } else { line_end(bytes, aim - 1) };
            shares.push(self.measure(begin..end));
            begin = end;
        }
        shares
    }

    fn measure(&self, bytes: Range<usize>) -> Share {
        let (mut lines, mut longest, mut begin) = (0, 0, bytes.start);
        let mut behind = bytes.start;
        for end in memchr_iter(b'\n', &self.bytes()[bytes.clone()]).map(|at| bytes.start + at) {
            longest = longest.max(end - begin);
            lines += 1;
            begin = end + 1;
            self.give_back(&mut behind, begin);
        }
        let rest = bytes.end - begin;
        Share { bytes, lines: lines + u64::from(rest > 0), longest: longest.max(rest) }
    }

    /// Gives back the pages before `at`, if there are many.
    fn give_back(&self, behind: &mut usize, at: usize) {
        if at - *behind < GIVE_BACK {
            return;
        }
        if let Some(map) = &self.map {
            // SAFETY: the mapping is of a file and read only, so the same bytes come back when they
            // are read again.
            let _ = unsafe {
                map.unchecked_advise_range(UncheckedAdvice::DontNeed, *behind, at - *behind)
            };
        }
        *behind = at;
    }

    pub fn lines(&self, share: &Share) -> FileLines<'_> {
        FileLines {
            input: self,
            at: share.bytes.start,
            end: share.bytes.end,
            behind: share.bytes.start,
        }
    }
}

/// Where the line that byte `at` belongs to ends: after its `\n`, or with the file.
fn line_end(bytes: &[u8], at: usize) -> usize {
    memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |found| at + found + 1)
}

fn kind_of(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// The lines of a share, in order.
#[derive(Debug)]
pub struct FileLines<'i> {
    input: &'i Input,
    at: usize,
    end: usize,
    behind: usize,
}

impl<'i> FileLines<'i> {
    /// The line that comes next.
    pub fn peek(&self) -> Option<FileLine<'i>> {
        let rest = &self.input.bytes()[self.at..self.end];
        match memchr(b'\n', rest) {
            Some(end) => Some(FileLine { bytes: &rest[..end], ended: true }),
            None if rest.is_empty() => None,
            None => Some(FileLine { bytes: rest, ended: false }),
        }
    }

    /// Goes on to the line after it.
    pub fn advance(&mut self) {
        let _ = self.next();
    }
}

impl<'i> Iterator for FileLines<'i> {
    type Item = FileLine<'i>;

    fn next(&mut self) -> Option<FileLine<'i>> {
        let line = self.peek()?;
        self.at += line.bytes.len() + usize::from(line.ended);
        self.input.give_back(&mut self.behind, self.at);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(bytes: &[u8]) -> Input {
        let metadata = std::fs::metadata("/").expect("there is a root");
        if bytes.is_empty() {
            return Input { map: None, metadata };
        }
        let mut map = memmap2::MmapMut::map_anon(bytes.len()).expect("memory");
        map.copy_from_slice(bytes);
        Input { map: Some(map.make_read_only().expect("memory")), metadata }
    }

    #[test]
    fn shares_put_together_are_the_file_and_end_where_lines_end() {
        let long = [vec![b'x'; 500], b"\n".to_vec()].concat();
        let files: [&[u8]; 7] =
            [b"", b"a", b"\n", b"a\nb\n\n\nc", b"\n\n\n\n", &long, b"a\r\n\0\n\xff\n"];
        for file in files {
            for count in [1, 2, 3, 4, 7, 100] {
                let input = input(file);
                let shares = input.shares(count);
                assert_eq!(shares.len(), count);
                let (mut whole, mut lines, mut longest) = (Vec::new(), 0, 0);
                for share in &shares {
                    for line in input.lines(share) {
                        whole.extend_from_slice(line.bytes);
                        whole.extend_from_slice(if line.ended { b"\n" } else { b"" });
                        lines += 1;
                        longest = longest.max(line.bytes.len());
                    }
                    assert_eq!(
                        share.longest,
                        input.lines(share).map(|line| line.bytes.len()).max().unwrap_or(0)
                    );
                }
                assert_eq!(whole, file);
                assert_eq!(shares.iter().map(|share| share.lines).sum::<u64>(), lines);
            }
        }
    }

    #[test]
    fn shares_of_many_short_lines_are_about_equal() {
        let file = b"1234567\n".repeat(1000);
        let shares = input(&file).shares(4);
        assert!(shares.iter().all(|share| (249..=251).contains(&share.lines)));
    }
}
