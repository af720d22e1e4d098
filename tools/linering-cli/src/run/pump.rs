//! From the workers' pipes into the ring: one thread, a mirror for each pipe.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use linering::{LineProcMirror, LineRing, Seat, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{Winsize, tcsetwinsize};

use super::Letter;
use super::console::Console;
use super::mailbox::Mailbox;
use crate::failure::Failure;

/// How pipes are read.
#[derive(Clone, Copy, Debug)]
pub struct Reads {
    /// Bytes that are read at a time.
    pub at_once: usize,
    /// Bytes after which a line that has no end yet is cut, between two characters.
    pub cut: usize,
    /// By so many bytes a line may be longer, so that no character is divided.
    pub slack: usize,
    /// Short lines may share slots.
    pub packed: bool,
    /// An unfinished line is passed on when nothing comes for a while: a person may wait for it.
    pub prompts: Prompts,
}

/// Whose unfinished lines are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompts {
    None,
    /// Those that a person may answer.
    Answered,
    All,
}

/// A worker's pipe, or our side of its terminal.
#[derive(Debug)]
pub struct Pipe {
    pub worker: usize,
    pub stream: Stream,
    pub end: Arc<File>,
    pub seat: Arc<KeptSeat>,
    /// A person may answer this worker.
    pub is_answered: bool,
    /// Where what is typed for this terminal is, which says when that changes (`TIOCPKT`).
    pub console: Option<Arc<Console>>,
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

/// What the pump is told.
#[derive(Debug)]
pub enum Order {
    /// Read these too.
    Add(Vec<Pipe>),
    /// Close this worker's pipes, once what is in them was read.
    Close(usize),
    /// Close every pipe, also those that are added later.
    CloseAll,
    /// The workers' terminals have this size.
    Resize(Winsize),
    /// End with the last pipe.
    Finish,
}

/// A pipe and its way into the ring.
struct Source {
    worker: usize,
    from: Arc<File>,
    mirror: LineProcMirror,
    is_answered: bool,
    console: Option<Arc<Console>>,
    _seat: Arc<KeptSeat>,
    /// Bytes since the last end of line, or since the line was cut.
    since_end: usize,
    /// They were passed on.
    is_shown: bool,
}

/// How long nothing has to come before an unfinished line is shown, in nanoseconds.
const PAUSE: i64 = 100_000_000;

/// The pump's thread, as it starts. The ring is not over before this is.
pub struct Pump {
    ring: LineRing,
    reads: Reads,
    orders: Mailbox<Order>,
    letters: Mailbox<Letter>,
    sources: Vec<Source>,
    is_closed: bool,
    is_finishing: bool,
    /// Counts as a writer.
    _anchor: KeptSeat,
}

/// Begins to pump what it is told to.
pub fn start(
    ring: &LineRing,
    reads: Reads,
    orders: Mailbox<Order>,
    letters: Mailbox<Letter>,
) -> Result<JoinHandle<()>, Failure> {
    let refused =
        |error: &dyn std::fmt::Display| Failure::Failed(format!("cannot capture: {error}"));
    let mut pump = Pump {
        ring: ring.clone(),
        reads,
        orders,
        letters,
        sources: Vec::new(),
        is_closed: false,
        is_finishing: false,
        _anchor: KeptSeat(ring.seat().map_err(|error| refused(&error))?),
    };
    let run = move || {
        // The mirrors end with it, whatever happens.
        if let Err(error) = pump.run() {
            pump.letters.put(Letter::Failed(format!("cannot capture any more: {error}")));
        }
        // Where that has failed, what comes has no reader.
        pump.is_closed = true;
        (0..pump.sources.len()).rev().for_each(|index| pump.end(index));
        while !pump.is_finishing {
            let _ = poll(&mut [PollFd::new(&pump.orders, PollFlags::IN)], None);
            let _ = pump.obey(&mut []);
        }
    };
    let thread = thread::Builder::new().name("pump".to_owned()).spawn(run);
    thread.map_err(|error| refused(&error))
}

impl Pump {
    fn run(&mut self) -> io::Result<()> {
        // With what a terminal says before.
        let mut buffer = vec![0; self.reads.at_once + 1];
        let pause = Timespec { tv_sec: 0, tv_nsec: PAUSE };
        loop {
            self.obey(&mut buffer)?;
            if self.is_finishing && self.sources.is_empty() {
                return Ok(());
            }
            let reads = self.reads;
            let prompts = self.sources.iter().any(|source| source.is_prompting(reads));
            let mut polled: Vec<_> = self
                .sources
                .iter()
                .map(|source| PollFd::new(&source.from, PollFlags::IN))
                .collect();
            polled.push(PollFd::new(&self.orders, PollFlags::IN));
            match poll(&mut polled, prompts.then_some(&pause)) {
                Ok(0) => {
                    self.sources.iter_mut().try_for_each(|source| source.show(reads))?;
                    continue;
                }
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let mut ready: Vec<bool> =
                polled.iter().map(|polled| !polled.revents().is_empty()).collect();
            // Orders are looked at before the next wait.
            ready.pop();
            let mut over = Vec::new();
            for (index, source) in self.sources.iter_mut().enumerate() {
                if ready[index] && source.pass_on(&mut buffer, reads)?.is_none() {
                    over.push(index);
                }
            }
            over.into_iter().rev().for_each(|index| self.end(index));
        }
    }

    fn obey(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for order in self.orders.take() {
            match order {
                Order::Add(pipes) if self.is_closed => {
                    let worker = pipes.first().map(|pipe| pipe.worker);
                    worker.into_iter().for_each(|worker| self.ended(worker));
                }
                Order::Add(pipes) => pipes.into_iter().try_for_each(|pipe| self.add(pipe))?,
                Order::Close(worker) => self.close(buffer, |source| source.worker == worker)?,
                Order::CloseAll => {
                    self.is_closed = true;
                    self.close(buffer, |_| true)?;
                }
                Order::Resize(size) => {
                    for source in &self.sources {
                        let _ = tcsetwinsize(&source.from, size);
                    }
                }
                Order::Finish => self.is_finishing = true,
            }
        }
        Ok(())
    }

    fn add(&mut self, pipe: Pipe) -> io::Result<()> {
        let Pipe { worker, stream, end: from, seat, is_answered, console } = pipe;
        let mut mirror = self.ring.mirror_labelled(&worker.to_string())?;
        mirror.set_stream(stream);
        self.sources.push(Source {
            worker,
            from,
            mirror,
            is_answered,
            console,
            _seat: seat,
            since_end: 0,
            is_shown: false,
        });
        Ok(())
    }

    /// Closes pipes. What the workers had written by now was written in time.
    fn close(&mut self, buffer: &mut [u8], which: impl Fn(&Source) -> bool) -> io::Result<()> {
        for index in (0..self.sources.len()).rev() {
            if which(&self.sources[index]) {
                self.sources[index].pass_on_rest(buffer, self.reads)?;
                self.end(index);
            }
        }
        Ok(())
    }

    /// The drop of a pipe's mirror is an EOF.
    fn end(&mut self, index: usize) {
        let Source { worker, console, .. } = self.sources.swap_remove(index);
        console.iter().for_each(|console| console.release());
        if self.sources.iter().all(|source| source.worker != worker) {
            self.ended(worker);
        }
    }

    fn ended(&self, worker: usize) {
        self.letters.put(Letter::OutputEnded(worker));
    }
}

impl Source {
    fn is_prompting(&self, reads: Reads) -> bool {
        let prompts = match reads.prompts {
            Prompts::None => false,
            Prompts::Answered => self.is_answered,
            Prompts::All => true,
        };
        prompts && self.since_end > 0 && !self.is_shown
    }

