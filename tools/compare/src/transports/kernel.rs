//! What the kernel has: a pipe, a Unix socket, a file that is appended to, a POSIX message queue. One line is one call for
//! its writer; the reader takes as many as a call gives.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use crate::transport::{Reader, Reading, Setup, Transport, Writer};

/// Bytes that one call asks for.
const READ_BYTES: usize = 1 << 16;

fn last_error<T>(what: &str) -> Result<T, String> {
    Err(format!("{what}: {}", io::Error::last_os_error()))
}

fn pair(
    fill: impl FnOnce(*mut libc::c_int) -> libc::c_int,
    what: &str,
) -> Result<(OwnedFd, OwnedFd), String> {
    let mut ends = [0; 2];
    if fill(ends.as_mut_ptr()) != 0 {
        return last_error(what);
    }
    // SAFETY: both were opened this moment, and nobody else knows of them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

fn do_not_block(end: &impl AsRawFd) -> Result<(), String> {
    // SAFETY: sets a flag of an open descriptor.
    match unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } {
        0 => Ok(()),
        _ => last_error("cannot make a reader that does not block"),
    }
}

/// Whole lines in what was read; the rest waits for its end.
#[derive(Debug)]
struct Cutter<const N: usize> {
    bytes: Vec<u8>,
    filled: usize,
}

impl<const N: usize> Cutter<N> {
    fn new() -> Self {
        Self { bytes: vec![0; READ_BYTES.max(2 * N)], filled: 0 }
    }

    fn fill(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
        sink: &mut impl FnMut(&[u8]),
    ) -> usize {
        match read(&mut self.bytes[self.filled..]) {
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return 0,
            Err(error) => panic!("cannot read: {error}"),
        }
        let whole = self.filled / N * N;
        self.bytes[..whole].chunks(N).for_each(&mut *sink);
        self.bytes.copy_within(whole..self.filled, 0);
        self.filled -= whole;
        whole / N
    }
}

// -------------------------------------------------------------------------------------------- pipe

/// A pipe: a `write` of at most a page is whole. It gets room for all lines, or what the system allows (a MiB by default).
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
        let (read, write) = pair(|ends| unsafe { libc::pipe2(ends, libc::O_CLOEXEC) }, "cannot make a pipe")?;
        if !setup.blocks() {
            do_not_block(&read)?;
        }
        let wanted = (setup.room * N).next_power_of_two();
        let mut sizes = std::iter::successors(Some(wanted), |size| (*size > 4096).then_some(size / 2));
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
        PipeReader { end: self.read.try_clone().expect("a descriptor is free"), cutter: Cutter::new() }
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

// ------------------------------------------------------------------------------------------ socket

/// A pair of Unix sockets that keep lines apart (`SOCK_SEQPACKET`), received many at a time. Its room is the kernel's: with the
/// usual limits some hundreds of short lines.
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
        let sent = unsafe { libc::send(self.0.as_raw_fd(), line.as_ptr().cast(), N, libc::MSG_NOSIGNAL) };
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
            let vector = |line: &mut [u8; N]| libc::iovec { iov_base: line.as_mut_ptr().cast(), iov_len: N };
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
        // SAFETY: the headers point to the vectors and these to the lines, none of which moves or ends before `self`.
        let count = unsafe {
            libc::recvmmsg(self.end.as_raw_fd(), headers, PACKETS as u32, flags, std::ptr::null_mut())
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

// -------------------------------------------------------------------------------------------- file

/// A file that every writer appends to (`O_APPEND`), and that the reader reads after them. Nothing bounds it and nothing wakes its
/// reader.
#[derive(Debug)]
pub struct Append(File);

impl<const N: usize> Transport<N> for Append {
    const READING: &'static [Reading] = &[Reading::Polling];
    const KEEPS: bool = true;
    type Writer = AppendWriter;
    type Reader = AppendReader<N>;

    fn make(_: &Setup) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("linering-compare-{}", std::process::id()));
        let file = File::options().read(true).append(true).create_new(true).open(&path);
        let file = file.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        // Open files need no name, and one that is killed leaves none.
        std::fs::remove_file(&path).map_err(|error| error.to_string())?;
        Ok(Self(file))
    }

    fn writer(&self, _: usize) -> AppendWriter {
        AppendWriter(self.0.try_clone().expect("a descriptor is free"))
    }

    fn reader(&self) -> AppendReader<N> {
        let file = self.0.try_clone().expect("a descriptor is free");
        AppendReader { file, position: 0, cutter: Cutter::new() }
    }

    fn room(&self) -> Option<usize> {
        None
    }
}

#[derive(Debug)]
pub struct AppendWriter(File);

impl<const N: usize> Writer<N> for AppendWriter {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        assert_eq!(self.0.write(line).expect("the disk has room"), N, "a line is written whole");
    }
}

#[derive(Debug)]
pub struct AppendReader<const N: usize> {
    file: File,
    position: u64,
    cutter: Cutter<N>,
}

impl<const N: usize> Reader<N> for AppendReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let (file, position) = (&self.file, &mut self.position);
        let read = |bytes: &mut [u8]| {
            let count = file.read_at(bytes, *position)?;
            *position += count as u64;
            Ok(count)
        };
        self.cutter.fill(read, sink)
    }
}

// ------------------------------------------------------------------------------------------- queue

/// A POSIX message queue: one call for a line on both sides. Its room is the system's limit (10 by default, more for root).
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
        // SAFETY: on Linux a queue is a descriptor; opened this moment, and nobody else knows of it.
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
        QueueReader { queue: self.read.try_clone().expect("a descriptor is free"), blocks: self.blocks }
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
        let most = if self.blocks { 1 } else { super::BATCH };
        while lines < most {
            let start = line.as_mut_ptr().cast();
            // SAFETY: the line has room for a message of the queue.
            let bytes = unsafe { libc::mq_receive(self.queue.as_raw_fd(), start, N, std::ptr::null_mut()) };
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
