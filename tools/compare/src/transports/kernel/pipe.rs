//! A pipe: a `write` of at most a page is whole. It gets room for all lines, or what the system
//! allows (a MiB by default).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use super::{Cutter, do_not_block, pair};
use crate::transport::{Reader, Setup, Transport, Writer};

#[derive(Debug)]
pub struct Pipe<const N: usize> {
    read: File,
    write: File,
    bytes: usize,
}

impl<const N: usize> Transport<N> for Pipe<N> {
    type Writer = PipeWriter;
    type Reader = PipeReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        // SAFETY: room for two descriptors is what it wants.
        let (read, write) =
            pair(|ends| unsafe { libc::pipe2(ends, libc::O_CLOEXEC) }, "cannot make a pipe")?;
        if !setup.blocks() {
            do_not_block(&read)?;
        }
        let wanted = (setup.room * N).next_power_of_two();
        let mut sizes =
            std::iter::successors(Some(wanted), |size| (*size > 4096).then_some(size / 2));
        // SAFETY: changes the size of a pipe of ours.
        let set =
            |size: &usize| unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, *size as i32) } > 0;
        let bytes = sizes.find(set).ok_or("cannot set a pipe's size")?;
        Ok(Self { read: read.into(), write: write.into(), bytes })
    }

    fn writer(&self, _: usize) -> PipeWriter {
        PipeWriter(self.write.try_clone().expect("a descriptor is free"))
    }

    fn reader(&self) -> PipeReader<N> {
        PipeReader {
            end: self.read.try_clone().expect("a descriptor is free"),
            cutter: Cutter::new(),
        }
    }

    fn room(&self) -> Option<usize> {
        Some(self.bytes / N)
    }
}

#[derive(Debug)]
pub struct PipeWriter(File);

impl<const N: usize> Writer<N> for PipeWriter {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        assert_eq!(self.0.write(line).expect("the reader lives"), N, "a short write is whole");
    }
}

#[derive(Debug)]
pub struct PipeReader<const N: usize> {
    end: File,
    cutter: Cutter<N>,
}

impl<const N: usize> Reader<N> for PipeReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        self.cutter.fill(|bytes| self.end.read(bytes), sink)
    }
}
