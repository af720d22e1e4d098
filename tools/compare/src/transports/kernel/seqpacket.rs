//! A pair of Unix sockets that keep lines apart (`SOCK_SEQPACKET`), received many at a time. Its
//! room is the kernel's: with the usual limits some hundreds of short lines.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};

use super::{do_not_block, pair};
use crate::transport::{Reader, Setup, Transport, Writer};

#[derive(Debug)]
pub struct Seqpacket {
    read: OwnedFd,
    write: OwnedFd,
}

const PACKETS: usize = 64;

impl<const N: usize> Transport<N> for Seqpacket {
    type Writer = SocketWriter;
    type Reader = SocketReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        let (read, write) = pair(
            // SAFETY: room for two descriptors is what it wants.
            |ends| unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends) },
            "cannot make a pair of sockets",
        )?;
        // More than the limit is cut to it.
        let bytes = (setup.room * (N + 1024)) as libc::c_int;
        let (level, option) = (libc::SOL_SOCKET, libc::SO_SNDBUF);
        // SAFETY: the option is an int, which lives during the call.
        unsafe { libc::setsockopt(write.as_raw_fd(), level, option, (&raw const bytes).cast(), 4) };
        if !setup.blocks() {
            do_not_block(&read)?;
        }
        Ok(Self { read, write })
    }

    fn writer(&self, _: usize) -> SocketWriter {
        SocketWriter(self.write.try_clone().expect("a descriptor is free"))
    }

    fn reader(&self) -> SocketReader<N> {
        SocketReader {
            end: self.read.try_clone().expect("a descriptor is free"),
            lines: vec![[0; N]; PACKETS],
            vectors: Vec::with_capacity(PACKETS),
            headers: Vec::with_capacity(PACKETS),
        }
    }

    fn room(&self) -> Option<usize> {
        None
    }
}

#[derive(Debug)]
pub struct SocketWriter(OwnedFd);

impl<const N: usize> Writer<N> for SocketWriter {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        // SAFETY: the line lives during the call.
        let sent =
            unsafe { libc::send(self.0.as_raw_fd(), line.as_ptr().cast(), N, libc::MSG_NOSIGNAL) };
        assert_eq!(sent, N as isize, "a packet is whole");
    }
}

#[derive(Debug)]
pub struct SocketReader<const N: usize> {
    end: OwnedFd,
    lines: Vec<[u8; N]>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl<const N: usize> Reader<N> for SocketReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        if self.headers.is_empty() {
            let vector =
                |line: &mut [u8; N]| libc::iovec { iov_base: line.as_mut_ptr().cast(), iov_len: N };
            self.vectors.extend(self.lines.iter_mut().map(vector));
            self.headers.extend(self.vectors.iter_mut().map(|vector| {
                // SAFETY: zero is a value of every field.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                header
            }));
        }
        let (headers, flags) = (self.headers.as_mut_ptr(), libc::MSG_WAITFORONE);
        // SAFETY: the headers point to the vectors and these to the lines, none of which moves or
        // ends before `self`.
        let count = unsafe {
            libc::recvmmsg(
                self.end.as_raw_fd(),
                headers,
                PACKETS as u32,
                flags,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "cannot receive");
            return 0;
        }
        let lines = self.lines.iter().zip(&self.headers).take(count as usize);
        lines.for_each(|(line, header)| sink(&line[..header.msg_len as usize]));
        count as usize
    }
}
