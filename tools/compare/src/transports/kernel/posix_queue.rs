//! A POSIX message queue: one call for a line on both sides. Its room is the system's limit (10 by
//! default, more for root).

use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::last_error;
use crate::transport::{Reader, Setup, Transport, Writer};

#[derive(Debug)]
pub struct MessageQueue {
    read: OwnedFd,
    write: OwnedFd,
    room: usize,
    blocks: bool,
}

/// A name that no longer stands when this is dropped: what has the queue open keeps it.
struct Name(CString);

impl Name {
    fn open(&self, flags: libc::c_int, attributes: &libc::mq_attr) -> Option<OwnedFd> {
        let flags = flags | libc::O_CREAT | libc::O_CLOEXEC;
        // SAFETY: a name that ends in zero, and attributes that live during the call.
        let queue = unsafe { libc::mq_open(self.0.as_ptr(), flags, 0o600, &raw const *attributes) };
        // SAFETY: on Linux a queue is a descriptor; opened this moment, and no other code knows
        // of it.
        (queue >= 0).then(|| unsafe { OwnedFd::from_raw_fd(queue) })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // SAFETY: takes a name away that this process made.
        unsafe { libc::mq_unlink(self.0.as_ptr()) };
    }
}

impl<const N: usize> Transport<N> for MessageQueue {
    type Writer = QueueWriter;
    type Reader = QueueReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let name = format!("/linering-compare-{}", std::process::id());
        let name = Name(CString::new(name).expect("no zero"));
        let nonblocking = if setup.blocks() { 0 } else { libc::O_NONBLOCK };
        for room in [setup.room, 10] {
            // SAFETY: zero is a value of every field.
            let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
            attributes.mq_maxmsg = room as libc::c_long;
            attributes.mq_msgsize = N as libc::c_long;
            let Some(write) = name.open(libc::O_WRONLY, &attributes) else { continue };
            let Some(read) = name.open(libc::O_RDONLY | nonblocking, &attributes) else { continue };
            return Ok(Self { read, write, room, blocks: setup.blocks() });
        }
        last_error("cannot make a message queue")
    }

    fn writer(&self, _: usize) -> QueueWriter {
        QueueWriter(self.write.try_clone().expect("a descriptor is free"))
    }

    fn reader(&self) -> QueueReader<N> {
        QueueReader {
            queue: self.read.try_clone().expect("a descriptor is free"),
            blocks: self.blocks,
        }
    }

    fn room(&self) -> Option<usize> {
        Some(self.room)
    }
}

#[derive(Debug)]
pub struct QueueWriter(OwnedFd);

impl<const N: usize> Writer<N> for QueueWriter {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        // SAFETY: the line lives during the call.
        let error = unsafe { libc::mq_send(self.0.as_raw_fd(), line.as_ptr().cast(), N, 0) };
        assert_eq!(error, 0, "the reader lives");
    }
}

#[derive(Debug)]
pub struct QueueReader<const N: usize> {
    queue: OwnedFd,
    blocks: bool,
}

impl<const N: usize> Reader<N> for QueueReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let mut line = [0; N];
        let mut lines = 0;
        let most = if self.blocks { 1 } else { crate::transports::BATCH };
        while lines < most {
            let start = line.as_mut_ptr().cast();
            // SAFETY: the line has room for a message of the queue.
            let bytes =
                unsafe { libc::mq_receive(self.queue.as_raw_fd(), start, N, std::ptr::null_mut()) };
            if bytes < 0 {
                let error = io::Error::last_os_error();
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "cannot receive");
                break;
            }
            sink(&line[..bytes as usize]);
            lines += 1;
        }
        lines
    }
}
