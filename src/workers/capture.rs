//! [`Capture`]: this process's own stdout or stderr into a ring, for what is not written into a
//! mirror: C code, `println!`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::stdio::{dup2_stderr, dup2_stdout};

use crate::error::{CaptureError, cannot};
use crate::handles::line_ring::LineRing;
use crate::handles::mirror::LineProcMirror;
use crate::line::item::Stream;
use crate::sys::{fork, stderr as original};

/// This process's own stdout or stderr, redirected into a ring until it is dropped.
///
/// Whatever writes to descriptor 1 (or 2) is captured: `println!`, C code, children that inherit
/// it. Behind it is a pipe and a thread that reads it, so **this is the path that costs system
/// calls**: two for each write, and two copies. A program that can should write into a
/// [`LineProcMirror`] instead.
///
/// Dropping it puts the descriptor back, and returns when everything written before has been passed
/// on; while the ring is full and its policy is [`Block`](crate::Policy::Block) it waits for the
/// reader, so let another thread read. Lines that the ring refuses (a writer was told to stop, a
/// full ring without a reader) are gone, so that no code that prints is kept waiting for ever.
///
/// **Fork**: a child goes on printing into its parent's capture, where its unfinished lines mix
/// with the parent's; its own drop of the inherited value puts its descriptor back and does nothing
/// else. **Death**: what the thread had read is in the ring; what was still in the pipe is lost.
///
/// ```no_run
/// use linering::{Capture, LineRing, Options};
///
/// let ring = LineRing::new(Options::new())?;
/// let capture = Capture::stdout(&ring)?;
/// println!("into the ring");
/// drop(capture);
/// println!("to the terminal");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("redirect", "dup2"))]
#[must_use = "a capture ends when it is dropped"]
#[derive(Debug)]
pub struct Capture {
    stream: Stream,
    /// What the descriptor was before.
    saved: OwnedFd,
    token: u64,
    /// An event that tells the thread that the descriptor was put back. The end of a pipe would
    /// not: a child may have it.
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Captures descriptor 1.
    ///
    /// # Errors
    ///
    /// Too many mirrors or seats, or the system's refusal; then nothing has changed.
    pub fn stdout(ring: &LineRing) -> Result<Self, CaptureError> {
        Self::start(ring, Stream::Stdout, io::stdout().as_fd())
    }

    /// Captures descriptor 2.
    ///
    /// # Errors
    ///
    /// As [`stdout`](Self::stdout).
    pub fn stderr(ring: &LineRing) -> Result<Self, CaptureError> {
        Self::start(ring, Stream::Stderr, io::stderr().as_fd())
    }

    /// Captures descriptor 1 into a mirror that you have, with its number and label, for the stream
    /// stdout.
    ///
    /// # Errors
    ///
    /// As [`stdout`](Self::stdout); the mirror is dropped, which ends it.
    pub fn stdout_into(mirror: LineProcMirror) -> Result<Self, CaptureError> {
        Self::start_into(mirror, Stream::Stdout, io::stdout().as_fd())
    }

    /// Captures descriptor 2 into a mirror that you have, with its number and label, for the stream
    /// stderr.
    ///
    /// # Errors
    ///
    /// As [`stdout_into`](Self::stdout_into).
    pub fn stderr_into(mirror: LineProcMirror) -> Result<Self, CaptureError> {
        Self::start_into(mirror, Stream::Stderr, io::stderr().as_fd())
    }

    fn start(
        ring: &LineRing,
        stream: Stream,
        descriptor: BorrowedFd<'_>,
    ) -> Result<Self, CaptureError> {
        Self::start_into(ring.mirror()?, stream, descriptor)
    }

    fn start_into(
        mut mirror: LineProcMirror,
        stream: Stream,
        descriptor: BorrowedFd<'_>,
    ) -> Result<Self, CaptureError> {
        mirror.set_stream(stream);
        let saved = descriptor.try_clone_to_owned().map_err(cannot("keep the descriptor"))?;
        let (pipe, write) = io::pipe().map_err(cannot("make a pipe"))?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(io::Error::from);
        let stop = Arc::new(stop.map_err(cannot("make an event"))?);
        let stopped = Arc::clone(&stop);
        let pump = move || pump(File::from(OwnedFd::from(pipe)), &stopped, mirror);
        let thread = thread::Builder::new().name("linering capture".to_owned()).spawn(pump);
        let thread = thread.map_err(cannot("start a thread"))?;
        let capture = Self { stream, saved, token: fork::token(), stop, thread: Some(thread) };
        // If this fails the drop undoes the rest.
        if stream == Stream::Stderr {
            original::save(capture.saved.as_raw_fd());
        }
        capture.redirect(write.as_fd()).map_err(cannot("redirect the descriptor"))?;
        Ok(capture)
    }

    /// Puts `to` in the descriptor's place, after what is buffered has gone to the old one.
    fn redirect(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        let _ = io::stdout().flush();
        // Not all of C's streams: another thread may be reading from one, and has its lock for as
        // long.
        // SAFETY: the C library's own streams, which it locks itself; one of them, which no code
        // changes.
        unsafe { libc::fflush(if self.stream == Stream::Stderr { stderr } else { stdout }) };
        match self.stream {
            Stream::Stderr => dup2_stderr(to)?,
            _ => dup2_stdout(to)?,
        }
        Ok(())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.redirect(self.saved.as_fd());
        original::put_back(self.saved.as_raw_fd());
        if self.token != fork::token() {
            // The thread is the parent's.
            core::mem::forget(self.thread.take());
            return;
        }
        // It cannot be refused: no other code has counted it up.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic was printed.
            let _ = thread.join();
        }
    }
}

unsafe extern "C" {
    static stdout: *mut libc::FILE;
    static stderr: *mut libc::FILE;
}

/// Passes on what comes through the pipe, until no process has it open, or it was told to stop:
/// then what is there by then, and no more, though a process that inherited the pipe may go on.
fn pump(mut pipe: File, stopped: &impl AsFd, mut mirror: LineProcMirror) {
    let mut buffer = vec![0; 1 << 16];
    let mut left = None;
    while left != Some(0) {
        let mut polled = [PollFd::new(&pipe, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        if left.is_none() {
            match poll(&mut polled, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            }
            if !polled[1].revents().is_empty() {
                left = Some(rustix::io::ioctl_fionread(&pipe).unwrap_or(0));
                continue;
            }
        }
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                left = left.map(|left| left.saturating_sub(read as u64));
                // What the ring refuses is gone.
                drop(mirror.write_all(&buffer[..read]));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
