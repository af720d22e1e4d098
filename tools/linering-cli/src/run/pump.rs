//! From the workers' pipes into the ring: one thread, a mirror for each pipe.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use linering::{LineProcMirror, LineRing, Seat, Stream};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use crate::failure::{Failure, note};

/// How pipes are read.
#[derive(Clone, Copy, Debug)]
pub struct Reads {
    /// Bytes that are read at a time.
    pub at_once: usize,
    /// Bytes after which a line that has no end yet is cut.
    pub cut: usize,
    /// Short lines may share slots.
    pub packed: bool,
}

/// A worker's pipe.
#[derive(Debug)]
pub struct Pipe {
    pub worker: usize,
    pub stream: Stream,
    pub end: OwnedFd,
    pub seat: Arc<KeptSeat>,
}

/// The seat that a worker may open, if it links linering. Given up with the worker's last pipe: one
/// that was not opened by then will not be. Nothing happens to one that was.
#[derive(Debug)]
pub struct KeptSeat(pub Seat);

impl Drop for KeptSeat {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The running thread.
#[derive(Debug)]
pub struct Pump {
    thread: JoinHandle<bool>,
    closer: Closer,
}

/// Closes every pipe, from any thread, once what the workers write has no reader any more.
#[derive(Clone, Debug)]
pub struct Closer(Arc<OwnedFd>);

impl Closer {
    pub fn close(&self) {
        // It cannot be refused before it was called 2⁶⁴ times.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// A pipe and its way into the ring.
struct Source {
    from: File,
    mirror: LineProcMirror,
    _seat: Arc<KeptSeat>,
    /// Bytes since the last end of line.
    since_end: usize,
}

/// Begins to pump. Every mirror is open when this returns, so that the ring is not over before it
/// has begun.
pub fn start(ring: &LineRing, pipes: Vec<Pipe>, reads: Reads) -> Result<Pump, Failure> {
    let refused =
        |error: &dyn std::fmt::Display| Failure::Failed(format!("cannot capture: {error}"));
    let mut sources = Vec::with_capacity(pipes.len());
    for Pipe { worker, stream, end, seat } in pipes {
        let mut mirror =
            ring.mirror_labelled(&worker.to_string()).map_err(|error| refused(&error))?;
        mirror.set_stream(stream);
        sources.push(Source { from: end.into(), mirror, _seat: seat, since_end: 0 });
    }
    let closer = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| refused(&error))?;
    let closer = Closer(Arc::new(closer));
    let closed = Arc::clone(&closer.0);
    let pump = move || {
        // The mirrors end with the sources, whatever happens.
        let pumped = pump(&mut sources, &closed, reads);
        pumped.inspect_err(|error| note(format_args!("cannot capture any more: {error}"))).is_ok()
    };
    let thread = thread::Builder::new().name("pump".to_owned()).spawn(pump);
    Ok(Pump { thread: thread.map_err(|error| refused(&error))?, closer })
}

impl Pump {
    pub fn closer(&self) -> Closer {
        self.closer.clone()
    }

    /// Waits for its end: whether everything that came was passed on. If not, that was said.
    pub fn join(self) -> bool {
        self.thread.join().unwrap_or(false)
    }
}

fn pump(sources: &mut Vec<Source>, closed: &impl AsFd, reads: Reads) -> io::Result<()> {
    let mut buffer = vec![0; reads.at_once];
    while !sources.is_empty() {
        let mut polled: Vec<_> =
            sources.iter().map(|source| PollFd::new(&source.from, PollFlags::IN)).collect();
        polled.push(PollFd::new(closed, PollFlags::IN));
        match poll(&mut polled, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        if ready.last() == Some(&true) {
            // What the workers had written by now was written in time.
            return sources
                .iter_mut()
                .try_for_each(|source| source.pass_on_rest(&mut buffer, reads));
        }
        let mut ready = ready.into_iter();
        let mut over = Vec::new();
        for (index, source) in sources.iter_mut().enumerate() {
            if ready.next() == Some(true) && source.pass_on(&mut buffer, reads)? == 0 {
                over.push(index);
            }
        }
        // Their drop is an EOF.
        over.into_iter().rev().for_each(|index| drop(sources.swap_remove(index)));
    }
    Ok(())
}

impl Source {
    /// Passes on what is in the pipe, and nothing that comes later: a process that still has it may
    /// write for ever.
    fn pass_on_rest(&mut self, buffer: &mut [u8], reads: Reads) -> io::Result<()> {
        let mut left = rustix::io::ioctl_fionread(&self.from)?;
        while left > 0 {
            match self.pass_on(buffer, reads)? {
                0 => break,
                read => left = left.saturating_sub(read as u64),
            }
        }
        Ok(())
    }

    /// Passes on what is there, waiting for it: how many bytes, 0 at the end.
    fn pass_on(&mut self, buffer: &mut [u8], reads: Reads) -> io::Result<usize> {
        let read = loop {
            match self.from.read(buffer) {
                Ok(0) => return Ok(0),
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let bytes = &buffer[..read];
        if reads.packed {
            self.mirror.write_packed(bytes)?;
        } else {
            self.mirror.write_all(bytes)?;
        }
        self.since_end = match memchr::memrchr(b'\n', bytes) {
            Some(end) => read - end - 1,
            None => self.since_end + read,
        };
        if self.since_end >= reads.cut {
            self.mirror.flush_partial()?;
            self.since_end = 0;
        }
        Ok(read)
    }
}
