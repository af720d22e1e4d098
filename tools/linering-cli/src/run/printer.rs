//! From the ring to stdout and stderr.

use std::io::{self, BufWriter, Stderr, Stdout, Write};

use linering::{Line, Stream};

use super::format::{Clock, Format, json, stream_name};
use super::template::Template;

/// What is printed besides the lines themselves.
#[derive(Debug)]
pub struct Style {
    pub format: Format,
    pub tag: Option<Template>,
    pub timestamps: bool,
    /// There is one worker: a last line without an end stays without one.
    pub alone: bool,
}

/// Writes lines out, and remembers what could not be written.
#[derive(Debug)]
pub struct Printer {
    out: Sink<Stdout>,
    err: Sink<Stderr>,
    style: Style,
    clock: Clock,
    /// The tags of each worker: of its stdout, of its stderr.
    tags: Vec<[String; 2]>,
}

/// One of the two outputs.
#[derive(Debug)]
struct Sink<W: Write> {
    to: BufWriter<W>,
    /// The worker whose line stands there without an end.
    open: Option<usize>,
    failed: Option<io::Error>,
}

impl Printer {
    pub fn new(style: Style, processes: &[u32]) -> Self {
        let tag = |worker, stream, process| {
            style.tag.as_ref().map_or(String::new(), |tag| tag.fill(worker, stream_name(stream), process))
        };
        let tags = processes.iter().enumerate().map(|(worker, process)| {
            [Stream::Stdout, Stream::Stderr].map(|stream| tag(worker, stream, *process))
        });
        let tags = tags.collect();
        Self {
            out: Sink::new(io::stdout()),
            err: Sink::new(io::stderr()),
            style,
            clock: Clock::default(),
            tags,
        }
    }

    /// Writes a worker's line; a piece of one has no end.
    pub fn line(&mut self, worker: usize, line: &Line<'_>) {
        if self.style.format == Format::Json {
            return self.out.with(|to| json(to, &mut self.clock, worker, line));
        }
        let is_err = line.stream == Stream::Stderr;
        let tag = self.tags.get(worker).map_or("", |tags| &tags[usize::from(is_err)]);
        let time = line.time.filter(|_| self.style.timestamps);
        let time = time.map_or("", |time| self.clock.text(time));
        if is_err {
            self.err.line(worker, line, time, tag);
        } else {
            self.out.line(worker, line, time, tag);
        }
    }

    pub fn flush(&mut self) {
        self.out.with(Write::flush);
        self.err.with(Write::flush);
    }

    /// Ends what has no end, unless that is how the only worker wrote it.
    pub fn finish(&mut self) {
        if !self.style.alone {
            self.out.end();
            self.err.end();
        }
        self.flush();
    }

    /// Whether nobody reads stdout any more.
    pub fn is_unread(&self) -> bool {
        self.out.failed.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The first failure but that.
    pub fn result(self) -> io::Result<()> {
        let failed = [self.out.failed, self.err.failed].into_iter().flatten();
        failed.filter(|error| error.kind() != io::ErrorKind::BrokenPipe).map(Err).next().unwrap_or(Ok(()))
    }
}

impl<W: Write> Sink<W> {
    fn new(to: W) -> Self {
        Self { to: BufWriter::with_capacity(1 << 16, to), open: None, failed: None }
    }

    /// Runs `write` unless an earlier one failed.
    fn with(&mut self, write: impl FnOnce(&mut BufWriter<W>) -> io::Result<()>) {
        if self.failed.is_none() {
            self.failed = write(&mut self.to).err();
        }
    }

    fn line(&mut self, worker: usize, line: &Line<'_>, time: &str, tag: &str) {
        if self.open.is_some_and(|open| open != worker) {
            self.end();
        }
        let goes_on = self.open.is_some();
        self.open = line.unfinished.then_some(worker);
        self.with(|to| {
            if !goes_on {
                if !time.is_empty() {
                    to.write_all(time.as_bytes())?;
                    to.write_all(b" ")?;
                }
                to.write_all(tag.as_bytes())?;
            }
            to.write_all(&line.bytes)?;
            if line.unfinished { Ok(()) } else { to.write_all(b"\n") }
        });
    }

    fn end(&mut self) {
        if self.open.take().is_some() {
            self.with(|to| to.write_all(b"\n"));
        }
    }
}