    /// Passes an unfinished line on.
    fn show(&mut self, reads: Reads) -> io::Result<()> {
        if self.is_prompting(reads) {
            self.mirror.flush_partial()?;
            self.is_shown = true;
        }
        Ok(())
    }

    /// Passes on what is in the pipe, and nothing that comes later: a process that still has it may
    /// write for ever.
    fn pass_on_rest(&mut self, buffer: &mut [u8], reads: Reads) -> io::Result<()> {
        let mut left = rustix::io::ioctl_fionread(&self.from)?;
        while left > 0 {
            match self.pass_on(buffer, reads)? {
                None => break,
                Some(read) => left = left.saturating_sub(read as u64),
            }
        }
        Ok(())
    }

    /// Passes on what is there, waiting for it: how many bytes, `None` at the end.
    fn pass_on(&mut self, buffer: &mut [u8], reads: Reads) -> io::Result<Option<usize>> {
        let most = reads.at_once + usize::from(self.console.is_some());
        let read = loop {
            match (&*self.from).read(&mut buffer[..most]) {
                Ok(0) => return Ok(None),
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A terminal of which no process has the other side.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        let mut bytes = &buffer[..read];
        if let Some(console) = &self.console {
            if bytes[0] != 0 {
                // Something has changed, and no text comes with it.
                console.follow(&self.from);
            }
            bytes = if bytes[0] == 0 { &bytes[1..] } else { &[] };
        }
        let read = bytes.len();
        if read == 0 {
            return Ok(Some(0));
        }
        self.since_end = match memchr::memrchr(b'\n', bytes) {
            Some(end) => read - end - 1,
            None => self.since_end + read,
        };
        self.is_shown = false;
        let is_time = self.since_end >= reads.cut;
        // A character that goes on may do so in the next read.
        let must = (self.since_end >= reads.cut + reads.slack).then_some(read);
        match end_of_characters(bytes).or(must).filter(|_| is_time) {
            Some(whole) => {
                self.write(&bytes[..whole], reads)?;
                self.mirror.flush_partial()?;
                self.write(&bytes[whole..], reads)?;
                self.since_end = read - whole;
            }
            None => self.write(bytes, reads)?,
        }
        Ok(Some(read))
    }

    fn write(&mut self, bytes: &[u8], reads: Reads) -> io::Result<()> {
        if reads.packed {
            Ok(self.mirror.write_packed(bytes)?)
        } else {
            self.mirror.write_all(bytes)
        }
    }
}

/// Where the last character ends that is whole, in bytes that need not be UTF-8; `None` if they are
/// all of one that may have begun before them.
fn end_of_characters(bytes: &[u8]) -> Option<usize> {
    let goes_on = |byte: &u8| byte & 0xc0 == 0x80;
    let tail = bytes.iter().rev().take(3).take_while(|byte| goes_on(byte)).count();
    let Some(begin) = bytes.len().checked_sub(tail + 1) else {
        return (bytes.len() > 3).then_some(bytes.len());
    };
    let length = match bytes[begin] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    Some(if length > tail + 1 { begin } else { bytes.len() })
}

#[cfg(test)]
mod tests {
    use super::end_of_characters;

    #[test]
    fn a_character_is_not_divided_and_what_is_none_does_not_matter() {
        for (bytes, expected) in [
            (&b""[..], None),
            (b"a", Some(1)),
            ("aä".as_bytes(), Some(3)),
            (b"a\xc3", Some(1)),
            (b"a\xe2\x82", Some(1)),
            ("a€".as_bytes(), Some(4)),
            (b"a\xf0\x9f\x98", Some(1)),
            ("😀".as_bytes(), Some(4)),
            (b"\xf0\x9f\x98", Some(0)),
            // Its first byte was in what came before.
            (b"\x98\x80", None),
            (b"\x80\x80\x80\x80", Some(4)),
            (b"a\x80\x80\x80", Some(4)),
            (b"a\xff", Some(2)),
        ] {
            assert_eq!(end_of_characters(bytes), expected, "{bytes:x?}");
        }
    }
}
